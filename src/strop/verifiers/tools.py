"""Tool calls in an answer, judged: the right tools with the right arguments, in order or in any, or none at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Json, Task, ToolCall, Verdict
from strop.verifiers import accepted as comparing
from strop.verifiers import calls as reading
from strop.verifiers import text as text_rules
from strop.verifiers.accepted import (
    BFCL,
    EXACT,
    AcceptedCall,
    CallMatch,
    DueCall,
    Leniency,
    count_exact,
    is_same,
    match_call,
    pair_calls,
)
from strop.verifiers.calls import find_calls, parse_calls, spoken
from strop.verifiers.text import says_something

__all__ = [
    "BFCL",
    "AcceptedCall",
    "CallMatch",
    "DueCall",
    "Leniency",
    "ToolCallAnswer",
    "count_exact",
    "expected_calls",
    "find_calls",
    "is_same",
    "match_call",
    "measure_calls",
    "parse_calls",
    "schema_problems",
]


def schema_problems(call: ToolCall, tools: Sequence[Json]) -> tuple[str, ...]:
    """What is wrong with the call by its tool's signature, ``constraints.call_errors``: empty if it is valid."""
    from strop.constraints import call_errors  # needs torch, which a verdict does not

    return call_errors(tools, call)


def expected_calls(task: Task) -> tuple[DueCall, ...]:
    """The calls that the task's reference names as due. Raises: VerifierError if it does not.

    ``{"call": {"name": ..., "arguments": {...}}}``, ``{"calls": [...]}``, ``{"call": null}`` where no call is right, or
    ``{"accepted": [{"function": {"argument": [value, ...]}}]}`` with all accepted values; "" says: may be absent.
    """
    reference = task.reference
    if "accepted" in reference:
        return tuple(_accepted(task, entry) for entry in _listed(task, reference["accepted"]))
    calls = reference["calls"] if "calls" in reference else reference.get("call", False)
    calls = [] if calls is None else [calls] if isinstance(calls, Mapping) else calls
    try:
        return tuple(ToolCall(name=str(call["name"]), arguments=dict(call["arguments"])) for call in calls)
    except (KeyError, TypeError, ValueError):
        raise _unsaid(task) from None


