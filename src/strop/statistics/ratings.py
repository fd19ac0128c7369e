"""Bradley-Terry ratings from pairwise comparisons, with what else sways a judge (position, length) held apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strop.statistics.intervals import Interval, normal_quantile

_MAX_ITERATIONS = 25
_CONVERGED = 1e-9


@dataclass(frozen=True)
class Comparison:
    """One judged pair."""

    first: str
    second: str
    score: float
    """1: the first won; 0: the second won; 1/2: a tie."""
    covariates: tuple[float, ...] = ()
    """What may have swayed the judge, first minus second: +1 / -1 for being shown first, the difference of lengths."""


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """Ratings on the logit scale, adding up to 0: P(a beats b) = σ(rating_a - rating_b) when no covariate differs."""

    names: tuple[str, ...]
    """In order of first appearance."""
    values: tuple[float, ...]
    """By name. Times 400 / ln 10 = 173.7: the Elo scale, around 0."""
    coefficients: tuple[float, ...]
    """Of the covariates, in log-odds for the first a unit."""
    covariance: NDArray[np.float64]
    """Of values and coefficients, in that order: the inverse Fisher information under the sum of 0."""
    confidence: float

    def rating(self, name: str) -> tuple[float, Interval]:
        """The rating of one, with its interval. Two that overlap may still differ: ask ``difference``."""
        return self._combined({self._number(name): 1.0})

    def difference(self, name: str, other: str) -> tuple[float, Interval]:
        """The rating of one less that of another, with its interval: the log-odds that it wins."""
        first, second = self._number(name), self._number(other)
        return self._combined({first: 1.0, second: -1.0} if first != second else {first: 0.0})

    def coefficient(self, number: int) -> tuple[float, Interval]:
        """The coefficient of one covariate, with its interval."""
        if not 0 <= number < len(self.coefficients):
            raise ValueError(f"there are {len(self.coefficients)} covariates; none has number {number}")
        return self._combined({len(self.names) + number: 1.0})

    def _number(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{name!r} was never compared; rated are {', '.join(self.names)}")
        return self.names.index(name)

    def _combined(self, shares: dict[int, float]) -> tuple[float, Interval]:
        contrast = np.zeros(len(self.covariance))
        contrast[list(shares)] = list(shares.values())
        value = float(contrast @ np.array([*self.values, *self.coefficients]))
        half = normal_quantile(self.confidence) * math.sqrt(contrast @ self.covariance @ contrast)
        return value, Interval(value - half, value + half)


def bradley_terry(comparisons: Sequence[Comparison], confidence: float = 0.95) -> Ratings:
    """The maximum-likelihood ratings of everything compared, with the coefficients of the covariates.

    P(first wins) = σ(θ_first - θ_second + x · β),  max Σ s log P + (1 - s) log(1 - P),  Σ θ = 0, by Newton's method

    *Source*: Bradley and Terry 1952; ties as half a win for each; existence: Ford 1957. Intervals: the inverse Fisher
    information. A tie varies less than the win it is counted as, so with many ties they are conservative. Comparisons
    are independent: a prompt judged twice (in both orders) is one comparison and hands in one score (two different
    verdicts: a tie), or the intervals are too narrow.
    Raises: ValueError without comparisons; for one with itself; for a score that is none; where ratings do not exist
    because some never lost to, or never met, the others (their ratings would be infinite), or the covariates cannot be
    told from the ratings or from each other, or decide every comparison.
    """
    normal_quantile(confidence)
    names = _names(comparisons)
    design = _design(comparisons, names)
    scores = np.array([comparison.score for comparison in comparisons])
    _require_connected(comparisons, names)
    if np.linalg.matrix_rank(design) < design.shape[1] - 1:
        raise ValueError("a covariate cannot be told from the ratings or the other covariates: drop it")
    fitted, information = _maximise(design, scores, len(names))
    covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
    covariance[: len(names), : len(names)] -= 1 / len(names) ** 2
    return Ratings(
        names=tuple(names),
        values=tuple(map(float, fitted[: len(names)])),
        coefficients=tuple(map(float, fitted[len(names) :])),
        covariance=covariance,
        confidence=confidence,
    )


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        raise ValueError("ratings need at least one comparison")
    num_covariates = len(comparisons[0].covariates)
    for comparison in comparisons:
        if comparison.first == comparison.second:
            raise ValueError(f"{comparison.first!r} is compared with itself")
        if comparison.score not in (0, 0.5, 1):
            raise ValueError(f"a score is 1, 1/2 or 0, not {comparison.score}")
        if len(comparison.covariates) != num_covariates or not all(map(math.isfinite, comparison.covariates)):
            raise ValueError(f"every comparison has {num_covariates} finite covariates, not {comparison.covariates}")
    return list(dict.fromkeys(name for c in comparisons for name in (c.first, c.second)))


def _design(comparisons: Sequence[Comparison], names: list[str]) -> NDArray[np.float64]:
    """One row a comparison: +1 at the first, -1 at the second, then the covariates."""
    design = np.zeros((len(comparisons), len(names) + len(comparisons[0].covariates)))
    for row, comparison in zip(design, comparisons):
        row[names.index(comparison.first)] = 1
        row[names.index(comparison.second)] = -1
        row[len(names) :] = comparison.covariates
    return design


def _require_connected(comparisons: Sequence[Comparison], names: list[str]) -> None:
    """Raise ValueError unless from each a chain of wins or ties leads to every other (Ford's condition)."""
    reach = np.eye(len(names), dtype=np.bool_)
    for comparison in comparisons:
        first, second = names.index(comparison.first), names.index(comparison.second)
        reach[first, second] |= comparison.score > 0
        reach[second, first] |= comparison.score < 1
    for _ in names:
        reach = reach @ reach
    if not reach.all():
        winner, loser = (names[i] for i in np.argwhere(~reach)[0][::-1])
        raise ValueError(f"no chain of wins or ties leads from {loser!r} to {winner!r}: their ratings are not finite")


def _maximise(
    design: NDArray[np.float64], scores: NDArray[np.float64], num_names: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The maximum of the likelihood and the Fisher information there, made invertible along Σ θ."""
    gauge = np.zeros((design.shape[1], design.shape[1]))
    gauge[:num_names, :num_names] = 1
    fitted = np.zeros(design.shape[1])
    for _ in range(_MAX_ITERATIONS):
        chances = (1 + np.tanh(design @ fitted / 2)) / 2
        information = design.T @ (design * (chances * (1 - chances))[:, None]) + gauge
        try:
            step = np.linalg.solve(information, design.T @ (scores - chances))
        except np.linalg.LinAlgError:  # every chance has become 0 or 1
            break
        fitted = fitted + step
        if np.abs(step).max() < _CONVERGED:
            return fitted, information
    raise ValueError("the likelihood has no finite maximum: a covariate decides every comparison that it differs in")
