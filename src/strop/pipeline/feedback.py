"""After the gate: what the candidate failed becomes tasks for the next round, drawn from the worlds' train split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from strop.errors import DataError
from strop.pipeline.evaluation import Results, SuiteRun
from strop.pipeline.recipe import FailuresTable, SuiteTable
from strop.pipeline.sources import world_of


@dataclass(frozen=True, kw_only=True)
class NextRound:
    """What one suite leaves for the next round."""

    suite: str
    num_failed: int
    num_items: int
    path: Path | None
    """The tasks; None where none could be drawn."""
    num_tasks: int = 0
    why: str = ""
    """Why there are none."""

    def told(self) -> str:
        """In a line."""
        head = f"failures of {self.suite}: {self.num_failed} of {self.num_items} items"
        if self.path is None:
            return f"{head}; {self.why}" if self.why else head
        return f"{head}; {self.num_tasks} new tasks of their kinds: {self.path}"


def write_next_round(
    tables: Sequence[str | SuiteTable],
    suites: Sequence[SuiteRun],
    candidate: Results,
    wanted: FailuresTable,
    folder: Path,
    *,
    seed: int,
) -> tuple[NextRound, ...]:
    """``folder/SUITE.jsonl`` for every suite of a world with failures: new tasks of the failing slices, with lineage.

    ``suites`` are what ``load_suites`` made of ``tables``. Held-out items are never written; a suite that is no world's
    is told and left alone.
    """
    runs, found = iter(suites), []
    for entry in tables:
        table = SuiteTable(tasks=entry) if isinstance(entry, str) else entry
        found.append(_one(table, next(runs), candidate, wanted, folder, seed))
        if table.temperature > 0:
            next(runs)  # its greedy twin asks the same
    return tuple(found)


def _one(
    table: SuiteTable, run: SuiteRun, candidate: Results, wanted: FailuresTable, folder: Path, seed: int
) -> NextRound:
    from strop.evals import feedback
    from strop.evals.failures import failures, more_like

    result = candidate[run.suite.name]
    failed = failures(result, run.suite)
    told = NextRound(suite=run.suite.name, num_failed=len(failed), num_items=len(result.items), path=None)
    if not failed:
        return told
    if not table.tasks.startswith("world:"):
        return replace(told, why="only a world draws new ones; `strop failures` makes data of items that no gate asks")
    try:
        tasks = more_like(world_of(table.tasks), failed, wanted.tasks, seed=seed, **(table.world or {}))
    except DataError as error:
        return replace(told, why=error.what)
    path = folder / f"{run.suite.name}.jsonl"
    return replace(told, path=path, num_tasks=feedback.write_rows(path, tasks))
