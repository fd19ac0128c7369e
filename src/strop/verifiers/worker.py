"""The process in which a user's scoring function runs: started by ``user``, never imported by it.

It speaks JSON lines over two inherited pipes, so that whatever the function prints cannot be taken for an answer, and
it uses the standard library only, so that it starts in milliseconds. It ends, with everything that the function
started in its process group, when the pipe from its parent closes.
"""

from __future__ import annotations

import faulthandler
import inspect
import json
import math
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

_RESULT_KEYS = ("score", "passed", "reasons")


def main(requests_fd: int, answers_fd: int, lifeline_fd: int) -> None:
    """Load the function named in the first request, then score one request after the other until the pipe closes."""
    faulthandler.register(signal.SIGUSR1)  # so that the parent can ask where a function hangs
    threading.Thread(target=_die_with_parent, args=(lifeline_fd,), daemon=True).start()
    with os.fdopen(requests_fd, "rb") as requests, os.fdopen(answers_fd, "wb") as answers:
        first = json.loads(requests.readline())
        try:
            score = _load(first["path"], first["source"], first["function"])
        except BaseException as error:
            _send(answers, _failure(error, first["path"]))
            return
        _send(answers, {"ready": True})
        for line in requests:
            _send(answers, _answer(score, json.loads(line), first["path"]))


def _die_with_parent(lifeline_fd: int) -> None:
    """Wait until the parent's end closes, by whatever death, then end the whole process group."""
    os.read(lifeline_fd, 1)
    os.killpg(0, signal.SIGKILL)


def _send(answers: BinaryIO, value: Mapping[str, Any]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


def _load(path: str, source: str, function: str) -> Callable[..., Any]:
    sys.path.insert(0, os.path.dirname(path))
    module = types.ModuleType("strop_user_code")
    module.__file__ = path
    sys.modules[module.__name__] = module
    exec(compile(source, path, "exec"), module.__dict__)
    score = getattr(module, function, None)
    if not callable(score):
        known = sorted(
            name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")
        )
        raise _NoFunctionError(", ".join(known))
    return score  # type: ignore[no-any-return]


class _NoFunctionError(Exception):
    """The file has no such function; the message lists those that it has."""


def _answer(score: Callable[..., Any], request: Mapping[str, Any], path: str) -> dict[str, Any]:
    try:
        arguments = _arguments(score, request["available"])
        value = score(**arguments)
    except BaseException as error:
        return _failure(error, path)
    try:
        return {"result": _checked(value)}
    except (TypeError, ValueError) as error:
        return {"bad_result": str(error)}


def _arguments(score: Callable[..., Any], available: Mapping[str, Any]) -> dict[str, Any]:
    """What the function asks for by name; everything if it takes ``**row``."""
    parameters = inspect.signature(score).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        wanted = dict(available)
    else:
        wanted = {p.name: available[p.name] for p in parameters if p.name in available}
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    missing = [p.name for p in named if p.default is p.empty and p.name not in wanted]
    if missing:
        raise _SignatureError(f"it asks for {', '.join(missing)}; there are: {', '.join(available)}")
    return wanted


class _SignatureError(Exception):
    """The function asks for an argument that the row does not have."""


def _checked(value: Any) -> dict[str, Any]:
    """The result as ``{"score", "passed", "reasons", "measures"}``. Raises: TypeError, ValueError."""
    if not isinstance(value, Mapping):
        score, is_flag = _number(value, "it returned")
        return {"score": score, "passed": bool(value) if is_flag else None, "reasons": [], "measures": {}}
    if "score" not in value and "passed" not in value:
        raise ValueError(f"it returned a dict without `score` or `passed`: {_shown(dict(value))}")
    passed = value.get("passed")
    if passed is not None:
        number, is_flag = _number(passed, "its `passed` is")
        if not is_flag and number not in (0.0, 1.0):
            raise ValueError(f"its `passed` is {_shown(passed)}, not true or false")
        passed = bool(number)
    reasons = value.get("reasons", [])
    reasons = [reasons] if isinstance(reasons, str) else [str(reason) for reason in reasons or []]
    score = _number(value["score"], "its `score` is")[0] if "score" in value else float(bool(passed))
    measures = {
        str(key): _number(measure, f"its `{key}` is")[0] for key, measure in value.items() if key not in _RESULT_KEYS
    }
    return {"score": score, "passed": passed, "reasons": reasons, "measures": measures}


def _number(value: Any, what: str) -> tuple[float, bool]:
    """The value as a finite float, and whether it was a truth value; numpy and torch scalars count."""
    if hasattr(value, "item") and getattr(value, "shape", None) in ((), (1,)):
        value = value.item()
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{what} {_shown(value)}, which is a {type(value).__name__}, not a number")
    if not math.isfinite(value):
        raise ValueError(f"{what} {value}")
    return float(value), isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _failure(error: BaseException, path: str) -> dict[str, Any]:
    """The error with the deepest line of the user's own file."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == path:
            line = frame.lineno
    return {"error": type(error).__name__, "message": _text(error), "line": line}


def _text(error: BaseException) -> str:
    return (error.msg if isinstance(error, SyntaxError) else str(error))[:2000]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
