"""How messages are handed to Jinja: the field's one shape (OpenAI's), with the dialects that templates insist on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from strop.chat.marks import Part
from strop.types import Json, Message


class Mark(Protocol):
    """Wraps a text so that it can be found again; the identity for a plain rendering."""

    def __call__(
        self, text: str, turn: int, part: Part, *, is_required: bool = True, is_argument: bool = False
    ) -> str: ...


def unmarked(text: str, turn: int, part: Part, *, is_required: bool = True, is_argument: bool = False) -> str:
    """The text as it is."""
    return text


@dataclass(frozen=True)
class MessageShape:
    """One dialect; the defaults are what most templates read. Found by probing, see ``frame.py``."""

    content: Literal["text", "parts"] = "text"
    """``parts`` is ``[{"type": "text", "text": ...}]``, which templates of vision models want."""
    no_content: Literal["empty", "none", "absent"] = "empty"
    """What stands for the content of a turn that only calls tools."""
    arguments: Literal["object", "string"] = "object"
    call_ids: bool = False
    """Nine-character ids on calls and results, where a template refuses to go without."""
    reasoning: Literal["field", "inline"] = "field"
    """``inline`` writes ``<think>`` into the content, for templates that have no field for it."""


def as_dicts(messages: Sequence[Message], shape: MessageShape, mark: Mark = unmarked) -> list[dict[str, Any]]:
    """The messages as the template reads them."""
    return [_as_dict(messages, turn, shape, mark) for turn in range(len(messages))]


def _as_dict(messages: Sequence[Message], turn: int, shape: MessageShape, mark: Mark) -> dict[str, Any]:
    message = messages[turn]
    fields: dict[str, Any] = {"role": message.role}
    reasoning = mark(message.reasoning, turn, "reasoning") if message.reasoning else ""
    inline = f"<think>\n{reasoning}\n</think>\n\n" if reasoning and shape.reasoning == "inline" else ""
    if message.content or inline or not message.tool_calls:
        fields["content"] = _content(inline + mark(message.content, turn, "content"), shape)
    elif shape.no_content != "absent":
        fields["content"] = _content("", shape) if shape.no_content == "empty" else None
    if reasoning and not inline:
        # transformers fills in the other name from 5.2x on; both are given so that older releases render the same
        fields["reasoning_content"] = fields["thinking"] = reasoning
    if message.tool_calls:
        fields["tool_calls"] = [_call(messages, turn, index, shape, mark) for index in range(len(message.tool_calls))]
    if message.name:
        fields["name"] = message.name
    if message.role == "tool" and shape.call_ids:
        fields["tool_call_id"] = _answered_id(messages, turn)
    return fields


def _content(text: str, shape: MessageShape) -> Any:
    return text if shape.content == "text" else [{"type": "text", "text": text}]


def _call(messages: Sequence[Message], turn: int, index: int, shape: MessageShape, mark: Mark) -> dict[str, Any]:
    call = messages[turn].tool_calls[index]
    name = mark(call.name, turn, "tool_call")
    arguments: Any
    if shape.arguments == "string":
        arguments = mark(json.dumps(call.arguments, ensure_ascii=False), turn, "tool_call")
    else:
        arguments = _marked_values(call.arguments, turn, mark)
    fields: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": _id(turn, index), **fields} if shape.call_ids else fields


def _marked_values(value: Any, turn: int, mark: Mark) -> Any:
    if isinstance(value, str):
        return mark(value, turn, "tool_call", is_required=False, is_argument=True) if value else value
    if isinstance(value, Mapping):
        return {key: _marked_values(item, turn, mark) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked_values(item, turn, mark) for item in value]
    return value


def _id(turn: int, index: int) -> str:
    return f"call{turn:03d}{index:02d}"


def _answered_id(messages: Sequence[Message], turn: int) -> str:
    """The id of the call that the tool message at ``turn`` answers: results follow their calls in order."""
    asked = turn
    while asked > 0 and messages[asked].role == "tool":
        asked -= 1
    return _id(asked, turn - asked - 1)


def marked_tools(tools: Sequence[Json], is_dangerous: Callable[[str], bool], mark: Mark) -> list[Any]:
    """The tool schemas with every dangerous text wrapped; templates compare the others (types, names)."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return mark(value, -1, "tools", is_required=False) if is_dangerous(value) else value
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [walk(item) for item in value]
        return value

    return [walk(dict(tool)) for tool in tools]
