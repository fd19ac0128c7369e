"""Several tests at once: Holm's correction, which keeps the chance of any false alarm."""

from __future__ import annotations

from collections.abc import Sequence

from strop.statistics.intervals import require_alpha


def holm(p_values: Sequence[float]) -> list[float]:
    """The adjusted p-values, in the order given: a hypothesis is rejected at level α when its own is ≤ α.

    sorted p_(1) ≤ … ≤ p_(m):  adjusted p_(i) = max over j ≤ i of min(1, (m - j + 1) p_(j))

    *Source*: Holm 1979. The chance of rejecting any true hypothesis is at most α, however the tests depend on each
    other. Never less powerful than Bonferroni's m·p. No tests: an empty list.
    Raises: ValueError for what is no probability.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value is a probability, not {p}")
    adjusted, largest = dict[int, float](), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [adjusted[index] for index in range(len(p_values))]


def holm_rejections(p_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Which hypotheses Holm's procedure rejects while the chance of any false rejection stays at most ``alpha``."""
    require_alpha(alpha)
    return [adjusted <= alpha for adjusted in holm(p_values)]
