"""Is a candidate worse by less than a margin? Tests on paired items whose level holds at every number of items.

Worsenings are per item, baseline minus candidate for a measure where higher is better: 1 where only the baseline
passed, -1 where only the candidate did. What each test does at its margin: ``docs/gate.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from strop.statistics.intervals import normal_quantile

Side = Literal["below", "above"]
"""Which is to be shown: that the drop lies below the margin (no worse), or above it (too much worse)."""
NUM_RATES = 64
"""Rates of change at which the exact test's level is held; see ``exact_p_value``."""
NUM_BETS = 8
"""Stakes of the betting test; half of the money goes on the largest, which pays where hardly anything changes."""
POWER = 0.8
_ROUNDING = 1e-9
_NUM_SPREADS = 7.0
_STAKES = 4.0
"""By how much splitting the money over bets raises what a bet must win, about; as simulated."""


def margin_p_value(
    worsenings: Sequence[float], clusters: Sequence[str], margin: float, side: Side = "below"
) -> tuple[float, bool]:
    """The p-value of "the mean worsening is ``margin`` or more" (``below``), or "or less" (``above``); whether exact.

    ``exact_p_value`` where every item is its own cluster and passed or failed; ``betting_p_value`` otherwise.
    Raises: ValueError for a worsening outside [-1, 1] and a margin outside (0, 1).
    """
    _require(worsenings, margin)
    if len(set(clusters)) == len(clusters) and {*worsenings} <= {-1.0, 0.0, 1.0}:
        lost, gained = sum(w > 0 for w in worsenings), sum(w < 0 for w in worsenings)
        return exact_p_value(len(worsenings), gained, lost, margin, side), True
    return betting_p_value(worsenings, clusters, margin, side), False


