"""Learned rewards: a scorer's probabilities for an answer or its steps, put together into a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict

Aggregation = Literal["product", "min", "last", "mean"]
Steps = tuple[str, ...]
Scorer = Callable[[Sequence[tuple[Task, Steps]]], Sequence[Sequence[float]]]
"""Tasks with the steps of an answer → for each, the probability that each step is right, read at the step's end."""


def split_steps(text: str, separator: str = "\n") -> Steps:
    """The steps of an answer, each with the separator that ends it, so that joined they are the text again.

    Separators without words between them belong to the step before. The same function splits what a process reward
    model learns from and what it judges: a label stands at the last token of such a piece (``label_steps``).
    Raises: ValueError for an empty separator.
    """
    pieces = text.split(separator)
    steps: list[str] = []
    for number, piece in enumerate(pieces):
        ended = piece + (separator if number < len(pieces) - 1 else "")
        if piece.strip() or not steps:
            steps.append(ended)
        else:
            steps[-1] += ended
    if len(steps) > 1 and not steps[0].strip():  # what stands before the first words belongs to them
        steps[:2] = [steps[0] + steps[1]]
    return tuple(steps) if text else ()


def aggregate(steps: Sequence[float], how: Aggregation) -> float:
    """A solution's score from its steps' probabilities.

    product  Π_k p_k          P(every step is right), if they err apart; falls with the number of steps
    min      min_k p_k        the weakest step
    last     p_K              the last step only: what an outcome model would say
    mean     Σ_k p_k / K      forgives a wrong step

    *Source*: product: Lightman et al. 2023 (arXiv:2305.20050), section 2.6; min: Wang et al. 2024, Math-Shepherd
    (arXiv:2312.08935), section 3.4. Raises: ValueError without steps.
    """
    if not steps:
        raise ValueError("an answer without steps has no score")
    if how == "product":
        return math.prod(steps)
    if how == "min":
        return min(steps)
    return steps[-1] if how == "last" else math.fsum(steps) / len(steps)


def shepherd_labels(outcomes: Sequence[Sequence[bool]], *, hard: bool = True) -> tuple[float | None, ...]:
    """A label a step from whether the completions that were drawn from its end came out right.

    hard  1[any right]        soft  right / all        None where none was drawn, or none could be graded

    *Source*: Wang et al. 2024, Math-Shepherd (arXiv:2312.08935), eq. 3 and 4. These are values of the policy that
    completed, not proofs: a wrong step from which it still recovers is labelled right (arXiv:2501.07301).
    """
    return tuple(
        None if not drawn else float(any(drawn)) if hard else sum(drawn) / len(drawn) for drawn in map(list, outcomes)
    )


@dataclass(frozen=True, kw_only=True)
class LearnedReward:
    """Scores a completion by a learned model: ``outcome`` reads the whole answer once, else each step is read.

    ``scorer`` is any function from tasks and steps to probabilities: a policy's scalar head after the sigmoid, a
    server. ``model`` is the digest of its weights, without which the verdict has no identity. All answers are given to
    it in one call. ``Verdict.steps`` has what it said of each step; ``passed`` is the aggregate from ``pass_at`` on.

    A learned reward is accurate where its data was, and nowhere else: audit it, and audit it again on what the policy
    writes after training on it. Truncated completions fail, empty ones are ``unparsable``, both unasked. Raises:
    VerifierError if the scorer answers with another number of scores, or with what is no probability.
    """

    scorer: Scorer
    model: str
    aggregation: Aggregation = "min"
    outcome: bool = False
    """One score of the whole answer (an ORM) instead of one a step (a PRM); it is then the score itself."""
    separator: str = "\n"
    pass_at: float = 0.5
    name: str = "learned reward"

    def __post_init__(self) -> None:
        if (
            self.aggregation not in ("product", "min", "last", "mean")
            or not self.separator
            or not 0 < self.pass_at <= 1
        ):
            raise VerifierError(
                f"aggregation {self.aggregation}, separator {self.separator!r}, pass_at {self.pass_at}",
                where=self.name,
                do="use product, min, last or mean, a separator, and a threshold above 0 and at most 1",
            )

    @property
    def digest(self) -> str:
        """Identity of this file, of the model as it is named, and of the settings."""
        settings = [self.aggregation, self.outcome, self.separator, self.pass_at, self.name]
        return digest_json([digest_file(__file__), self.model, settings])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.judge_many([(task, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Task, Completion]]) -> list[Verdict]:
        """One verdict a pair, in order."""
        verdicts: dict[int, Verdict] = {}
        rows: dict[int, tuple[Task, Steps]] = {}
        for place, (task, completion) in enumerate(pairs):
            if completion.is_truncated:
                verdicts[place] = Verdict(score=0.0, passed=False, reasons=("truncated",))
            elif not completion.text.strip():
                verdicts[place] = Verdict(score=0.0, passed=False, state="unparsable", reasons=("empty answer",))
            else:
                steps = (completion.text,) if self.outcome else split_steps(completion.text, self.separator)
                rows[place] = task, steps
        scores = self.scorer(list(rows.values())) if rows else []
        if len(scores) != len(rows):
            raise self._broken(f"{len(scores)} answers were scored, {len(rows)} were given")
        for (place, (task, steps)), found in zip(rows.items(), scores, strict=True):
            verdicts[place] = self._verdict(task, steps, [float(one) for one in found])
        return [verdicts[place] for place in range(len(pairs))]

    def _verdict(self, task: Task, steps: Steps, scores: Sequence[float]) -> Verdict:
        if len(scores) != len(steps) or not all(0 <= score <= 1 for score in scores):
            raise self._broken(f"{len(steps)} steps of task {task.id} were scored {scores}")
        score = aggregate(scores, self.aggregation)
        weakest = min(range(len(scores)), key=scores.__getitem__)
        reason = f"{'answer' if self.outcome else f'weakest step {weakest + 1} of {len(steps)}'}: {scores[weakest]:.3g}"
        return Verdict(
            score=score,
            passed=score >= self.pass_at,
            reasons=(reason,),
            steps=tuple(scores),
            provenance={"model": self.model},
        )

    def _broken(self, what: str) -> VerifierError:
        return VerifierError(
            f"the scorer of {self.name} broke its promise: {what}",
            why="it gives one probability from 0 to 1 a step; NaN is none",
            do="apply the sigmoid, and read one score at the end of each step",
        )
