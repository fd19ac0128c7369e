"""Calls of known worth for the function-calling leaderboard: each accepted value, and each way to miss."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from strop.types import Task
from strop.verifiers import AuditCase

_MAX_COMBINATIONS = 32
_ABSENT = object()
_UNKNOWN = "no_such_function"
_REFUSAL = "None of the functions fits, so I call none."


def bfcl_cases(tasks: Sequence[Task]) -> list[AuditCase]:
    """Every accepted value of every argument passes; wrong, missing and extra ones, wrong tools and tricks do not."""
    cases = []
    for task in tasks:
        for texts, should_pass, is_cheat in (
            (right_texts(task), True, False),
            (wrong_texts(task), False, False),
            (cheating_texts(task), False, True),
        ):
            cases += [AuditCase(task=task, text=text, should_pass=should_pass, is_cheat=is_cheat) for text in texts]
    return cases


def written(*calls: tuple[str, Mapping[str, Any]]) -> str:
    """The calls as the chat template has them."""
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': dict(arguments)})}\n</tool_call>"
        for name, arguments in calls
    )


def right_calls(task: Task, place: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Concrete forms of a call that is due: each accepted value stands at least once, what may be absent once is.

    All combinations, but at most 32 beside those that it takes to show each value.
    """
    ((name, arguments),) = task.reference["accepted"][place].items()
    required = _required(task, name)
    choices = [
        [value for value in _concrete(values) if value is not _ABSENT or key not in required]
        for key, values in arguments.items()
    ]
    widest = max(map(len, choices), default=1)
    rows = [tuple(values[turn % len(values)] for values in choices) for turn in range(widest)]
    rows += itertools.islice(itertools.product(*choices), _MAX_COMBINATIONS)
    calls = [{key: value for key, value in zip(arguments, row, strict=True) if value is not _ABSENT} for row in rows]
    unique = {json.dumps(call, sort_keys=True): call for call in calls}
    return [(name, call) for call in unique.values()]


def _required(task: Task, name: str) -> Sequence[str]:
    functions = (tool["function"] for tool in task.tools)
    return next((one["parameters"].get("required", ()) for one in functions if one["name"] == name), ())


def _concrete(values: Sequence[Any]) -> list[Any]:
    """The values that the accepted ones stand for: objects have a list of accepted values for every member."""
    out: list[Any] = []
    for value in values:
        if isinstance(value, str) and not value:
            out.append(_ABSENT)
        elif isinstance(value, Mapping):
            out += _objects(value)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            out += [list(items) for items in itertools.islice(itertools.product(*map(_items, value)), 8)]
        else:
            out.append(value)
    return out


def _items(item: Any) -> list[Any]:
    return _objects(item) if isinstance(item, Mapping) else [item]


def _objects(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = [_concrete(values if isinstance(values, list) else [values]) for values in members.values()]
    widest = max(map(len, choices), default=1)
    rows = [tuple(values[turn % len(values)] for values in choices) for turn in range(widest)]
    return [{key: value for key, value in zip(members, row, strict=True) if value is not _ABSENT} for row in rows]


def wrong_value(values: Sequence[Any]) -> Any:
    """A value of the kind of the accepted ones that is surely none of them; None where there is none to be had.

    A number above all accepted ones, a text that holds them all, a list that is longer than all, an object with a
    member too many. The one ambiguous case, left out by this rule, is a truth value of which both are accepted.
    """
    given = [value for value in values if not (isinstance(value, str) and not value)]
    kind: type = type(given[0]) if given else str
    if kind is bool:
        return None if {True, False} <= {value for value in given if isinstance(value, bool)} else not given[0]
    if kind in (int, float):
        return max(value for value in given if isinstance(value, int | float)) + 1
    if kind is list:
        longest: list[Any] = max((value for value in given if isinstance(value, list)), key=len)
        last = longest[-1] if longest and not isinstance(longest[-1], Mapping) else 1
        return [*longest, last]
    if kind is dict:
        return {**_objects(given[0])[0], "unasked": 1}
    return "not " + " nor ".join(map(str, given)) + "!"


def _forms(task: Task) -> list[list[tuple[str, dict[str, Any]]]]:
    """The right calls of each call that is due."""
    return [right_calls(task, place) for place in range(len(task.reference.get("accepted", ())))]


def right_texts(task: Task) -> Iterator[str]:
    """Answers that are right."""
    forms = _forms(task)
    if not forms:
        yield _REFUSAL
        return
    for calls in itertools.zip_longest(*forms):
        turns = [call or form[0] for call, form in zip(calls, forms, strict=True)]
        yield written(*turns)
        yield "I look that up.\n" + written(*reversed(turns))


def wrong_texts(task: Task) -> Iterator[str]:
    """Answers with one mistake each: tool, argument, or call."""
    names = [tool["function"]["name"] for tool in task.tools]
    accepted = task.reference.get("accepted", [])
    if not accepted:
        yield from (written((name, {})) for name in [*names, _UNKNOWN])
        return
    base = [form[0] for form in _forms(task)]
    yield _REFUSAL
    for place, ((name, arguments), one) in enumerate(zip(base, accepted, strict=True)):
        due = one[name]

        def instead(*call: Any, place: int = place) -> str:
            return written(*base[:place], call, *base[place + 1 :])

        yield from (instead(other, arguments) for other in [*names, _UNKNOWN] if other != name)
        yield instead(name, {**arguments, "unasked": 1})
        for key, values in due.items():
            if "" not in values or key in _required(task, name):
                yield instead(name, {k: v for k, v in arguments.items() if k != key})
            wrong = wrong_value(values)
            if wrong is not None:
                yield instead(name, {**arguments, key: wrong})


def cheating_texts(task: Task) -> Iterator[str]:
    """Answers that try to pass without deciding: several calls, a call in prose, an unclosed or doubled one."""
    accepted = task.reference.get("accepted", [])
    names = [tool["function"]["name"] for tool in task.tools]
    if not accepted:
        yield _REFUSAL + "\n" + written((names[0], {}))
        yield f"{_REFUSAL}\n<tool_call>{names[0]}</tool_call>"
        yield written((names[0], {})).removesuffix("</tool_call>")
        return
    base = [form[0] for form in _forms(task)]
    yield written(*base, *base)
    yield written(*base, (_UNKNOWN, {}))
    yield written(*base).replace("<tool_call>", "").replace("</tool_call>", "")
    yield written(*base).removesuffix("</tool_call>")
    yield written(*((name, {key: due[name][key] for key in due[name]}) for (name, _), due in zip(base, accepted)))
