"""Worked sums judged step by step, whichever of the many right routes they take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from strop.digests import digest_file, digest_json
from strop.types import Completion, Task, Verdict
from strop.verifiers import NumberAnswer

Term = tuple[int, int]
"""``(sign, value)`` with the sign 1 or -1: one part of the sum that is still to be worked out."""

_MAX_READINGS = 100
"""A number may be a result or part of the question; so many readings are followed."""
_QUESTION = re.compile(r"Compute (?P<sum>\d+(?: [-+] \d+)*) mod (?P<modulus>\d+)\.")
_STEP = re.compile(r"(?<![\w.])(\d{1,9})\s*([-+])\s*(\d{1,9})\s*=\s*(-?\d{1,9})(?![\w.]*\d)")


@dataclass(frozen=True, kw_only=True)
class WorkedStep:
    """``34+17=51``."""

    left: int
    sign: int
    right: int
    result: int


def read_question(question: str) -> tuple[tuple[Term, ...], int] | None:
    """The terms and the modulus of ``Compute 34 + 17 - 9 mod 100.``; None for anything else."""
    match = _QUESTION.fullmatch(question)
    if match is None:
        return None
    words = match["sum"].split()
    signs = [1, *(1 if word == "+" else -1 for word in words[1::2])]
    return tuple(zip(signs, map(int, words[::2]), strict=True)), int(match["modulus"])


def read_steps(text: str) -> list[WorkedStep]:
    """Every ``a+b=c`` and ``a-b=c`` of the text, in order."""
    return [
        WorkedStep(left=int(left), sign=1 if sign == "+" else -1, right=int(right), result=int(result))
        for left, sign, right, result in _STEP.findall(text)
    ]


@dataclass(frozen=True, kw_only=True)
class OpenSum:
    """What is still to be worked out: results so far with their signs, and the rest of what is added and taken."""

    results: tuple[Term, ...]
    added: int
    taken: int

    def without(self, sign: int, value: int) -> list[OpenSum]:
        """The sum without a result of that sign and value, or without so much of what is added or taken."""
        found = []
        if (sign, value) in self.results:
            at = self.results.index((sign, value))
            found.append(replace(self, results=(*self.results[:at], *self.results[at + 1 :])))
        if sign > 0 and 0 < value <= self.added:
            found.append(replace(self, added=self.added - value))
        if sign < 0 and 0 < value <= self.taken:
            found.append(replace(self, taken=self.taken - value))
        return found

    def after(self, step: WorkedStep) -> list[OpenSum]:
        """What may be open after the step has joined two parts; two minuses join to a minus. Empty if it cannot."""
        return [
            replace(rest, results=tuple(sorted((*rest.results, (sign, step.result)))))
            for sign in (1, -1)
            for half in self.without(sign, step.left)
            for rest in half.without(sign * step.sign, step.right)
        ]


def judge_steps(terms: Sequence[Term], modulus: int, steps: Sequence[WorkedStep]) -> tuple[float, ...]:
    """1 for each step that brings the sum forward, else 0.

    A step must join two parts that are still open: results of earlier steps as they were stated, or parts of what the
    question adds or takes away, in whatever pieces (``34+10=44; 44+7=51`` for 34 + 17). Its result must be right
    modulo ``modulus``. So after right steps only, what is open is still worth the answer; true sums from elsewhere
    earn nothing; and a step that goes on correctly from a wrong result is right.
    """
    added, taken = (sum(value for side, value in terms if side == sign) for sign in (1, -1))
    readings = [OpenSum(results=(), added=added, taken=taken)]
    scores = []
    for step in steps:
        later = list(dict.fromkeys(after for one in readings for after in one.after(step)))
        is_true = (step.left + step.sign * step.right - step.result) % modulus == 0
        scores.append(float(bool(later) and is_true))
        readings = later[:_MAX_READINGS] or readings
    return tuple(scores)


@dataclass(frozen=True, kw_only=True)
class WorkedNumber:
    """``NumberAnswer``, which alone decides, with ``steps`` for every worked step of the answer (``judge_steps``)."""

    number: NumberAnswer = field(default_factory=NumberAnswer)
    name: str = "number"

    @property
    def digest(self) -> str:
        """Identity of this file, its settings and of the judge of the number."""
        return digest_json([digest_file(__file__), asdict(self), self.number.digest])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        verdict = self.number(task, completion)
        asked = read_question(task.prompt[-1].content)
        if asked is None:
            return verdict
        return replace(verdict, steps=judge_steps(*asked, read_steps(completion.text)))


# -------------------------------------------------------------------------------------------------------------- routes


def routes(terms: Sequence[Term], modulus: int) -> tuple[str, ...]:
    """Different worked answers to the same question, the usual one first.

    From left to right; first what is added and then what is taken away; what is taken away summed up first; and each
    operand in two parts, tens before ones.
    """
    first, later = terms[0], list(terms[1:])
    added = [term for term in later if term[0] > 0]
    taken = [term for term in later if term[0] < 0]
    found = [_worked(first[1], later, modulus), _worked(first[1], [*added, *taken], modulus)]
    if len(taken) > 1:
        found.append(_taken_together(first[1], added, taken, modulus))
    split = [(sign, part) for sign, value in later for part in (value - value % 10, value % 10) if part]
    found.append(_worked(first[1], split, modulus))
    return tuple(dict.fromkeys(found))


def _lines(value: int, terms: Sequence[Term], modulus: int) -> tuple[list[str], int]:
    lines = []
    for sign, operand in terms:
        result = (value + sign * operand) % modulus
        lines.append(f"{value}{'+' if sign > 0 else '-'}{operand}={result}")
        value = result
    return lines, value


def _worked(value: int, terms: Sequence[Term], modulus: int) -> str:
    lines, result = _lines(value, terms, modulus)
    return f"{'; '.join(lines)}. Answer: {result}"


def _taken_together(first: int, added: Sequence[Term], taken: Sequence[Term], modulus: int) -> str:
    up, high = _lines(first, added, modulus)
    down, low = _lines(taken[0][1], [(1, value) for _, value in taken[1:]], modulus)
    last, result = _lines(high, [(-1, low)], modulus)
    return f"{'; '.join([*up, *down, *last])}. Answer: {result}"
