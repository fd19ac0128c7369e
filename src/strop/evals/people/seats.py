"""Who sees which pair when, and which answer sits left: by counters, so that a page opened again shows the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strop.digests import digest_json
from strop.evals.people.sample_set import Pair, draw


@dataclass(frozen=True, kw_only=True)
class Place:
    """A pair in one annotator's order."""

    number: int
    """From 0."""
    pair: Pair
    candidate_is_left: bool
    key: str
    """What the page names it by: says nothing of the pair, and is of this annotator alone."""


def places(pairs: Sequence[Pair], annotator: str, seed: int) -> tuple[Place, ...]:
    """The annotator's whole order, in which a repeat comes half a session after its original, with seats changed."""
    repeated = {pair.original for pair in pairs if pair.role == "repeat"}

    def when(pair: Pair) -> float:
        if pair.role == "repeat":
            return when(pairs[pair.original or 0]) + 0.5
        moment = draw(seed, "order", annotator, pair.number)
        return moment / 2 if pair.number in repeated else moment

    shown = sorted((pair for pair in pairs if pair.role != "identical"), key=when)
    return tuple(
        Place(
            number=number,
            pair=pair,
            candidate_is_left=_candidate_is_left(pair, annotator, seed),
            key=digest_json([seed, "key", annotator, pair.number, pair.item])[:20],
        )
        for number, pair in enumerate(shown)
    )


def _candidate_is_left(pair: Pair, annotator: str, seed: int) -> bool:
    if pair.original is not None:
        return not draw(seed, "seat", annotator, pair.original) < 0.5
    return draw(seed, "seat", annotator, pair.number) < 0.5
