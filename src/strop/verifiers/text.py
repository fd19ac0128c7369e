"""A textual answer compared with one or several accepted ones."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers.numbers import marked_answer


def normalise(text: str) -> str:
    """The text without differences of case, Unicode form, spacing, surrounding quotes and a final full stop."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip("\"'`*“”‘’ ").rstrip(".").strip()


_INVISIBLE = "\u115f\u1160\u3164\uffa0"
"""Fillers of Hangul: letters that show nothing."""


def says_something(text: str) -> bool:
    """Whether a letter or a digit stands in it: blanks, marks and characters of no width say nothing."""
    return any(character.isalnum() and character not in _INVISIBLE for character in text)


@dataclass(frozen=True, kw_only=True)
class ExactAnswer:
    r"""Passes a completion that says ``task.reference["answer"]`` (or one of a list) and nothing else.

    Where the completion marks its answer (``####``, ``Answer:``, ``\boxed{}``) only the marked part is compared, after
    ``normalise``. A truncated completion fails; an empty one is ``unparsable``. Raises: VerifierError if the task has
    no answer.
    """

    name: str = "exact"

    @property
    def digest(self) -> str:
        """Identity of this file, of the marks that it looks for, and of its settings."""
        return digest_json([digest_file(__file__), digest_file(marked_answer.__code__.co_filename), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        accepted = _accepted(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        marked = marked_answer(completion.text)
        said = normalise(completion.text if marked is None else marked)
        if not said:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("no answer found",))
        passed = said in accepted
        reason = "equals the reference" if passed else f"{said[:60]!r} is not {accepted[0][:60]!r}"
        return Verdict(score=float(passed), passed=passed, reasons=(reason,))


def _accepted(task: Task) -> list[str]:
    answer = task.reference.get("answer")
    answers = answer if isinstance(answer, list | tuple) else [answer]
    texts = [str(one) for one in answers if isinstance(one, str | int | float) and not isinstance(one, bool)]
    marked = [marked_answer(text) for text in texts]
    plain = [normalise(text if mark is None else mark) for text, mark in zip(texts, marked, strict=True)]
    if not plain or len(plain) != len(answers) or "" in plain:
        raise VerifierError(
            f"task {task.id} has no text to compare with: answer = {answer!r}",
            where=task.source or task.id,
            why='ExactAnswer needs a reference such as {"answer": "Paris"} or {"answer": ["Paris", "paris, France"]}',
            do="give every task an answer, or use your own verifier",
        )
    return plain
