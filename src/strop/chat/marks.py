"""Provenance: which characters of the rendered string came out of which message.

Every text of a message is wrapped in two private-use characters that occur nowhere else, the conversation is rendered
once with them, and they are taken out again. What stood between a pair is that message's text, wherever the template
put it, trimmed it, or escaped it as JSON.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

Part = Literal["content", "reasoning", "tool_call", "tools"]


@dataclass(frozen=True)
class Leaf:
    """One text that the caller handed in."""

    turn: int
    """Index of the message; -1 for the tool schemas."""
    part: Part
    text: str
    is_required: bool
    """Whether a template that leaves it out drops something that matters."""


@dataclass(frozen=True)
class Piece:
    """A leaf where it stands in the rendered string: characters [start, end)."""

    start: int
    end: int
    leaf: Leaf
    core: tuple[int, int]
    """Without the white space around it, which a template may have trimmed and put there itself."""


@dataclass(frozen=True)
class Marking:
    """What is wrapped and where; a template that looks at its texts may render differently when they are wrapped."""

    outside_spaces: bool = True
    """The marks stand outside leading and trailing white space, which shows it kept but stops a template's trim."""
    empty: bool = True
    arguments: bool = True


@dataclass
class Marker:
    """Hands out marks for one rendering and takes them out of its result."""

    marking: Marking
    alphabet: Iterator[str]
    opening: dict[str, Leaf] = field(default_factory=dict)
    closing: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str, turn: int, part: Part, *, is_required: bool = True, is_argument: bool = False) -> str:
        """``text`` between two marks of its own, or as it is where the marking leaves it alone."""
        if (not text and not self.marking.empty) or (is_argument and not self.marking.arguments):
            return text
        begin, end = next(self.alphabet), next(self.alphabet)
        self.opening[begin] = Leaf(turn, part, text, is_required and bool(text.strip()))
        self.closing[end] = begin
        if self.marking.outside_spaces:
            return f"{begin}{text}{end}"
        core = text.strip()
        lead = text[: len(text) - len(text.lstrip())] if core else text
        return f"{lead}{begin}{core}{end}{text[len(lead) + len(core) :]}"

    def unmark(self, marked: str) -> Unmarked:
        """The string without marks, with the pieces found between them."""
        kept: list[str] = []
        cuts: list[int] = []
        opened: dict[str, int] = {}
        pieces: list[Piece] = []
        last = 0
        for position in (i for i, char in enumerate(marked) if char in self.opening or char in self.closing):
            kept.append(marked[last:position])
            last, here = position + 1, position - len(cuts)
            cuts.append(position)
            if marked[position] in self.opening:
                opened[marked[position]] = here
            elif (begin := self.closing[marked[position]]) in opened:
                start = opened.pop(begin)
                pieces.append(Piece(start, here, self.opening[begin], (start, here)))
        text = "".join([*kept, marked[last:]])
        if not self.marking.outside_spaces:
            pieces = [_with_spaces(piece, text) for piece in pieces]
        pieces.sort(key=lambda piece: (piece.start, piece.end))
        return Unmarked(text, tuple(pieces), tuple(cuts), tuple(self.opening.values()))


@dataclass(frozen=True)
class Unmarked:
    """A rendered string, where its pieces stand, and where its marks stood."""

    text: str
    pieces: tuple[Piece, ...]
    cuts: tuple[int, ...]
    leaves: tuple[Leaf, ...]

    def position(self, marked_position: int) -> int:
        """The place in ``text`` of a place in the marked string."""
        return marked_position - bisect_left(self.cuts, marked_position)

    def missing(self) -> list[Leaf]:
        """Required leaves that the template left out or tore apart."""
        found = {id(piece.leaf) for piece in self.pieces}
        return [leaf for leaf in self.leaves if leaf.is_required and id(leaf) not in found]


def _with_spaces(piece: Piece, text: str) -> Piece:
    """The piece grown over its own leading and trailing white space, where the template kept it."""
    source = piece.leaf.text
    core = source.strip()
    if not core:
        return piece
    lead, trail = source[: source.index(core)], source[source.index(core) + len(core) :]
    start = piece.start - len(lead) if lead and text.endswith(lead, 0, piece.start) else piece.start
    end = piece.end + len(trail) if trail and text.startswith(trail, piece.end) else piece.end
    return Piece(start, end, piece.leaf, piece.core)


def free_characters(texts: str) -> Iterator[str]:
    """Private-use characters (Unicode planes 15 and 16) that do not occur in ``texts``."""
    used = {char for char in texts if char >= "\U000f0000"}
    planes = chain(range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
    yield from (char for char in map(chr, planes) if char not in used)