def _listed(task: Task, value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise _unsaid(task)
    return value


def _accepted(task: Task, entry: object) -> AcceptedCall:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise _unsaid(task)
    ((name, arguments),) = entry.items()
    if not isinstance(arguments, Mapping) or not all(isinstance(one, list | tuple) for one in arguments.values()):
        raise _unsaid(task)
    functions = [tool.get("function", tool) for tool in task.tools]
    schema = next((one.get("parameters") for one in functions if one.get("name") == name), None)
    return AcceptedCall(name=str(name), arguments=dict(arguments), parameters=schema or {})


def _unsaid(task: Task) -> VerifierError:
    return VerifierError(
        f"task {task.id} does not say which call is expected",
        where=task.source or task.id,
        why='ToolCallAnswer needs {"call": {"name": ..., "arguments": {...}}}, {"calls": [...]}, {"call": null} '
        'or {"accepted": [{"function": {"argument": [values]}}]}',
        do="mend the reference",
    )


# ------------------------------------------------------------------------------------------------------------ the judge


@dataclass(frozen=True, kw_only=True)
class ToolCallAnswer:
    """Passes a completion that makes exactly the expected calls, strictly written; a task may expect none.

    Text beside the calls is allowed. Malformed calls are ``unparsable``, and so is silence where no call is due; a
    truncated completion fails. The reasons name the wrong tool and each wrong, missing and extra argument.
    """

    name: str = "tool_call"
    order: Literal["any", "as_due"] = "any"
    """Whether several calls must come in the order of the reference."""
    leniency: Leniency = EXACT
    """What does not count when values are compared."""

    @property
    def digest(self) -> str:
        """Identity of the files that read and compare, and of the settings."""
        files = [__file__, *reading.code_files(), *(str(module.__file__) for module in (comparing, text_rules))]
        return digest_json([*map(digest_file, files), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        expected = expected_calls(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            found = parse_calls(completion.text)
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        if not expected and not found and not says_something(spoken(completion.text)):
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("nothing is said",))
        reasons = tuple(self._differences(found, expected))
        return Verdict(score=float(not reasons), passed=not reasons, reasons=reasons or ("as expected",))

    def _differences(self, found: Sequence[ToolCall], expected: Sequence[DueCall]) -> Iterator[str]:
        """What is wrong; nothing if the calls are the expected ones."""
        if not expected:
            yield from (f"{call.name} was called where no call was due" for call in found)
            return
        if not found:
            yield "no call where one was due"
            return
        pairs = pair_calls(found, expected, leniency=self.leniency)
        if self.order == "as_due":
            if len(pairs) == len(found) == len(expected) and not self._is_in_order(found, expected):
                yield "the calls are right but not in the order in which they were due"
            pairs = {place: place for place in range(min(len(found), len(expected)))}
        if len(found) != len(expected):
            yield f"{len(found)} calls where {len(expected)} were due"
        for due, place in _all_paired(pairs, found, expected):
            label = f"call {place + 1}: " if len(found) > 1 else ""
            yield from (label + reason for reason in self._reasons(found[place], expected[due]))

    def _is_in_order(self, found: Sequence[ToolCall], expected: Sequence[DueCall]) -> bool:
        return all(match_call(*pair, leniency=self.leniency).is_exact for pair in zip(found, expected, strict=True))

    def _reasons(self, call: ToolCall, due: DueCall) -> Iterator[str]:
        match = match_call(call, due, leniency=self.leniency)
        if not match.is_right_tool:
            yield f"{call.name} was called instead of {due.name}"
        for kind in ("wrong", "missing", "extra"):
            names = getattr(match, kind) if match.is_right_tool else ()
            yield from (f"{call.name}: argument {key} is {kind}" for key in names)


def _all_paired(
    pairs: Mapping[int, int], found: Sequence[ToolCall], expected: Sequence[DueCall]
) -> list[tuple[int, int]]:
    """The pairs, and what is left over beside what is left due: first by the tool's name, then as it comes."""
    paired = dict(pairs)
    left = [place for place in range(len(found)) if place not in paired.values()]
    for is_same_tool in (True, False):
        for due in range(len(expected)):
            place = next((p for p in left if not is_same_tool or found[p].name == expected[due].name), None)
            if due not in paired and place is not None:
                paired[due] = place
                left.remove(place)
    return sorted(paired.items(), key=lambda pair: pair[1])


def measure_calls(task: Task, completion: Completion, *, leniency: Leniency = EXACT) -> dict[str, float | None]:
    """The tool measures of one answer; None where a measure does not apply.

    ``schema_valid``: the answer's calls parse strictly and satisfy their schemas (over answers that call, or should);
    ``argument_valid``: calls with schema-valid arguments over calls; ``tool_precision``: right calls over calls;
    ``tool_recall``: right calls over expected calls, so that a task counts once however many it expects;
    ``argument_exact``: all calls exactly as expected; ``argument_share``: right arguments of the first call;
    ``lenient_exact``: the same calls in any JSON notation; ``no_call_kept``: no call was tried where none was due;
    ``known_tool``: calls of tools that exist, over calls; ``tool_success``: results of tools in the prompt that are no
    ``{"error": ...}``, over results; ``num_calls``. An unparsable or truncated answer has made no calls.
    """
    expected = expected_calls(task)
    try:
        found = () if completion.is_truncated else parse_calls(completion.text)
        is_parsed = not completion.is_truncated
    except ValueError:
        found, is_parsed = (), False
    lenient = find_calls(completion.text, task.tools)
    valid = sum(not schema_problems(call, task.tools) for call in found)
    right, loosely = (count_exact(calls, expected, leniency=leniency) for calls in (found, lenient))
    names = {tool.get("function", tool)["name"] for tool in task.tools}
    tried = "<tool_call>" in completion.text
    due = bool(expected)
    first = match_call(found[0], expected[0], leniency=leniency).share if found and due else 0.0
    return {
        "schema_valid": float(is_parsed and bool(found) and valid == len(found)) if due or tried else None,
        "argument_valid": valid / len(found) if found else None,
        "known_tool": sum(call.name in names for call in found) / len(found) if found else None,
        "tool_success": _success(task),
        "tool_precision": right / len(found) if found else None,
        "tool_recall": right / len(expected) if due else None,
        "argument_exact": float(len(found) == len(expected) == right) if due else None,
        "argument_share": first if due else None,
        "lenient_exact": float(len(lenient) == len(expected) == loosely) if due else None,
        "no_call_kept": None if due else float(not tried),
        "num_calls": float(len(found)),
    }


def _success(task: Task) -> float | None:
    results = [_is_error(message.content) for message in task.prompt if message.role == "tool"]
    return results.count(False) / len(results) if results else None


def _is_error(content: str) -> bool:
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, Mapping) and "error" in value
