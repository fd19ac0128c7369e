"""A dialogue with tools as a trajectory: plans, calls, results, an answer, and under which registry and index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strop.tools.session import ToolSession
from strop.types import Json, Message

_DIGEST: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _step(kind: str, fields: dict[str, Json]) -> Json:
    properties = {"kind": {"const": kind}, **fields}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT: Json = {"type": "string", "minLength": 1}
_PLACE: Json = {"type": "integer", "minimum": 0}
_FIELDS: dict[str, Json] = {
    "steps": {
        "type": "array",
        "items": {
            "oneOf": [
                _step("plan", {"text": _TEXT}),
                _step("call", {"call": _PLACE, "tool": _TEXT, "arguments": {"type": "object"}}),
                _step("result", {"call": _PLACE, "tool": _TEXT, "content": {"type": "string"}}),
                _step("answer", {"text": {"type": "string"}}),
            ]
        },
    },
    "registry": _DIGEST,
    "indices": {"type": "object", "additionalProperties": _DIGEST},
}
TRAJECTORY_SCHEMA: Json = {
    "type": "object",
    "properties": _FIELDS,
    "required": list(_FIELDS),
    "additionalProperties": False,
}
"""JSON Schema of what ``trajectory`` makes; what no schema says, ``trajectory_errors`` does."""


def trajectory(turns: Sequence[Message], session: ToolSession) -> dict[str, Any]:
    """The ``turns`` that ``converse`` returned, step by step, under the session's registry and indices.

    Reasoning, and what an assistant turn says beside its calls, is a plan; calls are numbered over the whole dialogue,
    and a result names its call.
    """
    steps: list[dict[str, Any]] = []
    num_calls = num_results = 0
    for turn in turns:
        if turn.role == "tool":
            steps.append({"kind": "result", "call": num_results, "tool": turn.name, "content": turn.content})
            num_results += 1
        elif turn.role == "assistant":
            said = [turn.reasoning, turn.content if turn.tool_calls else ""]
            steps += [{"kind": "plan", "text": text} for text in said if text]
            for call in turn.tool_calls:
                arguments = dict(call.arguments)
                steps.append({"kind": "call", "call": num_calls, "tool": call.name, "arguments": arguments})
                num_calls += 1
            if not turn.tool_calls:
                steps.append({"kind": "answer", "text": turn.content})
    return {"steps": steps, "registry": session.trace["registry"], "indices": session.trace["indices"]}


def trajectory_errors(value: Any) -> tuple[str, ...]:
    """Why ``value`` is no whole trajectory; empty if it is one.

    Beside the schema: calls are numbered from 0 in order, each has one result of its tool behind it and before any
    answer, and the last step is the only answer.
    """
    from strop.constraints import SchemaValidator

    if errors := SchemaValidator(TRAJECTORY_SCHEMA).errors(value):
        return errors
    errors_found: list[str] = []
    open_calls: dict[int, str] = {}
    num_calls = 0
    for place, step in enumerate(value["steps"]):
        if step["kind"] == "call":
            if step["call"] != num_calls:
                errors_found.append(f"step {place}: the call is numbered {step['call']}, not {num_calls}")
            open_calls[step["call"]] = step["tool"]
            num_calls += 1
        elif step["kind"] == "result" and open_calls.pop(step["call"], None) != step["tool"]:
            errors_found.append(f"step {place}: a result without its call")
        elif step["kind"] in ("plan", "answer") and open_calls:
            errors_found.append(f"step {place}: a call without its result")
            open_calls = {}
    answers = [place for place, step in enumerate(value["steps"]) if step["kind"] == "answer"]
    if answers != [len(value["steps"]) - 1]:
        errors_found.append("the last step, and no other, is the answer")
    return tuple(errors_found)
