"""What sways people beside the answers: the seat, the length, who judges; and ratings with these held apart."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from strop.evals.people.votes import Ballot

if TYPE_CHECKING:
    from strop.statistics import Comparison, Interval, Ratings


@dataclass(frozen=True, kw_only=True)
class Effect:
    """An estimate with its 95 % interval."""

    name: str
    value: float | None
    """None where it cannot be told."""
    interval: Interval | None
    null: float
    """What it is where there is no effect."""
    unit: str
    why: str = ""
    """Why there is no value."""

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves the null out."""
        return self.interval is not None and not self.interval.low <= self.null <= self.interval.high


def clustered_ratings(comparisons: Sequence[Comparison], clusters: Sequence[Hashable]) -> Ratings:
    """``bradley_terry`` with a covariance that holds where one prompt was judged several times, or tied often.

    V = C / (C - 1) · B (Σ_c g_c g_cᵀ) B,  B the inverse Fisher information,  g_c = Σ_{i in c} x_i (s_i - P_i)

    *Source*: Liang and Zeger 1986. Measured coverage of the 95 % interval, at 40 to 200 prompts with 1 to 5 votes: 93
    to 96 % (the plain one: 81 %, where votes on a prompt go together, to 99.7 %, with many ties).
    Raises: ValueError as ``bradley_terry``, and with fewer than two clusters.
    """
    import numpy as np

    from strop.statistics import bradley_terry

    fitted = bradley_terry(comparisons)
    scores: dict[Hashable, np.ndarray] = {}
    size = len(fitted.covariance)
    at = {name: number for number, name in enumerate(fitted.names)}
    parameters = np.array([*fitted.values, *fitted.coefficients])
    for comparison, cluster in zip(comparisons, clusters, strict=True):
        row = np.zeros(size)
        row[at[comparison.first]], row[at[comparison.second]] = 1.0, -1.0
        row[len(at) :] = comparison.covariates
        chance = 1 / (1 + math.exp(-float(row @ parameters)))
        scores[cluster] = scores.get(cluster, np.zeros(size)) + row * (comparison.score - chance)
    if len(scores) < 2:
        raise ValueError("the spread between prompts is unknown: only one was judged")
    spread = sum(np.outer(one, one) for one in scores.values()) * len(scores) / (len(scores) - 1)
    return replace(fitted, covariance=fitted.covariance @ spread @ fitted.covariance)


def length_ratio(ballot: Ballot) -> float:
    """How many times the candidate's answer doubles the baseline's in length: log2 of the ratio of characters."""
    return math.log2((len(ballot.pair.candidate.strip()) + 1) / (len(ballot.pair.baseline.strip()) + 1))


def covariates(votes: Sequence[Ballot]) -> dict[str, list[float]]:
    """Name → one number a vote: ``position`` (+1 if the candidate sits left, else -1) and ``length``.

    ``length`` is left out where all answers of a pair are equally long: nothing could be told from it.
    """
    found = {"position": [1.0 if one.candidate_is_left else -1.0 for one in votes]}
    lengths = [length_ratio(one) for one in votes]
    return {**found, "length": lengths} if any(lengths) else found


def model_effects(votes: Sequence[Ballot]) -> dict[str, Effect]:
    """``quality``, ``position`` and ``length`` in one model: the log-odds that the candidate wins.

    logit P(candidate wins) = quality + position · (+1 if it sits left, -1 if right) + length · log2(length ratio)

    A length effect is what length goes with, not what it causes. Where the data cannot tell the two covariates apart,
    or have only one outcome, the values are None and ``why`` says so.
    """
    from strop.statistics import Comparison

    sways = covariates(votes)
    rows = zip(votes, zip(*sways.values()))
    comparisons = [Comparison("candidate", "baseline", one.points, tuple(row)) for one, row in rows]
    found: dict[str, tuple[float, Interval]] = {}
    why = "all answers are equally long"
    try:
        fitted = clustered_ratings(comparisons, [one.pair.number for one in votes])
        found["quality"] = fitted.difference("candidate", "baseline")
        found |= {name: fitted.coefficient(number) for number, name in enumerate(sways)}
    except ValueError as error:
        why = str(error)
    units = {
        "quality": "log-odds that the candidate wins, seats and lengths equal",
        "position": "log-odds for the left answer",
        "length": "log-odds for each doubling of the answer's length",
    }
    effects = {}
    for name, unit in units.items():
        value, interval = found.get(name, (None, None))
        told = "" if name in found else why
        effects[name] = Effect(name=name, value=value, interval=interval, null=0.0, unit=unit, why=told)
    return effects


def left_share(votes: Sequence[Ballot], name: str = "left share") -> Effect:
    """The left answer's share of the points (½ without a position effect, since seats are drawn)."""
    return _mean(name, [one.points_left for one in votes], [one.pair.number for one in votes], 0.5, "share of points")


def longer_share(votes: Sequence[Ballot]) -> Effect:
    """The longer answer's share of the points; pairs of one length say nothing."""
    told = [one for one in votes if length_ratio(one) != 0]
    points = [one.points if length_ratio(one) > 0 else 1 - one.points for one in told]
    return _mean("longer share", points, [one.pair.number for one in told], 0.5, "share of points")


def annotator_effects(votes: Sequence[Ballot]) -> tuple[Effect, ...]:
    """For each annotator: how many more points they give the candidate than the others do on the same pairs."""
    by_pair: dict[int, dict[str, float]] = {}
    for one in votes:
        by_pair.setdefault(one.pair.number, {})[one.annotator] = one.points
    effects = []
    for annotator in sorted({one.annotator for one in votes}):
        shared = {pair: given for pair, given in by_pair.items() if annotator in given and len(given) > 1}
        differences = [
            given[annotator] - (sum(given.values()) - given[annotator]) / (len(given) - 1) for given in shared.values()
        ]
        effects.append(
            _mean(annotator, differences, list(shared), 0.0, "points more than the others, on the same pairs")
        )
    return tuple(effects)


def _mean(name: str, values: Sequence[float], clusters: Sequence[Hashable], null: float, unit: str) -> Effect:
    """A mean with its interval: Wilson where each pair gives one share of points, else the bootstrap over pairs."""
    from strop.statistics import mean_interval, wilson

    if not values:
        return Effect(name=name, value=None, interval=None, null=null, unit=unit, why="no pair to measure it on")
    value = math.fsum(values) / len(values)
    if null == 0.5 and (len(set(clusters)) == len(values) or len(set(values)) == 1):
        num_pairs = len(set(clusters))
        return Effect(name=name, value=value, interval=wilson(value * num_pairs, num_pairs), null=null, unit=unit)
    if len(set(clusters)) < 2 or len(set(values)) == 1:
        why = "too few pairs, or no spread between them, for an interval"
        return Effect(name=name, value=value, interval=None, null=null, unit=unit, why=why)
    return Effect(name=name, value=value, interval=mean_interval(values, clusters=clusters), null=null, unit=unit)
