"""A model as the judge: of one answer by a rubric, or of two answers in both orders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers.judge_model import JudgeModel, Question, Reply

if TYPE_CHECKING:
    from strop.statistics import Interval

SAID = "; it said: "
"""Between the reason why a comparison has no outcome and what the judge said."""
_NUM_SHOWN = 80
_TRUNCATED = Verdict(score=0.0, passed=False, reasons=("truncated",))
_EMPTY = Verdict(score=0.0, passed=False, state="unparsable", reasons=("empty answer",))
Outcome = Literal["win", "loss", "tie", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One thing that an answer is judged by."""

    name: str
    """A short word of letters, which the judge repeats."""
    text: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What answers are judged by, each criterion on the scale ``low``..``high`` of whole numbers."""

    criteria: tuple[Criterion, ...]
    low: int = 0
    high: int = 10
    pass_at: float = 0.5
    """The share of the scale from which on the weighted mean passes."""

    def __post_init__(self) -> None:
        names = [criterion.name for criterion in self.criteria]
        if (
            not names
            or len(set(names)) < len(names)
            or not all(re.fullmatch(r"[a-z_]+", name) for name in names)
            or min(criterion.weight for criterion in self.criteria) <= 0
            or self.high <= self.low
            or not 0 < self.pass_at <= 1
        ):
            raise VerifierError(
                f"a rubric of {names} on {self.low} to {self.high}, passing at {self.pass_at}, is none",
                do="give criteria with names of their own in small letters, weights above 0 and a rising scale",
            )

    @property
    def digest(self) -> str:
        """Identity of every word and number in it."""
        return digest_json(asdict(self))


@dataclass(frozen=True, kw_only=True)
class JudgeVerifier:
    """Passes a completion that the judge gives enough points by the rubric.

    The score is the weighted mean of the criteria as a share of the scale; ``measures`` has each criterion's share. The
    judge must give exactly one number for each criterion, in the form that it is told and with the code of this very
    question: anything else, a number off the scale too, is state ``unparsable`` *without* a score, as it is the judge
    that failed. Its server failing is ``infrastructure``, its deadline ``timeout``. Truncated completions fail, empty
    ones score 0, both unasked.

    A judge is a model: before its verdicts are learned from, audit it, and hold it against people (``Anchor``).
    """

    judge: JudgeModel
    rubric: Rubric
    shows_reference: bool = False
    """Whether the judge sees ``task.reference["answer"]``."""
    name: str = "judge"

    @property
    def digest(self) -> str:
        """Identity of this file, of the judge, of the rubric and of the settings."""
        settings = [self.shows_reference, self.name]
        return digest_json([digest_file(__file__), self.judge.digest, self.rubric.digest, settings])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.judge_many([(task, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Task, Completion]]) -> list[Verdict]:
        """One verdict a pair, in order; all are asked in one call of the sampler."""
        asked = [place for place, (_, completion) in enumerate(pairs) if _unasked(completion) is None]
        replies = self.judge.ask([self._question(*pairs[place]) for place in asked]) if asked else []
        found = {place: self._verdict(reply) for place, reply in zip(asked, replies, strict=True)}
        return [found.get(place) or _unasked(pair[1]) or _EMPTY for place, pair in enumerate(pairs)]

    def _question(self, task: Task, completion: Completion) -> Question:
        material = {"TASK": _told(task)}
        if self.shows_reference:
            material["REFERENCE"] = _column(task, "answer", self.name)
        material["ANSWER"] = completion.text
        rubric = self.rubric
        criteria = "\n".join(f"- {one.name}: {one.text}" for one in rubric.criteria)
        lines = "\n".join(f"VERDICT {{nonce}} {one.name}: <{rubric.low} to {rubric.high}>" for one in rubric.criteria)
        request = (
            f"Judge the ANSWER to the TASK. Give each criterion a whole number from {rubric.low} (worst) to "
            f"{rubric.high} (best):\n{criteria}\n\nEnd with exactly these lines:\n{lines}"
        )
        return Question(material=material, request=request)

    def _verdict(self, reply: Reply) -> Verdict:
        if reply.state != "graded":
            return Verdict(score=None, passed=False, state=reply.state, reasons=(reply.reason,))
        points = {}
        for criterion in self.rubric.criteria:
            said = reply.verdicts(criterion.name)
            number = int(said[0]) if len(said) == 1 and re.fullmatch(r"-?[0-9]{1,6}", said[0]) else None
            if number is None or not self.rubric.low <= number <= self.rubric.high:
                reason = f"the judge gave {said or 'nothing'} for {criterion.name}"
                return Verdict(score=None, passed=False, state="unparsable", reasons=(reason,))
            points[criterion.name] = (number - self.rubric.low) / (self.rubric.high - self.rubric.low)
        weights = {criterion.name: criterion.weight for criterion in self.rubric.criteria}
        score = sum(weights[name] * share for name, share in points.items()) / sum(weights.values())
        return Verdict(
            score=score,
            passed=score >= self.rubric.pass_at,
            reasons=tuple(f"{name}: {share:g}" for name, share in points.items()),
            measures=points,
            provenance={"judge": self.judge.model, "rubric": self.rubric.digest},
        )


# ------------------------------------------------------------------------------------------------- two answers, swapped


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two answers compared in both orders, seen from the first of them."""

    outcome: Outcome | None
    """``undecided`` where the two orders contradict each other; None where an order brought no verdict."""
    said: tuple[str, ...] = ()
    """``FIRST``, ``SECOND`` or ``TIE``: with the answer standing first, then with it standing second."""
    failure: Verdict | None = None
    """What a verifier answers where there is no outcome."""


