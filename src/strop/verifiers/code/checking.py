"""A trusted check and an untrusted candidate, brought together: each in its own process, neither in ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from strop.sandbox.calls import Candidate, CandidateError
from strop.sandbox.codec import decode, encode
from strop.verifiers.processes import WorkerPool


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of a check: the candidate ``passed`` or ``failed``; or the check itself could not be finished."""

    outcome: Literal["passed", "failed", "timeout", "error"]
    reason: str


def run_check(
    pool: WorkerPool, candidate: Candidate, *, check: str, helpers: str, functions: Sequence[str], timeout_s: float
) -> Checked:
    """Execute ``check`` (Python that defines ``check(candidate)``) with proxies for the candidate's ``functions``.

    ``helpers`` is trusted Python that is executed before. An exception of the check is the candidate's fault once it
    has answered a call, unless it is a NameError, ImportError, SyntaxError or MemoryError of the check's own. The check
    itself may take ``timeout_s``, what the candidate may take left out. Raises: CandidateError (never ``raised``),
    SandboxFailureError, and VerifierError if no worker can be started.
    """
    request = {"check": check, "helpers": helpers, "functions": list(functions)}

    def on_call(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return _called(candidate, asked)

    answer = pool.ask(request, timeout_s + candidate.limits.wall_s, on_call=on_call)
    if answer.state == "answered":
        return Checked(**answer.value)
    if answer.state == "timeout":
        return Checked(outcome="timeout", reason=f"the check itself took over {timeout_s:g} s")
    return Checked(outcome="error", reason=f"the check's process failed: {answer.how}")


def _called(candidate: Candidate, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the candidate answers, or which of Python's exceptions it raised."""
    args, kwargs = decode(asked["args"]), decode(asked["kwargs"])
    try:
        return {"value": encode(candidate.call(asked["function"], args, kwargs))}
    except CandidateError as error:
        if error.exception is None:
            raise
        return {"raised": error.exception.__name__, "message": error.message}
