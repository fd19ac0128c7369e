"""Whether a metric, or the share of answers that may go live, is as high or low as was asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from strop.errors import RecipeError
from strop.evals.gating.companions import alone, beside
from strop.evals.gating.config import GateConfig, Threshold
from strop.evals.gating.go_live import GoLive, conditions_failed, go_live
from strop.evals.gating.keys import Place, require_gate, slices_of, unknown
from strop.evals.metrics import mean
from strop.evals.results import ItemResult, Rate, SuiteResult
from strop.types import Check, Outcome

NUM_NAMED = 20
_Z = 1.959963984540054
"""Of the 95 % interval."""


def check_threshold(
    place: Place, threshold: Threshold, candidate: Mapping[str, SuiteResult], config: GateConfig
) -> Check:
    """PASS or BLOCK by the value or by its interval's worse end; INSUFFICIENT where too little was measured.

    Raises: RecipeError for a threshold that no measurement could meet.
    """
    result = candidate[place.suite]
    if place.metric in result.metric_names():
        rate = result.rate(place.metric, place.where)
    else:
        value = result.runtime()[place.metric]
        rate = Rate(value, 0 if value is None else len(result.items), None)
    items = result.within(place.where)
    is_share = _is_share(place.metric, result, items)
    require_reachable(place, threshold, is_share=is_share, is_runtime=place.metric in result.runtime())
    check = _against(place.key, rate, threshold, _named(items, place.metric, threshold), config)
    check = _too_few_for_the_bound(place, rate, threshold, items, check) or check
    missing = None if check.outcome == "BLOCK" else alone(place, place.key, candidate)
    return missing or beside(check, place, candidate)


def check_go_live(rule: GoLive, candidate: Mapping[str, SuiteResult], config: GateConfig) -> list[Check]:
    """The share of answers with G = 1, over the suite and over every slice with a floor.

    Raises: RecipeError if the rule names a suite, measure or slice that is not there.
    """
    result = require_go_live(rule, candidate)
    names = rule.names
    good = {item.id: go_live(item, rule, result) for item in result.items}
    checks = []
    for where, floor in [(None, rule.min), *_floors(rule, result).items()]:
        key = Place(rule.suite, "go_live", where).key
        values = {item.id: g for item in result.within(where) if (g := good[item.id]) is not None}
        rate = Rate(mean([float(g) for g in values.values()]), len(values), None)
        named = [item_id for item_id, g in values.items() if not g]
        asked = _against(key, rate, Threshold(min=floor), named, config)
        checks.append(_with_conditions(asked, rule, result, [i for i in result.within(where) if good[i.id] is False]))
    checks += [_never_applied(rule.suite, name) for name in names if all(i.value(name) is None for i in result.items)]
    places = [Place(rule.suite, name, None) for name in names]
    without = [check for place in places if (check := alone(place, f"go_live: {place.key}", candidate))]
    return [*checks, *without]


def _with_conditions(check: Check, rule: GoLive, result: SuiteResult, bad: Sequence[ItemResult]) -> Check:
    """The check with how many of the items that may not go live fail each condition."""
    counts = Counter(name for item in bad for name in conditions_failed(item, rule, result))
    if not counts:
        return check
    most_first = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    told = ", ".join(f"{name} {count}" for name, count in most_first)
    numbers = {**check.numbers, "num_failed": len(bad), "failed": dict(most_first)}
    return replace(check, reason=f"{check.reason}; of {len(bad)} that may not go live: {told}", numbers=numbers)


def require_go_live(rule: GoLive, candidate: Mapping[str, SuiteResult]) -> SuiteResult:
    """The rule's suite. Raises: RecipeError if the rule names a suite, measure or slice that is not there."""
    result = candidate.get(rule.suite)
    if result is None:
        raise unknown("the gate's `go_live` names no suite that was evaluated", rule.suite, candidate)
    for name in rule.names:
        if name not in result.metrics:
            raise unknown(f"`go_live` names `{name}`, which suite {rule.suite} does not rate", name, result.metrics)
        require_gate("`go_live`", name, result)
    _floors(rule, result)
    return result


def _never_applied(suite: str, name: str) -> Check:
    reason = f"{name} applied to no answer, so that nothing is known of what it asks"
    return Check(name=f"go_live: {suite}.{name} is measured", outcome="INSUFFICIENT", reason=reason)


def _floors(rule: GoLive, result: SuiteResult) -> dict[str, float]:
    """Every slice with its floor: what names the slice outdoes what names its key, and that the floor of all."""
    floors = dict.fromkeys(result.slice_names(), rule.floor) if rule.floor is not None else {}
    for key in sorted(rule.floors, key=lambda key: "=" in key):
        floors |= dict.fromkeys(slices_of("`go_live`", key, result), rule.floors[key])
    return {where: floor for where, floor in floors.items() if floor is not None}


def _named(items: Sequence[ItemResult], metric: str, threshold: Threshold) -> list[str]:
    """The items that pull the metric to the wrong side, worst first."""
    sign = 1.0 if threshold.min is not None else -1.0
    best = 1.0 if threshold.min is not None else 0.0
    found = [(sign * value, item.id) for item in items if (value := item.value(metric)) not in (None, best)]
    return [item_id for _, item_id in sorted(found)]


