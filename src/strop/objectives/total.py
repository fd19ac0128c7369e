"""A weighted sum of objectives on the same batch: a critic beside the policy, a likelihood beside a preference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from strop.errors import RecipeError
from strop.types import Batch, Loss, Objective, Outputs


@dataclass(frozen=True)
class Total:
    """Σ_k w_k L_k over ``terms`` of (weight, objective), each divided by its own denominators.

    Metrics are those of all terms; two terms may not share a metric's name. Denominators of the same name are the same
    count, and the terms' temperatures agree. A weight of 0 keeps the term's metrics and takes its gradient away.
    Raises: RecipeError without terms, for different temperatures, or for a weight that is below 0 or not finite.
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        temperatures = {objective.temperature for _, objective in self.terms}
        if len(temperatures) != 1:
            raise RecipeError(
                f"a sum of {len(self.terms)} objectives with the temperatures {sorted(temperatures)}",
                why="the log-probabilities of a batch are computed once, at one temperature",
                do="give at least one term, and all terms the same temperature",
            )
        for weight, objective in self.terms:
            if not 0 <= weight < math.inf:
                raise RecipeError(
                    f"a sum of objectives: the weight of {type(objective).__name__} is {weight}",
                    why="below 0 the term would be climbed, which undoes what it is for",
                    do="use a weight of 0 or more",
                )

    @property
    def needs(self) -> frozenset[str]:
        """What any of the terms needs."""
        return frozenset().union(*(objective.needs for _, objective in self.terms))

    @property
    def temperature(self) -> float:
        """That of every term."""
        return self.terms[0][1].temperature

    def count(self, batch: Batch) -> Mapping[str, float]:
        """The denominators of all terms."""
        counts: dict[str, float] = {}
        for _, objective in self.terms:
            for name, count in objective.count(batch).items():
                assert counts.setdefault(name, count) == count, f"two terms count {name} differently"
        return counts

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's sum."""
        losses = [(weight, objective(outputs, batch, totals)) for weight, objective in self.terms]
        names = [name for _, loss in losses for name in loss.metrics]
        assert len(set(names)) == len(names), f"two terms measure the same: {sorted(names)}"
        value = losses[0][0] * losses[0][1].value
        for weight, loss in losses[1:]:
            value = value + weight * loss.value
        return Loss(value=value, metrics={name: metric for _, loss in losses for name, metric in loss.metrics.items()})