def score(num_items: int, gained: NDArray[np.float64], lost: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Tango's score statistic of "loss rate - gain rate = margin"; large where the candidate is no worse.

    z = (gained - lost + n m) / √(n (2 q + m (1 - m))), with q the most likely rate of gains under the hypothesis:
    q = (B + √(B² + 8 n gained m (1 - m))) / 4n,  B = gained (1 - m) + lost (1 + m) - 2 n m

    *Source*: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design".
    """
    n, m = num_items, margin
    linear = gained * (1 - m) + lost * (1 + m) - 2 * n * m
    q = (linear + np.sqrt(linear**2 + 8 * n * gained * m * (1 - m))) / (4 * n)
    z: NDArray[np.float64] = (gained - lost + n * m) / np.sqrt(n * (2 * np.maximum(q, 0.0) + m * (1 - m)))
    return z


@lru_cache(maxsize=4096)
def exact_p_value(num_items: int, gained: int, lost: int, margin: float, side: Side = "below") -> float:
    """The unconditional exact p-value of "the pass rate fell by ``margin`` or more" (``above``: "or less").

    p = max over ψ of P(z ≥ z_observed | gain rate (ψ - m) / 2, loss rate (ψ + m) / 2); ≤ for ``above``

    Tango's z only orders the outcomes: the level holds because the worst rate ψ of changed items is taken, over
    ``NUM_RATES`` rates from the margin to 1, spaced as their standard error. Of drops that large one of exactly the
    margin is the hardest to tell. *Source*: Barnard 1945 (the maximum over the nuisance rate); for paired rates Hsueh,
    Liu and Chen 2001. Raises: ValueError for counts that cannot be.
    """
    if min(gained, lost) < 0 or gained + lost > num_items or num_items < 1:
        raise ValueError(f"{gained} gained and {lost} lost of {num_items} items cannot be")
    observed = float(score(num_items, np.array([float(gained)]), np.array([float(lost)]), margin)[0])
    most_lost = _most_lost(num_items, margin, observed - _ROUNDING if side == "below" else observed + _ROUNDING)
    worst = 0.0
    for change_rate in margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, NUM_RATES)) ** 2:
        worst = max(worst, _tail(num_items, float(change_rate), margin, most_lost, side))
    return min(1.0, worst)


def _most_lost(n: int, margin: float, observed: float) -> NDArray[np.float64]:
    """For each number of gained items the largest number of lost ones with z ≥ observed, -1 if none; z falls in it."""
    gained = np.arange(n + 1, dtype=np.float64)
    holds, fails = np.full(n + 1, -1.0), n - gained + 1
    while (fails - holds > 1).any():
        middle = np.floor((holds + fails) / 2)
        is_held = (score(n, gained, middle, margin) >= observed) | (middle < 0)
        holds, fails = np.where(is_held, middle, holds), np.where(is_held, fails, middle)
    return holds


def _tail(n: int, change_rate: float, margin: float, most_lost: NDArray[np.float64], side: Side) -> float:
    """P(z as far as the observed one), over the outcomes within seven standard deviations: the rest is below 1e-9."""
    gain_rate, loss_rate = max(0.0, (change_rate - margin) / 2), min(1.0, (change_rate + margin) / 2)
    gained, lost = _likely(n, gain_rate), _likely(n, loss_rate)
    limit = most_lost[gained.astype(int)][:, None]
    is_as_far = lost <= limit if side == "below" else lost > limit
    unchanged = n - gained[:, None] - lost
    logs = _log_factorials(n)
    rest = max(0.0, 1 - gain_rate - loss_rate)
    log_gained = logs[n] - logs[gained.astype(int)] + _times_log(gained, gain_rate)
    log_lost = _times_log(lost, loss_rate) - logs[lost.astype(int)]
    rows, columns = np.nonzero(is_as_far & (unchanged >= 0))
    remaining = unchanged[rows, columns]
    log_rest = _times_log(remaining, rest) - logs[remaining.astype(int)]
    return float(np.exp(log_gained[rows] + log_lost[columns] + log_rest).sum())


def _likely(n: int, rate: float) -> NDArray[np.float64]:
    spread = _NUM_SPREADS * math.sqrt(n * rate * (1 - rate)) + (10 if 0 < rate < 1 else 0)
    return np.arange(max(0, math.floor(n * rate - spread)), min(n, math.ceil(n * rate + spread)) + 1, dtype=np.float64)


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _times_log(count: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """count · log rate, with 0 · log 0 = 0."""
    return count * math.log(rate) if rate > 0 else np.where(count == 0, 0.0, -np.inf)


def betting_p_value(worsenings: Sequence[float], clusters: Sequence[str], margin: float, side: Side = "below") -> float:
    """The p-value of "the mean worsening is ``margin`` or more" (``above``: "or less") for clusters, scores and means.

    p = 1 / Σ_λ share_λ Π_c (1 + λ y_c),  y_c = Σ_{i in c} (margin - w_i) / (size of the largest cluster), ≥ -1 + m

    A gambler who stakes the share λ on each cluster cannot gain on average if the hypothesis holds, so he multiplies
    his money by 20 at most once in 20 times: valid at every number of clusters and for every distribution in [-1, 1],
    for which it asks about twice the items of a normal approximation. *Source*: Waudby-Smith and Ramdas 2024,
    "Estimating means of bounded random variables by betting"; here with fixed λ, spaced geometrically.
    """
    sign = 1.0 if side == "below" else -1.0
    sums: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for worsening, cluster in zip(worsenings, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + sign * (margin - worsening)
        sizes[cluster] = sizes.get(cluster, 0) + 1
    y = np.array(list(sums.values())) / max(sizes.values())
    largest = 1 / (1 - sign * margin)
    bets = np.geomspace(min(margin, largest), largest, NUM_BETS)
    shares = np.array([0.5 / (NUM_BETS - 1)] * (NUM_BETS - 1) + [0.5])
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(1 + bets[:, None] * y[None, :], 0.0)).sum(axis=1) + np.log(shares)
    return math.exp(min(0.0, -float(np.logaddexp.reduce(logs))))


# ---------------------------------------------------------------------------------------------------------- planning


def items_needed(worsenings: Sequence[float], clusters: Sequence[str], margin: float, alpha: float) -> int:
    """About how many items show a drop below ``margin`` 4 times in 5, if in truth nothing changed on average.

    n = N (reach · s / m)² + 2 N / (K m), s² = Σ_c (Σ_{i in c} w_i)² / N²; at least N / K · ln α / ln(1 - m), what it
    takes when nothing changes at all; the second term is for whole counts. ``reach`` is z_α + z_β for the exact test
    and z_β + √(z_β² + 2 ln 4/α) for betting, whose money is split.
    """
    _require(worsenings, margin)
    num_items, num_clusters, spread = _spread(worsenings, clusters)
    is_exact = num_clusters == num_items and {*worsenings} <= {-1.0, 0.0, 1.0}
    few = num_items / num_clusters * math.log(alpha if is_exact else alpha / 2) / math.log1p(-margin)
    many = num_items * (_reach(alpha, is_exact) * spread / margin) ** 2 + 2 * num_items / num_clusters / margin
    return math.ceil(max(few, many if spread else 0.0))


def margin_in_reach(worsenings: Sequence[float], clusters: Sequence[str], alpha: float) -> float:
    """About the smallest margin that these items would show 4 times in 5 if nothing changed on average; at most 1."""
    num_items, num_clusters, spread = _spread(worsenings, clusters)
    is_exact = num_clusters == num_items and {*worsenings} <= {-1.0, 0.0, 1.0}
    return min(1.0, max(_reach(alpha, is_exact) * spread, -math.expm1(math.log(alpha) / num_clusters)))


def drop_in_reach(worsenings: Sequence[float], clusters: Sequence[str], alpha: float) -> float:
    """About the smallest worsening that a one-sided test at ``alpha`` finds 4 times in 5, with as many changes as here.

    (z_α + z_β) s with s as in ``items_needed``; at least (z_α + z_β)² · largest |w| / K: changes that all go one way.
    """
    _, num_clusters, spread = _spread(worsenings, clusters)
    reach = _reach(alpha, True)
    size = max((abs(w) for w in worsenings if w), default=1.0)
    return max(reach * spread, reach**2 * size / num_clusters)


def _reach(alpha: float, is_exact: bool) -> float:
    z_power = normal_quantile(2 * POWER - 1)
    if is_exact:
        return normal_quantile(1 - 2 * alpha) + z_power
    return z_power + math.sqrt(z_power**2 + 2 * math.log(_STAKES / alpha))


def _spread(worsenings: Sequence[float], clusters: Sequence[str]) -> tuple[int, int, float]:
    """Items, clusters, and the standard error of the mean worsening around 0."""
    sums: dict[str, float] = {}
    for worsening, cluster in zip(worsenings, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + worsening
    return len(worsenings), len(sums), math.sqrt(math.fsum(s * s for s in sums.values())) / len(worsenings)


def _require(worsenings: Sequence[float], margin: float) -> None:
    if not 0 < margin < 1:
        raise ValueError(f"a margin lies between 0 and 1, not at {margin}")
    if not worsenings or not all(-1 <= w <= 1 for w in worsenings):
        raise ValueError("a margin is tested on items whose change lies between -1 and 1, and on at least one")
