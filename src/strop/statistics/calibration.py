"""Whether stated probabilities come true (ECE, Brier) and whether scores rank right above wrong (AUC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bins = Literal["equal_width", "equal_count"]


@dataclass(frozen=True, kw_only=True)
class Brier:
    """The Brier score and what it is made of: score = reliability - resolution + uncertainty."""

    score: float
    """mean (p - y)²; 0 is perfect."""
    reliability: float
    """How far each stated probability is from the share that came true; 0 is perfectly calibrated."""
    resolution: float
    """How far the groups' shares differ from the overall one; more is better."""
    uncertainty: float
    """base rate · (1 - base rate): what no forecast can change."""


def brier(probabilities: Sequence[float], outcomes: Sequence[bool]) -> Brier:
    """The Brier score of probabilities of what came true or not, with its exact decomposition.

    mean (p_i - y_i)² = Σ_g n_g/n (p_g - ȳ_g)² - Σ_g n_g/n (ȳ_g - ȳ)² + ȳ (1 - ȳ), g over the *distinct* probabilities

    *Source*: Brier 1950; Murphy 1973. No binning, so the three add up exactly; with as many distinct probabilities as
    items every group is one item and only the score is informative. Raises: ValueError as for the ECE.
    """
    stated, came_true = _checked(probabilities, outcomes)
    distinct, group = np.unique(stated, return_inverse=True)
    sizes = np.bincount(group)
    shares = np.bincount(group, weights=came_true) / sizes
    base = float(came_true.mean())
    return Brier(
        score=float(np.mean((stated - came_true) ** 2)),
        reliability=float(sizes @ (distinct - shares) ** 2) / len(stated),
        resolution=float(sizes @ (shares - base) ** 2) / len(stated),
        uncertainty=base * (1 - base),
    )


def expected_calibration_error(
    probabilities: Sequence[float],
    outcomes: Sequence[bool],
    *,
    num_bins: int = 10,
    bins: Bins = "equal_width",
) -> float:
    """The mean gap between the stated probability and the share that came true, over bins of like probabilities.

    Σ_b n_b/n |mean p in b - mean y in b|

    *Source*: Naeini et al. 2015; Guo et al. 2017, eq. 5. ``equal_width``: bins [i/B, (i+1)/B), the last with 1.
    ``equal_count``: by rank, equal probabilities together, so that the order of the items never matters. Biased
    upwards: noise in small bins is taken for miscalibration, so compare at equal n and bins only.
    Raises: ValueError without items, for unequal lengths, for what is no probability, for fewer than one bin.
    """
    stated, came_true = _checked(probabilities, outcomes)
    if num_bins < 1:
        raise ValueError(f"there is at least one bin, not {num_bins}")
    gaps = np.bincount(_bin_numbers(stated, num_bins, bins), weights=stated - came_true)
    return float(np.abs(gaps).sum()) / len(stated)


def auc(scores: Sequence[float], outcomes: Sequence[bool]) -> float:
    """The chance that a random positive scores above a random negative, ties counting half.

    Σ_{i pos, j neg} (1[s_i > s_j] + ½ 1[s_i = s_j]) / (n_pos n_neg), from mid-ranks:
    (Σ ranks of positives - n_pos (n_pos + 1) / 2) / (n_pos n_neg)

    *Source*: Mann and Whitney 1947; Hanley and McNeil 1982. Raises: ValueError unless both outcomes occur, for
    with one class there is nothing to rank; for unequal lengths and scores that are not numbers.
    """
    ranked, positive = _arrays(scores, outcomes)
    if np.isnan(ranked).any():
        raise ValueError("a score is not a number")
    num_positive = float(positive.sum())
    num_negative = len(positive) - num_positive
    if num_positive * num_negative == 0:
        raise ValueError(f"an AUC needs both outcomes; there are {num_positive:g} and {num_negative:g}")
    above = float(_mid_ranks(ranked) @ positive) - num_positive * (num_positive + 1) / 2
    return above / (num_positive * num_negative)


def _mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[group], dtype=np.float64)


def _bin_numbers(stated: NDArray[np.float64], num_bins: int, bins: Bins) -> NDArray[np.int64]:
    if bins == "equal_width":
        return np.minimum((stated * num_bins).astype(np.int64), num_bins - 1)
    if bins == "equal_count":
        return ((_mid_ranks(stated) - 0.5) / len(stated) * num_bins).astype(np.int64)
    raise ValueError(f"bins are equal_width or equal_count, not {bins!r}")


def _arrays(values: Sequence[float], outcomes: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(values) != len(outcomes) or len(values) == 0:
        raise ValueError(f"every item has a value and an outcome; there are {len(values)} and {len(outcomes)}")
    if not {bool(y) == y for y in outcomes} == {True}:
        raise ValueError("an outcome is true or false")
    return np.asarray(values, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)


def _checked(
    probabilities: Sequence[float], outcomes: Sequence[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stated, came_true = _arrays(probabilities, outcomes)
    if not ((stated >= 0) & (stated <= 1)).all():
        raise ValueError(f"a probability lies between 0 and 1; found {stated.min():g} to {stated.max():g}")
    return stated, came_true
