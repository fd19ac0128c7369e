"""A user's scoring function in its worker process: started by ``user`` through ``processes``, never imported by it.

The first request loads the file, every further one scores. It uses the standard library only.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any

_RESULT_KEYS = ("score", "passed", "reasons")


_LOADED: list[tuple[Callable[..., Any], str]] = []
"""The function and its file's path, once the first request named them."""


def answer(request: Mapping[str, Any], call: object) -> dict[str, Any]:
    """Load the function named in the first request; afterwards its score, or how it failed."""
    if _LOADED:
        return _answer(_LOADED[0][0], request, _LOADED[0][1])
    try:
        _LOADED.append((_load(request["path"], request["source"], request["function"]), request["path"]))
    except BaseException as error:
        return _failure(error, request["path"])
    return {"ready": True}


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
