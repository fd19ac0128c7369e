"""From a stage's table to its method: which stream and objective, which optimizer, how many steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.pipeline.recipe import AnyStage, DPOStage, GRPOStage, LoraTable, RolloutTable, SFTStage
from strop.types import Objective, Stream, Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strop.data import Mixture
    from strop.models import LoRA, Policy
    from strop.training import AdamW
    from strop.verifiers import Audit

# method -> (all weights, low-rank): the usual peaks in the field's recipes
_LEARNING_RATES = {"sft": (2e-5, 2e-4), "dpo": (1e-6, 1e-5), "grpo": (1e-6, 1e-5), "dr_grpo": (1e-6, 1e-5)}


def learning_rate(stage: AnyStage, *, low_rank: bool) -> float:
    """The peak in force."""
    return stage.learning_rate or _LEARNING_RATES[stage.method][low_rank]


def rows_per_step(stage: AnyStage) -> int:
    """How many rows one optimizer step takes."""
    return stage.prompts_per_step if isinstance(stage, RolloutTable) else stage.batch_size


def num_steps(stage: AnyStage, num_rows: int) -> int:
    """How many optimizer steps the stage takes."""
    if stage.steps is not None:
        return stage.steps
    from strop import methods

    return methods.num_steps(num_rows, rows_per_step(stage), stage.epochs or 1.0)


def make_lora(table: LoraTable | None) -> LoRA | None:
    """The adapter's settings as the policy takes them."""
    if table is None:
        return None
    from strop.models import LoRA

    return LoRA(**table.model_dump())


def make_optimizer(stage: AnyStage, *, low_rank: bool) -> AdamW:
    """The optimizer of the stage."""
    from strop.training import AdamW

    return AdamW(
        lr=learning_rate(stage, low_rank=low_rank),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_grad_norm,
        schedule=stage.schedule,
        warmup=stage.warmup,
    )


def build(
    stage: AnyStage,
    policy: Policy,
    rows: Sequence[Any],
    verifier: Verifier | None,
    *,
    seed: int,
    work: Path,
    audit: Audit | None = None,
    mixture: Mixture | None = None,
) -> tuple[Stream, Objective]:
    """The stage's stream and objective. ``work`` keeps what a resumed stage must not compute again."""
    from strop import methods

    if isinstance(stage, SFTStage):
        return methods.sft(
            policy,
            rows,
            batch_size=stage.batch_size,
            max_length=stage.max_length,
            turns=stage.turns,
            seed=seed,
            mixture=mixture,
        )
    if isinstance(stage, DPOStage):
        return methods.dpo(
            policy,
            rows,
            beta=stage.beta,
            label_smoothing=stage.label_smoothing,
            batch_size=stage.batch_size,
            max_length=stage.max_length,
            seed=seed,
            cache=work / "reference",
        )
    assert verifier is not None
    shared: dict[str, Any] = {
        "group_size": stage.group_size,
        "prompts_per_step": stage.prompts_per_step,
        "max_new_tokens": stage.max_new_tokens,
        "temperature": stage.temperature,
        "seed": seed,
        "audit": audit,
        "unaudited": stage.unaudited or "",
    }
    if isinstance(stage, GRPOStage):
        return methods.grpo(policy, rows, verifier, scale=None if stage.scale == "none" else stage.scale, **shared)
    return methods.dr_grpo(policy, rows, verifier, **shared)
