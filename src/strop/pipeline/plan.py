"""What a run will do, before it does it: steps, tokens, memory, time, and what is in the cache already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from strop.pipeline import builders
from strop.pipeline.estimates import Estimates, Work
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.prepare import Prepared, context_length, preflight
from strop.pipeline.recipe import DPOStage, RolloutTable
from strop.pipeline.stages import METRICS, Finished, ModelRef, StageJob, find_finished, told_audit
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.evals.contamination import Contamination
    from strop.models import LoRA
    from strop.models.hardware import MemoryPlan


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


def make_plan(prepared: Prepared, workspace: Workspace, contamination: Contamination | None = None) -> Plan:
    """The plan of a prepared run; ``contamination`` tells what the gate will say of rows that it asks.

    Raises: DataError for rows that training would refuse.
    """
    estimates = Estimates(prepared.base.source)
    context = context_length(prepared.base.source)
    parent: ModelRef | None = prepared.base
    stages, lora = [], estimates.given_lora
    for job in prepared.jobs:
        done = find_finished(job, parent, workspace) if parent is not None else None
        parent = done.model if done is not None else None
        lora = builders.make_lora(job.stage.lora) or (None if job.stage.adapter == "merge" else lora)
        stages.append(_stage_plan(job, prepared, estimates, lora, done, context))
    notes = [f"{job.name}: verifier {told_audit(job)}" for job in prepared.jobs if job.verifier is not None]
    notes += [f"{job.name}: guard {guard.told}" for job in prepared.jobs for guard in job.guards]
    leaked = [check for check in contamination.findings() if check.outcome != "PASS"] if contamination else []
    notes += [f"{check.name}: the gate will say {check.outcome}: {check.reason}" for check in leaked]
    if prepared.recipe.gate is None:
        notes.append("no [gate]: the result is neither evaluated nor released")
    return Plan(
        title=prepared.recipe.name,
        base=prepared.recipe.base,
        device=estimates.device,
        dtype=estimates.dtype,
        num_parameters=estimates.num_parameters,
        stages=tuple(stages),
        notes=tuple(notes),
    )


def _stage_plan(
    job: StageJob, prepared: Prepared, estimates: Estimates, lora: LoRA | None, done: Finished | None, context: int
) -> StagePlan:
    stage = job.stage
    if done is not None:
        num_tokens, seconds = sum(int(record["num_tokens"]) for record in read_metrics(done.folder / METRICS)), 0.0
    else:
        work = _work(job, prepared, context)
        num_tokens, seconds = work.num_tokens, estimates.seconds(work, lora)
    return StagePlan(
        name=job.name,
        method=stage.method,
        num_rows=len(job.rows),
        num_steps=job.num_steps,
        num_tokens=num_tokens,
        learning_rate=builders.learning_rate(stage, low_rank=lora is not None),
        memory=estimates.memory(lora, stage.micro_batch_tokens),
        seconds=seconds,
        is_cached=done is not None,
        lora=lora,
    )


def _work(job: StageJob, prepared: Prepared, context: int) -> Work:
    """The tokens that the stage trains, samples and only reads. Raises: DataError for rows that training refuses."""
    stage = job.stage
    found = preflight(job, job.rows, prepared.template, context)
    if job.validation:
        preflight(job, job.validation, prepared.template, context)
    passes = job.num_steps * builders.rows_per_step(stage) / len(job.rows)
    if isinstance(stage, RolloutTable):
        sampled = job.num_steps * stage.prompts_per_step * stage.group_size * stage.max_new_tokens
        trained = int(found.num_tokens * passes * stage.group_size) + sampled
        return Work(num_steps=job.num_steps, num_tokens=trained, num_sampled=sampled, num_read=0)
    read = found.num_tokens if isinstance(stage, DPOStage) else 0
    return Work(num_steps=job.num_steps, num_tokens=int(found.num_tokens * passes), num_sampled=0, num_read=read)


def told_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
