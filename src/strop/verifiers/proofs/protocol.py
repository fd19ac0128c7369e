"""What a proof checker is asked and what it answers, whatever the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from strop.sandbox import Limits, Outcome, Tier

System = Literal["coq", "lean"]
ProofVerdict = Literal["proved", "rejected", "timeout", "checker_error"]
Cause = Literal["proof", "statement", "machine"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What is to be proved; trusted."""

    system: System
    text: str
    """A proposition, or ``Theorem name (x : nat) : …`` as the system writes it, with or without an open proof."""
    preamble: str = ""
    """Imports, scopes and definitions before it."""
    axioms: tuple[str, ...] = ()
    """What may be assumed beyond the system's own allowance, in the names that it prints."""


@dataclass(frozen=True, kw_only=True)
class ProofResult:
    """What came of a proof."""

    verdict: ProofVerdict
    """``checker_error``: nobody knows what the proof is worth. ``timeout``: a limit of time, see ``cause``."""
    checker: System
    version: str
    wall_s: float
    tier: Tier
    axioms: tuple[str, ...] = ()
    """What the proof rests on, as far as that was found out."""
    cause: Cause = "proof"
    """Whose doing it is if it was not proved: a proof that runs into the limit of processor time is its own; one that
    was not given half of the time that it waited is the machine's."""
    reasons: tuple[str, ...] = ()
    """Errors in the proof first say where: ``line 2, column 7: …``, counted from 1 in the proof as it was given."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A file for the checker that holds an untrusted proof."""

    source: str
    num_before: int
    """Lines before the proof's first."""
    num_lines: int

    def locate(self, error: FileError) -> str:
        """The error with its place in the proof; without one where it lies before it."""
        line = error.line - self.num_before
        if line > self.num_lines:
            return f"at the end: {error.message}"
        return f"line {line}, column {error.column}: {error.message}" if line >= 1 else error.message


@dataclass(frozen=True, kw_only=True)
class FileError:
    """One error that a checker reports, at its place in the file that it read."""

    line: int
    """From 1."""
    column: int
    """From 1."""
    message: str


class Command(Protocol):
    """Runs a program of the system on untrusted files: ``Sandbox.command``."""

    def __call__(
        self, argv: Sequence[str], *, files: Mapping[str, bytes], limits: Limits, keep: Sequence[str]
    ) -> Outcome: ...


class Language(Protocol):
    """How one system is used by the two-file judge; everything here is pure."""

    @property
    def system(self) -> System: ...

    @property
    def limits(self) -> Limits:
        """Of one run of the checker, where nothing else is said."""

    @property
    def suffixes(self) -> tuple[str, str]:
        """Of a source and of what it is compiled to."""

    @property
    def version_command(self) -> Sequence[str]: ...

    @property
    def allowed_axioms(self) -> frozenset[str]:
        """What every proof may rest on."""

    def compile_command(self, source: str) -> Sequence[str]:
        """Compiles the file of that name beside what it imports."""

    def spec(self, statement: Statement) -> str:
        """The trusted file: the statement under a name of its own."""

    def submission(self, statement: Statement, proof: str) -> Submission:
        """The untrusted file: the statement again, under the name that the judge asks for, and the proof."""

    @property
    def judge(self) -> str:
        """The file that asks whether the submission has the statement's type, and on what it rests."""

    def refusal(self, proof: str) -> str:
        """Why the proof is not even run; empty if it may."""

    def errors(self, outcome: Outcome, source: str) -> tuple[FileError, ...]:
        """What the checker reports of that file, its first error first."""

    def assumptions(self, outcome: Outcome) -> tuple[str, ...] | None:
        """What the judge printed, which must be nothing else; None if it is not that."""


def num_lines(text: str) -> int:
    """Lines that the text begins."""
    return text.count("\n")
