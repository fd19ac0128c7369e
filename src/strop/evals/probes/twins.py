"""Twins: the same question asked in another way, beside the plain one, within one suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.evals.results import ItemResult, SuiteResult

if TYPE_CHECKING:
    from strop.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class TwinDifference:
    """A metric on changed questions beside the same questions as they were."""

    num_pairs: int
    plain: float
    """The metric's mean over the plain twins of the pairs."""
    changed: float
    difference: float
    """changed - plain."""
    interval: Interval | None
    """95 %, over whole clusters; None where fewer than two, or none that differ, leave the spread unknown."""


def compare_twins(
    result: SuiteResult, *, axis: str, plain: str, metric: str = "accuracy"
) -> dict[str, TwinDifference | None]:
    """For each value of the slice ``axis`` beside ``plain`` the metric's change, and for ``""`` that of all together.

    Items of one cluster are twins; a pair of which either side could not be measured is left out. None where no pair
    is left. The interval resamples clusters, for variants of one question are one piece of evidence.
    """
    originals = {item.cluster: item for item in result.items if item.slices.get(axis) == plain}
    pairs = list(_pairs(result, originals, axis, plain, metric))
    kinds = dict.fromkeys(item.slices[axis] for item in result.items if item.slices.get(axis, plain) != plain)
    found = {kind: _difference([pair for pair in pairs if pair[0] == kind]) for kind in kinds}
    return {**found, "": _difference(pairs)}


_Pair = tuple[str, str, float, float]
"""Variant, cluster, the metric of the plain twin, and of the changed one."""


def _pairs(
    result: SuiteResult, originals: dict[str, ItemResult], axis: str, plain: str, metric: str
) -> Iterator[_Pair]:
    for item in result.items:
        kind, original = item.slices.get(axis), originals.get(item.cluster)
        if kind is None or kind == plain or original is None:
            continue
        was, now = original.value(metric), item.value(metric)
        if was is not None and now is not None:
            yield kind, item.cluster, was, now


def _difference(pairs: list[_Pair]) -> TwinDifference | None:
    if not pairs:
        return None
    clusters = [cluster for _, cluster, _, _ in pairs]
    before, after = [was for *_, was, _ in pairs], [now for *_, now in pairs]
    mean = (sum(after) - sum(before)) / len(pairs)
    return TwinDifference(
        num_pairs=len(pairs),
        plain=sum(before) / len(pairs),
        changed=sum(after) / len(pairs),
        difference=mean,
        interval=_interval(after, before, clusters),
    )


def _interval(after: list[float], before: list[float], clusters: list[str]) -> Interval | None:
    from strop.statistics import paired_difference

    last = {cluster: at for at, cluster in enumerate(clusters)}.values()
    if len(last) < 2:
        return None
    is_single = len(last) == len(clusters)
    found = paired_difference(after, before, clusters=None if is_single else clusters)[1]
    if found.low == found.high and len({now - was for now, was in zip(after, before, strict=True)}) == 1:
        # No spread: the bootstrap has no width. One pair a cluster keeps what so few clusters leave open.
        found = paired_difference([after[at] for at in last], [before[at] for at in last])[1]
    return found if found.low < found.high else None
