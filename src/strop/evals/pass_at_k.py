"""What asking several times is worth: pass@k and pass^k over a suite's tasks, beside what k answers take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.evals.metrics import mean
from strop.evals.results import ItemResult, Rate, SuiteResult

if TYPE_CHECKING:
    from strop.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What k answers to each task come to."""

    k: int
    any_passes: Rate
    """pass@k: the share of tasks that one of k answers passes."""
    all_pass: Rate
    """pass^k: the share of tasks that all of k answers pass."""
    tokens: Rate
    """Answer tokens that k answers take, a task."""
    cost: float | None
    """Of k answers to one task, prompts included; None without a price."""


def repeated(result: SuiteResult) -> tuple[Repeated, ...]:
    """For k = 1, 2, 4 … and the number of samples: the unbiased estimates, with 95 % intervals over tasks.

    Tasks weigh alike; those with fewer than k answers that could be judged are left out, which ``num_items`` shows.
    Empty where every task was answered once. *Source*: ``statistics.pass_at_k`` and ``pass_hat_k``.
    """
    from strop.statistics import pass_at_k, pass_hat_k  # numpy is slow to import, and recipes are read without it

    found = []
    for k in _counts(max((len(item.samples) for item in result.items), default=1)):
        counts = [(item, *_counted(item)) for item in result.items]
        judged = [(item, n, c) for item, n, c in counts if n >= k]
        asked = [item for item in result.items if len(item.samples) >= k]
        costs = [_mean_cost(item) for item in asked]
        known = [cost for cost in costs if cost is not None]
        items = [item for item, _, _ in judged]
        found.append(
            Repeated(
                k=k,
                any_passes=_rate(items, [pass_at_k(n, c, k) for _, n, c in judged]),
                all_pass=_rate(items, [pass_hat_k(n, c, k) for _, n, c in judged]),
                tokens=_rate(asked, [k * (mean([s.num_tokens for s in item.samples]) or 0.0) for item in asked]),
                cost=k * (mean(known) or 0.0) if known and len(known) == len(costs) else None,
            )
        )
    return tuple(found)


def _counts(num_samples: int) -> list[int]:
    if num_samples < 2:
        return []
    return [*(k for power in range(num_samples.bit_length()) if (k := 1 << power) < num_samples), num_samples]


def _counted(item: ItemResult) -> tuple[int, int]:
    """How many answers could be judged, and how many of them passed."""
    graded = [sample for sample in item.samples if sample.is_graded]
    return len(graded), sum(sample.passed for sample in graded)


def _mean_cost(item: ItemResult) -> float | None:
    costs = [sample.cost for sample in item.samples if sample.cost is not None]
    return mean(costs) if len(costs) == len(item.samples) else None


def _rate(items: Sequence[ItemResult], values: Sequence[float]) -> Rate:
    if not values:
        return Rate(None, 0, None)
    clusters = [item.cluster or item.id for item in items]
    return Rate(sum(values) / len(values), len(values), _interval(values, clusters))


def _interval(values: Sequence[float], clusters: Sequence[str]) -> Interval | None:
    from strop.statistics import mean_interval, wilson

    num_clusters = len(set(clusters))
    if len(set(values)) == 1 and values[0] in (0.0, 1.0):  # no spread: the bootstrap would have no width
        return wilson(values[0] * num_clusters, num_clusters)
    return mean_interval(values, clusters=clusters) if num_clusters > 1 else None
