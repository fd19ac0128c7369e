"""How many items a comparison needs, and what it can find with those it has."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from strop.statistics.intervals import normal_quantile, require_alpha

MAX_ITEMS = 10_000
_ROUNDING = 1e-9
_NUM_HALVINGS = 30


def mcnemar_power(num_items: int, gain_rate: float, loss_rate: float, alpha: float = 0.05) -> float:
    """The exact chance that ``mcnemar`` gives p ≤ alpha on ``num_items`` items.

    Σ_m Binom(m; n, g + l) · P[p(X, m - X) ≤ α | X ~ Binom(m, g / (g + l))], with g and l the rates of items that only
    the candidate and only the baseline passes. With g = l it is the test's size.

    *Source*: Duffy 1984 (unconditional exact power). Raises: ValueError for rates that cannot be, or no items.
    """
    _require_discordant(gain_rate, loss_rate, alpha)
    _require_items(num_items)
    return _mcnemar_power(num_items, gain_rate + loss_rate, gain_rate / (gain_rate + loss_rate), alpha)


def mcnemar_num_items(gain_rate: float, loss_rate: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The smallest number of items at which ``mcnemar_power`` reaches ``power``.

    Exact power is not quite monotone in n: it may dip below again by a fraction of a point just after.
    Raises: ValueError for equal rates, where there is nothing to find, and where 10,000 items do not suffice.
    """
    _require_discordant(gain_rate, loss_rate, alpha)
    _require_power(power, alpha)
    if gain_rate == loss_rate:
        raise ValueError(f"equal rates of gain and loss, {gain_rate}, leave no difference to find")
    share, rejected = gain_rate / (gain_rate + loss_rate), np.zeros(MAX_ITEMS + 1)
    for n in range(1, MAX_ITEMS + 1):
        rejected[n] = _rejection_rate(n, share, alpha)
        if _binomial(n, gain_rate + loss_rate) @ rejected[: n + 1] >= power:
            return n
    raise ValueError(f"{MAX_ITEMS} items are too few to tell {gain_rate} from {loss_rate} with power {power}")


