"""One conversation laid out: the rendered string, where each message's text stands in it, and what was left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.chat.escape import Encoder
from strop.chat.marks import Leaf, Marker, Marking, Piece, Unmarked, free_characters
from strop.chat.shape import MessageShape, as_dicts, marked_tools
from strop.errors import TemplateError
from strop.types import Json, Message

ATTEMPTS = (
    Marking(),
    Marking(empty=False),
    Marking(outside_spaces=False),
    Marking(outside_spaces=False, empty=False),
    Marking(outside_spaces=False, empty=False, arguments=False),
)
"""Tried in turn until the string with the marks taken out is the string rendered without them."""


@dataclass(frozen=True)
class Layout:
    """A rendered string with provenance."""

    text: str
    pieces: tuple[Piece, ...]
    """In order; characters outside every piece were written by the template."""
    generated: tuple[tuple[int, int], ...] | None
    """Character ranges of the template's ``{% generation %}`` blocks; None where it has none."""
    missing: tuple[Leaf, ...]
    """Texts that the template left out or tore apart."""

    def own_pieces(self) -> list[Piece]:
        """The messages' texts where each stands first; templates repeat some, such as a call's name with its result."""
        first: dict[int, Piece] = {}
        for piece in self.pieces:
            if piece.leaf.turn >= 0:
                first.setdefault(id(piece.leaf), piece)
        return list(first.values())


def lay_out(
    encoder: Encoder,
    messages: Sequence[Message],
    tools: Sequence[Json],
    shape: MessageShape,
    *,
    add_generation_prompt: bool = False,
) -> Layout:
    """Render once plainly and once with marks, and read the pieces off the marks.

    A text that holds a control token may make the template decide otherwise (Qwen3 takes a user's ``<tool_response>``
    for a tool's): then the marked rendering counts, in which no text is taken for anything else.
    Raises: TemplateError where the template fails, or where the pieces cannot be found.
    """
    texts = _texts(messages, tools)
    _refuse_unwritable(texts)
    dangerous = encoder.pattern.search
    _refuse_control_names(messages, tools, encoder)
    plain = encoder.source.text(as_dicts(messages, shape), tools, add_generation_prompt=add_generation_prompt)
    is_dangerous = any(dangerous(text) for text in texts)
    layouts: list[Layout] = []
    for marking in ATTEMPTS:
        layout = _marked_layout(encoder, messages, tools, shape, marking, texts, add_generation_prompt)
        layouts.append(layout)
        if layout.text == plain and not layout.missing:
            break
    same = [layout for layout in layouts if layout.text == plain]
    if not same and is_dangerous:
        same = [layouts[ATTEMPTS.index(Marking(outside_spaces=False))]]
    if not same:
        raise TemplateError(
            "the template rewrites a message's text, so what it wrote cannot be told from what the message said",
            where=_difference(plain, layouts[-1].text),
            do="pass reasoning as reasoning, calls as tool_calls, and plain text as content",
        )
    best = min(same, key=lambda layout: len(layout.missing))
    _refuse_rewritten(best, messages, encoder)
    return best


def _marked_layout(
    encoder: Encoder,
    messages: Sequence[Message],
    tools: Sequence[Json],
    shape: MessageShape,
    marking: Marking,
    texts: Sequence[str],
    add_generation_prompt: bool,
) -> Layout:
    marker = Marker(marking, free_characters("".join(texts) + encoder.source.default + encoder.source.tool_use))
    dicts = as_dicts(messages, shape, marker.mark)
    schemas = marked_tools(tools, lambda text: encoder.pattern.search(text) is not None, marker.mark)
    marked, ranges = encoder.source.traced(dicts, schemas, add_generation_prompt=add_generation_prompt)
    found: Unmarked = marker.unmark(marked)
    generated = None
    if ranges is not None:
        generated = tuple((found.position(start), found.position(stop)) for start, stop in ranges)
    return Layout(found.text, found.pieces, generated, tuple(found.missing()))


def _refuse_rewritten(layout: Layout, messages: Sequence[Message], encoder: Encoder) -> None:
    """What the assistant said, and every text that holds a control token, stands there as it was said."""
    for piece in layout.own_pieces():
        said, found = piece.leaf.text.strip(), layout.text[piece.start : piece.end]
        is_answer = messages[piece.leaf.turn].role == "assistant" and piece.leaf.part != "tool_call"
        if not is_answer and not encoder.pattern.search(said):
            continue
        if said not in found and json.dumps(said, ensure_ascii=False)[1:-1] not in found:
            raise TemplateError(
                "the template rewrites a message's text",
                where=f"message {piece.leaf.turn}: {said[:60]!r} becomes {found[:60]!r}",
                why="the text would be taken for something else than it is, such as reasoning",
                do="pass reasoning as reasoning, calls as tool_calls, and plain text as content",
            )


def _texts(messages: Sequence[Message], tools: Sequence[Json]) -> list[str]:
    texts = [text for message in messages for text in (message.content, message.reasoning, message.name)]
    calls = [call for message in messages for call in message.tool_calls]
    return texts + [call.name for call in calls] + list(_strings([[c.arguments for c in calls], list(tools)]))


def _strings(value: Any) -> list[str]:
    """Every text inside a JSON value, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (str(key), *_strings(item))]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    return []


def _keys(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (str(key), *_keys(item))]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _keys(item)]
    return []


def _refuse_unwritable(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TemplateError(
                "a message holds half of a character",
                where=f"character {error.start} of {json.dumps(text[:60])}",
                why="a lone surrogate has no UTF-8 form, so no tokenizer can read it",
                do="repair the text where the row was made",
            ) from error


def _refuse_control_names(messages: Sequence[Message], tools: Sequence[Json], encoder: Encoder) -> None:
    names = [message.name for message in messages]
    names += [call.name for message in messages for call in message.tool_calls]
    names += _keys([[call.arguments for message in messages for call in message.tool_calls], list(tools)])
    for name in names:
        if match := encoder.pattern.search(name):
            raise TemplateError(
                f"the name {name!r} contains the control token {match.group()!r}",
                why="names of tools and arguments are written by the template itself and cannot be escaped",
                do="rename the tool or argument",
            )


def _difference(plain: str, other: str) -> str:
    """The first place where two renderings part, with a little of both."""
    at = next((i for i, (a, b) in enumerate(zip(plain, other)) if a != b), min(len(plain), len(other)))
    return f"{plain[max(0, at - 20) : at + 40]!r} against {other[max(0, at - 20) : at + 40]!r}"
