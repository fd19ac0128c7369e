"""How sure a number is: intervals, paired tests, and pass@k, from counts and per-item values.

Pure Python and numpy. Every function says what it assumes; none answers 0 where it means "not enough data".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval."""

    low: float
    high: float


def wilson(successes: float, num_trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion.

    centre = (p + z²/2n) / (1 + z²/n);  half = z √(p(1-p)/n + z²/4n²) / (1 + z²/n)

    *Source*: Wilson 1927; without continuity correction. Assumes independent trials: for several samples of one item
    use ``mean_interval`` with clusters. ``successes`` may be a half-integer (ties). No trials: [0, 1], no claim.
    The 95 % interval covers 93 to 97 % for n ≥ 100 and p in 0.1 to 0.9; counts are discrete, so smaller n varies more.
    """
    _require_confidence(confidence)
    if not 0 <= successes <= num_trials:
        raise ValueError(f"{successes} successes of {num_trials} trials")
    if num_trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, n = successes / num_trials, num_trials
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is exactly 0 or 1; the formula leaves rounding there.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == num_trials else (centre + half) / scale
    return Interval(low, high)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that a change flips items one way as often as the other.

    p = min(1, 2 P[X ≤ min(gained, lost)]), X ~ Binomial(gained + lost, 1/2)

    *Source*: McNemar 1947, in its exact form. Items are independent; those on which both agree carry no evidence. No
    discordant item: 1.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"counts are not negative: {gained}, {lost}")
    n, fewer = gained + lost, min(gained, lost)
    term = tail = 1  # C(n, 0); integers, so that thousands of items stay exact
    for i in range(1, fewer + 1):
        term = term * (n - i + 1) // i
        tail += term
    return min(1.0, 2 * tail / (1 << n))


@dataclass(frozen=True, kw_only=True)
class PairedOutcome:
    """What changed between two runs on the same items."""

    num_items: int
    gained: int
    """Items that only the candidate passed."""
    lost: int
    """Items that only the baseline passed."""
    p_value: float
    """``mcnemar(gained, lost)``."""


def compare_paired(candidate: Sequence[bool], baseline: Sequence[bool]) -> PairedOutcome:
    """The discordant counts of two runs over the same items in the same order, with McNemar's exact p-value."""
    _require_paired(candidate, baseline)
    gained = sum(bool(c) and not b for c, b in zip(candidate, baseline, strict=True))
    lost = sum(bool(b) and not c for c, b in zip(candidate, baseline, strict=True))
    return PairedOutcome(num_items=len(candidate), gained=gained, lost=lost, p_value=mcnemar(gained, lost))


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The unbiased estimate of P(at least one of k samples passes), from n ≥ k samples of one task of which c passed.

    1 - C(n-c, k) / C(n, k) = 1 - Π_{i=n-c+1..n} (1 - k/i);  average it over tasks

    *Source*: Chen et al. 2021 (arXiv:2107.03374), eq. 1. The plug-in 1 - (1 - c/n)^k is biased low and is not offered.
    """
    n, c = num_samples, num_correct
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples of every task and k ≥ 1; there are {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} correct of {n} samples")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def mean_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of the mean, resampling whole clusters; the same seed gives the same interval.

    A cluster is what is independent: the task, when a task was sampled several times. None: every value is its own.

    *Source*: Efron 1979; clusters: Field and Welsh 2007. The mean of a resample is its sum over its count, so clusters
    may differ in size. Coverage of the 95 % interval is near nominal from about 50 clusters on. When all values are
    equal it has no width: give proportions of independent trials to ``wilson`` instead.
    Raises: ValueError for fewer than two clusters: the spread is unknown, and 0 would be a claim.
    """
    _require_confidence(confidence)
    sums, counts = _cluster_sums(values, clusters)
    if len(sums) < 2:
        raise ValueError(f"an interval needs at least two independent clusters; there are {len(sums)}")
    generator = np.random.default_rng(seed)
    # One resample at a time: the memory stays that of the data, however many items and resamples there are.
    means = np.empty(num_resamples)
    for resample in range(num_resamples):
        drawn = generator.integers(0, len(sums), size=len(sums))
        means[resample] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def paired_difference(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, Interval]:
    """Mean(candidate - baseline) over the same items in the same order, with its interval.

    Pass or fail, one value an item (all 0 or 1, no ``clusters``): ``rate_difference_interval``, which keeps its width
    where no item changed. Anything else: ``mean_interval`` of the differences.
    """
    _require_paired(candidate, baseline)
    if clusters is None and {*candidate, *baseline} <= {0, 1}:
        return _paired_rates(candidate, baseline, confidence)
    differences = [float(c) - float(b) for c, b in zip(candidate, baseline, strict=True)]
    interval = mean_interval(
        differences, clusters=clusters, confidence=confidence, num_resamples=num_resamples, seed=seed
    )
    return math.fsum(differences) / len(differences), interval


def rate_difference_interval(both: int, gained: int, lost: int, neither: int, confidence: float = 0.95) -> Interval:
    """The interval of the difference of two pass rates on the same n items, from the four counts of their outcomes.

    d - √((p1-l1)² - 2φ(p1-l1)(u2-p2) + (u2-p2)²)  to  d + √((u1-p1)² - 2φ(u1-p1)(p2-l2) + (p2-l2)²)
    with p1 = (both + gained) / n, p2 = (both + lost) / n, d = p1 - p2, their Wilson bounds l and u, and φ the
    correlation of the outcomes, its numerator corrected for continuity

    *Source*: Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", method 10. Raises: ValueError without items.
    """
    n = both + gained + lost + neither
    if n == 0:
        raise ValueError("a difference needs at least one item")
    p1, p2 = (both + gained) / n, (both + lost) / n
    one, two = wilson(both + gained, n, confidence), wilson(both + lost, n, confidence)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    cross = both * neither - gained * lost
    cross_corrected = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross_corrected / math.sqrt(margins) if margins else 0.0
    below, above = (p1 - one.low, two.high - p2), (one.high - p1, p2 - two.low)
    low, high = (math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)) for a, b in (below, above))
    return Interval(p1 - p2 - low, p1 - p2 + high)


