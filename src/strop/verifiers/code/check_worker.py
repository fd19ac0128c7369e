"""Trusted tests in their worker process: started by ``checking`` through ``processes``, never imported by it.

They call the candidate through proxies, which ask the parent, which asks the sandbox. The code of the candidate never
runs here, and what it answered arrives as plain values.
"""

from __future__ import annotations

import builtins
import random
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from strop.sandbox.codec import CodecError, decode, encode

_CHECK = "<check>"
_NEVER_THE_CANDIDATES = (NameError, ImportError, SyntaxError, MemoryError)


def answer(request: Mapping[str, Any], call: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """``{"outcome": "passed" | "failed" | "error", "reason": ...}``; a request without a check only starts."""
    if "check" not in request:
        return {"ready": True}
    asked = _Asked(call)
    try:
        _run(request, asked)
    except BaseException as error:
        return asked.judged(error)
    if not asked.num_answered:
        return {"outcome": "error", "reason": "the check never called the candidate"}
    return {"outcome": "passed", "reason": "the check passes"}


def _run(request: Mapping[str, Any], asked: _Asked) -> None:
    """Execute the prompt's helpers and the test, then ``check``; random numbers are the same every time."""
    random.seed(0)
    names: dict[str, Any] = {"__name__": "check"}
    exec(compile(request["helpers"], "<prompt>", "exec", dont_inherit=True), names)
    names |= {name: asked.proxy(name) for name in request["functions"]}
    exec(compile(request["check"], _CHECK, "exec", dont_inherit=True), names)
    names["check"](names[request["functions"][0]])


class _ArgumentError(BaseException):
    """The check passes what is no plain value; no ``except Exception`` of its own may hide that."""


class _Asked:
    """What was asked of the candidate."""

    def __init__(self, call: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._call = call
        self._raised: list[BaseException] = []
        self.num_answered = 0

    def proxy(self, function: str) -> Callable[..., Any]:
        """Calls the candidate's function of this name."""

        def candidate(*args: Any, **kwargs: Any) -> Any:
            try:
                request = {"function": function, "args": encode(list(args)), "kwargs": encode(kwargs)}
            except CodecError as error:
                raise _ArgumentError(f"an argument of {function} cannot be passed: {error}") from None
            found = self._call(request)
            self.num_answered += 1
            if "value" in found:
                return decode(found["value"])
            kind = getattr(builtins, found["raised"])
            raised: Exception = kind.__new__(kind)  # some, as UnicodeDecodeError, want more than a message to be made
            raised.args = (found["message"],)
            self._raised.append(raised)
            raise raised

        candidate.__name__ = candidate.__qualname__ = function
        return candidate

    def judged(self, error: BaseException) -> dict[str, Any]:
        """Whose fault it is that the check raised this."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _CHECK]
        where = f"line {lines[-1]} of the check" if lines else "the check"
        if any(error is one for one in self._raised):
            return {"outcome": "failed", "reason": f"{where}: the candidate raised {_text(error)}"}
        told = f"{type(error).__name__}: {_text(error)}".removesuffix(": ")
        if isinstance(error, Exception) and self.num_answered and not isinstance(error, _NEVER_THE_CANDIDATES):
            return {"outcome": "failed", "reason": f"{where} fails ({type(error).__name__})"}
        return {"outcome": "error", "reason": f"{where} raised {told}"}


def _text(error: BaseException) -> str:
    return ": ".join(map(str, error.args))[:300] if error.args else ""
