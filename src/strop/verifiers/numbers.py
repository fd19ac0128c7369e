"""The final number of an answer: where it is written, what it is worth, and whether it equals the reference."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from fractions import Fraction

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict

_MARK = re.compile(r"####|\\boxed\s*\{|\b(?:final\s+)?answer\s*(?:is\s*:?|[:=])", re.IGNORECASE)
_FRAC = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,400}(?!\d))"
_EXPONENT = r"(?:[eE][-+]?\d{1,3}(?!\d))?(?![eE][-+]?\d)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d{{1,400}})?{_EXPONENT}|\.\d{{1,400}}{_EXPONENT})"
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\w)\]])[-+−])?[$€£]?(?<![\w.])"
    rf"(?:(?P<whole>\d{{1,9}})\s(?=\d+/\d))?(?P<top>{_DECIMAL})(?:\s?/\s?(?P<bottom>{_DECIMAL}))?"
)


def marked_answer(text: str) -> str | None:
    r"""What stands after the last ``####``, ``Answer:``, ``answer is`` or inside the last ``\boxed{}``; None without.

    The answer ends at the end of its line, or at the brace that closes ``\boxed{``.
    """
    marks = list(_MARK.finditer(text))
    if not marks:
        return None
    mark = marks[-1]
    rest = text[mark.end() :]
    if mark[0].startswith("\\"):
        return rest[: _closing(rest)]
    # "Answer: \boxed{4}" has two marks, of which the box is the last; an empty first line means the next one
    return rest.lstrip("\n* ").split("\n", 1)[0].strip()


def _closing(text: str) -> int:
    """The index of the brace that closes an open one; the length if none does."""
    depth = 1
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return index
    return len(text)


def _slashed(match: re.Match[str]) -> str:
    mixed = match.start() > 0 and match.string[match.start() - 1].isdigit()
    return f"{' ' * mixed}{match[1] or match[2]}/{match[3] or match[4]}"


def _worth(match: re.Match[str]) -> Fraction | None:
    try:
        value = Fraction(match["top"].replace(",", ""))
        if match["bottom"]:
            value /= Fraction(match["bottom"].replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None
    value += int(match["whole"] or 0)
    return -value if match["sign"] in ("-", "−") else value


def find_numbers(text: str) -> list[Fraction]:
    r"""Every number of the text in order, exactly.

    Understands ``1,234.50``, ``-3``, ``$5``, ``3/4``, ``1 1/2``, ``\frac{3}{4}`` and ``1e3``. Digits that follow a
    letter, as in ``Q3``, are part of a name and not a number.
    """
    plain = _FRAC.sub(_slashed, text.replace("\\!", "").replace("{,}", ",").replace("\\$", "$"))
    return [value for match in _NUMBER.finditer(plain) if (value := _worth(match)) is not None]


def final_number(text: str) -> Fraction | None:
    """The number that the text gives as its answer; None if it gives none.

    With a mark (see ``marked_answer``) it is the first number after the mark, or after the last ``=`` behind it: a
    marked answer without a number is no answer. Without a mark it is the last number of the text.
    """
    marked = marked_answer(text)
    if marked is None:
        numbers = find_numbers(text)
        return numbers[-1] if numbers else None
    numbers = find_numbers(marked.rsplit("=", 1)[-1]) or find_numbers(marked)
    return numbers[0] if numbers else None


def reference_number(task: Task) -> Fraction:
    """The number in the task's ``reference["answer"]``, which may be a worked solution. Raises: VerifierError."""
    answer = task.reference.get("answer")
    value = None
    if isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer):
        value = Fraction(str(answer))
    elif isinstance(answer, str):
        value = final_number(answer)
    if value is None:
        raise VerifierError(
            f"task {task.id} has no number to compare with: answer = {answer!r}",
            where=task.source or task.id,
            why='NumberAnswer needs a reference such as {"answer": "1,234"}',
            do="give every task a numeric answer, or use the verifier `exact` or your own",
        )
    return value


@dataclass(frozen=True, kw_only=True)
class NumberAnswer:
    """Passes a completion whose final number equals ``task.reference["answer"]`` as an exact rational number.

    A completion that was cut off at its token limit fails with the reason ``truncated``, whatever it holds; one
    without a number is ``unparsable``. Raises: VerifierError if the task has no numeric answer.
    """

    tolerance: float = 0.0
    """How far the answer may be off, relative to the reference; 0 asks for exact equality."""
    name: str = "number"

    @property
    def digest(self) -> str:
        """Identity of this file and its settings."""
        return digest_json([digest_file(__file__), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        expected = reference_number(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        found = final_number(completion.text)
        if found is None:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no number found",))
        passed = abs(found - expected) <= Fraction(self.tolerance) * abs(expected)
        reason = f"{_shown(found)} {'equals' if passed else 'is not'} {_shown(expected)}"
        return Verdict(score=float(passed), passed=passed, reasons=(reason,))


def _shown(value: Fraction) -> str:
    return str(value) if len(str(value)) <= 40 else f"{str(value)[:37]}..."
