"""Turns and tools as the field writes them (OpenAI and ShareGPT forms) become ``Message`` and tool descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strop.errors import DataError
from strop.types import Json, Message, Role, ToolCall

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""OpenAI's names of roles, the renamed and the retired ones included."""
SHAREGPT_ROLES: Mapping[str, Role] = {
    **ROLES,
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
REASONING = ("reasoning_content", "reasoning", "thinking")


def read_messages(value: Any, where: str) -> tuple[Message, ...]:
    """The turns of an OpenAI message list.

    ``content`` is a string, null beside tool calls, or a list of text parts; tool calls carry ``arguments`` as an
    object or as JSON text, with or without the ``function`` wrapper; a tool result takes its name from ``name`` or from
    the call that its ``tool_call_id`` answers. ``train`` (true, false) or ``weight`` (0, 1) on an assistant turn says
    whether it is supervised. Raises: DataError naming the turn.
    """
    _require_turns(value, where)
    names: dict[str, str] = {}
    messages = []
    for index, turn in enumerate(value):
        place = f"{where}[{index}]"
        role = _role(turn, "role", ROLES, place)
        calls = _tool_calls(turn, place)
        for raw, call in zip(turn.get("tool_calls") or (), calls):
            if isinstance(raw, dict) and raw.get("id"):
                names[str(raw["id"])] = call.name
        messages.append(
            Message(
                role=role,
                content=_content(turn, bool(calls), place),
                tool_calls=calls,
                reasoning=next((str(turn[key]) for key in REASONING if turn.get(key)), ""),
                name=str(turn.get("name") or names.get(str(turn.get("tool_call_id")), "")) if role == "tool" else "",
                train=_train(turn, role, place),
            )
        )
    return tuple(messages)


def read_sharegpt(value: Any, where: str) -> tuple[Message, ...]:
    """The turns of a ShareGPT list of ``from`` and ``value``; ``function_call`` turns hold one call as JSON text.

    Raises: DataError naming the turn.
    """
    _require_turns(value, where)
    if any("role" in turn and "from" not in turn for turn in value):
        return read_messages(value, where)
    messages = []
    for index, turn in enumerate(value):
        place = f"{where}[{index}]"
        role = _role(turn, "from", SHAREGPT_ROLES, place)
        text = turn.get("value")
        if not isinstance(text, str):
            raise DataError(
                "the turn has no text",
                where=place,
                why=f"`value` is {text!r:.60}",
                do='write {"from": ..., "value": "..."}',
            )
        calls = (_tool_call(text, place),) if turn["from"] == "function_call" else ()
        train = _train(turn, role, place)
        messages.append(Message(role=role, content="" if calls else text, tool_calls=calls, train=train))
    return tuple(messages)


def read_tools(value: Any, where: str) -> tuple[Json, ...]:
    """Tool descriptions as ``{"type": "function", "function": {...}}``, from a list or its JSON text, wrapped or bare.

    Raises: DataError naming the tool.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = _from_json(value, where, "`tools` is no JSON")
    if not isinstance(value, list):
        raise DataError(
            "`tools` is not a list", where=where, why=f"it is {value!r:.60}", do="write a list of function descriptions"
        )
    tools: list[Json] = []
    for index, tool in enumerate(value):
        function = tool.get("function", tool) if isinstance(tool, dict) else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError(
                "a tool has no name",
                where=f"{where}[{index}]",
                why=f"found {tool!r:.80}",
                do='write {"type": "function", "function": {"name": ..., "parameters": ...}}',
            )
        tools.append({"type": "function", "function": function})
    return tuple(tools)


def as_turns(value: Any, role: Role, where: str) -> tuple[Message, ...]:
    """A message list as it is, or one turn of ``role`` from a string. Raises: DataError."""
    if isinstance(value, str):
        return (Message(role=role, content=value),)
    return read_messages(value, where)


def _require_turns(value: Any, where: str) -> None:
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise DataError(
            "the turns are no list of messages",
            where=where,
            why="it is empty" if value == [] else f"found {value!r:.80}",
            do='write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]',
        )


def _role(turn: Mapping[str, Any], key: str, known: Mapping[str, Role], where: str) -> Role:
    found = turn.get(key)
    if not isinstance(found, str) or found not in known:
        raise DataError(
            f"unknown role {found!r}" if key in turn else "the turn has no role",
            where=where,
            why=f"`{key}` is one of {', '.join(known)}",
            do="rename the role or remove the turn",
        )
    return known[found]


def _content(turn: Mapping[str, Any], has_calls: bool, where: str) -> str:
    content = turn.get("content")
    if isinstance(content, str):
        return content
    if content is None and has_calls:
        return ""
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise DataError(
        "the turn has no text",
        where=where,
        why=f"`content` is {content!r:.60}" if "content" in turn else "it has neither `content` nor `tool_calls`",
        do="give `content` as a string; only an assistant turn with tool calls may go without",
    )


def _tool_calls(turn: Mapping[str, Any], where: str) -> tuple[ToolCall, ...]:
    calls = turn.get("tool_calls")
    if not calls:
        legacy = turn.get("function_call")
        calls = [legacy] if legacy else []
    if calls and turn.get("role") != "assistant":
        raise DataError("a turn that is not the assistant's calls tools", where=where, do="move the calls")
    if not isinstance(calls, list):
        raise DataError(
            "`tool_calls` is not a list", where=where, why=f"it is {calls!r:.60}", do="write a list of calls, or null"
        )
    return tuple(_tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls))


def _tool_call(call: Any, where: str) -> ToolCall:
    if isinstance(call, str):
        call = _from_json(call, where, "the tool call is no JSON")
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise DataError(
            "a tool call has no name",
            where=where,
            why=f"found {call!r:.80}",
            do='write {"type": "function", "function": {"name": "...", "arguments": {...}}}',
        )
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments.strip():
        arguments = _from_json(arguments, where, "the arguments of a tool call are no JSON")
    arguments = arguments or {}
    if not isinstance(arguments, dict):
        raise DataError(
            "the arguments of a tool call are no object",
            where=where,
            why=f"found {arguments!r:.60}",
            do='write {"parameter": value, ...}, or the same as JSON text',
        )
    return ToolCall(name=function["name"], arguments=arguments)


def _from_json(text: str, where: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            what, where=where, why=f"{error.msg.lower()} at character {error.pos} of {text!r:.60}", do="mend the JSON"
        ) from error


def _train(turn: Mapping[str, Any], role: Role, where: str) -> bool | None:
    key = "train" if turn.get("train") is not None else "weight"
    value = turn.get(key)
    if value is None:
        return None
    if value not in (0, 1):
        raise DataError(
            f"`{key}` is {value!r}",
            where=where,
            why="a turn is supervised or it is not",
            do="write true or false, 1 or 0",
        )
    if role == "assistant":
        return bool(value)
    if value and key == "train":
        raise DataError(
            f"a {role} turn asks to be trained",
            where=where,
            why="only assistant turns are supervised",
            do=f"remove `{key}`",
        )
    return None
