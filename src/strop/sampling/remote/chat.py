"""The chat endpoint, for judges and teachers: messages in, text and tool calls out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from strop.sampling.remote.completions import only_choice
from strop.sampling.remote.transport import Fault, part, read_json
from strop.types import Json, Message, ToolCall

PATH = "/chat/completions"
_ENDS: Mapping[str, Literal["stop", "length"]] = {
    "stop": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
}


@dataclass(frozen=True, kw_only=True)
class ChatAnswer:
    """An assistant's turn from a server."""

    message: Message
    finish_reason: Literal["stop", "length"]
    """Only ``stop`` is a whole answer; a turn that calls tools has stopped too."""
    violations: tuple[str, ...] = ()
    """Calls that the model wrote wrongly; they are not among ``message.tool_calls``."""
    model: str = ""
    """Who answered, as the server says."""
    num_tokens: int | None = None
    """Generated, as the server counts; None if it does not tell."""


def body(
    model: str,
    tools: Sequence[Json],
    max_new_tokens: int,
    temperature: float,
    seed: int,
    response_format: Json | None,
) -> dict[str, Any]:
    """The request without its messages."""
    found: dict[str, Any] = {
        "model": model,
        "max_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
        "n": 1,
        "stream": False,
    }
    if tools:
        found["tools"] = [dict(tool) for tool in tools]
    if response_format is not None:
        found["response_format"] = dict(response_format)
    return found


def wire_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in the API's shape; calls get ids, and each tool's turn answers the next call without an answer."""
    found: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for turn, message in enumerate(messages):
        wire: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.reasoning:
            wire["reasoning_content"] = message.reasoning
        if message.tool_calls:
            open_calls = [f"call_{turn}_{i}" for i in range(len(message.tool_calls))]
            wire["tool_calls"] = [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for call_id, call in zip(open_calls, message.tool_calls, strict=True)
            ]
        if message.role == "tool":
            wire["name"] = message.name
            wire["tool_call_id"] = open_calls.pop(0) if open_calls else f"call_{turn}"
        found.append(wire)
    return found


async def read(response: httpx.Response) -> ChatAnswer:
    """The turn of a response. Raises: Fault."""
    return answer_of(await read_json(response))


def answer_of(answer: Any) -> ChatAnswer:
    """The turn that the server answered. Raises: Fault for what is cut off or no turn at all."""
    choice = only_choice(answer)
    message = part(choice, "message", dict)
    if message is None:
        raise Fault("garbled", f"the answer has no message: {str(choice)[:120]}", is_transient=True)
    reason = part(choice, "finish_reason", str)
    if reason is None:
        raise Fault("truncated", "the answer has no finish_reason: it was cut off", is_transient=True)
    if reason not in _ENDS:
        raise Fault("wrong answer", f"the answer ended with finish_reason {reason!r}")
    calls, violations = _calls(part(message, "tool_calls", list) or [])
    return ChatAnswer(
        message=Message(
            role="assistant",
            content=part(message, "content", str) or "",
            tool_calls=calls,
            reasoning=part(message, "reasoning_content", str) or part(message, "reasoning", str) or "",
        ),
        finish_reason=_ENDS[reason],
        violations=violations,
        model=str(answer.get("model") or ""),
        num_tokens=part(part(answer, "usage", dict) or {}, "completion_tokens", int),
    )


def _calls(found: Sequence[Any]) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    calls, violations = [], []
    for call in found:
        function: Json = (part(call, "function", dict) if isinstance(call, dict) else None) or {}
        name, text = function.get("name"), function.get("arguments")
        try:
            arguments = json.loads(text) if isinstance(text, str) else text
        except ValueError as error:
            arguments = str(error)
        if isinstance(name, str) and isinstance(arguments, dict):
            calls.append(ToolCall(name=name, arguments=arguments))
        else:
            violations.append(f"the call {name!r} has arguments that are no JSON object: {str(text)[:200]}")
    return tuple(calls), tuple(violations)
