"""Whether people agree: with each other on the same pairs, and with themselves on a pair that comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from strop.evals.people.votes import Ballot, Vote

if TYPE_CHECKING:
    from strop.statistics import Agreement, Interval

VOTES: tuple[Vote, ...] = ("candidate", "tie", "baseline")


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """How an annotator judged the pairs that came back with seats changed."""

    num_repeats: int
    num_same: int
    """Judged for the same model, or as a tie, both times."""
    same_seat: int
    """Judged for the same seat both times, and so for both models once: it was the seat that won."""

    @property
    def share(self) -> float | None:
        """Of repeats judged the same; None without any."""
        return self.num_same / self.num_repeats if self.num_repeats else None

    @property
    def interval(self) -> Interval:
        """Of the share: Wilson, 95 %."""
        from strop.statistics import wilson

        return wilson(self.num_same, self.num_repeats)


def consistency(votes: Sequence[Ballot], annotator: str) -> Consistency:
    """The annotator against themselves."""
    own = {one.pair.number: one for one in votes if one.annotator == annotator}
    pairs = [
        (own[one.pair.original], one)
        for one in own.values()
        if one.pair.original is not None and one.pair.original in own
    ]
    return Consistency(
        num_repeats=len(pairs),
        num_same=sum(first.vote == second.vote for first, second in pairs),
        same_seat=sum(first.points_left == second.points_left != 0.5 for first, second in pairs),
    )


def between_annotators(votes: Sequence[Ballot]) -> dict[tuple[str, str], Agreement]:
    """Cohen's kappa of every two annotators over the pairs that both judged."""
    from strop.statistics import cohen_kappa

    labels = _labels(votes)
    found = {}
    for first, second in combinations(sorted(labels), 2):
        both = sorted(labels[first].keys() & labels[second].keys())
        if both:
            one, other = ([labels[name][pair] for pair in both] for name in (first, second))
            found[first, second] = cohen_kappa(one, other, categories=VOTES)
    return found


def fleiss(votes: Sequence[Ballot]) -> tuple[float | None, int]:
    """Fleiss' kappa over the pairs that all annotators judged, and their number; None for fewer than two people."""
    from strop.statistics import fleiss_kappa

    labels = _labels(votes)
    if len(labels) < 2:
        return None, 0
    shared = sorted(set.intersection(*({*given} for given in labels.values())))
    counts = [[sum(given[pair] == vote for given in labels.values()) for vote in VOTES] for pair in shared]
    return (fleiss_kappa(counts), len(shared)) if counts else (None, 0)


def _labels(votes: Sequence[Ballot]) -> Mapping[str, Mapping[int, Vote]]:
    found: dict[str, dict[int, Vote]] = {}
    for one in votes:
        if one.pair.role == "pair":
            found.setdefault(one.annotator, {})[one.pair.number] = one.vote
    return found
