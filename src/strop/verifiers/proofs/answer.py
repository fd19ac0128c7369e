"""Formal proofs judged by the proof assistant that they are written for."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import strop.sandbox
from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.sandbox import Limits, Sandbox, Tier
from strop.types import Completion, Task, Verdict, VerdictState
from strop.verifiers.proofs.coq import Coq
from strop.verifiers.proofs.judge import ProofJudge
from strop.verifiers.proofs.lean import find_lean, readable_folders
from strop.verifiers.proofs.protocol import Language, ProofResult, Statement, System

LEAN_PROJECT = "STROP_LEAN_PROJECT"
"""The environment variable that names the Lake project where ``ProofAnswer.lean_project`` does not."""
_BLOCK = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)
_LANGUAGES = {"coq": ("", "coq", "rocq", "v"), "lean": ("", "lean", "lean4")}


class _Bench:
    """The judges and their sandboxes, opened when first needed; a copy in another process opens its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = os.getpid()
        self.judges: dict[System, ProofJudge] = {}
        self.sandboxes: list[Sandbox] = []

    def __reduce__(self) -> tuple[type[_Bench], tuple[()]]:
        return _Bench, ()

    def open(self, system: System, answer: ProofAnswer) -> ProofJudge:
        """The judge of that system. Raises: SandboxError, MissingDependencyError, VerifierError."""
        with self.lock:
            if self.owner != os.getpid():  # forked: what is there belongs to the parent, which will end it
                self.judges, self.sandboxes, self.owner = {}, [], os.getpid()
            if system not in self.judges:
                language, folders = _language(system, answer)
                readable = [*answer.readable, *folders]
                sandbox = Sandbox.open(answer.tier, allow_unsafe=answer.allow_unsafe, readable=readable)
                self.sandboxes.append(sandbox)
                self.judges[system] = ProofJudge(language, sandbox.command, tier=sandbox.tier)
            return self.judges[system]

    def close(self) -> None:
        """End the sandboxes; the next ``open`` starts new ones."""
        with self.lock:
            for sandbox in self.sandboxes:
                sandbox.close()
            self.judges, self.sandboxes = {}, []


def _language(system: System, answer: ProofAnswer) -> tuple[Language, tuple[str, ...]]:
    """The language and the folders that it reads."""
    if system == "coq":
        return Coq(program=answer.coqc), ()
    project = answer.lean_project or os.environ.get(LEAN_PROJECT)
    if not project:
        raise VerifierError(
            "no Lean project is named",
            why="Lean proofs are checked with the Lean and the libraries of a Lake project of yours",
            do=f"set {LEAN_PROJECT} to its folder, or ProofAnswer(lean_project=...)",
        )
    lean = find_lean(project)
    return lean, readable_folders(lean)


