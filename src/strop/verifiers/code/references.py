"""What a task says about how its code is judged: calls with values, a check, or programs with their output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.errors import VerifierError
from strop.sandbox.codec import CodecError, encode
from strop.types import Task


@dataclass(frozen=True, kw_only=True)
class CallTest:
    """``function(*args, **kwargs)`` must return ``expect``."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    expect: Any


@dataclass(frozen=True, kw_only=True)
class OutputTest:
    """The program must print ``stdout`` when it reads ``stdin``."""

    stdin: str
    stdout: str


@dataclass(frozen=True, kw_only=True)
class CodeTests:
    """Exactly one of ``calls``, ``check`` and ``outputs`` is not empty."""

    entry_point: str = ""
    prompt: str = ""
    """The Python that the answer goes on from; trusted."""
    calls: tuple[CallTest, ...] = ()
    check: str = ""
    functions: tuple[str, ...] = ()
    """What the check may call: ``entry_point`` first."""
    outputs: tuple[OutputTest, ...] = ()


def read_tests(task: Task) -> CodeTests:
    """The tests in the task's reference. Raises: VerifierError, saying what is wrong with them."""
    reference = task.reference
    given = [key for key in ("tests", "check", "stdin_tests") if reference.get(key)]
    try:
        if len(given) != 1:
            raise ValueError(f"it has {' and '.join(given) or 'no tests'}")
        prompt, entry_point = reference.get("prompt", ""), reference.get("entry_point", "")
        if not isinstance(prompt, str) or not isinstance(entry_point, str):
            raise ValueError("`prompt` and `entry_point` must be texts")
        if given == ["stdin_tests"]:
            return CodeTests(prompt=prompt, outputs=tuple(_output_test(one) for one in reference["stdin_tests"]))
        if not entry_point.isidentifier():
            raise ValueError(f"`entry_point` is {entry_point!r}, not the name of a function")
        if given == ["tests"]:
            calls = tuple(_call_test(one) for one in reference["tests"])
            return CodeTests(entry_point=entry_point, prompt=prompt, calls=calls)
        functions = _functions(entry_point, reference.get("functions", ()))
        check = reference["check"]
        if not isinstance(check, str) or "check" not in check:
            raise ValueError("`check` must be Python that defines check(candidate)")
        return CodeTests(entry_point=entry_point, prompt=prompt, check=check, functions=functions)
    except (TypeError, ValueError) as error:
        raise VerifierError(
            f"task {task.id} does not say how its code is judged: {error}",
            where=task.source or task.id,
            why='CodeAnswer needs `entry_point` with `tests` ([{"call": [1, 2], "expect": 3}]) or `check` (Python that '
            'defines check(candidate)), or `stdin_tests` ([{"stdin": "1 2", "stdout": "3"}])',
            do="mend the reference of that task",
        ) from None


def is_equal(found: Any, expected: Any) -> bool:
    """Whether two plain values are equal with equal types; 2 and 2.0 are, True and 1 are not, nan equals nan."""
    if isinstance(found, int | float) and isinstance(expected, int | float):
        if isinstance(found, bool) or isinstance(expected, bool):
            return found is expected
        return found == expected or (found != found and expected != expected)  # isnan fails on a huge int
    if type(found) is not type(expected):
        return False
    if isinstance(found, list | tuple):
        return len(found) == len(expected) and all(map(is_equal, found, expected))
    if isinstance(found, dict):
        same_keys = found.keys() == expected.keys() and is_equal({*found}, {*expected})
        return same_keys and all(is_equal(found[key], expected[key]) for key in expected)
    if isinstance(found, set | frozenset):
        return found == expected and {*map(_told_apart, found)} == {*map(_told_apart, expected)}
    return bool(found == expected)


def _told_apart(member: Any) -> Any:
    """A member of a set, or a key, such that True and 1 differ."""
    if isinstance(member, tuple | frozenset):
        return type(member)(map(_told_apart, member))
    return (bool, member) if isinstance(member, bool) else member


def same_output(found: str, expected: str) -> bool:
    """Whether the lines are equal but for spaces at their ends and empty lines at the end of all."""
    return _lines(found) == _lines(expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _call_test(row: Mapping[str, Any]) -> CallTest:
    if not isinstance(row, Mapping) or not {"call", "expect"} <= row.keys() <= {"call", "kwargs", "expect"}:
        raise ValueError(f"a test must have `call` and `expect`, perhaps `kwargs`: {row!r}")
    args, kwargs = row["call"], row.get("kwargs", {})
    if isinstance(args, str) or not isinstance(args, Sequence) or not isinstance(kwargs, Mapping):
        raise ValueError(f"`call` must be a list of arguments, `kwargs` an object: {row!r}")
    try:
        encode([*args, dict(kwargs), row["expect"]])
    except CodecError as error:
        raise ValueError(f"{error}: {row!r}") from None
    return CallTest(args=tuple(args), kwargs=dict(kwargs), expect=row["expect"])


def _output_test(row: Mapping[str, Any]) -> OutputTest:
    if not isinstance(row, Mapping) or row.keys() != {"stdin", "stdout"}:
        raise ValueError(f"a test must have `stdin` and `stdout`: {row!r}")
    if not all(isinstance(text, str) for text in row.values()):
        raise ValueError(f"`stdin` and `stdout` must be texts: {row!r}")
    return OutputTest(stdin=row["stdin"], stdout=row["stdout"])


def _functions(entry_point: str, others: Sequence[str]) -> tuple[str, ...]:
    if isinstance(others, str) or not all(isinstance(name, str) and name.isidentifier() for name in others):
        raise ValueError("`functions` must be a list of names")
    return (entry_point, *(name for name in others if name != entry_point))
