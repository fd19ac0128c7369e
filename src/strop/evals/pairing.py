"""The change of a metric from one model to another, item by item over the items that both have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from strop.evals.results import SuiteResult

if TYPE_CHECKING:
    from strop.statistics import Interval


class Change(NamedTuple):
    """after - before."""

    value: float
    num_items: int
    interval: Interval
    """95 %, over clusters where several items are one piece of evidence."""


def paired_change(after: SuiteResult, before: SuiteResult, metric: str) -> Change | None:
    """The change of the metric's mean over the items that have a value on both sides; None of fewer than two clusters.

    *Source*: ``statistics.paired_difference``.
    """
    from strop.statistics import paired_difference  # numpy is slow to import, and recipes are read without it

    old = {item.id: item.value(metric) for item in before.items}
    pairs = [
        (now, was, item.cluster or item.id)
        for item in after.items
        if (now := item.value(metric)) is not None and (was := old.get(item.id)) is not None
    ]
    num_clusters = len({cluster for _, _, cluster in pairs})
    if num_clusters < 2:
        return None
    nows, olds, clusters = zip(*pairs, strict=True)
    value, interval = paired_difference(nows, olds, clusters=clusters if num_clusters < len(pairs) else None)
    return Change(value, len(pairs), interval)
