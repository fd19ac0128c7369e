"""What a run will do, before it does it: steps, tokens, memory, time, and what is in the cache already."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from strop.pipeline import builders
from strop.pipeline.prepare import Prepared, context_length, preflight
from strop.pipeline.recipe import DPOStage, RolloutTable
from strop.pipeline.stages import Finished, ModelRef, StageJob, find_finished
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.models import LoRA, Policy
    from strop.models.hardware import MemoryPlan

# shares of the measured matrix-product speed that training and one-token decoding reach; rough on purpose
_TRAIN_EFFICIENCY = 0.3
_DECODE_EFFICIENCY = 0.03
_STEP_OVERHEAD_S = 0.05


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage of the plan."""

    name: str
    method: str
    num_rows: int
    num_steps: int
    num_tokens: int
    """Over all steps; for rollouts the most that can be generated is counted."""
    learning_rate: float
    memory: MemoryPlan
    seconds: float
    """Estimated; 0 if cached."""
    is_cached: bool
    lora: LoRA | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole plan."""

    title: str
    base: str
    device: str
    dtype: str
    num_parameters: int
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]

    def table(self) -> Table:
        """For the terminal."""
        table = Table(
            title=f"plan of {self.title}", caption=self.caption(), title_justify="left", caption_justify="left"
        )
        for column in ("stage", "method", "rows", "steps", "tokens", "learning rate", "memory", "micro-batch", "time"):
            table.add_column(column, justify="left" if column in ("stage", "method") else "right")
        for stage in self.stages:
            table.add_row(
                stage.name,
                stage.method + (f", LoRA {stage.lora.rank}" if stage.lora else ""),
                f"{stage.num_rows:,}",
                f"{stage.num_steps:,}",
                f"{stage.num_tokens:,}",
                f"{stage.learning_rate:.2g}",
                f"{stage.memory.total / 2**20:,.0f} MiB",
                f"{stage.memory.micro_batch_tokens:,} tokens",
                "cached" if stage.is_cached else f"≈ {told_seconds(stage.seconds)}",
            )
        return table

    def caption(self) -> str:
        """The line below the table."""
        parameters = f"{self.num_parameters / 1e6:.1f}M parameters"
        return "\n".join([f"base {self.base} ({parameters}) on {self.device}, {self.dtype}", *self.notes])


def make_plan(prepared: Prepared, workspace: Workspace) -> Plan:
    """The plan of a prepared run. Raises: DataError for rows that training would refuse."""
    shape = _Shape(prepared.base.source)
    speed = matmul_speed(shape.policy.device)
    context = context_length(prepared.base.source)
    parent: ModelRef | None = prepared.base
    stages, lora = [], shape.policy.lora
    for job in prepared.jobs:
        done = find_finished(job, parent, workspace) if parent is not None else None
        parent = done.model if done is not None else None
        lora = builders.make_lora(job.stage.lora) or (None if job.stage.adapter == "merge" else lora)
        stages.append(_stage_plan(job, prepared, shape.with_lora(lora), lora, done, context=context, speed=speed))
    notes = [f"{job.name}: verifier {job.audit.summary()}" for job in prepared.jobs if job.audit is not None]
    if prepared.recipe.gate is None:
        notes.append("no [gate]: the result is neither evaluated nor released")
    return Plan(
        title=prepared.recipe.name,
        base=prepared.recipe.base,
        device=str(shape.policy.device),
        dtype=str(shape.policy.dtype).removeprefix("torch."),
        num_parameters=shape.num_parameters,
        stages=tuple(stages),
        notes=tuple(notes),
    )


def _stage_plan(
    job: StageJob,
    prepared: Prepared,
    policy: Policy,
    lora: LoRA | None,
    done: Finished | None,
    *,
    context: int,
    speed: float,
) -> StagePlan:
    from strop.models import hardware

    stage = job.stage
    per_pass = preflight(job, prepared.template, context).num_tokens
    passes = job.num_steps * builders.rows_per_step(stage) / len(job.rows)
    generated = 0
    if isinstance(stage, RolloutTable):
        generated = job.num_steps * stage.prompts_per_step * stage.group_size * stage.max_new_tokens
        passes *= stage.group_size
    num_tokens = int(per_pass * passes) + generated
    num_parameters = sum(parameter.numel() for parameter in policy.model.parameters())
    operations = (4 if lora else 6) * num_parameters * num_tokens
    if isinstance(stage, DPOStage):
        operations += 2 * num_parameters * per_pass
    seconds = operations / (speed * _TRAIN_EFFICIENCY) + 2 * num_parameters * generated / (speed * _DECODE_EFFICIENCY)
    return StagePlan(
        name=job.name,
        method=stage.method,
        num_rows=len(job.rows),
        num_steps=job.num_steps,
        num_tokens=num_tokens,
        learning_rate=builders.learning_rate(stage, low_rank=lora is not None),
        memory=hardware.memory_plan(policy, micro_batch_tokens=stage.micro_batch_tokens),
        seconds=0.0 if done else seconds + job.num_steps * _STEP_OVERHEAD_S,
        is_cached=done is not None,
        lora=lora,
    )


class _Shape:
    """The model without its weights: enough to count what a stage needs."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.policy = self.with_lora(None, given=True)
        self.num_parameters = sum(parameter.numel() for parameter in self.policy.model.parameters())

    def with_lora(self, lora: LoRA | None, *, given: bool = False) -> Policy:
        """A policy on the meta device; ``given`` takes over the adapter that the base brings."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from strop.models import Policy, adapters, folders, hardware, names

        folder = names.local_folder(self.source)
        if names.is_adapter(folder):
            config = adapters.read_config(folder)
            lora = adapters.described(config) if given else lora
            found = folders.find_base(folder, config).folder
            assert found is not None
            folder = found
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        if lora is not None:
            model = adapters.attach(model, lora, seed=0)
        device = hardware.choose_device()
        dtype = hardware.choose_dtype("auto", device, int(model.config.get_text_config().hidden_size))
        # only counted, never run: it needs no template
        return Policy(model, None, device=device, dtype=dtype, lora=lora)  # type: ignore[arg-type]


def matmul_speed(device: Any) -> float:
    """Floating-point operations a second of a float32 matrix product here and now."""
    import torch

    size = 512
    left, right = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    left @ right
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < 0.05:
        float((left @ right)[0, 0])
        count += 1
    return 2 * size**3 * count / elapsed


def told_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
