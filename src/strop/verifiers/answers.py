"""Answers of known worth made from an ``answer`` column: right ones, honest mistakes, and texts that try to pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from strop.types import Task
from strop.verifiers.audit import AuditCase
from strop.verifiers.numbers import final_number, find_numbers

_MAX_BOTH = 120
"""Two answers in so many characters are an answer and a second guess; longer ones, such as code, may stand together."""
_MAX_LISTED, _LONGEST_LISTED = 20, 40
_TRICKED = 10
"""Tasks that are tried with cheats: a reward with a hole has it in every task, and a slow one is asked less."""
_CLAIMS = ("PASSED", "correct", "Answer: the correct answer")
_LONG = "Let me think about it once more. " * 1000
_WHOLE = re.compile(r"[-−]?(?!0)\d+")
_DECIMAL = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")


def answer_cases(tasks: Sequence[Task]) -> list[AuditCase]:
    """Cases from the tasks' ``answer`` column: the answer is right, another task's and the empty text are not.

    Nor is the answer with another task's below it, as long as both are short: whoever looks for the right
    answer anywhere in the text would be taught to say all of them. Nor are, for the first tasks, a number with one
    digit more, and the cheats: ``PASSED`` and its like, a long text that never comes to an answer, the question
    copied, and all answers of the set, the right one among them but not last.
    A task without an answer gives one case of which nobody knows whether it should pass.
    """
    answers = [task.reference.get("answer") for task in tasks]
    cases: list[AuditCase] = []
    hedged: list[AuditCase] = []
    for index, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        if answer is None or answer == "":
            cases.append(AuditCase(task=task, text="I do not know.", should_pass=None))
            continue
        cases.append(AuditCase(task=task, text=_first(answer), should_pass=True))
        cases.append(AuditCase(task=task, text="", should_pass=False))
        others = _others(answers, index)
        if others:
            cases.append(AuditCase(task=task, text=_first(others[0]), should_pass=False))
            both = f"{_final(answer)}\n{_final(others[0])}"
            if len(both) <= _MAX_BOTH:
                hedged.append(AuditCase(task=task, text=both, should_pass=False))
    answered = (index for index, answer in enumerate(answers) if answer not in (None, ""))
    tricks = [case for index in islice(answered, _TRICKED) for case in _tricks(tasks[index], _others(answers, index))]
    return cases + hedged + tricks


def _others(answers: Sequence[object], index: int) -> list[object]:
    """The answers of the tasks behind this one, then of those before it, that are not worth the same."""
    rest = (answers[(index + step) % len(answers)] for step in range(1, len(answers)))
    return [one for one in rest if one not in (None, "") and not _is_same(_final(one), answers[index])]


def _tricks(task: Task, others: Sequence[object]) -> list[AuditCase]:
    """A digit too many, and the cheats; without those that would happen to hold the right answer."""
    answer = task.reference["answer"]
    accepted = [_final(one) for one in (answer if isinstance(answer, list | tuple) and answer else [answer])]
    digits = [text for text in _digit_more(accepted[0]) if not any(_is_same(text, one) for one in accepted)]
    asked = task.prompt[-1].content if task.prompt else ""
    cheats = [text for text in (*_CLAIMS, _LONG, asked) if text.strip() and not _holds(text, accepted)]
    listed = list(dict.fromkeys(text for one in others if len(text := _final(one)) <= _LONGEST_LISTED))[:_MAX_LISTED]
    if len(listed) > 1 and len(accepted[0]) <= _LONGEST_LISTED:
        middle = len(listed) // 2
        cheats.append("\n".join([*listed[:middle], accepted[0], *listed[middle:]]))
    return [
        *(AuditCase(task=task, text=text, should_pass=False) for text in digits),
        *(AuditCase(task=task, text=text, should_pass=False, is_cheat=True) for text in cheats),
    ]


def _digit_more(answer: str) -> list[str]:
    """``190`` and ``901`` for ``90``; nothing for what is no plain number."""
    if not _DECIMAL.fullmatch(answer):
        return []
    sign = answer[0] if answer[0] in "-−" else ""
    more = [f"{sign}1{answer[len(sign) :]}"]
    return [*more, f"{answer}1"] if _WHOLE.fullmatch(answer) else more


def _holds(text: str, accepted: Sequence[str]) -> bool:
    """Whether an accepted answer stands in the text, in words or as a number."""
    numbers = set(find_numbers(text))
    plain = text.casefold()
    return any(one.casefold() in plain or final_number(one) in numbers for one in accepted)


def _is_same(text: str, answer: object) -> bool:
    final = _final(answer)
    value = final_number(text)
    return text == final or (value is not None and value == final_number(final))


def _first(answer: object) -> str:
    return str(answer[0]) if isinstance(answer, list | tuple) and answer else str(answer)


def _final(answer: object) -> str:
    """What the answer comes down to: the part after ``####`` of a worked solution."""
    return _first(answer).rsplit("####", 1)[-1].strip()
