"""Held-out loss while a stage trains, and the weights with the lowest one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from strop.pipeline import builders
from strop.pipeline.recipe import OfflineTable
from strop.types import Batch, Objective

if TYPE_CHECKING:
    from strop.models import Policy
    from strop.pipeline.stages import StageJob


@dataclass(frozen=True)
class Validation:
    """Measures every ``every`` steps and keeps the best weights in ``folder``."""

    objective: Objective
    batches: list[Batch]
    folder: Path
    every: int

    def measure(self, policy: Policy, step: int, *, may_keep: bool = True) -> dict[str, float]:
        """The validation metrics of this step, prefixed; weights that may be kept are, if they are the best so far."""
        from strop.training import save_best, validate

        found = validate(policy, self.objective, self.batches)
        if may_keep:
            save_best(policy, self.folder, step=step, loss=found["loss"])
        return {f"validation_{name}": float(value) for name, value in found.items()}


def make_validation(job: StageJob, policy: Policy, work: Path) -> Validation | None:
    """The stage's validation; None if no held-out rows are given. To be made before the policy has trained."""
    stage = job.stage
    if not job.validation or not isinstance(stage, OfflineTable):
        return None
    stream, objective = builders.build(stage, policy, job.validation, None, seed=job.seed, work=work / "validation")
    num_batches = -(-len(job.validation) // builders.rows_per_step(stage))
    return Validation(
        objective=objective,
        batches=list(islice(stream(policy, start=None), num_batches)),
        folder=work / "best",
        every=stage.validate_every or stage.checkpoint_every,
    )
