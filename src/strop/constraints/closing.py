"""Budgeted closing: the text ends before its last token.

**What is kept.** A *witness* is a sequence of tokens after which the text may stop, found by trying it on the engine;
``need`` is its length and the stop token. While ``remaining ≥ need + growth + 1``, where ``growth`` is the most that one
token of this grammar was seen to lengthen the need, every token of the grammar is allowed. Nearer than that only tokens are
allowed that have been *shown* to leave a completion within the budget: the witness's own next token, a stop token,
tokens after which the same witness still completes, tokens after which a new search finds a short enough one, and,
inside a string that the schema leaves free, every token of whole characters (the string's end stays as far).

**What is guaranteed.** Once the text is in that nearer zone it ends in time: every allowed token comes with a
completion that fits, by induction down to the stop token. The zone is entered soon enough unless one single token
opens something longer than anything that the walks over the grammar (``measure_growth``) and all texts so far opened,
and does so just outside the zone; ``Closing.misses`` counts the texts to which that happened. A budget below the first
witness is refused before the first token.

**What is not.** The witness is short, not provably shortest, so a budget that only the shortest text fits can be refused.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from strop.constraints.vocabulary import closing_rank
from strop.errors import ConstraintError

if TYPE_CHECKING:
    from strop.constraints.compiled import CompiledConstraint
    from strop.constraints.matcher import Matcher

_MAX_WITNESS = 4096
_BEAM, _FAN = 12, 6
_TRIED, _SEARCHED = 96, 8
_WALK_LOOKS, _WALK_LENGTH = 120, 48
_LEAST_GROWTH = 6


@dataclass
class Closing:
    """What is known of a grammar's endings, learned as texts are written."""

    growth: int = 0
    """The most that one token lengthened the need; 0 before it was measured."""
    misses: int = 0
    """Texts that were found unable to end in time by the shortest completion known."""


