"""The text of one assistant turn, read back as a message. Strict: a call that is not exact JSON is an error."""

from __future__ import annotations

import json
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
    contents: list[str] = []
    calls: list[ToolCall] = []
    place = 0
    while (opened := rest.find(OPEN, place)) >= 0:
        contents.append(rest[place:opened])
        call, place = _call_at(rest, opened + len(OPEN))
        calls.append(call)
    content = "".join([*contents, rest[place:]])
    if CLOSE in content:
        raise ValueError(f"{CLOSE} without {OPEN}")
    if THINK in content or END_THINK in content:
        raise ValueError(f"{THINK} and {END_THINK} stand only once, at the beginning of a turn")
    return Message(
        role="assistant",
        content=content.strip() if calls else content,
        tool_calls=tuple(calls),
        reasoning=reasoning,
    )


def _split_reasoning(text: str, is_thinking: bool) -> tuple[str, str]:
    opened = text.lstrip()
    if opened.startswith(THINK):
        opened = opened[len(THINK) :]
    elif not is_thinking:
        return "", text
    if END_THINK not in opened:
        raise ValueError(f"{THINK} is never closed")
    reasoning, rest = opened.split(END_THINK, 1)
    if THINK in reasoning:
        raise ValueError(f"{THINK} inside {THINK}")
    return reasoning.strip("\n"), rest.lstrip("\n")


def _call_at(text: str, start: int) -> tuple[ToolCall, int]:
    """The call whose JSON begins at ``start``, and the place after its closing tag; strings in it may hold tags."""
    if CLOSE not in text[start:]:
        raise ValueError(f"{OPEN} is never closed")
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    begin = start + len(text[start:]) - len(text[start:].lstrip())
    try:
        value, stop = decoder.raw_decode(text, begin)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"the call is not JSON: {error.msg} at character {error.pos - start}") from error
    except UnicodeEncodeError as error:  # no tokenizer could read it back into the dialogue
        raise ValueError("the call holds half of a character") from error
    except RecursionError as error:
        raise ValueError("the call is nested too deeply") from error
    stop += len(text[stop:]) - len(text[stop:].lstrip())
    if not text.startswith(CLOSE, stop):
        raise ValueError(f"more than one JSON value between {OPEN} and {CLOSE}")
    return _checked(value), stop + len(CLOSE)


def _checked(value: object) -> ToolCall:
    """The call that ``value`` describes with exactly ``name`` and ``arguments``."""
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
