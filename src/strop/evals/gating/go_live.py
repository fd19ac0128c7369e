"""The go-live gate of single answers: G(x), and the rule over a suite of them."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from strop.evals.results import ItemResult, SuiteResult


def is_releasable(
    *,
    safe: bool | None,
    schema_valid: bool | None,
    grounded: bool | None,
    latency_s: float | None,
    cost: float | None,
    max_latency_s: float,
    max_cost: float,
) -> bool | None:
    """Whether one answer may go live: G(x) = 1[safe ∧ schema-valid ∧ grounded ∧ latency ≤ τ_l ∧ cost ≤ τ_c].

    A predicate that could not be measured is None: then the answer is False if any other predicate is, and None
    otherwise. What could not be judged never counts as good.
    """
    predicates = (
        safe,
        schema_valid,
        grounded,
        None if latency_s is None else latency_s <= max_latency_s,
        None if cost is None else cost <= max_cost,
    )
    if any(predicate is False for predicate in predicates):
        return False
    return None if None in predicates else True


class GoLive(BaseModel):
    """Which measures of a suite are the five predicates of G(x), and how large the share of good answers must be.

    A predicate holds where each of its measures has its best value: 1 where higher is better, 0 where lower is. A
    measure that does not apply to an item asks nothing of it; an item that could not be graded has no G.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    safe: tuple[str, ...] = ()
    schema_valid: tuple[str, ...] = ()
    grounded: tuple[str, ...] = ()
    max_latency_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of the batch in which an item's slowest answer was given, where it was evaluated: ``SampleResult.latency_s``."""
    max_cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    min: float = Field(ge=0, le=1)
    """The share of good answers over the suite."""
    floor: float | None = Field(default=None, ge=0, le=1)
    """The share over every slice of the suite, one by one."""
    floors: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """The share over single slices, ``{"kind=refusal" = 0.95}``, or over each value of a key, ``{kind = 0.9}``."""

    @model_validator(mode="after")
    def _asks_something(self) -> GoLive:
        limits = (self.max_latency_s, self.max_cost)
        if not (self.safe or self.schema_valid or self.grounded) and limits == (None, None):
            raise ValueError("it asks nothing of an answer: name measures of `safe`, `schema_valid` or `grounded`")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All measures that it asks."""
        return (*self.safe, *self.schema_valid, *self.grounded)


def go_live(item: ItemResult, rule: GoLive, result: SuiteResult) -> bool | None:
    """G of one item, over all of its samples; None where it could not be judged, by the verifier or by a judge."""
    latency_s, cost = _spent(item, rule, result)
    return is_releasable(
        safe=_holds(rule.safe, item, result),
        schema_valid=_holds(rule.schema_valid, item, result),
        grounded=_holds(rule.grounded, item, result),
        latency_s=latency_s,
        cost=cost,
        max_latency_s=math.inf if rule.max_latency_s is None else rule.max_latency_s,
        max_cost=math.inf if rule.max_cost is None else rule.max_cost,
    )


def conditions_failed(item: ItemResult, rule: GoLive, result: SuiteResult) -> list[str]:
    """Which of safe, schema_valid, grounded, latency and cost an item fails: why its G is False."""
    latency_s, cost = _spent(item, rule, result)
    held = {
        "safe": _holds(rule.safe, item, result),
        "schema_valid": _holds(rule.schema_valid, item, result),
        "grounded": _holds(rule.grounded, item, result),
        "latency": latency_s is None or rule.max_latency_s is None or latency_s <= rule.max_latency_s,
        "cost": cost is None or rule.max_cost is None or cost <= rule.max_cost,
    }
    return [name for name, one in held.items() if one is False]


def _holds(names: tuple[str, ...], item: ItemResult, result: SuiteResult) -> bool | None:
    """Whether each measure has its best value wherever it applies; None where that was not judged."""
    from strop.evals.judging.rubric import PREFIX  # the judge needs numpy, and recipes are read without

    found = [(name, sample.measures.get(name)) for name in names for sample in item.samples]
    best = {name: 1.0 if result.metrics[name].direction == "higher" else 0.0 for name in names}
    if any(value is not None and value != best[name] for name, value in found):
        return False
    graded = bool(item.samples) and all(sample.is_graded for sample in item.samples)
    unjudged = any(value is None and name.startswith(PREFIX) for name, value in found)
    return None if unjudged or not graded else True


def _spent(item: ItemResult, rule: GoLive, result: SuiteResult) -> tuple[float | None, float | None]:
    """The slowest answer's seconds and the dearest one's cost; None where a limit asks what nobody measured."""
    is_timed = rule.max_latency_s is None or "imported" not in result.surroundings
    costs = [sample.cost for sample in item.samples if sample.cost is not None]
    cost = max(costs, default=None) if len(costs) == len(item.samples) else None
    latency_s = max((sample.latency_s for sample in item.samples), default=0.0) if is_timed else None
    return latency_s, 0.0 if rule.max_cost is None else cost
