"""Who wrote which token: spans by role, turn and kind, and the loss mask that follows from them.

A token belongs to the span that holds its first character. So a token that begins in a header and reaches into an
answer is not trained, and one that begins in the answer is. Control tokens never straddle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from strop.chat.escape import Encoder, Encoding
from strop.chat.frame import Frame, shared_length
from strop.chat.layout import Layout
from strop.chat.marks import Part, Piece
from strop.errors import TemplateError
from strop.types import Message, Role

Kind = Literal["header", "content", "reasoning", "tool_call", "end"]
ALL_PARTS: frozenset[str] = frozenset({"content", "reasoning", "tool_call", "end"})


@dataclass(frozen=True)
class Span:
    """Tokens [start, end) of one turn."""

    start: int
    end: int
    role: Role
    turn: int
    """Index of the message; the generation prompt counts as the turn after the last one."""
    kind: Kind
    """``header`` is everything that is never trained: role headers, tool schemas, what follows an end of turn."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as a string, as token ids, and as spans that cover all of them in order."""

    text: str
    token_ids: tuple[int, ...]
    spans: tuple[Span, ...]
    trains: tuple[bool | None, ...] = ()
    """``Message.train`` of every message."""
    dropped_reasoning: tuple[int, ...] = ()
    """Turns whose reasoning the template leaves out where they stand, as many do before the last question."""

    def loss_mask(
        self, *, turns: Literal["all", "last"] = "all", parts: frozenset[str] = ALL_PARTS
    ) -> tuple[bool, ...]:
        """True where a token is trained: ``parts`` of the assistant's ``turns``, each overruled by its ``train``.

        The trained region of a turn begins after the generation prompt and ends with the end-of-turn token. Without
        ``reasoning`` in ``parts`` the think block and its tags are not trained; with only ``tool_call`` nothing but the
        calls is. The first token of the sequence is never trained.
        """
        assert parts <= ALL_PARTS, parts - ALL_PARTS
        assert turns in ("all", "last"), turns
        answers = [span.turn for span in self.spans if span.role == "assistant" and span.kind != "header"]
        last = max(answers, default=-1)
        mask = [False] * len(self.token_ids)
        for span in self.spans:
            if span.role == "assistant" and span.kind in parts and self._is_trained(span.turn, turns, last):
                mask[span.start : span.end] = [True] * (span.end - span.start)
        if mask:
            mask[0] = False
        return tuple(mask)

    def _is_trained(self, turn: int, turns: str, last: int) -> bool:
        train = self.trains[turn] if turn < len(self.trains) else None
        return train if train is not None else turns == "all" or turn == last


@dataclass(frozen=True)
class Region:
    """Characters [start, end) of the rendered string."""

    start: int
    end: int
    role: Role
    turn: int
    kind: Kind


def token_spans(regions: Sequence[Region], encoding: Encoding) -> tuple[Span, ...]:
    """The regions in tokens."""
    starts = [region.start for region in regions]
    owners: list[Region] = []
    reached = 0
    for start, end in encoding.offsets:
        # offsets may leave out the space before a word; the token still begins where the one before it ended
        first = min(start, reached) if end > start else reached
        reached = max(reached, end)
        owners.append(regions[max(0, bisect_right(starts, first) - 1)])
    spans: list[Span] = []
    for region, group in groupby(owners, key=lambda region: (region.role, region.turn, region.kind)):
        begin = spans[-1].end if spans else 0
        spans.append(Span(begin, begin + len(list(group)), *region))
    return tuple(spans)


def regions_of(
    layout: Layout, messages: Sequence[Message], frame: Frame, encoder: Encoder, *, use_markers: bool = True
) -> list[Region]:
    """The rendered string cut into regions, in order and without gaps.

    With ``{% generation %}`` blocks the trained regions are what both the blocks and the contract allow. Raises:
    TemplateError where it cannot be told where an assistant's turn begins.
    """
    blocks = _blocks(layout)
    regions: list[Region] = []
    place = 0
    for index, block in enumerate(blocks):
        turn, role = block[0].leaf.turn, messages[block[0].leaf.turn].role
        next_start = blocks[index + 1][0].start if index + 1 < len(blocks) else len(layout.text)
        before = blocks[index - 1] if index else None
        begin = block[0].start
        if role == "assistant":
            begin = _generation_start(layout, place, before, block, messages, frame, encoder)
        body, stop = _body(layout.text, begin, block, next_start, role, frame, encoder)
        regions.append(Region(place, begin, role, turn, "header"))
        regions += [Region(a, b, role, turn, kind) for a, b, kind in body]
        place = stop
    rest = Region(place, len(layout.text), "assistant", len(messages), "header")
    if use_markers and layout.generated is not None:
        regions = _within(regions, layout.generated)
    return [region for region in [*regions, rest] if region.end > region.start] or [rest]


