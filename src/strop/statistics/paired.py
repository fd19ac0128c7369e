"""Tests on the same items: the exact McNemar test for pass or fail, the sign-flip test for any measure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strop.statistics.clusters import cluster_sums, paired_differences, require_paired

NUM_FLIPS = 9999
MAX_ENUMERATED = 16
"""Up to this many clusters that changed, every pattern of signs is enumerated (2^16)."""
_ROUNDING = 1e-9
_FLIPS_AT_ONCE = 512


def pair_by_id(
    candidate: Mapping[str, float], baseline: Mapping[str, float]
) -> tuple[list[str], list[float], list[float]]:
    """The item ids with both runs' values in that order: the candidate's order, whatever the baseline's was.

    Raises: ValueError when one run has an item that the other lacks, naming some: a mean over different items is no
    paired comparison, and dropping the rest in silence would choose the items by who failed to answer.
    """
    unshared = candidate.keys() ^ baseline.keys()
    if unshared or not candidate:
        some = ", ".join(sorted(unshared)[:5])
        raise ValueError(
            f"paired runs share their items; of {len(candidate)} and {len(baseline)}, {len(unshared)} are in one run "
            f"only: {some}"
        )
    ids = list(candidate)
    return ids, [candidate[key] for key in ids], [baseline[key] for key in ids]


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that a change flips items one way as often as the other.

    p = min(1, 2 P[X ≤ min(gained, lost)]), X ~ Binomial(gained + lost, 1/2)

    *Source*: McNemar 1947, in its exact form. Items are independent; those on which both agree carry no evidence. No
    discordant item: 1. Raises: ValueError for a negative count.
    """
    if min(gained, lost) < 0:
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
    """The discordant counts of two runs over the same items in the same order, with McNemar's exact p-value.

    Raises: ValueError for runs over different items, and for what is neither passed nor failed: a score needs
    ``sign_flip``, and what could not be graded is no pass.
    """
    require_paired(candidate, baseline)
    for value in (*candidate, *baseline):
        if value not in (0, 1):
            raise ValueError(f"an item was passed or failed, not {value}")
    gained = sum(bool(c) and not b for c, b in zip(candidate, baseline))
    lost = sum(bool(b) and not c for c, b in zip(candidate, baseline))
    return PairedOutcome(num_items=len(candidate), gained=gained, lost=lost, p_value=mcnemar(gained, lost))


def sign_flip(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    num_flips: int = NUM_FLIPS,
    seed: int = 0,
) -> float:
    """The two-sided p-value that candidate - baseline is as often positive as negative, size for size.

    p = share of the 2^m patterns of signs with |Σ ± d_i| ≥ |Σ d_i|, over the m clusters whose sum d_i is not 0;
    beyond 16 of them (1 + b) / (1 + num_flips), where b of ``num_flips`` seeded random patterns reach |Σ d_i|

    *Source*: Fisher 1935 (the permutation test of paired differences); the random version: Phipson and Smyth 2010,
    which is valid at any number of flips where b / num_flips is not. Clusters are flipped whole: several samples of one
    task are one piece of evidence. Pass or fail: equals ``mcnemar``. Nothing changed: 1.
    The null is that each cluster's difference is symmetric around 0, which holds when the two runs are exchangeable.
    Raises: ValueError for runs over different items, for values that are not finite, without any flip.
    """
    if num_flips < 1:
        raise ValueError(f"a random test needs at least one flip, not {num_flips}")
    sums, _ = cluster_sums(paired_differences(candidate, baseline).tolist(), clusters)
    sizes = np.abs(sums[sums != 0])
    # Patterns that reach the observed sum exactly must count, whatever the order in which they were added up.
    reach = abs(sums.sum()) - _ROUNDING * sizes.sum()
    if len(sizes) <= MAX_ENUMERATED:
        return float(np.mean(np.abs(_every_sum(sizes)) >= reach))
    generator = np.random.default_rng(seed)
    num_reached = 0
    for start in range(0, num_flips, _FLIPS_AT_ONCE):
        shape = min(_FLIPS_AT_ONCE, num_flips - start), len(sizes)
        num_reached += int((np.abs((1 - 2 * generator.integers(0, 2, size=shape)) @ sizes) >= reach).sum())
    return (1 + num_reached) / (1 + num_flips)


def _every_sum(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ ± sizes over every pattern of signs."""
    sums = np.array([0.0])
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums
