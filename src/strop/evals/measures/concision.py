"""Concision: who says the same in fewer words, compared only where both are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.errors import MismatchError
from strop.evals.metrics import mean
from strop.evals.results import ItemResult, SuiteResult

if TYPE_CHECKING:
    from strop.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Concision:
    """Two models' lengths at equal quality."""

    num_items: int
    """Tasks that both passed, in every answer."""
    num_shared: int
    """Tasks that both were asked and that were graded: the others say nothing of length."""
    candidate_words: float | None
    baseline_words: float | None
    difference: float | None
    """Mean words of the candidate less those of the baseline; negative is more concise."""
    interval: Interval | None
    """95 %, over clusters; None where fewer than two, or none that differ, leave the spread unknown."""


def compare_length(candidate: SuiteResult, baseline: SuiteResult) -> Concision:
    """How long both models' answers are on the tasks that both solve.

    A short wrong answer is no concise one, and a model that solves more hard tasks is not punished for what they take:
    every task counts for both or for none. All None where there is no such task. Raises: MismatchError where one id
    asks two things.
    """
    before = {item.id: item for item in baseline.items}
    strange = next((i.id for i in candidate.items if i.id in before and i.question != before[i.id].question), None)
    if strange is not None:
        raise MismatchError(
            f"{candidate.name} and {baseline.name} ask different things",
            where=f"item {strange}",
            why="the lengths of answers to two questions say nothing of a model",
            do="evaluate both models on the same suite",
        )
    shared = [
        (item, before[item.id])
        for item in candidate.items
        if item.id in before and _is_graded(item) and _is_graded(before[item.id])
    ]
    both = [(new, old) for new, old in shared if _passes(new) and _passes(old)]
    news, olds = [_words(new) for new, _ in both], [_words(old) for _, old in both]
    differences = [new - old for new, old in zip(news, olds, strict=True)]
    clusters = [new.cluster or new.id for new, _ in both]
    return Concision(
        num_items=len(both),
        num_shared=len(shared),
        candidate_words=mean(news),
        baseline_words=mean(olds),
        difference=mean(differences),
        interval=_spread(differences, clusters),
    )


def _spread(differences: Sequence[float], clusters: Sequence[str]) -> Interval | None:
    from strop.statistics import mean_interval

    if len(set(clusters)) < 2:
        return None
    found = mean_interval(differences, clusters=clusters)
    return found if found.low < found.high else None


def _is_graded(item: ItemResult) -> bool:
    return bool(item.samples) and all(sample.is_graded for sample in item.samples)


def _passes(item: ItemResult) -> bool:
    return all(sample.passed for sample in item.samples)


def _words(item: ItemResult) -> float:
    return sum(len(text.split()) for text in item.texts) / len(item.texts)
