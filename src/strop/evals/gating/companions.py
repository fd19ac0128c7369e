"""Metrics that mislead alone: they are told together with their companions, or decide nothing.

A valid schema beside a right meaning, a win rate beside accuracy: the first can rise while the second falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from strop.evals.gating.keys import Place
from strop.evals.results import Rate, SuiteResult
from strop.types import Check


def alone(place: Place, name: str, candidate: Mapping[str, SuiteResult]) -> Check | None:
    """INSUFFICIENT, a check of that name, if a companion was measured in no suite; None where all were."""
    companions = _companions(place, candidate)
    missing = [other for other in companions if _measured(other, place, candidate) is None]
    if not missing:
        return None
    reason = (
        f"{place.metric} is not judged without {' and '.join(missing)}, which no suite measured: "
        f"alone it can rise while what matters falls"
    )
    numbers = {"missing": missing, "companions": list(companions)}
    return Check(name=name, outcome="INSUFFICIENT", reason=reason, numbers=numbers)


def beside(check: Check, place: Place, candidate: Mapping[str, SuiteResult]) -> Check:
    """The check with the companions' values in its reason and numbers."""
    found = {name: rate for name in _companions(place, candidate) if (rate := _measured(name, place, candidate))}
    if not found:
        return check
    told = ", ".join(f"{name} {rate.value:.4g}" for name, rate in found.items())
    values = {name: {"value": rate.value, "num_items": rate.num_items} for name, rate in found.items()}
    return replace(check, reason=f"{check.reason}; beside it {told}", numbers={**check.numbers, "beside": values})


def _companions(place: Place, candidate: Mapping[str, SuiteResult]) -> tuple[str, ...]:
    rule = candidate[place.suite].metrics.get(place.metric)
    return () if rule is None else rule.beside


def _measured(name: str, place: Place, candidate: Mapping[str, SuiteResult]) -> Rate | None:
    """The companion on the same slice, else over the suite, else in another suite; None if it has no value anywhere."""
    own = candidate[place.suite]
    others = [(other, None) for _, other in sorted(candidate.items()) if other is not own]
    for result, where in [(own, place.where), (own, None), *others]:
        if name in result.metric_names() and (rate := result.rate(name, where)).value is not None:
            return rate
    return None
