"""Budgeted closing: the text ends before its last token.

**What is kept.** A *witness* is a sequence of tokens after which the text may stop, found by trying it on the
engine; ``need`` is its length and the stop token. While ``remaining > need + growth``, where ``growth`` is the most
that one token of this grammar was seen to lengthen the need, every token of the grammar is allowed. Nearer only tokens
are allowed that have been *shown* to leave a completion within the budget: the witness's own next token, a stop
token, tokens after which the same witness still completes, tokens after which a new search finds a short enough one,
and, inside a string that the schema leaves free, every token of whole characters (the string's end stays as far).

**What is guaranteed.** Once the text is in that nearer zone it ends in time: every allowed token comes with a
completion that fits, by induction down to the stop token. The zone is entered soon enough unless one single token, just
outside it, opens something longer than all of these: the largest 24 of a schema's demanding parts (``opening_growth``),
what walks over the grammar opened (``measure_growth``), what texts so far opened. ``Closing.misses`` counts the steps
at which that was found. A budget below the first witness is refused before the first token.

**What is not.** The witness is short, not provably shortest: a budget that only the shortest text fits may be refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from strop.constraints.vocabulary import NEVER, closing_ranks
from strop.errors import ConstraintError

if TYPE_CHECKING:
    from strop.constraints.compiled import CompiledConstraint
    from strop.constraints.matcher import Matcher

_MAX_WITNESS = 4096
_BEAM, _FAN = 12, 6
_TRIED, _SEARCHED = 32, 8
_WALK_LOOKS, _WALK_LENGTH = 120, 48
_LEAST_GROWTH = 6
_CLOSES = 101
_MAX_PARTS = 24
_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
_DEMANDS = ("required", "minItems", "minLength", "minProperties", "pattern", "const", "enum")
_MAX_REPEATS, _MAX_WAYS, _WIDTH = 256, 4096, 16
_LOOKS, _LONG_WAY, _MANY_LOOKS = 300, 48, 6000


@dataclass
class Closing:
    """What is known of a grammar's endings, learned as texts are written."""

    growth: int = 0
    """The most that one token lengthened the need; 0 before it was measured."""
    ways: dict[bytes, tuple[int | None, int]] = field(default_factory=dict, repr=False)
    """Mask inside a string → the token that leads out of it soonest, if known, and how many steps were tried for it."""
    misses: int = 0
    """Steps at which no completion within the budget was known: the text may be cut."""


def restrict(matcher: Matcher, row: NDArray[np.int32], remaining: int) -> None:
    """Take out of ``row`` what might leave too little. Raises: ConstraintError where the budget never sufficed."""
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
        closing.growth = max(measure_growth(matcher.compiled), opening_growth(matcher.compiled))
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
            keep += _checked(matcher, vocabulary.unpack(row), witness, remaining)
    row[:] = vocabulary.pack(np.array(keep, dtype=np.int64))
    if free is not None:
        row |= free


def _checked(matcher: Matcher, ids: NDArray[np.int64], witness: tuple[int, ...], remaining: int) -> list[int]:
    """The tokens after which the witness still completes, or another completion that fits is found."""
    stops = matcher.compiled.stop_set
    others = [int(token) for token in ids if token not in stops and (not witness or token != witness[0])]
    kept = matcher.completing(others[:_TRIED], witness)
    if len(others) <= _SEARCHED:
        for token in set(others).difference(kept):
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
    """What closes most, always; inside a string, and in languages that are not JSON, the shortest way out of it."""
    path: list[int] = []
    used: dict[int, int] = {}
    row = np.zeros(twin.compiled.vocabulary.num_words, dtype=np.int32)
    try:
        while not twin.is_accepting:
            tokens = twin.forced()
            if not tokens:
                twin.fill(row)
                tokens = (_next(twin, row, used),)
            for token in tokens:
                twin.consume(token)
            path += tokens
            if len(path) > most:
                return None
    except ConstraintError:  # a dead end
        return None
    return tuple(path)


def _next(twin: Matcher, row: NDArray[np.int32], used: dict[int, int]) -> int:
    """The token to take; ``used`` counts those that did not close anything, so that no loop lasts."""
    vocabulary = twin.compiled.vocabulary
    ranks = closing_ranks(vocabulary)
    ids = vocabulary.unpack(row)
    is_text = twin.guard is None or twin.guard.is_inside
    if is_text and twin.guard is not None:
        token = int(ids[ranks.inside[ids].argmin()])
        if ranks.inside[token] < NEVER:
            used.clear()
            return token
    if is_text:
        way = _way_out(twin, row, _LOOKS if sum(used.values()) < _LONG_WAY else _MANY_LOOKS)
        if way is not None and used.get(way, 0) < _MAX_REPEATS:
            used[way] = used.get(way, 0) + 1
            return way
    costs = ranks.outside[ids] + np.array(
        [1000 * used.get(int(token), 0) for token in ids] if used else 0, dtype=np.int32
    )
    token = int(ids[costs.argmin()])
    if ranks.outside[token] <= _CLOSES:
        used.clear()
    else:
        used[token] = used.get(token, 0) + 1
    return token


def _way_out(matcher: Matcher, row: NDArray[np.int32], most_looks: int) -> int | None:
    """The first token of a shortest way, byte by byte, to where the string or text may end; remembered by the mask.

    Counted repetitions look the same at every count: there the remembered token is taken again, which is right.
    """
    ways = matcher.compiled.closing.ways
    key = row.tobytes()
    token, looks = ways.get(key, (None, 0))
    if token is None and looks < most_looks:
        if len(ways) >= _MAX_WAYS:
            ways.clear()
        ways[key] = (None, most_looks)
        for before, step in _shortest_way(matcher, row, most_looks):
            ways[before] = (step, most_looks)
        token = ways[key][0]
    return token