def _paired_rates(candidate: Sequence[float], baseline: Sequence[float], confidence: float) -> tuple[float, Interval]:
    """The difference of two pass rates over the same items, with its interval."""
    outcome = compare_paired([c == 1 for c in candidate], [b == 1 for b in baseline])
    both = sum(c == 1 and b == 1 for c, b in zip(candidate, baseline, strict=True))
    neither = outcome.num_items - both - outcome.gained - outcome.lost
    interval = rate_difference_interval(both, outcome.gained, outcome.lost, neither, confidence)
    return (outcome.gained - outcome.lost) / outcome.num_items, interval


def is_equivalent(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> bool:
    """Whether both one-sided tests reject a difference of ``margin`` or more at level ``alpha`` (TOST).

    That is: the 1 - 2 alpha interval of the paired difference lies inside (-margin, margin). *Source*: Schuirmann 1987.
    Overlapping intervals are no equivalence, and too few items to tell answer False.
    """
    if not margin > 0:
        raise ValueError(f"the margin is the largest difference that does not matter; it is not {margin}")
    _, interval = paired_difference(
        candidate, baseline, clusters=clusters, confidence=1 - 2 * alpha, num_resamples=num_resamples, seed=seed
    )
    return -margin < interval.low and interval.high < margin


def win_rate(wins: int, ties: int, losses: int, confidence: float = 0.95) -> tuple[float, Interval]:
    """(wins + ties / 2) / n over n comparisons, with Wilson's interval of that count.

    Counting a tie as half a success overstates the variance, so the interval is conservative when there are many ties.
    Raises: ValueError without any comparison.
    """
    if min(wins, ties, losses) < 0:
        raise ValueError(f"counts are not negative: {wins}, {ties}, {losses}")
    n = wins + ties + losses
    if n == 0:
        raise ValueError("a win rate needs at least one comparison")
    points = wins + ties / 2
    return points / n, wilson(points, n, confidence)


def _cluster_sums(
    values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the count of each cluster, in order of first appearance."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: leave out what could not be graded and count it apart")
    if clusters is None:
        return array, np.ones_like(array)
    if len(clusters) != len(array):
        raise ValueError(f"{len(array)} values with {len(clusters)} cluster names")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters], dtype=np.int64)
    return np.bincount(index, weights=array).astype(np.float64), np.bincount(index).astype(np.float64)


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a probability between 0 and 1, not {confidence}")


def _require_paired(candidate: Sequence[float], baseline: Sequence[float]) -> None:
    if len(candidate) != len(baseline) or not candidate:
        raise ValueError(f"paired runs share their items; there are {len(candidate)} and {len(baseline)}")