def paired_detectable_difference(
    num_items: int, discordant_rate: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest difference of pass rates that ``mcnemar`` finds with ``power``, when that share of items changes.

    The root d of mcnemar_power(n, (ψ + d) / 2, (ψ - d) / 2) = power, with ψ the rate of items that change either way.
    Raises: ValueError where even changes that all go one way are not found that often: the items are too few.
    """
    _require_discordant(discordant_rate, 0, alpha)
    _require_power(power, alpha)
    _require_items(num_items)
    return _smallest(
        lambda d: _mcnemar_power(num_items, discordant_rate, (1 + d / discordant_rate) / 2, alpha),
        discordant_rate,
        power,
    )


def two_rate_power(num_items: int, rate: float, other_rate: float, alpha: float = 0.05) -> float:
    """The chance that a two-sided z test tells two rates apart, each over its own ``num_items`` independent items.

    Φ((√n |p1 - p2| - z_α √(2 p̄ (1 - p̄))) / √(p1 (1 - p1) + p2 (1 - p2))), p̄ = (p1 + p2) / 2

    *Source*: Fleiss 1981, "Statistical Methods for Rates and Proportions", eq. 3.14, solved for the power; the normal
    approximation, good from about ten expected passes and failures a side. The same items on both sides:
    ``mcnemar_power``. Raises: ValueError for rates that are 0 or 1, or no items.
    """
    _require_rates(rate, other_rate)
    require_alpha(alpha)
    _require_items(num_items)
    return _two_rate_power(num_items, rate, other_rate, alpha)


def two_rate_num_items(rate: float, other_rate: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The number of items a side at which ``two_rate_power`` reaches ``power``.

    n = (z_α √(2 p̄ (1 - p̄)) + z_β √(p1 (1 - p1) + p2 (1 - p2)))² / (p1 - p2)², rounded up. *Source*: as there.
    Raises: ValueError for rates that are equal, 0 or 1.
    """
    _require_rates(rate, other_rate)
    _require_power(power, alpha)
    if rate == other_rate:
        raise ValueError(f"equal rates, {rate}, leave no difference to find")
    pooled, separate = _spreads(rate, other_rate)
    reach = normal_quantile(1 - alpha) * pooled + NormalDist().inv_cdf(power) * separate
    return math.ceil((reach / (rate - other_rate)) ** 2)


def two_rate_detectable_difference(num_items: int, rate: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest rise above ``rate`` that ``two_rate_power`` finds with ``power``.

    Raises: ValueError where even a rise to 1 is not found that often.
    """
    _require_rates(rate, rate)
    _require_power(power, alpha)
    _require_items(num_items)
    return _smallest(lambda d: _two_rate_power(num_items, rate, rate + d, alpha), 1 - rate, power)


def _spreads(p1: float, p2: float) -> tuple[float, float]:
    """√n times the standard error of p1 - p2: under one common rate, and under two."""
    return math.sqrt((p1 + p2) * (1 - (p1 + p2) / 2)), math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))


def _two_rate_power(n: int, p1: float, p2: float, alpha: float) -> float:
    pooled, separate = _spreads(p1, p2)
    return NormalDist().cdf((math.sqrt(n) * abs(p1 - p2) - normal_quantile(1 - alpha) * pooled) / separate)


def _mcnemar_power(n: int, discordant: float, share: float, alpha: float) -> float:
    rejected = [_rejection_rate(m, share, alpha) for m in range(n + 1)]
    return float(_binomial(n, discordant) @ np.array(rejected))


def _smallest(power_at: Callable[[float], float], largest: float, power: float) -> float:
    """The smallest difference in (0, largest] with that power, by halving; the power grows with the difference."""
    found = power_at(largest)
    if found < power:
        raise ValueError(f"even the largest difference, {largest:g}, is found with power {found:.2f} only, not {power}")
    low, high = 0.0, largest
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


def _rejection_rate(m: int, share: float, alpha: float) -> float:
    """P(McNemar's p ≤ alpha) with m discordant items, each a gain with probability ``share``."""
    tail = np.cumsum(_binomial(m, 0.5))
    num_rejected = np.count_nonzero(2 * tail <= alpha * (1 + _ROUNDING))  # counts 0 .. num_rejected - 1 on either side
    chances = _binomial(m, share)
    rate: float = chances[:num_rejected].sum() + chances[m + 1 - num_rejected :].sum()
    return rate


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """P(X = 0), …, P(X = n) of a binomial."""
    if p in (0, 1):
        return np.asarray(np.eye(1, n + 1, n if p else 0)[0], dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    chances = np.exp(logs[n] - logs - logs[::-1] + k * math.log(p) + (n - k) * math.log1p(-p))
    return np.asarray(chances, dtype=np.float64)


def _require_discordant(gain_rate: float, loss_rate: float, alpha: float) -> None:
    require_alpha(alpha)
    if not (gain_rate >= 0 and loss_rate >= 0 and 0 < gain_rate + loss_rate <= 1):
        raise ValueError(f"rates of gain and of loss add up to at most 1 and are not both 0: {gain_rate}, {loss_rate}")


def _require_items(num_items: int) -> None:
    if num_items < 1:
        raise ValueError(f"a comparison needs at least one item, not {num_items}")


def _require_rates(rate: float, other_rate: float) -> None:
    if not (0 < rate < 1 and 0 < other_rate < 1):
        raise ValueError(f"the normal approximation needs rates between 0 and 1: {rate}, {other_rate}")


def _require_power(power: float, alpha: float) -> None:
    require_alpha(alpha)
    if not alpha < power < 1:
        raise ValueError(f"a power lies between alpha = {alpha} and 1, not {power}")