@dataclass(frozen=True, kw_only=True)
class ProofAnswer:
    """Passes a completion that proves the task's statement; close it, or use it as a context manager.

    ``task.reference`` has ``system`` (``coq`` or ``lean``), ``statement`` and perhaps ``preamble`` (imports, scopes,
    definitions) and ``axioms`` (names that may be assumed beyond Lean's three; see ``REAL_AXIOMS`` for Coq's reals).
    The proof is the last fenced block of that system or the whole text: the theorem under its own name or ``answer``,
    with what it needs before it, or only what follows ``Proof.`` or ``:= by``. What the preamble defines must not be
    defined again. It is judged by two files, see ``ProofJudge``.

    State ``graded`` with score 0: a proof that is wrong, of something else, resting on an axiom or a check switched
    off, or that runs into a limit by its own doing: an endless proof is a wrong one. ``unparsable`` (score 0): no
    proof. Without a score: ``timeout``, the proof was given less than half of its time by the machine; ``error``, the
    statement itself does not compile; ``infrastructure``, the sandbox failed or the system killed the checker. The
    reasons name the line and column in the proof. A truncated completion fails.

    Raises: VerifierError without a statement or a Lean project; MissingDependencyError without the proof assistant;
    SandboxError if this machine offers no sound sandbox.
    """

    is_isolated = True  # see GradingPool
    limits: Limits | None = None
    """Of each of the two runs on a proof; None takes what suits the system: 30 s of processor time for Coq."""
    tier: Tier | None = None
    """None takes the strongest that holds here."""
    allow_unsafe: bool = False
    coqc: str = "coqc"
    """The Coq compiler, in the system's folders or by its path."""
    lean_project: str | None = None
    """The folder of a built Lake project; None takes ``STROP_LEAN_PROJECT``."""
    readable: tuple[str, ...] = ()
    """Further folders that the checker may read, such as a Coq of your own."""
    name: str = "proof"
    _bench: _Bench = field(default_factory=_Bench, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Identity of the code that judges and of the settings."""
        folders = (Path(__file__).parent, Path(strop.sandbox.__file__).parent)
        files = [digest_file(file) for folder in folders for file in sorted(folder.rglob("*.py"))]
        limits = asdict(self.limits) if self.limits is not None else None
        settings = [limits, self.tier, self.allow_unsafe, self.coqc, self.lean_project, self.readable, self.name]
        return digest_json([files, settings])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        statement = statement_of(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        proof = find_proof(completion.text, statement.system)
        if not proof:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no proof found",))
        return verdict_of(self._bench.open(statement.system, self).check(statement, proof, self.limits))

    def require_ready(self, tasks: Sequence[Task]) -> None:
        """Start the checker of each system that the tasks name. Raises: as ``__call__``."""
        for system in sorted({statement_of(task).system for task in tasks}):
            _ = self._bench.open(system, self).version

    def check(self, statement: Statement, proof: str) -> ProofResult:
        """The proof judged by itself. Raises: as ``__call__``."""
        return self._bench.open(statement.system, self).check(statement, proof, self.limits)

    def close(self) -> None:
        """End the sandboxes; the next completion starts new ones."""
        self._bench.close()

    def __enter__(self) -> ProofAnswer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def verdict_of(result: ProofResult) -> Verdict:
    """The verdict: a score where the proof is to blame or praise, a state where the statement or the machine is."""
    state: VerdictState = "graded"
    if result.cause == "statement":
        state = "error"
    elif result.cause == "machine":
        state = "timeout" if result.verdict == "timeout" else "infrastructure"
    passed = result.verdict == "proved"
    told = "no proof within the limits: " if result.verdict == "timeout" else ""
    return Verdict(
        score=float(passed) if state == "graded" else None,
        passed=passed,
        state=state,
        reasons=tuple(told + reason for reason in result.reasons),
        provenance={"checker": f"{result.checker} {result.version}", "sandbox": result.tier},
    )


def statement_of(task: Task) -> Statement:
    """What the task's reference asks to prove. Raises: VerifierError."""
    system, text = task.reference.get("system", ""), task.reference.get("statement")
    preamble, axioms = task.reference.get("preamble", ""), task.reference.get("axioms", ())
    is_sound = system in _LANGUAGES and isinstance(text, str) and text.strip() and isinstance(preamble, str)
    if not is_sound or isinstance(axioms, str) or not all(isinstance(axiom, str) for axiom in axioms):
        raise VerifierError(
            f"task {task.id} has nothing to prove",
            where=task.source or task.id,
            why='ProofAnswer needs {"system": "coq", "statement": "forall n : nat, n + 0 = n"}, perhaps "preamble", '
            '"axioms"',
            do="mend the reference of that task",
        )
    return Statement(system=system, text=str(text), preamble=preamble, axioms=tuple(axioms))


def find_proof(text: str, system: System) -> str:
    """The proof in an answer: its last fenced block of that system, else all of it; thoughts are left out."""
    said = text.rpartition("</think>")[2]
    blocks = [body for language, body in _BLOCK.findall(said) if language.lower() in _LANGUAGES[system]]
    return (blocks[-1] if blocks else said).rstrip() if said.strip() else ""
