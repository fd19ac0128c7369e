"""The calls that an answer's text makes: read strictly, as the template's contract has it, and leniently beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from strop.types import Json, ToolCall

_NAME_KEYS = ("name", "tool", "function", "tool_name", "action")
_ARGUMENT_KEYS = ("arguments", "args", "parameters", "params", "input")


def code_files() -> tuple[str, ...]:
    """What reads calls and speech, this file and the parser: part of the identity of whoever reads by it."""
    return __file__, str(Path(__file__).parents[1] / "chat" / "parse.py")


def parse_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls that the text makes, read as the chat template's contract has it; empty if it makes none.

    Raises: ValueError with the reason if anything about a call, or about the reasoning before it, is malformed.
    """
    from strop.chat.parse import END_THINK, THINK, parse_assistant

    opened_by_prompt = END_THINK in text and not text.lstrip().startswith(THINK)
    return parse_assistant(text, is_thinking=opened_by_prompt).tool_calls


def find_calls(text: str, tools: Sequence[Json]) -> tuple[ToolCall, ...]:
    """The calls of known tools that the text means, read leniently: any JSON object that names a tool, anywhere.

    The name may stand under ``name``, ``tool``, ``function`` or ``action`` and the arguments under ``arguments``,
    ``args``, ``parameters`` or ``input``, as an object or as a JSON string, or beside the name. Shows what a model
    that does not know the format would have called; never used to grade.
    """
    names = {tool.get("function", tool)["name"] for tool in tools}
    return tuple(call for value in _objects(text) if (call := _loose_call(value, names)) is not None)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, index = json.JSONDecoder(), text.find("{")
    while index >= 0:
        try:
            value, end = decoder.raw_decode(text, index)
        except (ValueError, RecursionError):
            end = index + 1
        else:
            yield value
        index = text.find("{", end)


def _loose_call(value: dict[str, Any], names: set[str]) -> ToolCall | None:
    if isinstance(value.get("function"), dict):
        value = value["function"]
    key = next((k for k in _NAME_KEYS if isinstance(value.get(k), str) and value[k] in names), None)
    if key is None:
        return None
    holder = next((k for k in _ARGUMENT_KEYS if k in value), None)
    arguments = {k: v for k, v in value.items() if k != key} if holder is None else value[holder]
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return ToolCall(name=value[key], arguments=arguments) if isinstance(arguments, dict) else None


def spoken(text: str) -> str:
    """What the answer says to its reader: all but the reasoning before it.

    Raises: ValueError where the reasoning is never closed, or where a tool is called instead.
    """
    from strop.chat.parse import END_THINK, THINK, parse_assistant

    opened_by_prompt = END_THINK in text and not text.lstrip().startswith(THINK)
    message = parse_assistant(text, is_thinking=opened_by_prompt)
    if message.tool_calls:
        raise ValueError(f"calls {message.tool_calls[0].name} where an answer was due")
    return message.content
