"""Mathematical answers: exact arithmetic first, then ``math-verify`` in a process that can be killed."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from strop.digests import digest_file, digest_json
from strop.errors import MissingDependencyError, VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers.math_algebra import MalformedError, UndecidedError
from strop.verifiers.math_compare import equivalent
from strop.verifiers.math_objects import Words, read
from strop.verifiers.numbers import final_number, marked_answer
from strop.verifiers.processes import WorkerPool

Engine = Literal["auto", "light", "math-verify"]

_FILES = ("mathematics", "math_algebra", "math_clean", "math_compare", "math_expressions", "math_objects", "math_units")
_MEMORY_MB = 4096
_LONGEST_LINE = 200
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_FILLER = re.compile(
    r"\s*(?:(?:therefore|thus|simply|just|exactly|approximately|about|equal to|given by|now|indeed|the|:)\s+)*",
    re.IGNORECASE,
)
_REST = re.compile(
    r"\.(?:\s+[A-Z]|\s*$)|[,;]?\s+(?:because|since|as|which|when|where|so)\b|\s+\((?=[a-z]{2,})", re.DOTALL
)


def math_answer(text: str) -> str | None:
    r"""What a text gives as its mathematical answer, as it is written; None if it gives none.

    The last ``####``, ``\boxed{}``, ``Answer:`` or ``answer is`` decides (see ``marked_answer``), without the sentence
    that goes on behind it. Without a mark it is the whole text where that is one line of mathematics or of a few words,
    else the last formula of the last line that holds anything, else the last number.
    """
    marked = marked_answer(text)
    if marked is not None:
        return _sentence(marked) or None
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    if len(lines) == 1 and len(lines[0]) <= _LONGEST_LINE and _is_bare(lines[0]):
        return lines[0]
    formulas = _FORMULA.findall(lines[-1])
    if formulas:
        return str(next(part for part in formulas[-1] if part)).rsplit("=", 1)[-1].strip() or None
    number = final_number(text)
    return None if number is None else str(number)


def _sentence(marked: str) -> str:
    """A marked answer without filling words before it and explanations behind it."""
    start = _FILLER.match(marked)
    text = marked[start.end() if start else 0 :]
    end = _REST.search(text)
    return (text[: end.start()] if end else text).strip().strip("*`").strip()


def _is_bare(line: str) -> bool:
    try:
        found = read(line)
    except UndecidedError:
        return False
    return not isinstance(found, Words) or not re.search(r"\d", line)


@functools.cache
def math_verify_version() -> str | None:
    """The installed version of ``math-verify``; None without it."""
    try:
        return importlib.metadata.version("math-verify")
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _workers(owner_pid: int) -> WorkerPool:
    """The workers of this process; a forked child gets its own."""
    return WorkerPool(Path(__file__).with_name("math_worker.py"), first={}, memory_mb=_MEMORY_MB)


@dataclass(frozen=True, kw_only=True)
class MathAnswer:
    r"""Passes a completion whose answer is mathematically ``task.reference["answer"]``, or one of a list of them.

    Exact arithmetic decides numbers, fractions, percentages, units, square roots, polynomials and quotients of them,
    sets, tuples, intervals, matrices, equations, choices and words. What is beyond it (logarithms, sines, variable
    exponents) goes to ``math-verify`` (``pip install "strop[math]"``) in a worker process that is killed after
    ``timeout_s``: state ``timeout``, no score. Without the extra such an answer is ``unparsable`` where the reference
    is plain, and state ``error`` where the reference itself is beyond. ``Verdict.provenance["math"]`` says who decided.

    A rounded number is not its exact value (``0.33`` is not ``1/3``), a missing unit is forgiven, a wrong one is not,
    and two answers are not one (``12 or 13``). Truncated completions fail. Raises: VerifierError if the task has no
    answer; MissingDependencyError for ``engine="math-verify"`` without it.
    """

    is_isolated = True  # see GradingPool
    engine: Engine = "auto"
    """``light`` never starts a worker; ``math-verify`` asks it everything, for comparison."""
    timeout_s: float = 5.0
    name: str = "math"

    @property
    def digest(self) -> str:
        """Identity of the files that decide, of ``math-verify``'s version, and of the settings."""
        here = Path(__file__)
        files = [digest_file(here.with_name(f"{name}.py")) for name in (*_FILES, "numbers", "math_worker")]
        return digest_json([*files, None if self.engine == "light" else math_verify_version(), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        references = _references(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        said = math_answer(completion.text)
        if said is None:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no answer found",))
        verdicts = []
        for reference in references:
            verdicts.append(self._compare(reference, said))
            if verdicts[-1].passed:
                break
        passed_or_open = [one for one in verdicts if one.passed or one.score is None]
        return passed_or_open[-1] if passed_or_open else verdicts[0]

    def _compare(self, reference: str, said: str) -> Verdict:
        if self.engine != "math-verify":
            try:
                return _decided(equivalent(reference, said), reference, said, "light")
            except MalformedError as error:
                return _beyond(reference, said, str(error))
            except UndecidedError as error:
                if self.engine == "light" or math_verify_version() is None:
                    return _beyond(reference, said, str(error))
        return self._asked(reference, said)

    def _asked(self, reference: str, said: str) -> Verdict:
        version = math_verify_version()
        if version is None:
            raise MissingDependencyError(
                "math-verify is not installed", why="this engine is it", do='pip install "strop[math]"'
            )
        by = f"math-verify {version}"
        answer = _workers(os.getpid()).ask({"reference": reference, "answer": said}, self.timeout_s)
        if answer.state == "timeout":
            reason = f"no answer within {self.timeout_s:g} s for {_shown(said)}"
            return Verdict(score=None, passed=False, state="timeout", reasons=(reason,), provenance={"math": by})
        if answer.state != "answered" or answer.value.get("unread") == "reference":
            reason = answer.how or f"the reference {_shown(reference)} cannot be read"
            return Verdict(score=None, passed=False, state="error", reasons=(reason,), provenance={"math": by})
        if "unread" in answer.value:
            return _unread(said, "no mathematics", by)
        return _decided(answer.value["same"], reference, said, by)


def _decided(passed: bool, reference: str, said: str, by: str) -> Verdict:
    reason = f"{_shown(said)} {'equals' if passed else 'is not'} {_shown(reference)}"
    return Verdict(score=float(passed), passed=passed, reasons=(reason,), provenance={"math": by})


def _beyond(reference: str, said: str, why: str) -> Verdict:
    """The verdict on what exact arithmetic cannot decide where there is nobody else to ask."""
    try:
        read(reference)
    except UndecidedError as error:
        reason = f"the reference {_shown(reference)} needs math-verify: {error}"
        return Verdict(score=None, passed=False, state="error", reasons=(reason,), provenance={"math": "light"})
    return _unread(said, why, "light")


def _unread(said: str, why: str, by: str) -> Verdict:
    reason = f"{_shown(said)} cannot be read: {why}"
    return Verdict(score=0.0, passed=False, state="unparsable", reasons=(reason,), provenance={"math": by})


def _references(task: Task) -> list[str]:
    answer = task.reference.get("answer")
    answers = answer if isinstance(answer, list | tuple) else [answer]
    texts = [str(one) for one in answers if isinstance(one, str | int | float) and not isinstance(one, bool)]
    marked = [text if (mark := marked_answer(text)) is None else mark for text in texts]
    if not marked or len(marked) != len(answers) or not all(text.strip() for text in marked):
        raise VerifierError(
            f"task {task.id} has no answer to compare with: answer = {answer!r}",
            where=task.source or task.id,
            why=r'MathAnswer needs a reference such as {"answer": "\\frac{1}{2}"}, or a list of accepted ones',
            do="give every task an answer, or use your own verifier",
        )
    return marked


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:57] + "...")
