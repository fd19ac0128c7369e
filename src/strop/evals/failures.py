"""What failed in an evaluation, and new tasks of the same kind from data that no evaluation holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.data.lineage import with_lineage
from strop.errors import DataError, MismatchError, RecipeError
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import Suite
from strop.types import Task
from strop.worlds import World

_MAX_DRAWN = 64
"""How many train tasks are drawn for each that is wanted, before a slice is called too rare."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that a model failed, with the answers that failed."""

    task: Task
    item: ItemResult
    samples: tuple[SampleResult, ...]
    """The failing answers, at least one."""
    lineage: Mapping[str, Any]
    """``suite``, ``suite_digest``, ``item``, ``model``, ``result``, ``metric``, ``slices``, ``states``."""


def failures(
    result: SuiteResult,
    suite: Suite,
    *,
    where: str | None = None,
    metric: str | None = None,
    state: str | None = None,
) -> tuple[Failure, ...]:
    """The failed items of the slice ``where`` (``key=value``), in order.

    Without ``metric`` an answer fails if it was judged and did not pass; with it, if its measure is not the best one (0
    where lower is better, else 1). ``state`` keeps the answers of one state only, such as ``unparsable``;
    one that could not be judged failed nothing unless its state is asked for.
    Raises: MismatchError if the suite is not the one of the result; RecipeError for an unknown slice or metric.
    """
    _require_suite(result, suite)
    if where is not None and where not in result.slice_names():
        raise RecipeError(f"suite {result.name} has no slice `{where}`", do=f"known: {', '.join(result.slice_names())}")
    if metric is not None and metric not in (names := result.metric_names()):
        raise RecipeError(f"suite {result.name} measures no `{metric}`", do=f"known: {', '.join(names)}")
    tasks = {task.id: task for task in suite.tasks}
    digest = result.digest  # of all items: not once for each
    found = []
    for item in result.within(where):
        bad = tuple(sample for sample in item.samples if _fails(sample, result, metric, state))
        if bad:
            lineage = {
                "suite": result.name,
                "suite_digest": result.digests["suite"],
                "item": item.id,
                "model": result.digests["model"],
                "result": digest,
                "metric": metric or "passed",
                "slice": where or "",
                "slices": dict(item.slices),
                "states": sorted({sample.state for sample in bad}),
            }
            found.append(Failure(task=tasks[item.id], item=item, samples=bad, lineage=lineage))
    return tuple(found)


def _require_suite(result: SuiteResult, suite: Suite) -> None:
    if suite.digest != result.digests["suite"]:
        raise MismatchError(
            f"the suite {suite.name} is not the one that the results are of",
            why=f"its digest is {suite.digest[:12]}, the results say {result.digests['suite'][:12]}",
            do="name the suite with the same source, number of items, dial and verifier as `strop eval` did"
            + (f"; a fresh draw with its seed, @{seed}" if (seed := result.version.partition("fresh-")[2]) else ""),
        )


def _fails(sample: SampleResult, result: SuiteResult, metric: str | None, state: str | None) -> bool:
    if state is not None and sample.state != state:
        return False
    if metric is None:
        return not sample.passed and (sample.is_graded or state is not None)
    value = sample.measures.get(metric)
    is_lower = metric in result.metrics and result.metrics[metric].direction == "lower"
    return value is not None and value != (0.0 if is_lower else 1.0)


# ----------------------------------------------------------------------------------------------- what may be trained on


def split_of_task(task: Task) -> str | None:
    """The split that a world drew the task from, which its id says; None where nobody knows."""
    parts = task.id.split("/")
    return parts[1] if len(parts) >= 4 and parts[1] in ("train", "dev", "test") else None


def require_trainable(tasks: Sequence[Task], *, is_held_out: bool | None = None) -> None:
    """Refuse held-out items as training data. Raises: DataError.

    A task of a world's train split may be trained on, any other not; of tasks without a split ``is_held_out=False``
    says that no gate asks them.
    """
    for task in tasks:
        split = split_of_task(task)
        if split == "train" or (split is None and is_held_out is False):
            continue
        known = f"it is of the {split} split" if split else "nobody said that no gate asks it"
        raise DataError(
            f"item {task.id} may not be trained on",
            where=task.source,
            why=f"{known}: a model that has seen it passes for better than it is",
            do="draw tasks of the same kind from the train split (`more_like`, --more-like)"
            + ("" if split else "; or, if no gate asks these items, say so (--not-held-out)"),
        )


def more_like(
    world: World, found: Sequence[Failure], n: int, *, seed: int = 0, by: Sequence[str] = (), **dial: Any
) -> list[Task]:
    """``n`` tasks of the world's train split in the proportions of the failures' slices, none that a failure asks.

    Two tasks are alike if they agree in the slices ``by`` (all slices that the failures have, if empty); ``dial`` must
    be the suite's own. Each carries the lineage of one failure of its kind. Raises: DataError where the train split has
    too few of a kind; RecipeError for a slice that the failures do not have.
    """
    keys = list(by) or sorted({key for failure in found for key in failure.task.slices})
    unknown = [key for key in keys if not any(key in failure.task.slices for failure in found)]
    if unknown or not found:
        what = f"no failure has a slice `{unknown[0]}`" if unknown else "there is no failure to draw more of"
        raise RecipeError(what, do="name a slice of the suite" if unknown else "evaluate something harder")
    wanted = _shares([_kind(failure.task, keys) for failure in found], n)
    causes = {kind: [one for one in found if _kind(one.task, keys) == kind] for kind in wanted}
    asked = {_prompt(failure.task) for failure in found}
    kept: list[Task] = []
    counts: Counter[tuple[str, ...]] = Counter()
    num_drawn = max(64, 4 * n)
    while sum(counts.values()) < n:
        for task in world.tasks("train", num_drawn, seed, **dial)[num_drawn // 2 if kept else 0 :]:
            kind = _kind(task, keys)
            if counts[kind] < wanted.get(kind, 0) and _prompt(task) not in asked:
                cause = causes[kind][counts[kind] % len(causes[kind])]
                kept.append(with_lineage(task, {**cause.lineage, "regenerated": f"world:{world.name}/train"}))
                asked.add(_prompt(task))
                counts[kind] += 1
        num_drawn *= 2
        if num_drawn > _MAX_DRAWN * max(64, n):
            break
    if len(kept) < n:
        rare = max(wanted, key=lambda kind: wanted[kind] - counts[kind])
        told = ", ".join(f"{key}={value}" for key, value in zip(keys, rare, strict=True))
        raise DataError(
            f"the train split of world:{world.name} gave {counts[rare]} of {wanted[rare]} tasks with {told}",
            why=f"among {num_drawn // 2} that were drawn",
            do="ask for fewer, or compare fewer slices",
        )
    require_trainable(kept)
    return kept


def _kind(task: Task, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(task.slices.get(key, "") for key in keys)


def _prompt(task: Task) -> tuple[str, ...]:
    return tuple(map(repr, task.prompt))


def _shares(kinds: Sequence[tuple[str, ...]], n: int) -> dict[tuple[str, ...], int]:
    """``n`` divided in proportion to how often each kind stands in ``kinds``, the largest remainders rounded up."""
    counts = Counter(kinds)
    exact = {kind: n * count / len(kinds) for kind, count in counts.items()}
    shares = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: shares[kind] - exact[kind])
    for kind in by_remainder[: n - sum(shares.values())]:
        shares[kind] += 1
    return shares