def _against(key: str, rate: Rate, threshold: Threshold, named: Sequence[str], config: GateConfig) -> Check:
    numbers: dict[str, Any] = {"value": rate.value, "num_items": rate.num_items}
    numbers |= {"min": threshold.min, "max": threshold.max, "on": threshold.on, "items": list(named[:NUM_NAMED])}
    if rate.interval is not None:
        numbers |= {"low": rate.interval.low, "high": rate.interval.high}
    if rate.value is None:
        reason = "undefined: it applied to no answer"
        return Check(name=key, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
    low = high = rate.value
    if threshold.on == "bound":
        if rate.interval is None:
            reason = "its interval is unknown, and the threshold is on the interval's bound"
            return Check(name=key, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
        low, high = rate.interval.low, rate.interval.high
    failed = _fails(low, high, threshold)
    told = _told(rate, threshold)
    if rate.num_items < config.min_group_items and not (failed and threshold.hard):
        reason = (
            f"{told}: only {rate.num_items} items, at least {config.min_group_items} are asked for "
            f"(`min_group_items`): raise the suite's `limit`, or lower `min_group_items`"
        )
        return Check(name=key, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
    outcome: Outcome = "BLOCK" if failed else "PASS"
    return Check(name=key, outcome=outcome, reason=f"{told}: {'failed' if failed else 'holds'}", numbers=numbers)


def _fails(low: float, high: float, threshold: Threshold) -> bool:
    below = threshold.min is not None and low < threshold.min
    return below or (threshold.max is not None and high > threshold.max)


def _told(rate: Rate, threshold: Threshold) -> str:
    asked = [f"at least {threshold.min:g}"] if threshold.min is not None else []
    asked += [f"at most {threshold.max:g}"] if threshold.max is not None else []
    ends = f" [{rate.interval.low:.4g}, {rate.interval.high:.4g}]" if rate.interval is not None else ""
    of_bound = " for the interval's bound" if threshold.on == "bound" else ""
    return f"{rate.value:.4g}{ends} on {rate.num_items} items, asked {' and '.join(asked)}{of_bound}"


# ----------------------------------------------------------------------------------------------- what cannot be met


def require_reachable(place: Place, threshold: Threshold, *, is_share: bool, is_runtime: bool) -> None:
    """Refuse what no answers could meet: beyond the ends of a share, or a bound exactly on one. Raises: RecipeError."""
    why = None
    do = "write a share between 0 and 1: 0.95 for 95 %"
    if threshold.max is not None and threshold.max < 0 and (is_share or is_runtime):
        why = f"{place.metric} is never below 0, and at most {threshold.max:g} is asked"
        do = do if is_share else "write a `max` above 0"
    elif is_share and threshold.min is not None and threshold.min > 1:
        why = f"every value of {place.metric} lies between 0 and 1, and at least {threshold.min:g} is asked"
        do = f"write {threshold.min / 100:g} for {threshold.min:g} %" if 2 <= threshold.min <= 100 else do
    elif is_share and threshold.on == "bound" and (threshold.min == 1 or threshold.max == 0):
        why = "an interval's bound reaches 0 or 1 with no number of items"
        do = 'remove `on = "bound"` to ask it of the value, or ask less than all: `min = 0.99`, `max = 0.01`'
    if why is not None:
        raise RecipeError(f"the gate's threshold of `{place.key}` cannot be met", where="[gate]", why=why, do=do)


def _is_share(metric: str, result: SuiteResult, items: Sequence[ItemResult]) -> bool:
    """Whether all values lie in [0, 1]: of what was measured, for want of a declaration."""
    if metric not in result.metric_names():
        return metric.endswith("_share")
    values = [value for item in items if (value := item.value(metric)) is not None]
    return bool(values) and all(0 <= value <= 1 for value in values)


def _too_few_for_the_bound(
    place: Place, rate: Rate, threshold: Threshold, items: Sequence[ItemResult], check: Check
) -> Check | None:
    """INSUFFICIENT, with the items needed, where even answers that are all right could not bring the bound there."""
    if threshold.on != "bound" or rate.value is None or check.outcome != "BLOCK" or threshold.hard:
        return None
    values = [value for item in items if (value := item.value(place.metric)) is not None]
    if not all(0 <= value <= 1 for value in values) or _fails(rate.value, rate.value, threshold):
        return None
    worse = [1 - threshold.min] if threshold.min is not None else []
    worse += [threshold.max] if threshold.max is not None else []
    num_clusters = len({item.cluster or item.id for item in items if item.value(place.metric) is not None})
    needed = max(math.ceil(_Z**2 * (1 - share) / share - 1e-9) for share in worse if share > 0)
    if num_clusters >= needed:
        return None
    needed = math.ceil(needed * rate.num_items / num_clusters)
    reason = (
        f"{_told(rate, threshold)}: {rate.num_items} items could not show it even if all were right; "
        f"at least {needed} are needed"
    )
    numbers = {**check.numbers, "items_needed": needed}
    return Check(name=check.name, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