@dataclass(frozen=True, kw_only=True)
class PositionBias:
    """How far a judge's preference follows the place where an answer stands; a fair judge has 0 and ½."""

    num_compared: int
    inconsistent: Interval
    """The share of comparisons whose two orders contradict each other: Wilson, 95 %."""
    inconsistent_rate: float
    first_rate: float
    """How often the answer that stood first was preferred, over all orders, ties counted half."""


@dataclass(frozen=True, kw_only=True)
class PairwiseJudge:
    """Passes a completion that the judge prefers to ``task.reference[against]``, whichever of the two stands first.

    Win 1, loss 0, and ½ for a tie, or for a preference that turns when the two change places (``undecided``: it was of
    the place and not of the answer); only a win passes. The measure ``first_preferred`` is 1, ½ or 0: its mean is ½ for
    a judge without position bias. An order without a readable verdict leaves no score, as with ``JudgeVerifier``.
    """

    judge: JudgeModel
    criterion: str
    """What makes an answer better, in a sentence."""
    against: str = "answer"
    name: str = "pairwise judge"

    @property
    def digest(self) -> str:
        """Identity of this file, of the judge, and of the settings."""
        return digest_json([digest_file(__file__), self.judge.digest, self.criterion, self.against, self.name])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.judge_many([(task, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Task, Completion]]) -> list[Verdict]:
        """One verdict a pair, in order; all are asked, in both orders, in one call of the sampler."""
        asked = [place for place, (_, completion) in enumerate(pairs) if _unasked(completion) is None]
        rows = [(pairs[p][0], pairs[p][1].text, _column(pairs[p][0], self.against, self.name)) for p in asked]
        found = {place: self._verdict(one) for place, one in zip(asked, self.compare(rows), strict=True)}
        return [found.get(place) or _unasked(pair[1]) or _EMPTY for place, pair in enumerate(pairs)]

    def compare(self, rows: Sequence[tuple[Task, str, str]]) -> list[Comparison]:
        """For each task with an answer and another one: what the judge says of the first in both orders."""
        questions = [
            self._question(task, *((mine, other) if order == 0 else (other, mine)))
            for task, mine, other in rows
            for order in range(2)
        ]
        replies = self.judge.ask(questions) if questions else []
        return [_compared(first, second) for first, second in zip(replies[::2], replies[1::2], strict=True)]

    def _question(self, task: Task, first: str, second: str) -> Question:
        request = (
            f"Which is the better answer to the TASK, FIRST or SECOND? Better means: {self.criterion}\n\n"
            "End with exactly one line, one of:\nVERDICT {nonce}: FIRST\nVERDICT {nonce}: SECOND\nVERDICT {nonce}: TIE"
        )
        return Question(material={"TASK": _told(task), "FIRST": first, "SECOND": second}, request=request)

    def _verdict(self, found: Comparison) -> Verdict:
        if found.outcome is None:
            assert found.failure is not None
            return found.failure
        score = {"win": 1.0, "loss": 0.0}.get(found.outcome, 0.5)
        return Verdict(
            score=score,
            passed=found.outcome == "win",
            reasons=(found.outcome if found.outcome != "undecided" else "undecided: the preference follows the place",),
            measures={"first_preferred": sum(map(_FIRST.__getitem__, found.said)) / 2},
            provenance={"judge": self.judge.model},
        )


