"""What a number is over training seeds: mean, spread, and the interval of the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from strop.statistics.intervals import Interval
from strop.statistics.student import t_quantile

_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """One measure over several runs that differ in their seed only."""

    num_seeds: int
    mean: float
    std: float
    """The standard deviation between seeds, over n - 1 (Bessel)."""
    interval: Interval | None
    """The interval of the mean; None where all seeds gave one value (to rounding), which says nothing about the spread
    of others."""


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> SeedSummary:
    """The mean, Bessel's standard deviation, and Student's t interval of one measure over seeds.

    mean ± t_{n-1} std / √n,  std² = Σ (x_i - mean)² / (n - 1)

    *Source*: Student 1908. Exact for normal values, too narrow for skewed ones. "12.0 ± 0.7" is usually mean and std;
    the interval of the mean of three seeds is 2.5 times wider than that. It is about new seeds on the *same* items: for
    new items use the items' own interval. Two methods run on the same seeds: give it the differences.
    Raises: ValueError for fewer than two seeds (no spread is known) and for values that are not finite.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"the spread over seeds needs at least two; there are {n}")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"a value is not finite: {list(values)}")
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(confidence, n - 1) * std / math.sqrt(n)
    same = max(values) - min(values) <= _ROUNDING * max(map(abs, values))
    return SeedSummary(num_seeds=n, mean=mean, std=std, interval=None if same else Interval(mean - half, mean + half))