def _shortest_way(matcher: Matcher, row: NDArray[np.int32], most_looks: int) -> list[tuple[bytes, int]]:
    """Breadth first over single bytes: each mask on the way with the token taken there; empty if none was found."""
    vocabulary = matcher.compiled.vocabulary
    ranks = closing_ranks(vocabulary)
    bits = np.unpackbits(row.view(np.uint8), bitorder="little")
    level: list[tuple[Matcher, NDArray[np.uint8], bytes, list[tuple[bytes, int]]]] = [
        (matcher.copy(), bits, row.tobytes(), [])
    ]
    looks, fresh = 0, row.copy()
    while level and looks < most_looks:
        following: dict[bytes, tuple[Matcher, NDArray[np.uint8], bytes, list[tuple[bytes, int]]]] = {}
        for state, bits, key, path in level:
            for token in map(int, ranks.bytes_alone[bits[ranks.bytes_alone] > 0]):
                looks += 1
                twin = state.copy()
                try:
                    twin.consume(token)
                    twin.fill(fresh)
                except ConstraintError:
                    continue
                reached = np.unpackbits(fresh.view(np.uint8), bitorder="little")
                way = [*path, (key, token)]
                is_out = twin.guard is not None and bool(reached[ranks.inside < NEVER].any())
                if is_out or twin.is_accepting or (twin.guard is not None and not twin.guard.is_inside):
                    return way
                if (seen := fresh.tobytes()) not in following:
                    following[seen] = (twin, reached, seen, way)
            if looks >= most_looks:
                break
        level = list(following.values())[:_WIDTH]
    return []


def _beam(matcher: Matcher, most: int) -> tuple[int, ...] | None:
    """Breadth first over the best few tokens; states that allow the same tokens count as one."""
    vocabulary = matcher.compiled.vocabulary
    rank = closing_ranks(vocabulary).outside
    beam: list[tuple[tuple[int, ...], Matcher]] = [((), matcher.copy())]
    row = np.zeros(vocabulary.num_words, dtype=np.int32)
    while beam:
        grown: dict[tuple[bytes, bool, int], tuple[tuple[int, ...], Matcher]] = {}
        for path, state in beam:
            try:
                for forced in state.forced():
                    state.consume(forced)
                    path = (*path, forced)
                if state.is_accepting and len(path) <= most:
                    return path
                if len(path) >= most:
                    continue
                state.fill(row)
            except ConstraintError:
                continue
            ids = vocabulary.unpack(row)
            best = ids[np.argsort(rank[ids], kind="stable")[:_FAN]]
            for token in map(int, best):
                twin = state.copy()
                try:
                    twin.consume(token)
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


def opening_growth(compiled: CompiledConstraint) -> int:
    """The most that one of the schema's parts takes by itself, with the name before it; 0 for languages without parts.

    A token that opens an optional part commits to all that the part demands, which a walk may never happen upon.
    """
    schema = compiled.plan.schema
    if not isinstance(schema, Mapping):
        return 0
    most, vocabulary = 0, compiled.vocabulary
    parts: dict[str, int] = {}
    for root in schema["anyOf"] if compiled.constraint.kind == "tool_calls" else [schema]:
        shared = {key: root[key] for key in ("$defs", "definitions", "$schema", "x-guidance") if key in root}
        for name, part in _demanding(root):
            text = json.dumps({"x-guidance": _COMPACT, **part, **shared}, ensure_ascii=False)
            parts[text] = max(parts.get(text, 0), len(vocabulary.engine.tokenize_str(json.dumps(name))) + 3)
    for text in sorted(parts, key=len, reverse=True)[:_MAX_PARTS]:
        grammar = LLMatcher.grammar_from_json_schema(text)
        engine = LLMatcher(vocabulary.engine, grammar, log_level=0)
        if engine.is_error():
            continue  # a reference to elsewhere in the document
        try:
            alone = replace(compiled, plan=replace(compiled.plan, schema=None), prototype=engine, closing=Closing())
        except ConstraintError:
            continue
        most = max(most, alone.min_tokens - 1 + parts[text])
    return most


def _demanding(schema: Any, name: str = "", *, is_counted: bool = True) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a schema that an instance cannot satisfy by being empty, each with the name it stands under.

    ``is_counted``: what the part demands is in the need already, as it is required where it stands.
    """
    if not isinstance(schema, Mapping):
        return
    if not is_counted and any(schema.get(key) for key in _DEMANDS):
        yield name, schema
    required = schema.get("required") or ()
    for inner, child in (schema.get("properties") or {}).items():
        yield from _demanding(child, inner, is_counted=inner in required)
    for key in ("$defs", "definitions", "patternProperties"):
        for inner, child in (schema.get(key) or {}).items():
            yield from _demanding(child, inner, is_counted=False)
    for key in ("items", "additionalProperties", "additionalItems"):
        yield from _demanding(schema.get(key), name, is_counted=False)
    for key in ("anyOf", "oneOf", "prefixItems"):
        for child in schema.get(key) or ():
            yield from _demanding(child, name, is_counted=False)
    for child in schema.get("allOf") or ():
        yield from _demanding(child, name, is_counted=is_counted)
