"""Worked sums judged step by step, whichever of the many right routes they take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from strop.digests import digest_file, digest_json
from strop.types import Completion, Task, Verdict
from strop.verifiers import NumberAnswer

Term = tuple[int, int]
"""``(sign, value)`` with the sign 1 or -1: one part of the sum that is still to be worked out."""
Parts = tuple[Term, ...]

_MAX_READINGS = 100
"""An operand that is taken in pieces may come from several terms; so many readings are followed."""
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


def judge_steps(terms: Sequence[Term], modulus: int, steps: Sequence[WorkedStep]) -> tuple[float, ...]:
    """1 for each step that brings the sum forward, else 0.

    A step must join two parts that are still open: terms of the question or results of earlier steps, as they were
    stated; of the right one it may take a part (``34+10=44; 44+7=51`` for 34 + 17). Its result must be right modulo
    ``modulus``. So after every right step the open parts are still worth the answer, true sums from elsewhere earn
    nothing, and a step that goes on correctly from a wrong result is right.
    """
    readings: list[Parts] = [tuple(terms)]
    scores = []
    for step in steps:
        joined = list(dict.fromkeys(after for parts in readings for after in _joined(parts, step)))
        is_true = (step.left + step.sign * step.right - step.result) % modulus == 0
        scores.append(float(bool(joined) and is_true))
        readings = joined[:_MAX_READINGS] or readings
    return tuple(scores)


def _joined(parts: Parts, step: WorkedStep) -> Iterator[Parts]:
    """What may be open after the step: it joins two parts, the left one whole; two minuses join to a minus.

    The result stands where the left part stood, and what is taken comes from the first part that can give it.
    """
    for sign in (1, -1):
        if (sign, step.left) in parts:
            at = parts.index((sign, step.left))
            for before, after in _without(parts[:at], parts[at + 1 :], (sign * step.sign, step.right)):
                yield (*before, (sign, step.result), *after)


def _without(before: Parts, after: Parts, term: Term) -> Iterator[tuple[Parts, Parts]]:
    """Both sides without the term, or with what is left of a greater one of its sign."""
    sign, value = term
    parts = (*before, *after)
    whole = [at for at, part in enumerate(parts) if part == term]
    greater = [at for at, part in enumerate(parts) if part[0] == sign and part[1] > value > 0]
    for at in (*whole[:1], *greater):
        rest = () if at in whole else ((sign, parts[at][1] - value),)
        if at < len(before):
            yield (*before[:at], *rest, *before[at + 1 :]), after
        else:
            at -= len(before)
            yield before, (*after[:at], *rest, *after[at + 1 :])


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
