"""The text of one assistant turn, read back as a message. Strict: a call that is not exact JSON is an error."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from strop.types import Message, ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
THINK, END_THINK = "<think>", "</think>"


def parse_assistant(text: str, *, is_thinking: bool = False) -> Message:
    """The message that ``text`` says: ``<think>`` reasoning, content, and ``<tool_call>{json}</tool_call>`` calls.

    ``is_thinking`` tells that the generation prompt has already opened ``<think>``. With calls, white space around the
    remaining content is dropped, since templates put separators there. Raises: ValueError with the reason.
    """
    reasoning, rest = _split_reasoning(text, is_thinking)
    parts = re.split(f"({re.escape(OPEN)}|{re.escape(CLOSE)})", rest)
    content, calls = parts[0], []
    for position in range(1, len(parts), 4):
        closed = parts[position : position + 3]
        if closed[0] == CLOSE:
            raise ValueError(f"{CLOSE} without {OPEN}")
        if len(closed) < 3:
            raise ValueError(f"{OPEN} is never closed")
        if closed[2] == OPEN:
            raise ValueError(f"{OPEN} inside {OPEN}")
        calls.append(parse_call(closed[1]))
        content += parts[position + 3]
    content = content.strip() if calls else content
    return Message(role="assistant", content=content, tool_calls=tuple(calls), reasoning=reasoning)


def _split_reasoning(text: str, is_thinking: bool) -> tuple[str, str]:
    opened = text.lstrip()
    if opened.startswith(THINK):
        opened = opened[len(THINK) :]
    elif not is_thinking:
        if THINK in text or END_THINK in text:
            raise ValueError(f"{THINK} and {END_THINK} stand only at the beginning of a turn")
        return "", text
    if END_THINK not in opened:
        raise ValueError(f"{THINK} is never closed")
    reasoning, rest = opened.split(END_THINK, 1)
    if THINK in reasoning or THINK in rest or END_THINK in rest:
        raise ValueError(f"more than one {THINK} block")
    return reasoning.strip("\n"), rest.lstrip("\n")


def parse_call(text: str) -> ToolCall:
    """The call written as one JSON object with exactly ``name`` and ``arguments``. Raises: ValueError."""
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the call is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise ValueError("the call is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"the call is a JSON {type(value).__name__}, not an object")
    if value.keys() != {"name", "arguments"}:
        raise ValueError(f"the call has the keys {sorted(value)}, not exactly name and arguments")
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not name:
        raise ValueError("the call's name is not a non-empty string")
    if not isinstance(arguments, dict):
        raise ValueError("the call's arguments are not an object")
    return ToolCall(name=name, arguments=arguments)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("the call names a key twice")
    return value


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
