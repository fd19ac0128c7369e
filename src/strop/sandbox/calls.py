"""Calling the functions of untrusted code: the code in the sandbox, the caller and what it expects outside."""

from __future__ import annotations

import builtins
import functools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from strop.errors import SandboxError, StropError
from strop.sandbox.codec import CodecError, decode, dumps, encode, loads
from strop.sandbox.outcome import Limits, Outcome, SessionEnded
from strop.sandbox.sandbox import Sandbox

FailureKind = Literal["uncompiled", "raised", "exit", "missing", "refused", "limit", "ended", "protocol"]
_END_TIMEOUT_S = 2.0
_KEPT_MESSAGE = 300


class CandidateError(StropError):
    """The candidate did not answer with a plain value, and why. Always its own fault.

    ``uncompiled``: no source compiles; ``raised``: an exception; ``exit``: ``SystemExit``, or another that would end
    its caller's loop; ``missing``: no such function; ``refused``: what it returned is not plain; ``limit``: time, CPU,
    memory or output; ``ended``: its process ended; ``protocol``: an answer that was not asked for, or malformed.
    """

    def __init__(self, kind: FailureKind, message: str, *, exception: type[Exception] | None = None) -> None:
        self.kind, self.message, self.exception = kind, message, exception
        super().__init__(f"{kind}: {message}")


class SandboxFailureError(StropError):
    """The sandbox itself failed: nobody knows what the candidate is worth."""


class Candidate:
    """One candidate in one session of a sandbox: ``candidate.call("f", [1, 2])``; a context manager.

    ``sources`` are alternatives, of which the first that compiles is executed. Arguments and values pass by copy
    through ``codec``: what the candidate does to an argument stays in the sandbox. All its answers together may take
    ``limits.wall_s``; the caller may take up to ``patience_s`` between them. Raises: CandidateError,
    SandboxFailureError.
    """

    def __init__(
        self, sandbox: Sandbox, sources: Sequence[str], *, limits: Limits | None = None, patience_s: float = 60.0
    ) -> None:
        self.limits = limits or Limits()
        self.num_calls = 0
        self._left_s = self.limits.wall_s
        lifetime_s = self.limits.wall_s + patience_s
        try:
            self._session = sandbox.start(candidate_program(), limits=replace(self.limits, wall_s=lifetime_s))
        except SandboxError as error:
            raise SandboxFailureError(error.what) from error
        try:
            self._expect(self._ask({"load": list(sources)}), "loaded")
        except BaseException:
            self.close()
            raise

    def call(self, function: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """What the function returns, a plain value.

        Raises: CandidateError, SandboxFailureError; CodecError if an argument is not plain. After an error other than
        ``raised``, ``missing`` and ``refused`` it cannot be called again.
        """
        request = {"call": function, "args": encode(list(args)), "kwargs": encode(dict(kwargs or {}))}
        self.num_calls += 1
        answer = self._expect(self._ask(request), "value")
        try:
            return decode(answer["value"])
        except CodecError as error:
            raise self._broken(str(error)) from None

    def finish(self) -> None:
        """Let it end by itself: it must have answered once a call, say nothing more, and exit with 0."""
        answer = self._expect(self._ask({"finish": True}), "answered")
        if answer["answered"] != self.num_calls:
            raise self._broken(f"{answer['answered']!r} answers to {self.num_calls} calls")
        try:
            self._session.receive(min(self._left_s, _END_TIMEOUT_S))
        except SessionEnded as ended:
            if ended.outcome.state == "exited" and ended.outcome.exit_code == 0:
                return
            raise self._ended(ended.outcome) from None
        except TimeoutError:
            raise CandidateError("limit", "it did not end after the last answer") from None
        raise self._broken("an answer that nobody asked for")

    def close(self) -> Outcome:
        """Kill what is left of it; how it ended."""
        return self._session.end()

    def __enter__(self) -> Candidate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to the request, which must repeat its nonce."""
        nonce = secrets.token_hex(16)
        started = time.monotonic()
        try:
            self._session.send(dumps({"nonce": nonce, **request}))
            line = self._session.receive(max(0.0, self._left_s))
        except SessionEnded as ended:
            raise self._ended(ended.outcome) from None
        except TimeoutError:
            self.close()
            raise CandidateError("limit", f"no answer within {self.limits.wall_s:g} s") from None
        finally:
            self._left_s -= time.monotonic() - started
        try:
            answer = loads(line)
        except CodecError as error:
            raise self._broken(str(error)) from None
        if not isinstance(answer, dict) or answer.pop("nonce", None) != nonce:
            raise self._broken("an answer without the nonce of its request")
        return answer

    def _expect(self, answer: dict[str, Any], key: str) -> dict[str, Any]:
        """The answer if it has the key; otherwise what it tells of a failure is raised."""
        if key in answer:
            return answer
        message = answer.get("message")
        for kind in ("uncompiled", "missing", "refused"):
            if kind in answer:
                raise CandidateError(kind, _text(answer[kind]))
        name = answer.get("raised")
        exception = _EXCEPTIONS.get(name) if isinstance(name, str) else None
        if exception is not None:
            raise CandidateError("raised", _text(message), exception=exception)
        if "raised" in answer:
            raise CandidateError("exit", _text(message))
        raise self._broken(f"an answer without {key!r}")

    def _broken(self, why: str) -> CandidateError:
        self.close()
        return CandidateError("protocol", why)

    def _ended(self, outcome: Outcome) -> StropError:
        if outcome.state == "infrastructure":
            return SandboxFailureError(outcome.reason)
        if outcome.state in ("timeout", "cpu", "memory", "output"):
            return CandidateError("limit", outcome.reason or outcome.state)
        how = f"with exit code {outcome.exit_code}" if outcome.state == "exited" else f"({outcome.state})"
        return CandidateError("ended", f"its process ended {how}")


@functools.cache
def candidate_program() -> str:
    """The source of the program in the sandbox: ``codec`` under its own name, then ``candidate``."""
    folder = Path(__file__).parent
    codec, program = (folder.joinpath(name).read_text() for name in ("codec.py", "candidate.py"))
    parents = ("strop", "strop.sandbox")
    opening = [
        "import sys, types",
        *(f"sys.modules[{name!r}] = types.ModuleType({name!r})" for name in parents),
        "_codec = sys.modules['strop.sandbox.codec'] = types.ModuleType('strop.sandbox.codec')",
        f"exec(compile({codec!r}, '<codec>', 'exec', dont_inherit=True), _codec.__dict__)",
        f"exec(compile({program!r}, '<program>', 'exec', dont_inherit=True), {{'__name__': '__main__'}})",
    ]
    return "\n".join(opening)


_EXCEPTIONS: Mapping[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    # raised outside, these would end the loop of whoever asked, as if there were nothing more to check
    and not issubclass(kind, StopIteration | StopAsyncIteration)
}


def _text(value: object) -> str:
    return value[:_KEPT_MESSAGE] if isinstance(value, str) else ""
