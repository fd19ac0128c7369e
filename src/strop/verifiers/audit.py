"""How far a verifier can be trusted: what it does with answers that are known to be right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict, Verifier

if TYPE_CHECKING:
    from strop.statistics import Interval

_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class AuditCase:
    """An answer to a task, and whether it is right."""

    task: Task
    text: str
    should_pass: bool | None
    """None where nobody knows: then only that it is graded, and twice the same, is checked."""


@dataclass(frozen=True, kw_only=True)
class AuditFailure:
    """One case in which the verifier did something else than it should."""

    kind: str
    """``false accept``, ``false reject``, ``not graded`` or ``not deterministic``."""
    task_id: str
    text: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came out. Rates are over graded cases; None where there was no such case."""

    verifier: str
    digest: str
    num_right: int
    """Graded cases that should pass."""
    num_wrong: int
    """Graded cases that should not."""
    num_unknown: int
    num_false_reject: int
    num_false_accept: int
    num_ungraded: int
    num_unstable: int
    """Cases that got two different verdicts for the same text."""
    failures: tuple[AuditFailure, ...]

    @property
    def false_reject(self) -> float | None:
        """Right answers that were rejected, over right answers."""
        return self.num_false_reject / self.num_right if self.num_right else None

    @property
    def false_accept(self) -> float | None:
        """Wrong answers that were accepted, over wrong answers."""
        return self.num_false_accept / self.num_wrong if self.num_wrong else None

    @property
    def false_reject_interval(self) -> Interval | None:
        """Wilson, 95 %."""
        return _wilson(self.num_false_reject, self.num_right)

    @property
    def false_accept_interval(self) -> Interval | None:
        """Wilson, 95 %."""
        return _wilson(self.num_false_accept, self.num_wrong)

    def summary(self) -> str:
        """One line for people."""
        rejected = _rate(self.num_false_reject, self.num_right, self.false_reject_interval)
        accepted = _rate(self.num_false_accept, self.num_wrong, self.false_accept_interval)
        line = f"{self.verifier}: right answers rejected {rejected}; wrong answers accepted {accepted}"
        if self.num_ungraded or self.num_unstable:
            line += f"; {self.num_ungraded} not graded, {self.num_unstable} not deterministic"
        return line

    def require(self, *, max_false_accept: float = 0.0, max_false_reject: float = 0.0) -> Audit:
        """This audit, if the verifier may be used for training. Raises: VerifierError with the first failing cases.

        A rate that is unknown because there was no such case is not held against the verifier (the summary says so); a
        case that was not graded, or not twice the same, is.
        """
        too_high = (self.false_accept or 0.0) > max_false_accept or (self.false_reject or 0.0) > max_false_reject
        if self.num_right + self.num_wrong + self.num_unknown == 0 and not self.num_ungraded:
            raise VerifierError(f"{self.verifier} was audited on no case", do="give it tasks with a known answer")
        if not (too_high or self.num_ungraded or self.num_unstable):
            return self
        shown = "; ".join(f"{f.kind} of {f.text[:60]!r} for task {f.task_id} ({f.reason})" for f in self.failures)
        raise VerifierError(
            f"{self.verifier} fails its audit: {self.summary().partition(': ')[2]}",
            where=shown,
            why="training would learn what the verifier mistakes for right",
            do="mend the verifier or the reference answers"
            + (", or allow more with max_false_accept and max_false_reject" if too_high else ""),
        )


def _wilson(k: int, n: int) -> Interval | None:
    from strop.statistics import wilson  # numpy is slow to import and a recipe only needs the names

    return wilson(k, n) if n else None


def _rate(k: int, n: int, interval: Interval | None) -> str:
    return f"{k} of {n} ({interval.low:.1%} to {interval.high:.1%})" if interval else "unknown (no such case)"


def audit(verifier: Verifier, cases: Sequence[AuditCase]) -> Audit:
    """Every case judged twice. Raises: VerifierError if the verifier itself does."""
    counts = dict.fromkeys(("right", "wrong", "unknown", "reject", "accept", "ungraded", "unstable"), 0)
    failures: list[AuditFailure] = []
    for case in cases:
        completion = Completion(token_ids=(), sampler_logprobs=(), text=case.text, finish_reason="stop")
        verdict, again = verifier(case.task, completion), verifier(case.task, completion)
        kind = _count(counts, case, verdict, again)
        if kind and len(failures) < _NUM_SHOWN:
            reason = ", ".join(verdict.reasons) or verdict.state
            failures.append(AuditFailure(kind=kind, task_id=case.task.id, text=case.text, reason=reason))
    return Audit(
        verifier=verifier.name,
        digest=verifier.digest,
        num_right=counts["right"],
        num_wrong=counts["wrong"],
        num_unknown=counts["unknown"],
        num_false_reject=counts["reject"],
        num_false_accept=counts["accept"],
        num_ungraded=counts["ungraded"],
        num_unstable=counts["unstable"],
        failures=tuple(failures),
    )


def _count(counts: dict[str, int], case: AuditCase, verdict: Verdict, again: Verdict) -> str:
    """Count the case and name what is wrong with it; empty if nothing is."""
    unstable = (verdict.score, verdict.passed, verdict.state) != (again.score, again.passed, again.state)
    counts["unstable"] += unstable
    if not verdict.is_graded:
        counts["ungraded"] += 1
        return "not graded"
    counts["unknown" if case.should_pass is None else "right" if case.should_pass else "wrong"] += 1
    if case.should_pass is True and not verdict.passed:
        counts["reject"] += 1
        return "false reject"
    if case.should_pass is False and verdict.passed:
        counts["accept"] += 1
        return "false accept"
    return "not deterministic" if unstable else ""


def reference_cases(
    tasks: Sequence[Task], gold: Callable[[Task], str], mutations: Callable[[Task], Sequence[str]]
) -> list[AuditCase]:
    """Each task's right answer and its wrong ones, as a world gives them."""
    right = [AuditCase(task=task, text=gold(task), should_pass=True) for task in tasks]
    wrong = [AuditCase(task=task, text=text, should_pass=False) for task in tasks for text in mutations(task)]
    return right + wrong


def answer_cases(tasks: Sequence[Task]) -> list[AuditCase]:
    """Cases from the tasks' ``answer`` column: the answer is right, another task's and the empty text are not.

    A task without an answer gives one case of which nobody knows whether it should pass.
    """
    answers = [task.reference.get("answer") for task in tasks]
    cases = []
    for index, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        if answer is None or answer == "":
            cases.append(AuditCase(task=task, text="I do not know.", should_pass=None))
            continue
        cases.append(AuditCase(task=task, text=_first(answer), should_pass=True))
        cases.append(AuditCase(task=task, text="", should_pass=False))
        later = (answers[(index + step) % len(answers)] for step in range(1, len(answers)))
        other = next((one for one in later if one not in (None, "") and _final(one) != _final(answer)), None)
        if other is not None:
            cases.append(AuditCase(task=task, text=_first(other), should_pass=False))
    return cases


def _first(answer: object) -> str:
    return str(answer[0]) if isinstance(answer, list | tuple) and answer else str(answer)


def _final(answer: object) -> str:
    """What the answer comes down to: the part after ``####`` of a worked solution."""
    return _first(answer).rsplit("####", 1)[-1].strip()