def restrict(matcher: Matcher, row: NDArray[np.int32], remaining: int) -> None:
    """Take out of ``row`` what might leave too little of the budget. Raises: ConstraintError where it never sufficed."""
    closing = matcher.compiled.closing
    bound = matcher.need_bound
    if bound is None:
        bound = (matcher.need(remaining), 0)
        if matcher.num_tokens == 0 and bound[0] > remaining:
            raise ConstraintError(
                f"the constraint needs {bound[0]} tokens and the budget is {remaining}",
                why="no shorter text was found that satisfies it",
                do=f"raise max_new_tokens to at least {bound[0]}, or loosen the constraint",
            )
    if not closing.growth:
        if remaining > 2 * _WALK_LENGTH + 8 * (bound[0] + matcher.num_tokens):
            return
        closing.growth = measure_growth(matcher.compiled)
    need, since = bound
    if remaining > need + (since + 1) * closing.growth:
        return
    before, since = matcher.need_bound or (0, 0)
    need = matcher.need(remaining)
    if since:
        closing.growth = max(closing.growth, -(-2 * (need - before) // (since + 1)))
    if remaining > need + closing.growth:
        return
    if need > remaining:
        closing.misses += 1
    _keep_only_safe(matcher, row, remaining, need)


def _keep_only_safe(matcher: Matcher, row: NDArray[np.int32], remaining: int, need: int) -> None:
    vocabulary = matcher.compiled.vocabulary
    witness = matcher.witness
    ids = vocabulary.unpack(row)
    keep = [witness[0]] if witness else []
    if matcher.is_accepting:
        keep += vocabulary.stop_ids
    free: NDArray[np.int32] | None = None
    if remaining > need:
        plain = matcher.compiled.plain
        guard = matcher.guard
        if matcher.compiled.has_free_strings and guard is not None and guard.in_text and witness:
            inside = row & plain.row
            if 2 * int(np.unpackbits(inside.view(np.uint8)).sum()) > plain.count:
                free = inside
        if free is None:
            keep += _checked(matcher, ids, witness, remaining)
    row[:] = vocabulary.pack(np.array(keep, dtype=np.int64))
    if free is not None:
        row |= free


def _checked(matcher: Matcher, ids: NDArray[np.int64], witness: tuple[int, ...], remaining: int) -> list[int]:
    """The tokens after which the witness still completes, or another completion that fits is found."""
    stops = matcher.compiled.stop_set
    others = [int(token) for token in ids if token not in stops and (not witness or token != witness[0])]
    kept = []
    unsure = []
    for token in others[:_TRIED]:
        (kept if matcher.completes((token, *witness)) else unsure).append(token)
    if len(others) <= _SEARCHED:
        for token in unsure:
            twin = matcher.copy()
            twin.consume(token)
            found = _greedy(twin, remaining - 2)
            if found is not None:
                kept.append(token)
    return kept


# --------------------------------------------------------------------------------------------------------------- search


def witness_of(matcher: Matcher, limit: int) -> tuple[int, ...]:
    """A short sequence of tokens after which ``matcher`` accepts; a second search follows if it exceeds ``limit - 1``.

    Raises: ConstraintError where none is found at all.
    """
    found = _greedy(matcher.copy(), _MAX_WITNESS)
    if found is None or len(found) >= limit:
        better = _beam(matcher, min(limit - 1 if found is None else len(found) - 1, 512))
        found = better if better is not None else found
    if found is None:
        raise ConstraintError(
            f"no completion was found after {matcher.num_tokens} tokens",
            why="the language seems to have no text that ends, or only very long ones",
            do="loosen the constraint",
        )
    return found


def _greedy(twin: Matcher, most: int) -> tuple[int, ...] | None:
    """Always the token that closes most; tokens that were taken before come later, so that no loop lasts."""
    rank = closing_rank(twin.compiled.vocabulary)
    used: dict[int, int] = {}
    path: list[int] = []
    row = np.zeros(twin.compiled.vocabulary.num_words, dtype=np.int32)
    while not twin.is_accepting:
        forced = twin.forced()
        for token in forced:
            twin.consume(token)
        path += forced
        if len(path) > most:
            return None
        if forced:
            continue
        try:
            twin.fill(row)
        except ConstraintError:
            return None
        ids = twin.compiled.vocabulary.unpack(row)
        costs = rank[ids]
        if used:
            costs = costs.copy()
            for token, times in used.items():
                if (place := np.searchsorted(ids, token)) < len(ids) and ids[place] == token:
                    costs[place] += 1000 * times
        token = int(ids[costs.argmin()])
        if rank[token] > 100:
            used[token] = used.get(token, 0) + 1
        twin.consume(token)
        path.append(token)
        if len(path) > most:
            return None
    return tuple(path)


def _beam(matcher: Matcher, most: int) -> tuple[int, ...] | None:
    """Breadth first over the best few tokens; states that allow the same tokens count as one."""
    vocabulary = matcher.compiled.vocabulary
    rank = closing_rank(vocabulary)
    beam: list[tuple[tuple[int, ...], Matcher]] = [((), matcher.copy())]
    row = np.zeros(vocabulary.num_words, dtype=np.int32)
    while beam:
        grown: dict[tuple[bytes, bool, int], tuple[tuple[int, ...], Matcher]] = {}
        for path, state in beam:
            if state.is_accepting:
                return path
            for forced in state.forced():
                state.consume(forced)
                path = (*path, forced)
            if state.is_accepting and len(path) <= most:
                return path
            if len(path) >= most:
                continue
            try:
                state.fill(row)
            except ConstraintError:
                continue
            ids = vocabulary.unpack(row)
            best = ids[np.argsort(rank[ids], kind="stable")[:_FAN]]
            for token in map(int, best):
                twin = state.copy()
                twin.consume(token)
                try:
                    twin.fill(row)
                except ConstraintError:
                    continue
                grown.setdefault((row.tobytes(), twin.is_accepting, len(path)), ((*path, token), twin))
        ranked = sorted(grown.values(), key=lambda entry: (not entry[1].is_accepting, len(entry[0])))
        beam = ranked[:_BEAM]
    return None


def measure_growth(compiled: CompiledConstraint) -> int:
    """The most that one token lengthens the need, over walks through the grammar that prefer what opens something."""
    chance = random.Random(0)
    looks, most = 0, _LEAST_GROWTH
    row = np.zeros(compiled.vocabulary.num_words, dtype=np.int32)
    while looks < _WALK_LOOKS:
        state = compiled.matcher()
        need = state.need(_MAX_WITNESS)
        looks += 1
        for _ in range(_WALK_LENGTH):
            if looks >= _WALK_LOOKS:
                break
            state.fill(row)
            ids = [int(token) for token in compiled.vocabulary.unpack(row) if token not in compiled.stop_set]
            if not ids:
                break
            grown: list[tuple[int, int, Matcher]] = []
            for token in chance.sample(ids, min(4, len(ids))):
                twin = state.copy()
                twin.consume(token)
                try:
                    grown.append((twin.need(_MAX_WITNESS), token, twin))
                except ConstraintError:
                    continue
                looks += 1
            if not grown:
                break
            most = max(most, *(after - need for after, _, _ in grown))
            after, _, state = max(grown, key=lambda entry: entry[0]) if chance.random() < 0.5 else chance.choice(grown)
            need = after
    return most
