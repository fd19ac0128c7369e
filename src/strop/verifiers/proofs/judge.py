"""The two-file judge: a trusted statement, an untrusted proof, and a fresh process that compares them."""

from __future__ import annotations

import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from strop.errors import MissingDependencyError, SandboxError
from strop.sandbox import Limits, Outcome, Tier
from strop.verifiers.proofs.protocol import Cause, Command, Language, ProofResult, ProofVerdict, Statement

SPEC, PROOF, JUDGE = "StropSpec", "StropProof", "StropJudge"
"""The names of the three files, and of the modules that they are."""
_NUM_KEPT = 256
_NUM_REASONS = 4
_MESSAGE_LENGTH = 600


class ProofJudge:
    """Judges proofs of one system; for any number of threads.

    1. The statement, trusted, is compiled by itself, once. 2. The proof is compiled beside it, in a sandbox that sees
    nothing else. 3. A fresh process, in a sandbox again since what was compiled is a file that the proof could shape,
    has the kernel check that the proof has the statement's type, and prints what it rests on. Only that output counts,
    to the letter; nothing that is printed while the proof is compiled is read but for its errors.
    """

    def __init__(self, language: Language, command: Command, *, tier: Tier) -> None:
        self.language, self.tier = language, tier
        self._command = command
        self._specs: OrderedDict[Statement, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @functools.cached_property
    def version(self) -> str:
        """What the checker calls itself. Raises: MissingDependencyError if it does not run in the sandbox."""
        try:
            outcome = self._command(self.language.version_command, files={}, limits=self.language.limits, keep=())
            if outcome.state == "exited" and outcome.exit_code == 0:
                return outcome.stdout.decode(errors="replace").strip()
            why = outcome.reason or outcome.stderr.decode(errors="replace").strip()[:200] or outcome.state
        except SandboxError as error:
            why = error.why or error.what
        raise MissingDependencyError(
            f"{self.language.version_command[0]} does not run in the sandbox",
            why=why,
            do="install it for the whole system (Coq: apt-get install --no-install-recommends coq), or name its folder "
            "in `readable`",
        )

    def warm(self, statement: Statement) -> None:
        """Compile the statement ahead of its proofs."""
        self._spec(statement, self.language.limits)

    def check(self, statement: Statement, proof: str, limits: Limits | None = None) -> ProofResult:
        """What the proof is worth; ``limits`` are of each of the two runs on it. Raises: SandboxError,
        MissingDependencyError.
        """
        limits = limits or self.language.limits
        run = _Run(self, time.monotonic())
        why = self.language.refusal(proof)
        if why:
            return run.result("rejected", reasons=(why,))
        compiled = self._spec(statement, limits)
        if isinstance(compiled, Outcome):
            return run.failed(compiled, "statement", self._told(compiled, SPEC))
        source, target = self.language.suffixes
        spec, proved = SPEC + target, PROOF + target
        submission = self.language.submission(statement, proof)
        files = {spec: compiled, PROOF + source: submission.source.encode(errors="replace")}
        outcome = self._compile(PROOF, files, limits, keep=(proved,))
        errors = self.language.errors(outcome, PROOF + source)
        if proved not in outcome.files or not _is_clean(outcome):
            return run.failed(outcome, "proof", [submission.locate(error) for error in errors])
        files = {spec: compiled, proved: outcome.files[proved], JUDGE + source: self.language.judge.encode()}
        outcome = self._compile(JUDGE, files, limits)
        if not _is_clean(outcome):
            return run.failed(outcome, "proof", ["it proves something else", *self._told(outcome, JUDGE)])
        return self._weighed(run, statement, outcome)

    def _weighed(self, run: _Run, statement: Statement, outcome: Outcome) -> ProofResult:
        axioms = self.language.assumptions(outcome)
        if axioms is None:
            printed = outcome.stdout.decode(errors="replace").strip()[:_MESSAGE_LENGTH]
            return run.result("rejected", reasons=(f"it rests on what is no axiom: {printed}",))
        excess = sorted({*axioms} - self.language.allowed_axioms - {*statement.axioms})
        if excess:
            return run.result("rejected", axioms=axioms, reasons=(f"it assumes {', '.join(excess)}",))
        return run.result("proved", axioms=axioms, reasons=("proved",))

    def _spec(self, statement: Statement, limits: Limits) -> bytes | Outcome:
        """The compiled statement, or how that failed."""
        with self._lock:
            if statement in self._specs:
                self._specs.move_to_end(statement)
                return self._specs[statement]
        source, target = self.language.suffixes
        files = {SPEC + source: self.language.spec(statement).encode()}
        outcome = self._compile(SPEC, files, limits, keep=(SPEC + target,))
        compiled = outcome.files.get(SPEC + target)
        if compiled is None or not _is_clean(outcome):
            return outcome
        with self._lock:
            self._specs[statement] = compiled
            while len(self._specs) > _NUM_KEPT:
                self._specs.popitem(last=False)
        return compiled

    def _compile(self, name: str, files: dict[str, bytes], limits: Limits, keep: Sequence[str] = ()) -> Outcome:
        source = name + self.language.suffixes[0]
        try:
            return self._command(self.language.compile_command(source), files=files, limits=limits, keep=keep)
        except SandboxError:
            _ = self.version  # a checker that is not there is named as such
            raise

    def _told(self, outcome: Outcome, name: str) -> list[str]:
        return [error.message for error in self.language.errors(outcome, name + self.language.suffixes[0])]


class _Run:
    """One check under way."""

    def __init__(self, judge: ProofJudge, started: float) -> None:
        self.judge, self.started = judge, started

    def result(
        self,
        verdict: ProofVerdict,
        *,
        cause: Cause = "proof",
        axioms: tuple[str, ...] = (),
        reasons: Sequence[str] = (),
    ) -> ProofResult:
        return ProofResult(
            verdict=verdict,
            checker=self.judge.language.system,
            version=self.judge.version,
            wall_s=time.monotonic() - self.started,
            tier=self.judge.tier,
            axioms=axioms,
            cause=cause,
            reasons=tuple(reason[:_MESSAGE_LENGTH] for reason in reasons[:_NUM_REASONS]),
        )

    def failed(self, outcome: Outcome, cause: Cause, errors: Sequence[str]) -> ProofResult:
        """What a run that did not succeed says about the proof, or about the statement."""
        reasons = [*errors] or [outcome.reason or outcome.stderr.decode(errors="replace").strip() or outcome.state]
        if outcome.state == "infrastructure" or outcome.exit_code == -9:
            return self.result("checker_error", cause="machine", reasons=reasons)
        if outcome.state == "timeout" and outcome.cpu_s < outcome.wall_s / 2:
            return self.result("timeout", cause="machine", reasons=reasons)
        if cause == "statement":
            return self.result("checker_error", cause=cause, reasons=["the statement does not compile", *reasons])
        return self.result("timeout" if outcome.state in ("timeout", "cpu") else "rejected", reasons=reasons)


def _is_clean(outcome: Outcome) -> bool:
    return outcome.state == "exited" and outcome.exit_code == 0
