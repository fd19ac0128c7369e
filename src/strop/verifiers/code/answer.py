"""Code judged by unit tests that stay outside the sandbox in which it runs."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from strop.digests import digest_file, digest_json
from strop.errors import SandboxError
from strop.sandbox import Limits, Sandbox, Tier, calls
from strop.sandbox.calls import Candidate, CandidateError, SandboxFailureError
from strop.types import Completion, Task, Verdict, VerdictState
from strop.verifiers.code.checking import run_check
from strop.verifiers.code.extraction import find_code, preamble
from strop.verifiers.code.references import CallTest, CodeTests, OutputTest, is_equal, read_tests, same_output
from strop.verifiers.processes import WorkerPool

_FOLDER = Path(__file__).parent
_CHECK_MEMORY_MB = 1024
_SLACK_S = 10.0
_FIRST_THAT_COMPILES = """\
def _compiled(sources):
    problem = None
    for source in sources:
        try:
            return compile(source, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            problem = problem or error
    raise problem
"""


class _Bench:
    """The sandbox and the workers, opened when first needed; a copy in another process opens its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = os.getpid()
        self.sandbox: Sandbox | None = None
        self.checks: WorkerPool | None = None

    def __reduce__(self) -> tuple[type[_Bench], tuple[()]]:
        return _Bench, ()

    def open(self, tier: Tier | None, *, allow_unsafe: bool) -> tuple[Sandbox, WorkerPool]:
        """Both of them. Raises: SandboxError."""
        with self.lock:
            if self.owner != os.getpid():  # forked: what is there belongs to the parent, which will end it
                self.sandbox, self.checks, self.owner = None, None, os.getpid()
            if self.sandbox is None:
                self.sandbox = Sandbox.open(tier, allow_unsafe=allow_unsafe)
            if self.checks is None:
                self.checks = WorkerPool(_FOLDER / "check_worker.py", first={}, memory_mb=_CHECK_MEMORY_MB)
            return self.sandbox, self.checks

    def close(self) -> None:
        """End both; the next ``open`` starts new ones."""
        with self.lock:
            if self.sandbox is not None:
                self.sandbox.close()
            if self.checks is not None:
                self.checks.close()
            self.sandbox = self.checks = None


@dataclass(frozen=True, kw_only=True)
class CodeAnswer:
    """Passes a completion whose code does what the task's tests ask for; close it, or use it as a context manager.

    ``task.reference`` has ``entry_point`` with ``tests`` (calls and the values that they must return, by ``is_equal``)
    or with ``check`` (trusted Python that defines ``check(candidate)``, as HumanEval has it; the ``functions`` beside
    ``entry_point`` that it may call), or ``stdin_tests`` for whole programs; ``prompt`` is the Python that the answer
    goes on from. The code runs in the sandbox; the tests, and what they expect, never do. They call it through
    ``codec``: plain values only, by copy, so that a test sees what is returned and never what is done to an argument.

    State ``graded`` with score 0: a wrong value, an exception, a value that is not plain, a limit of the *candidate*
    (time, CPU, memory, output: it may have looped forever), a process that ended early or not with exit code 0, more
    or other answers than were asked for. ``unparsable`` (score 0): no code, or none that compiles. Without a score:
    ``timeout``, the check itself took over ``check_timeout_s``; ``error``, the check failed before the candidate
    answered or by a fault of its own; ``infrastructure``, the sandbox failed. A truncated completion fails.

    Raises: VerifierError if the task has no tests; SandboxError if this machine offers no sound sandbox.
    """

    limits: Limits = field(default_factory=lambda: Limits(wall_s=20.0, cpu_s=5.0))
    """Of one candidate, all its calls together; of each run, with ``stdin_tests``."""
    check_timeout_s: float = 20.0
    tier: Tier | None = None
    """None takes the strongest that holds here."""
    allow_unsafe: bool = False
    name: str = "code"
    is_isolated: ClassVar[bool] = True
    """Each answer has processes of its own with deadlines: ``GradingPool`` asks it in threads of this one."""
    _bench: _Bench = field(default_factory=_Bench, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Identity of the code that judges and of the settings."""
        files = [*sorted(_FOLDER.glob("*.py")), *sorted(Path(calls.__file__).parent.rglob("*.py"))]
        settings = [asdict(self.limits), self.check_timeout_s, self.tier, self.allow_unsafe, self.name]
        return digest_json([[digest_file(file) for file in files], settings])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        tests = read_tests(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        sources = find_code(completion.text, prompt=tests.prompt, entry_point=tests.entry_point)
        if not sources:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no code found",))
        sandbox, checks = self._bench.open(self.tier, allow_unsafe=self.allow_unsafe)
        try:
            verdict = self._judged(tests, sources, sandbox, checks)
        except CandidateError as error:
            state: VerdictState = "unparsable" if error.kind == "uncompiled" else "graded"
            verdict = Verdict(score=0.0, passed=False, state=state, reasons=(_told(error),))
        except SandboxFailureError as error:
            verdict = Verdict(score=None, passed=False, state="infrastructure", reasons=(str(error),))
        ran_under = {"sandbox": sandbox.tier, "sound": str(sandbox.probe.is_sound), "python": platform.python_version()}
        return replace(verdict, provenance=ran_under)

    def require_ready(self, tasks: Sequence[Task]) -> None:
        """Open the sandbox, if there are tasks. Raises: SandboxError."""
        if tasks:
            self._bench.open(self.tier, allow_unsafe=self.allow_unsafe)

    def close(self) -> None:
        """End the sandbox and the workers; the next completion starts new ones."""
        self._bench.close()

    def __enter__(self) -> CodeAnswer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judged(self, tests: CodeTests, sources: Sequence[str], sandbox: Sandbox, checks: WorkerPool) -> Verdict:
        if tests.outputs:
            return _run_all(sandbox, _program(sources), tests.outputs, self.limits)
        with Candidate(sandbox, sources, limits=self.limits, patience_s=self.check_timeout_s + _SLACK_S) as candidate:
            if tests.calls:
                verdict = _call_all(candidate, tests.entry_point, tests.calls)
            else:
                verdict = self._checked(candidate, tests, checks)
            if verdict.passed:
                candidate.finish()
        return verdict

    def _checked(self, candidate: Candidate, tests: CodeTests, checks: WorkerPool) -> Verdict:
        checked = run_check(
            checks,
            candidate,
            check=tests.check,
            helpers=preamble(tests.prompt, tests.entry_point),
            functions=tests.functions,
            timeout_s=self.check_timeout_s,
        )
        reasons = (checked.reason,)
        if checked.outcome == "timeout" or checked.outcome == "error":
            return Verdict(score=None, passed=False, state=checked.outcome, reasons=reasons)
        passed = checked.outcome == "passed"
        return Verdict(score=float(passed), passed=passed, reasons=reasons)


def _call_all(candidate: Candidate, function: str, tests: Sequence[CallTest]) -> Verdict:
    """Passed if every call returns what it must; the first that does not is named, by its arguments only."""
    failed = []
    for number, test in enumerate(tests, 1):
        try:
            found = candidate.call(function, test.args, test.kwargs)
        except CandidateError as error:
            if error.kind not in ("raised", "refused"):
                raise
            failed.append(f"test {number}: {_told(error)}")
            continue
        if not is_equal(found, test.expect):
            failed.append(f"test {number}: a wrong value")
    reason = failed[0] if failed else f"{len(tests)} tests pass"
    share = 1.0 - len(failed) / len(tests)
    return Verdict(score=float(not failed), passed=not failed, reasons=(reason,), measures={"tests_passed": share})


def _program(sources: Sequence[str]) -> str:
    """A program that is the first of the sources that compiles; if none does, it fails with the first one's error."""
    return _FIRST_THAT_COMPILES + f"exec(_compiled({list(sources)!r}), globals())\n"


def _run_all(sandbox: Sandbox, program: str, tests: Sequence[OutputTest], limits: Limits) -> Verdict:
    """Passed if every run prints what it must and exits with 0; the first that does not is named.

    Twice the expected output, whose line ends may differ, is never above the limit.
    """
    output_kb = max(len(test.stdout.encode(errors="replace")) for test in tests) // 512 + 1
    limits = replace(limits, output_kb=max(limits.output_kb, output_kb))
    for number, test in enumerate(tests, 1):
        try:
            outcome = sandbox.run(program, stdin=test.stdin.encode(), limits=limits)
        except SandboxError as error:
            raise SandboxFailureError(error.what) from error
        if outcome.state == "infrastructure":
            raise SandboxFailureError(outcome.reason)
        if outcome.state != "exited":
            why = outcome.reason or outcome.state
        elif outcome.exit_code != 0:
            why = f"exit code {outcome.exit_code}"
        elif not same_output(outcome.stdout.decode(errors="replace"), test.stdout):
            why = "a wrong output"
        else:
            continue
        return Verdict(score=0.0, passed=False, reasons=(f"test {number}: {why}",))
    return Verdict(score=1.0, passed=True, reasons=(f"{len(tests)} tests pass",))


def _told(error: CandidateError) -> str:
    told = {
        "uncompiled": "no code compiles",
        "raised": "the candidate raised",
        "exit": "the candidate raised",
        "missing": "the candidate defines no such function",
        "refused": "the candidate returned what is no plain value",
        "limit": "the candidate ran into a limit",
        "ended": "the candidate gave no answer",
        "protocol": "the candidate broke the protocol",
    }[error.kind]
    return f"{told}: {error.message}"
