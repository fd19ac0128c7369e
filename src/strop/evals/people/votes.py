"""Judgements become votes for a model: seats are resolved, attention is checked, annotators are put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from strop.evals.people.sample_set import Pair
from strop.evals.people.session import Session
from strop.evals.people.store import Judgement

if TYPE_CHECKING:
    from strop.statistics import Interval

Vote = Literal["candidate", "baseline", "tie"]
POINTS: Mapping[Vote, float] = {"candidate": 1.0, "tie": 0.5, "baseline": 0.0}
"""For the candidate."""
MAX_MISSED = 0.25


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One annotator's vote on one pair."""

    pair: Pair
    annotator: str
    vote: Vote
    candidate_is_left: bool
    aspects: Mapping[str, Vote]
    """Those that apply."""
    elapsed_s: float

    @property
    def points(self) -> float:
        """For the candidate: 1, ½ or 0."""
        return POINTS[self.vote]

    @property
    def points_left(self) -> float:
        """For the answer that sat left."""
        return self.points if self.candidate_is_left else 1 - self.points


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Votes on one pair, of several annotators."""

    candidate: int
    ties: int
    baseline: int

    @property
    def num_votes(self) -> int:
        """How many judged it."""
        return self.candidate + self.ties + self.baseline

    @property
    def share(self) -> float:
        """The probability that people prefer the candidate: (votes for it + ½ ties) / votes: 8 of 10 give 0.8."""
        return (self.candidate + self.ties / 2) / self.num_votes

    @property
    def interval(self) -> Interval:
        """Of the share: Wilson, 95 %; annotators are taken as independent."""
        from strop.statistics import win_rate

        return win_rate(self.candidate, self.ties, self.baseline)[1]

    @property
    def vote(self) -> Vote:
        """What most say: the side with more than half of the points."""
        return "candidate" if self.share > 0.5 else "baseline" if self.share < 0.5 else "tie"


def tally(votes: Iterable[Vote]) -> Tally:
    """The votes counted. Raises: ValueError without any."""
    counts = Counter(votes)
    if not counts:
        raise ValueError("nobody voted")
    return Tally(candidate=counts["candidate"], ties=counts["tie"], baseline=counts["baseline"])


@dataclass(frozen=True, kw_only=True)
class Attention:
    """How an annotator did on the attention checks."""

    shown: int
    missed: int

    def is_excluded(self, max_missed: float) -> bool:
        """Whether more than that share was missed."""
        return self.missed > max_missed * self.shown


def ballots(session: Session) -> list[Ballot]:
    """Everybody's votes on pairs and repeats, those that could not be judged left out, in the order of the pairs."""
    found = [_ballot(session.pairs[judgement.pair], judgement) for judgement in session.last().values()]
    kept = [one for one in found if one is not None and one.pair.role in ("pair", "repeat")]
    return sorted(kept, key=lambda one: (one.pair.number, one.annotator))


def attention(session: Session) -> dict[str, Attention]:
    """Annotator → attention checks shown and missed; "cannot judge" is missed as well."""
    shown: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    names: dict[str, None] = {}
    for (annotator, number), judgement in session.last().items():
        names[annotator] = None
        pair = session.pairs[number]
        if pair.role == "attention":
            shown[annotator] += 1
            one = _ballot(pair, judgement)
            missed[annotator] += one is None or one.vote != pair.expected
    return {name: Attention(shown=shown[name], missed=missed[name]) for name in sorted(names)}


def tallies(votes: Sequence[Ballot]) -> dict[int, Tally]:
    """Pair → its votes; repeats are no votes of their own."""
    by_pair: dict[int, list[Vote]] = {}
    for one in votes:
        if one.pair.role == "pair":
            by_pair.setdefault(one.pair.number, []).append(one.vote)
    return {number: tally(given) for number, given in sorted(by_pair.items())}


def _ballot(pair: Pair, judgement: Judgement) -> Ballot | None:
    """None where it could not be judged."""
    if judgement.choice == "cannot":
        return None
    seats: dict[str, Vote] = {"left": "candidate", "right": "baseline", "tie": "tie"}
    if not judgement.candidate_is_left:
        seats |= {"left": "baseline", "right": "candidate"}
    return Ballot(
        pair=pair,
        annotator=judgement.annotator,
        vote=seats[judgement.choice],
        candidate_is_left=judgement.candidate_is_left,
        aspects={name: seats[value] for name, value in judgement.aspects.items() if value in seats},
        elapsed_s=judgement.elapsed_s,
    )