def _blocks(layout: Layout) -> list[list[Piece]]:
    """Neighbouring pieces of one turn."""
    return [list(group) for _, group in groupby(layout.own_pieces(), key=lambda piece: piece.leaf.turn)]


def _generation_start(
    layout: Layout,
    place: int,
    before: list[Piece] | None,
    block: list[Piece],
    messages: Sequence[Message],
    frame: Frame,
    encoder: Encoder,
) -> int:
    """Where an assistant's generated text begins: after as much of the generation prompt as stands there."""
    tail = frame.prompt_tails.get(messages[before[-1].leaf.turn].role) if before else None
    if before and tail is not None and before[-1].leaf.part == "content":
        for tail_start in dict.fromkeys([before[-1].end, before[-1].core[1]]):
            gap = layout.text[tail_start : block[0].core[0]]
            length = shared_length(gap, tail, encoder)
            if length == len(tail) or length > len(tail) - len(frame.header):
                if gap.startswith(frame.header, length):  # a header that the prompt leaves out is still a header
                    length += len(frame.header)
                return max(place, tail_start + length)
    gap = layout.text[place : block[0].core[0]]
    stops = [match.end() for match in encoder.pattern.finditer(frame.header)]
    for stop in dict.fromkeys([len(frame.header), *reversed(stops)]):
        if stop and (found := gap.rfind(frame.header[:stop])) >= 0:
            return place + found + stop
    for start, stop in layout.generated or ():
        if start <= block[0].core[0] < stop:
            return max(place, start)
    raise TemplateError(
        "it cannot be told where the assistant's turn begins",
        where=f"message {block[0].leaf.turn}, after {gap[-60:]!r}",
        why=f"the generation prompt {frame.header!r} does not stand before it",
        do="add {% generation %} markers to the template, or reorder the messages",
    )


def _body(
    text: str, begin: int, block: list[Piece], next_start: int, role: Role, frame: Frame, encoder: Encoder
) -> tuple[list[tuple[int, int, Kind]], int]:
    """The regions of one turn after its header, and where they stop."""
    body: list[tuple[int, int, Kind]] = []
    place = begin
    for index, piece in enumerate(block):
        kind = _kind(piece.leaf.part)
        if index and (previous := _kind(block[index - 1].leaf.part)) in ("reasoning", "tool_call") and previous != kind:
            words = text[place : piece.start]
            is_shared = (previous, kind) == ("reasoning", "tool_call")
            close = shared_length(words, frame.reasoning_close, encoder) if is_shared else len(words)
            body.append((place, place + close, previous))
            place += close
        body.append((place, max(place, piece.end), kind))
        place = max(place, piece.end)
    last = _kind(block[-1].leaf.part)
    close, stop = _end_of_turn(text[place:next_start], last, role, frame, encoder)
    body += [(place, place + close, last), (place + close, place + stop, "end")]
    return body, place + stop


def _kind(part: Part) -> Kind:
    assert part != "tools"
    return part


def _end_of_turn(words: str, last: Kind, role: Role, frame: Frame, encoder: Encoder) -> tuple[int, int]:
    """Where the end of the turn begins and stops in the ``words`` that follow its last text."""
    if frame.turn_end and (found := words.find(frame.turn_end)) >= 0:
        return found, found + len(frame.turn_end)
    if role != "assistant":
        return 0, 0
    close = 0
    if last == "tool_call" and frame.call_end and (found := words.find(frame.call_end)) >= 0:
        close = found + len(frame.call_end)
        if frame.closes_turns:
            return found, close
    space = len(words) - close - len(words[close:].lstrip())
    if match := encoder.pattern.match(words, close + space):
        return close, match.end()
    return close, close


def _within(regions: Sequence[Region], allowed: Sequence[tuple[int, int]]) -> list[Region]:
    """The regions with what an assistant wrote outside every generation block turned into header."""
    kept: list[Region] = []
    for region in regions:
        if region.role != "assistant" or region.kind == "header":
            kept.append(region)
            continue
        place = region.start
        for start, stop in sorted(allowed):
            a, b = max(place, start), min(region.end, stop)
            if a < b:
                kept += [
                    Region(place, a, region.role, region.turn, "header"),
                    Region(a, b, region.role, region.turn, region.kind),
                ]
                place = b
        kept.append(Region(place, region.end, region.role, region.turn, "header"))
    return [region for region in kept if region.end > region.start]
