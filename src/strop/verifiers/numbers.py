"""The final number of an answer: where it is written, what it is worth, and whether it equals the reference."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import asdict, dataclass
from fractions import Fraction

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict

_MARK = re.compile(r"####|\\boxed\s*\{|\b(?:final\s+)?answer\s*(?:is\s*:?|[:=])", re.IGNORECASE)
_JOINS = re.compile(r"(?:\$|\\\)|\s)*(and|or|,|;)(?:\$|\\\(|\s)*")
_FRAC = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,400}(?!\d))"
_EXPONENT = r"(?:[eE][-+]?\d{1,3}(?!\d))?(?![eE][-+]?\d)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d{{1,400}})?{_EXPONENT}|\.\d{{1,400}}{_EXPONENT})"
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\w)\]])[-+−])?[$€£]?(?<![\w.])"
    rf"(?:(?P<whole>\d{{1,9}})\s(?=\d+/\d))?(?P<top>{_DECIMAL})(?:\s?/\s?(?P<bottom>{_DECIMAL}))?"
)
_NEAR = 60
"""How many characters around a number are looked at for what makes it part of something else."""
_EQUALS = re.compile(r"(?<![<>!≤≥≠])=")
_EITHER = re.compile(r"\s*(?:[A-Za-z]+\s+){0,2}(?:and/)?or\s+(?:(?:maybe|perhaps|possibly|even)\s+)?")
_TOGETHER = re.compile(
    r"(?:\s*[A-Za-z%°]+|%){0,2}\s*"
    r"(?:,?\s*\b(?:or|and|to)\b|\+/-|[,;/:*×·^~'′+\-−–—±]|\\(?:times|cdot|div|pm)|\bx\b|(?<=\d)x(?=\d)|\*\*|"
    r"\b(?:feet|foot|ft|hours?|hrs?|minutes?|mins?|dollars?|pounds?|lbs?|years?|weeks?|days?|(?<=\d)(?=\s)))"
    r"\s*(?:(?:maybe|perhaps|possibly|also|even|about|[A-Za-z]\s*=)\s*)?[({]*",
    re.IGNORECASE,
)
"""What joins two numbers into alternatives, a list, a range or a calculation."""
_AGAIN = re.compile(r"\b(?:or|and)\b|,", re.IGNORECASE)
"""Between two equal numbers: the same answer twice, where ``:`` or ``-`` would make something else of them."""
_NO_ANSWER_BEFORE = re.compile(
    r"(?:(?:sqrt|√|log|ln|sin|cos|tan|exp)\s*[({]*|[<>≤≥≠^_]\s*[({]?|\\(?:le|ge|ne|lt|gt)q?\s*|!=\s*"
    r"|[A-Za-z)\]]\s*[-+*/×]\s+"
    r"|\b(?:not|(?:more|less|fewer|greater|larger|smaller|other)\s+than|at\s+(?:least|most)|over|under|above|below)\s*)"
    r"[$€£]?$",
    re.IGNORECASE,
)
_NO_ANSWER_AFTER = re.compile(
    r"\.\d|,\d|\s?(?:\\(?:sqrt|pi|times|cdot|pm|infty)|√|π|\^)|[xX×]\d|\s+or\s+(?:more|less|so)\b"
)
_NEGATIVE = re.compile(r"(?:\b(?:minus|negative)|^\s*[-−])\s*[$€£]?$", re.IGNORECASE)
_SCALE = re.compile(r"\s*(hundred|thousand|million|billion|trillion)\b|(?<!\s)(k)\b", re.IGNORECASE)
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
"""Number words that multiply what stands before them."""


def marked_answer(text: str) -> str | None:
    r"""What stands after the last ``####``, ``Answer:``, ``answer is`` or inside the last ``\boxed{}``; None without.

    The answer ends at the end of its line, or at the brace that closes ``\boxed{``. The last mark decides, as people
    correct themselves; boxes that are joined by a comma, ``and`` or ``or`` are one answer: ``12 or 13``.
    """
    marks = list(_MARK.finditer(text))
    if not marks:
        return None
    mark = marks[-1]
    rest = text[mark.end() :]
    if mark[0].startswith("\\"):
        return _joined_boxes(text, marks) + rest[: _closing(rest)]
    # "Answer: \boxed{4}" has two marks, of which the box is the last; an empty first line means the next one
    return rest.lstrip("\n* ").split("\n", 1)[0].strip()


def _joined_boxes(text: str, marks: list[re.Match[str]]) -> str:
    """The boxes before the last one, if they are part of the same answer, with what joins them."""
    before = ""
    for mark, following in zip(marks[-2::-1], marks[:0:-1], strict=True):
        if not mark[0].startswith("\\"):
            break
        end = mark.end() + _closing(text[mark.end() :])
        between = text[end + 1 : following.start()]
        if end >= following.start() or not _JOINS.fullmatch(between):
            break
        before = f"{text[mark.end() : end]} {_JOINS.fullmatch(between)[1]} {before}"  # type: ignore[index]
    return before


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
    return [value for match in _NUMBER.finditer(_plain(text)) if (value := _worth(match)) is not None]


def _plain(text: str) -> str:
    return _FRAC.sub(_slashed, text.replace("\\!", "").replace("{,}", ",").replace("\\$", "$"))


def final_number(text: str) -> Fraction | None:
    """The number that the text gives as its answer; None if it gives none.

    With a mark (see ``marked_answer``) it is the first number after the mark, or after the last ``=`` behind it: a
    marked answer without a number is no answer. Without a mark it is the last number of the text.

    Two numbers offered as the answer are none (``12 or 13``, ``12, 13``, ``3,5``, ``10 to 12``), nor is a number that
    is only part of what the answer says: ``18 * 2``, ``18:30``, ``more than 18``, ``not 18``, ``sqrt(18)``. ``minus
    18`` and ``18 million`` are read as what they are worth.
    """
    marked = marked_answer(text)
    if marked is None:
        plain = _plain(text)
        matches = [match for match in _NUMBER.finditer(plain) if _worth(match) is not None]
        alternatives = matches[-2:]
        if len(alternatives) == 2 and _joins(_EITHER, plain, *alternatives):
            return None
        return _worth(matches[-1]) if matches else None
    last = _EQUALS.split(marked)[-1]
    if last != marked and re.search(r"\d[^\d=]{0,30}\bor\b", marked[: -len(last) or None]):
        return None
    section = last if find_numbers(last) else marked
    return _only_number(_plain(section))


def _only_number(text: str) -> Fraction | None:
    """The first number, unless what stands around it makes it part of something else."""
    matches = [match for match in _NUMBER.finditer(text) if _worth(match) is not None]
    if not matches:
        return None
    first = matches[0]
    value = _worth(first) or Fraction(0)
    for one, other in itertools.pairwise(matches):
        if not _joins(_TOGETHER, text, one, other):
            break
        if _worth(other) != value or not _AGAIN.search(text, one.end(), other.start()):
            return None
    before, after = text[max(0, first.start() - _NEAR) : first.start()], text[first.end() : first.end() + _NEAR]
    if _NO_ANSWER_BEFORE.search(before) or _NO_ANSWER_AFTER.match(after):
        return None
    scale = _SCALE.match(after)
    value *= SCALES[(scale[1] or "thousand").lower()] if scale else 1
    return -value if _NEGATIVE.search(before) else value


def _joins(pattern: re.Pattern[str], text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether nothing but what the pattern allows stands between two numbers."""
    is_near = other.start() - one.end() <= _NEAR
    return is_near and pattern.fullmatch(text, one.end(), other.start()) is not None


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
    without a number, or with more than one (see ``final_number``), is ``unparsable``. Raises: VerifierError if the task
    has no numeric answer.
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
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no single number found",))
        passed = abs(found - expected) <= Fraction(self.tolerance) * abs(expected)
        reason = f"{_shown(found)} {'equals' if passed else 'is not'} {_shown(expected)}"
        return Verdict(score=float(passed), passed=passed, reasons=(reason,))


def _shown(value: Fraction) -> str:
    return str(value) if len(str(value)) <= 40 else f"{str(value)[:37]}..."
