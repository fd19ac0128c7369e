"""Whether held-out suites are still held out: what a gate hears of leaks, fresh draws and earlier looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strop.pipeline.evaluation import Results, SuiteRun
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.evals import GateConfig
    from strop.evals.contamination import Contamination
    from strop.evals.gating.evidence import Evidence
    from strop.pipeline.prepare import Prepared


def find_leaks(prepared: Prepared, suites: Sequence[SuiteRun]) -> Contamination:
    """Every stage's rows against the gate's suites."""
    from strop.evals.contamination import find_contamination

    return find_contamination({job.name: job.rows for job in prepared.jobs}, [run.suite for run in suites])


def held_out_evidence(
    candidate: Results, baseline: Results | None, config: GateConfig, workspace: Workspace
) -> list[Evidence]:
    """The ledger of looks, and the gaps to fresh draws where the gate has ``fresh:NAME`` beside NAME.

    Raises: MismatchError for a damaged ledger, or a baseline that was asked another draw.
    """
    from strop.evals.looks import Looks, read_looks
    from strop.evals.overfitting import overfitting

    looks = Looks(past=read_looks(workspace.looks), candidate=candidate, max_looks=config.max_looks, alpha=config.alpha)
    gaps = overfitting(candidate, baseline)
    return [looks] if gaps is None else [looks, gaps]
