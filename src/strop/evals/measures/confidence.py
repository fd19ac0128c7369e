"""Whether a model knows when it is right: its confidence in an answer, and what that is worth over a suite."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strop.evals.metrics import mean
from strop.evals.results import SuiteResult
from strop.types import Completion, Task, Verdict
from strop.verifiers.numbers import marked_answer
from strop.verifiers.text import normalise

COVERAGES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the questions that are answered, the surest first."""


def confidence(completion: Completion) -> float | None:
    """exp(mean log-probability of the answer's tokens): length-normalised, between 0 and 1; None without tokens.

    Under the model at temperature 1 where ``full_logprobs`` were asked for or the answer is greedy, else under what
    was sampled from.
    """
    logprobs = completion.sampler_logprobs if completion.full_logprobs is None else completion.full_logprobs
    found = mean(logprobs)
    return None if found is None else min(math.exp(found), 1.0)  # in this order what is no number stays none


def measure_confidence(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
    """``confidence``, and ``brier``: its squared distance from what the verdict says, 0 is best."""
    stated = confidence(completion)
    if stated is None or not verdict.is_graded:
        return {"confidence": stated, "brier": None}
    return {"confidence": stated, "brier": (stated - float(verdict.passed)) ** 2}


# ------------------------------------------------------------------------------------------------------------ the suite


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What stated confidences are worth over a suite."""

    num_answers: int
    accuracy: float
    mean_confidence: float
    """Above the accuracy: overconfident."""
    ece: float
    """Expected calibration error, ten bins of equal width; 0 is calibrated, biased upwards for few answers."""
    brier: float
    auc: float | None
    """The chance that a right answer is surer than a wrong one; None where all are right or all wrong."""
    selective: Mapping[float, float]
    """Share of questions answered, the surest first → accuracy on them."""
    area_under_risk: float
    """Mean share of wrong answers over all coverages: 0 is perfect, the error rate where the confidence says nothing.

    *Source*: Geifman and El-Yaniv 2017 (risk-coverage curve), as the mean over coverages 1/n .. 1.
    """


def calibrate(confidences: Sequence[float], outcomes: Sequence[bool]) -> Calibration | None:
    """Calibration of stated confidences of answers that were right or wrong; None without answers.

    Raises: ValueError for unequal lengths and for what is no probability.
    """
    from strop.statistics import auc, brier, expected_calibration_error

    if not confidences and not outcomes:
        return None
    score = brier(confidences, outcomes).score
    curve = risk_coverage(confidences, outcomes)
    return Calibration(
        num_answers=len(outcomes),
        accuracy=sum(outcomes) / len(outcomes),
        mean_confidence=sum(confidences) / len(confidences),
        ece=expected_calibration_error(confidences, outcomes),
        brier=score,
        auc=auc(confidences, outcomes) if len(set(map(bool, outcomes))) == 2 else None,
        selective={share: 1 - curve[math.ceil(share * len(curve)) - 1] for share in COVERAGES},
        area_under_risk=sum(curve) / len(curve),
    )


def risk_coverage(confidences: Sequence[float], outcomes: Sequence[bool]) -> list[float]:
    """For k = 1 .. n the share of wrong answers among the k surest; ties are taken in the mean of all their orders.

    *Source*: El-Yaniv and Wiener 2010.
    """
    wrong: dict[float, list[float]] = {}
    for stated, right in zip(confidences, outcomes, strict=True):
        wrong.setdefault(stated, []).append(1.0 - float(right))
    curve: list[float] = []
    total = 0.0
    for stated in sorted(wrong, reverse=True):
        share = sum(wrong[stated]) / len(wrong[stated])
        for _ in wrong[stated]:
            total += share
            curve.append(total / (len(curve) + 1))
    return curve


def calibration_of(result: SuiteResult) -> Calibration | None:
    """Of the answers of a suite that measured ``confidence``; what was not graded is left out. None without any."""
    pairs = [
        (stated, sample.passed)
        for sample in result.samples
        if sample.is_graded and (stated := sample.measures.get("confidence")) is not None
    ]
    return calibrate([stated for stated, _ in pairs], [right for _, right in pairs])


def agreement_of(result: SuiteResult) -> Calibration | None:
    """The same with self-consistency as the confidence: of several answers to a task, the share that says the most
    frequent one, right or wrong as that is when it is first said. What an answer marks as its answer is compared, else
    all of it, after ``normalise``; ties take the first said.

    None where no task has two graded answers. *Source*: Wang et al. 2022, "Self-consistency".
    """
    stated, right = [], []
    for item in result.items:
        said = [(_final(sample.text), sample.passed) for sample in item.samples if sample.is_graded]
        if len(said) < 2:
            continue
        text, times = Counter(text for text, _ in said).most_common(1)[0]
        stated.append(times / len(said))
        right.append(next(is_right for one, is_right in said if one == text))
    return calibrate(stated, right)


def _final(text: str) -> str:
    marked = marked_answer(text)
    return normalise(text if marked is None else marked)
