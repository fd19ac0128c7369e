"""Tool calls in an answer: strict and lenient reading, the schema, and the comparison argument by argument."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Json, Task, ToolCall, Verdict

_NAME_KEYS = ("name", "tool", "function", "tool_name", "action")
_ARGUMENT_KEYS = ("arguments", "args", "parameters", "params", "input")


# ----------------------------------------------------------------------------------------------------- reading the text


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
    names = {tool["name"] for tool in map(_function, tools)}
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


# --------------------------------------------------------------------------------------------- comparing and validating


def _function(tool: Json) -> Json:
    function: Json = tool.get("function", tool)
    return function


def schema_problems(call: ToolCall, tools: Sequence[Json]) -> tuple[str, ...]:
    """What is wrong with the call by its tool's JSON Schema (``parameters``): empty if it is valid."""
    import jsonschema

    schemas = {tool["name"]: tool.get("parameters", {}) for tool in map(_function, tools)}
    if call.name not in schemas:
        return (f"unknown tool {call.name}",)
    validator = jsonschema.validators.validator_for(schemas[call.name], jsonschema.Draft202012Validator)
    problems = validator(schemas[call.name]).iter_errors(dict(call.arguments))
    return tuple(sorted(f"{'.'.join(map(str, p.absolute_path)) or 'arguments'}: {p.message}" for p in problems))


def is_same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0 but not true; objects without order, arrays with it."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(is_same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@dataclass(frozen=True, kw_only=True)
class CallMatch:
    """A call beside the expected one, argument by argument."""

    is_right_tool: bool
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Arguments with another value."""
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """The right tool with all arguments right and no others."""
        return self.is_right_tool and not (self.wrong or self.missing or self.extra)

    @property
    def share(self) -> float:
        """Right arguments over all arguments of either call; 0 for the wrong tool, 1 where neither has arguments."""
        total = len(self.right) + len(self.wrong) + len(self.missing) + len(self.extra)
        return float(self.is_right_tool) * (len(self.right) / total if total else 1.0)


def match_call(found: ToolCall, expected: ToolCall) -> CallMatch:
    """How ``found`` differs from ``expected``."""
    if found.name != expected.name:
        return CallMatch(is_right_tool=False, missing=tuple(expected.arguments))
    both = [key for key in expected.arguments if key in found.arguments]
    right = tuple(key for key in both if is_same(found.arguments[key], expected.arguments[key]))
    return CallMatch(
        is_right_tool=True,
        right=right,
        wrong=tuple(key for key in both if key not in right),
        missing=tuple(key for key in expected.arguments if key not in found.arguments),
        extra=tuple(key for key in found.arguments if key not in expected.arguments),
    )


def count_exact(found: Sequence[ToolCall], expected: Sequence[ToolCall]) -> int:
    """How many calls are right, each expected call answered at most once, in any order."""
    left = list(expected)
    for call in found:
        hit = next((index for index, other in enumerate(left) if match_call(call, other).is_exact), None)
        if hit is not None:
            del left[hit]
    return len(expected) - len(left)


# ------------------------------------------------------------------------------------------------------------ the judge


def expected_calls(task: Task) -> tuple[ToolCall, ...]:
    """The task's ``reference["call"]`` (null: no call is right) or ``reference["calls"]``. Raises: VerifierError."""
    reference = task.reference
    calls = reference["calls"] if "calls" in reference else reference.get("call", False)
    calls = [] if calls is None else [calls] if isinstance(calls, Mapping) else calls
    try:
        return tuple(ToolCall(name=str(call["name"]), arguments=dict(call["arguments"])) for call in calls)
    except (KeyError, TypeError, ValueError):
        raise VerifierError(
            f"task {task.id} does not say which call is expected",
            where=task.source or task.id,
            why='ToolCallAnswer needs {"call": {"name": ..., "arguments": {...}}}, {"calls": [...]} or {"call": null}',
            do="mend the reference",
        ) from None


@dataclass(frozen=True, kw_only=True)
class ToolCallAnswer:
    """Passes a completion that makes exactly the expected calls, strictly written; a task may expect none.

    The order of several calls does not matter; text beside them is allowed. Malformed calls are ``unparsable``; a
    truncated completion fails. The reasons name the wrong tool and each wrong, missing and extra argument.
    """

    name: str = "tool_call"

    @property
    def digest(self) -> str:
        """Identity of this file and its settings."""
        return digest_json([digest_file(__file__), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        expected = expected_calls(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            found = parse_calls(completion.text)
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        passed = len(found) == len(expected) == count_exact(found, expected)
        reasons = ("as expected",) if passed else _differences(found, expected)
        return Verdict(score=float(passed), passed=passed, reasons=reasons)


def _differences(found: Sequence[ToolCall], expected: Sequence[ToolCall]) -> tuple[str, ...]:
    if not expected:
        return tuple(f"{call.name} was called where no call was due" for call in found)
    if not found:
        return ("no call where one was due",)
    reasons = [] if len(found) == len(expected) else [f"{len(found)} calls where {len(expected)} were due"]
    for call, other in zip(found, expected, strict=False):
        match = match_call(call, other)
        if not match.is_right_tool:
            reasons.append(f"{call.name} was called instead of {other.name}")
        for kind in ("wrong", "missing", "extra"):
            names = getattr(match, kind) if match.is_right_tool else ()
            reasons.extend(f"{call.name}: argument {key} is {kind}" for key in names)
    return tuple(reasons)


def measure_calls(task: Task, completion: Completion) -> dict[str, float | None]:
    """The tool measures of one answer; None where a measure does not apply.

    ``schema_valid``: the answer's calls parse strictly and satisfy their schemas (over answers that call, or should);
    ``argument_valid``: calls with schema-valid arguments over calls; ``tool_precision``: right calls over calls;
    ``tool_recall``: right calls over expected calls, so that a task counts once however many it expects;
    ``argument_exact``: all calls exactly as expected; ``argument_share``: right arguments of the first call;
    ``lenient_exact``: the same calls in any JSON notation; ``no_call_kept``: no call was tried where none was due;
    ``num_calls``. An unparsable or truncated answer has made no calls.
    """
    expected = expected_calls(task)
    try:
        found = () if completion.is_truncated else parse_calls(completion.text)
        is_parsed = not completion.is_truncated
    except ValueError:
        found, is_parsed = (), False
    lenient = find_calls(completion.text, task.tools)
    valid = sum(not schema_problems(call, task.tools) for call in found)
    right = count_exact(found, expected)
    tried = "<tool_call>" in completion.text
    due = bool(expected)
    return {
        "schema_valid": float(is_parsed and bool(found) and valid == len(found)) if due or tried else None,
        "argument_valid": valid / len(found) if found else None,
        "tool_precision": right / len(found) if found else None,
        "tool_recall": right / len(expected) if due else None,
        "argument_exact": float(len(found) == len(expected) == right) if due else None,
        "argument_share": (match_call(found[0], expected[0]).share if found else 0.0) if due else None,
        "lenient_exact": float(len(lenient) == len(expected) == count_exact(lenient, expected)) if due else None,
        "no_call_kept": None if due else float(not tried),
        "num_calls": float(len(found)),
    }