_FIRST: Mapping[str, float] = {"FIRST": 1.0, "SECOND": 0.0, "TIE": 0.5}
_OUTCOMES: Mapping[tuple[str, str], Outcome] = {
    ("FIRST", "SECOND"): "win",
    ("SECOND", "FIRST"): "loss",
    ("TIE", "TIE"): "tie",
}


def _excerpt(reply: Reply) -> str:
    """The beginning of what the judge said, in one line; empty where it said nothing."""
    said = " ".join(reply.text.replace(reply.nonce, "…").split())
    return f"{SAID}{said[:_NUM_SHOWN]}{'…' if len(said) > _NUM_SHOWN else ''}" if said else ""


def _compared(first: Reply, second: Reply) -> Comparison:
    said = []
    for reply in (first, second):
        verdicts = reply.verdicts()
        if reply.state != "graded" or len(verdicts) != 1 or verdicts[0] not in _FIRST:
            state = "unparsable" if reply.state == "graded" else reply.state
            reason = (reply.reason or f"the judge gave {verdicts or 'nothing'}") + _excerpt(reply)
            return Comparison(outcome=None, failure=Verdict(score=None, passed=False, state=state, reasons=(reason,)))
        said.append(verdicts[0])
    return Comparison(outcome=_OUTCOMES.get((said[0], said[1]), "undecided"), said=tuple(said))


def position_bias(comparisons: Sequence[Comparison]) -> PositionBias:
    """The bias over those that have an outcome. Raises: ValueError if none has."""
    from strop.statistics import wilson

    decided = [one for one in comparisons if one.outcome is not None]
    if not decided:
        raise ValueError("no comparison has an outcome in both orders")
    inconsistent = sum(one.outcome == "undecided" for one in decided)
    first = sum(_FIRST[word] for one in decided for word in one.said)
    return PositionBias(
        num_compared=len(decided),
        inconsistent=wilson(inconsistent, len(decided)),
        inconsistent_rate=inconsistent / len(decided),
        first_rate=first / (2 * len(decided)),
    )


# ---------------------------------------------------------------------------------------------------- what both ask for


def _unasked(completion: Completion) -> Verdict | None:
    """The verdict on what no judge need see."""
    if completion.is_truncated:
        return _TRUNCATED
    return None if completion.text.strip() else _EMPTY


def _told(task: Task) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in task.prompt)


def _column(task: Task, column: str, name: str) -> str:
    answer = task.reference.get(column)
    if isinstance(answer, str) and answer.strip():
        return answer
    raise VerifierError(
        f"task {task.id} has no text in `{column}`",
        where=task.source or task.id,
        why=f"{name} shows it to the judge",
        do=f'give every task a reference such as {{"{column}": "…"}}',
    )
