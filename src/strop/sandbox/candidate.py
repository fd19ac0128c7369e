"""The program in the sandbox: executes the candidate's source and answers calls of its functions.

It is sent into the sandbox as text, behind ``codec``, and uses the standard library only. It may be taken over by the
code that it runs, so nothing here is trusted: it can only say plain values, and what they are worth is judged outside.
Requests and answers are one JSON line each; an answer repeats the nonce of its request.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from typing import Any, BinaryIO

from strop.sandbox.codec import decode, dumps, encode, loads

_KEPT_MESSAGE = 300


def main() -> None:
    """Load the sources of the first request, then answer calls until the request to finish."""
    requests = os.fdopen(int(os.environ.pop("STROP_REQUESTS")), "rb", closefd=False)
    answers = os.fdopen(int(os.environ.pop("STROP_ANSWERS")), "wb", closefd=False)
    module = types.ModuleType("candidate")  # no "__main__", so that a program's own demonstration stays asleep
    sys.modules[module.__name__] = module
    num_answered = 0
    for line in requests:
        request = loads(line)
        if "finish" in request:
            _send(answers, {"nonce": request["nonce"], "answered": num_answered})
            return
        if "load" in request:
            found = _load(module, request["load"])
        else:
            found = _call(module, request)
            num_answered += 1
        _send(answers, {"nonce": request["nonce"], **found})


def _send(answers: BinaryIO, content: dict[str, Any]) -> None:
    answers.write(dumps(content) + b"\n")
    answers.flush()


def _load(module: types.ModuleType, sources: list[str]) -> dict[str, Any]:
    """Execute the first source that compiles."""
    problem: BaseException | None = None
    for source in sources:
        try:
            code = compile(source, "<candidate>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            problem = problem or error
            continue
        try:
            exec(code, module.__dict__)
        except BaseException as error:
            return _raised(error)
        return {"loaded": True}
    return {"uncompiled": f"{type(problem).__name__}: {_text(problem)}"}


def _call(module: types.ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    arguments, named = decode(request["args"]), decode(request["kwargs"])
    function = module.__dict__.get(request["call"])
    if not callable(function):
        return {"missing": request["call"]}
    try:
        value = function(*arguments, **named)
    except BaseException as error:
        return _raised(error)
    try:
        return {"value": encode(value)}
    except Exception as error:
        return {"refused": _text(error)}


def _raised(error: BaseException) -> dict[str, Any]:
    """The error by the nearest of Python's own classes that it is."""
    known = (kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
    return {"raised": next(known, "BaseException"), "message": f"{type(error).__name__}: {_text(error)}"}


def _text(error: BaseException | None) -> str:
    try:
        return str(error)[:_KEPT_MESSAGE]
    except BaseException:
        return ""


if __name__ == "__main__":
    main()
