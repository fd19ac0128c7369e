"""How far a verifier can be trusted: what it does with answers that are known to be right or wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from strop.errors import RecipeError, VerifierError
from strop.types import Completion, Task, Verifier
from strop.verifiers.pool import DEADLINE_S, GradingPool, Judged

if TYPE_CHECKING:
    from strop.statistics import Interval

_NUM_SHOWN = 5
_MAX_ASKED = 50
_PURITY_CONFIDENCE = 0.975
"""Of each of the two rates in a purity, so that both hold together with 95 %."""

Kind = Literal["gold", "mutation", "cheat", "trial"]


@dataclass(frozen=True, kw_only=True)
class AuditCase:
    """An answer to a task, and whether it is right."""

    task: Task
    text: str
    should_pass: bool | None
    """None where nobody knows: then only that it is graded, and twice the same, is checked."""
    is_cheat: bool = False
    """Whether it tries to pass without solving the task, where a mutation is an honest mistake."""

    @property
    def kind(self) -> Kind:
        """``gold`` should pass, ``mutation`` and ``cheat`` should not, of a ``trial`` nobody knows."""
        if self.should_pass is None:
            return "trial"
        return "gold" if self.should_pass else "cheat" if self.is_cheat else "mutation"


@dataclass(frozen=True, kw_only=True)
class AuditFailure:
    """One case in which the verifier did something else than it should."""

    kind: str
    """``false accept``, ``accepted cheat``, ``false reject``, ``not graded`` or ``not deterministic``."""
    task_id: str
    text: str
    reason: str
    where: str = ""
    """The row of the task, such as ``tasks.jsonl:3``, and how its question begins."""

    def __str__(self) -> str:
        return f"{self.kind} of {self.text[:60]!r} for task {self.where or self.task_id} ({self.reason})"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came out. Rates are over graded cases; None where there was no such case."""

    verifier: str
    digest: str
    num_right: int
    """Graded cases that should pass."""
    num_wrong: int
    """Graded cases that should not, cheats among them."""
    num_unknown: int
    num_false_reject: int
    num_false_accept: int
    num_cheats: int
    """Graded cheats."""
    num_cheats_accepted: int
    num_ungraded: int
    num_unstable: int
    """Cases that got two different verdicts for the same text."""
    latency_s: tuple[float, float]
    """Seconds of a judgement: median and 95th percentile, both passes together, whatever the state."""
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

    @property
    def is_passed(self) -> bool:
        """Whether ``require()`` lets it through."""
        return not self._problem()

    def purity(self, policy_accuracy: float) -> tuple[float, Interval] | None:
        """The share of right answers among those that the verifier keeps, and its interval of at least 95 %.

        p a / (p a + (1 - p) b), with p the policy's accuracy, a = 1 - false reject, b = false accept. The interval
        takes both rates at the near and far ends of their 97.5 % Wilson intervals. None without right and wrong cases,
        or where nothing is kept. It is about a policy whose mistakes are those of the audit: a policy that is trained
        on the verifier moves to the mistakes that pass.
        """
        from strop.statistics import Interval, kept_purity

        rejects = _wilson(self.num_false_reject, self.num_right, _PURITY_CONFIDENCE)
        accepts = _wilson(self.num_false_accept, self.num_wrong, _PURITY_CONFIDENCE)
        a, b = 1 - (self.false_reject or 0.0), self.false_accept or 0.0
        if rejects is None or accepts is None or policy_accuracy * a + (1 - policy_accuracy) * b == 0:
            return None
        low = kept_purity(policy_accuracy, 1 - rejects.high, accepts.high)
        high = kept_purity(policy_accuracy, 1 - rejects.low, accepts.low)
        return kept_purity(policy_accuracy, a, b), Interval(low, high)

    def to_json(self, *, policy_accuracy: float = 0.5) -> dict[str, Any]:
        """Everything as plain values, the rates and the purity with their intervals among them."""
        rates = {}
        for name in ("false_accept", "false_reject"):
            interval = getattr(self, f"{name}_interval")
            rates[name] = getattr(self, name)
            rates[f"{name}_interval"] = [interval.low, interval.high] if interval else None
        pure = self.purity(policy_accuracy)
        purity = {
            "policy_accuracy": policy_accuracy,
            "value": pure[0] if pure else None,
            "interval": [pure[1].low, pure[1].high] if pure else None,
        }
        return {
            **asdict(self),
            "latency_s": list(self.latency_s),
            **rates,
            "purity": purity,
            "passed": self.is_passed,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Audit:
        """The audit that ``to_json`` wrote. Raises: KeyError, TypeError, ValueError for anything else."""
        plain: dict[str, Any] = {field.name: record[field.name] for field in fields(cls)}
        failures = tuple(AuditFailure(**failure) for failure in plain.pop("failures"))
        median, late = map(float, plain.pop("latency_s"))
        counts = {name: value for name, value in plain.items() if name.startswith("num_")}
        if any(type(count) is not int or count < 0 for count in counts.values()):
            raise ValueError("a count is no whole number")
        return cls(**plain, latency_s=(median, late), failures=failures)

    def summary(self) -> str:
        """One line for people."""
        rejected = _rate(self.num_false_reject, self.num_right, self.false_reject_interval)
        accepted = _rate(self.num_false_accept, self.num_wrong, self.false_accept_interval)
        line = f"{self.verifier}: right answers rejected {rejected}; wrong answers accepted {accepted}"
        if self.num_cheats:
            line += f"; {self.num_cheats_accepted} of {self.num_cheats} cheats accepted"
        elif self.num_wrong:
            line += "; no cheats were tried"
        if self.num_ungraded or self.num_unstable:
            line += f"; {self.num_ungraded} not graded, {self.num_unstable} not deterministic"
        return line

    def require(self, *, max_false_accept: float = 0.0, max_false_reject: float = 0.0) -> Audit:
        """This audit, if the verifier may be used for training. Raises: VerifierError with the first failing cases.

        A rate that is unknown because there was no such case is not held against the verifier (the summary says so); a
        case that was not graded, or not twice the same, is, and so is every cheat that was accepted.
        """
        if self.num_right + self.num_wrong + self.num_unknown == 0 and not self.num_ungraded:
            raise VerifierError(f"{self.verifier} was audited on no case", do="give it tasks with a known answer")
        problem = self._problem(max_false_accept=max_false_accept, max_false_reject=max_false_reject)
        if not problem:
            return self
        shown = "; ".join(map(str, self.failures))
        can_allow = problem == "rates" and not (max_false_accept or max_false_reject)
        raise VerifierError(
            f"{self.verifier} fails its audit: {self.summary().partition(': ')[2]}",
            where=shown,
            why="training would learn what the verifier mistakes for right",
            do="mend the verifier or the reference answers"
            + (", or allow more with max_false_accept and max_false_reject" if can_allow else ""),
        )

    def _problem(self, *, max_false_accept: float = 0.0, max_false_reject: float = 0.0) -> str:
        """Why the verifier may not be used; empty if it may."""
        if self.num_cheats_accepted or self.num_ungraded or self.num_unstable:
            return "cases"
        if self.num_right + self.num_wrong + self.num_unknown == 0:
            return "nothing"
        too_high = (self.false_accept or 0.0) > max_false_accept or (self.false_reject or 0.0) > max_false_reject
        return "rates" if too_high else ""


def _wilson(k: int, n: int, confidence: float = 0.95) -> Interval | None:
    from strop.statistics import wilson  # numpy is slow to import and a recipe only needs the names

    return wilson(k, n, confidence) if n else None


def _rate(k: int, n: int, interval: Interval | None) -> str:
    return f"{k} of {n} ({interval.low:.1%} to {interval.high:.1%})" if interval else "unknown (no such case)"


def audit(verifier: Verifier, cases: Sequence[AuditCase], *, deadline_s: float = DEADLINE_S, workers: int = 2) -> Audit:
    """Every case judged twice, in a ``GradingPool``: a verifier that hangs on a case has not graded it.

    Raises: the UserError that the verifier raises.
    """
    completions = [Completion(token_ids=(), sampler_logprobs=(), text=c.text, finish_reason="stop") for c in cases]
    pairs = [(case.task, completion) for case, completion in zip(cases, completions, strict=True)]
    with GradingPool(verifier, deadline_s=deadline_s, workers=workers) as pool:
        judged = pool.judge_timed([pair for pair in pairs for _ in range(2)])
    counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
    failures: list[AuditFailure] = []
    for case, first, again in zip(cases, judged[::2], judged[1::2], strict=True):
        failure = _count(counts, case, first, again)
        if failure and len(failures) < _NUM_SHOWN:
            verdict = first.verdict if first.verdict.reasons else again.verdict
            reason = ", ".join(verdict.reasons) or verdict.state
            failures.append(
                AuditFailure(kind=failure, task_id=case.task.id, text=case.text, reason=reason, where=_place(case.task))
            )
    seconds = sorted(one.seconds for one in judged)
    return Audit(
        verifier=verifier.name,
        digest=verifier.digest,
        latency_s=(_quantile(seconds, 0.5), _quantile(seconds, 0.95)),
        failures=tuple(failures),
        **counts,
    )


def _place(task: Task) -> str:
    """The task's row, or else its id, and the beginning of its last message; empty if the id is all there is."""
    asked = " ".join(task.prompt[-1].content.split()) if task.prompt else ""
    shown = asked if len(asked) <= _MAX_ASKED else f"{asked[:_MAX_ASKED]}…"
    return f"{task.source or task.id} {shown!r}" if asked else task.source


_COUNTS = [field.name for field in fields(Audit) if field.name.startswith("num_")]


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed; 0 of nothing."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


def _count(counts: dict[str, int], case: AuditCase, first: Judged, again: Judged) -> str:
    """Count the case and name what is wrong with it; empty if nothing is."""
    verdict, other = first.verdict, again.verdict
    unstable = (verdict.score, verdict.passed, verdict.state) != (other.score, other.passed, other.state)
    counts["num_unstable"] += unstable
    if not verdict.is_graded:
        counts["num_ungraded"] += 1
        return "not graded"
    passed = verdict.passed or (other.is_graded and other.passed and case.should_pass is False)
    counts["num_cheats"] += case.kind == "cheat"
    if case.should_pass is None:
        counts["num_unknown"] += 1
        return "not deterministic" if unstable else ""
    counts["num_right" if case.should_pass else "num_wrong"] += 1
    if passed == case.should_pass:
        return "not deterministic" if unstable else ""
    counts["num_false_reject" if case.should_pass else "num_false_accept"] += 1
    counts["num_cheats_accepted"] += case.kind == "cheat"
    return {"gold": "false reject", "mutation": "false accept"}.get(case.kind, "accepted cheat")


# ----------------------------------------------------------------------------------------- no training without an audit


class Audited(Protocol):
    """A verifier's audit: how it judged answers that are known to be right or wrong."""

    @property
    def digest(self) -> str:
        """Of the verifier that was audited."""

    def require(self) -> object:
        """Raises VerifierError if the verifier failed it."""


def require_audit(verifier: Verifier, audit: Audited | None, unaudited: str = "") -> str:
    """How the verifier was examined, in words for the record: ``passed``, or ``none: `` and the reason.

    Whatever learns from a verifier's verdicts asks here before it starts. Raises: VerifierError without an audit and
    without ``unaudited``, a reason for having none; with an audit that failed, or is of another verifier; RecipeError
    for both.
    """
    if audit is not None:
        if unaudited:
            raise RecipeError("an audit and a reason for having none were given", do="give one of the two")
        if audit.digest != verifier.digest:
            raise VerifierError(
                f"the audit is not of the verifier {verifier.name}",
                why=f"it examined {audit.digest[:12]}, the reward is {verifier.digest[:12]}",
                do="audit the verifier that gives the reward, as it is now",
            )
        audit.require()
        return "passed"
    if not unaudited.strip():
        raise VerifierError(
            f"the verifier {verifier.name} has no audit",
            why="a policy finds every hole of its reward, and faster than it learns the task",
            do="run `strop audit` or strop.verifiers.audit on right and wrong answers, or give unaudited='why not'",
        )
    return f"none: {unaudited}"


def audits_record(audits: Mapping[str, Audit], *, policy_accuracy: float = 0.5) -> dict[str, Any]:
    """What was audited, by the name under which it was asked for, as plain values."""
    return {"audits": {name: found.to_json(policy_accuracy=policy_accuracy) for name, found in audits.items()}}


def write_audits(path: Path | str, audits: Mapping[str, Audit], *, policy_accuracy: float = 0.5) -> None:
    """Write ``audits_record`` as JSON, atomically. Raises: OutputError."""
    from strop.files import write_json

    write_json(path, audits_record(audits, policy_accuracy=policy_accuracy))


def read_audit(path: Path | str, verifier: Verifier) -> Audit:
    """The audit of this very verifier in a file of ``write_audits``.

    Raises: VerifierError if the file cannot be read or holds none of the verifier as it is now.
    """
    try:
        record = json.loads(Path(path).read_text())
        audits = [Audit.from_json(one) for one in record["audits"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None) or f"it is no file of `strop audit --output`: {error!r}"
        raise VerifierError(f"cannot read the audit {path}", where=str(path), why=why) from error
    found = next((one for one in audits if one.digest == verifier.digest), None)
    if found is None:
        raise VerifierError(
            f"{path} holds no audit of the verifier {verifier.name}",
            where=str(path),
            why=f"it examined {', '.join(f'{one.verifier} {one.digest[:12]}' for one in audits) or 'nothing'}; "
            f"the verifier is {verifier.digest[:12]} now",
            do="audit it again with `strop audit`",
        )
    return found


# ---------------------------------------------------------------------------------------------- answers of known worth


def reference_cases(
    tasks: Sequence[Task],
    gold: Callable[[Task], str],
    mutations: Callable[[Task], Sequence[str]],
    cheats: Callable[[Task], Sequence[str]] | None = None,
) -> list[AuditCase]:
    """Each task's right answer, its wrong ones and its cheats, as a world gives them."""
    right = [AuditCase(task=task, text=gold(task), should_pass=True) for task in tasks]
    wrong = [AuditCase(task=task, text=text, should_pass=False) for task in tasks for text in mutations(task)]
    tricks = [(task, text) for task in tasks for text in (cheats(task) if cheats is not None else ())]
    return right + wrong + [AuditCase(task=task, text=text, should_pass=False, is_cheat=True) for task, text in tricks]
