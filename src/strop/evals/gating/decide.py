"""May the candidate be released? Thresholds, paired regression against the baseline, and drift: a pure decision.

The gate is apart from training: no reward enters it, and nothing here is descended.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from strop.errors import MismatchError, RecipeError
from strop.evals.drift import drift_checks
from strop.evals.gating.config import GateConfig, Threshold
from strop.evals.gating.go_live import GoLive, go_live
from strop.evals.metrics import mean
from strop.evals.results import ItemResult, Rate, SuiteResult
from strop.types import Check, Decision, Outcome

_KEY = re.compile(r"(?P<suite>.+)\.(?P<metric>[^.\[]+)(\[(?P<where>[^=\]]+=[^\]]+)\])?")
_NUM_NAMED = 20
_ORDER: tuple[Outcome, ...] = ("BLOCK", "INSUFFICIENT", "PASS")


def gate(
    candidate: Mapping[str, SuiteResult], baseline: Mapping[str, SuiteResult] | None, config: GateConfig
) -> Decision:
    """PASS, BLOCK or INSUFFICIENT, with a reason and the deciding items for every check.

    A metric regresses when more items got worse than better and McNemar's exact test says p < alpha, or, where
    ``max_drop`` names it, when it fell by more than that. With values other than 0 and 1 the same test is the sign
    test. Slices with fewer than ``min_group_items`` are not compared. Raises: MismatchError if the two runs cannot be
    paired; RecipeError if a threshold or drop names a metric or slice that was not measured.
    """
    keys = {key: _find(key, candidate) for key in (*config.thresholds, *config.max_drop)}
    for key in config.max_drop:
        metrics = candidate[keys[key].suite].metrics
        if keys[key].metric not in metrics:
            raise _unknown(f"max_drop's `{key}` is not a metric that the suite rates", keys[key].metric, metrics)
    checks: list[Check] = []
    checks += [_threshold(key, keys[key], candidate, config) for key in config.thresholds]
    for name, result in candidate.items() if baseline is not None else ():
        before = _paired(name, result, baseline or {})
        checks += drift_checks(result, before, config)
        checks += _regressions(result, before, config)
    for rule in config.go_live:
        checks += _go_live(rule, candidate, config)
    if not checks:
        reason = "nothing was tested: no threshold was given and no metric could be compared with a baseline"
        checks.append(Check(name="tested", outcome="INSUFFICIENT", reason=reason))
    for result in candidate.values():
        checks += _enough(result, config)
    return Decision(outcome=min((check.outcome for check in checks), key=_ORDER.index), checks=tuple(checks))


# --------------------------------------------------------------------------------------------------------------- naming


@dataclass(frozen=True)
class _Place:
    """A metric of a suite, over all its items or a slice."""

    suite: str
    metric: str
    where: str | None


def _find(key: str, candidate: Mapping[str, SuiteResult]) -> _Place:
    """What a key of the configuration names. Raises: RecipeError, naming the nearest."""
    parts = _KEY.fullmatch(key)
    suite, metric, where = (parts["suite"], parts["metric"], parts["where"]) if parts else ("", key, None)
    result = candidate.get(suite)
    if result is None:
        raise _unknown(f"the gate's `{key}` names no suite that was evaluated", suite, candidate)
    known = [*result.metric_names(), *result.runtime()]
    if metric not in known:
        raise _unknown(f"the gate's `{key}` names no metric of suite {suite}", metric, known)
    if where is not None and where not in result.slice_names():
        raise _unknown(f"the gate's `{key}` names no slice of suite {suite}", where, result.slice_names())
    if where is not None and metric in result.runtime() and metric not in result.metric_names():
        raise RecipeError(f"the gate's `{key}` asks a slice of {metric}", why="it is measured over whole suites only")
    return _Place(suite, metric, where)


def _unknown(what: str, word: str, known: Iterable[str]) -> RecipeError:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    do = f"did you mean `{near[0]}`? " if near else ""
    return RecipeError(
        what, do=f"{do}known: {', '.join(known) or 'none'}; write suite.metric or suite.metric[key=value]"
    )


# ------------------------------------------------------------------------------------------------------------ one suite


def _enough(result: SuiteResult, config: GateConfig) -> list[Check]:
    """Whether there are enough items, and whether they were judged."""
    checks = []
    num_items, num_samples = len(result.items), sum(1 for _ in result.samples)
    if num_items < config.min_items:
        reason = f"{num_items} items; at least {config.min_items} are asked for"
        checks.append(Check(name=f"{result.name}: items", outcome="INSUFFICIENT", reason=reason))
    if result.num_ungraded > config.max_ungraded * num_samples:
        reason = f"{result.num_ungraded} of {num_samples} answers could not be judged"
        named = [item.id for item in result.items if not all(sample.is_graded for sample in item.samples)]
        numbers = {"items": named[:_NUM_NAMED]}
        checks.append(Check(name=f"{result.name}: judged", outcome="INSUFFICIENT", reason=reason, numbers=numbers))
    return checks


def _threshold(key: str, place: _Place, candidate: Mapping[str, SuiteResult], config: GateConfig) -> Check:
    result, threshold = candidate[place.suite], config.thresholds[key]
    if place.metric in result.metric_names():
        rate = result.rate(place.metric, place.where)
    else:
        value = result.runtime()[place.metric]
        rate = Rate(value, 0 if value is None else len(result.items), None)
    named = _named(result.within(place.where), place.metric, threshold)
    return _against(key, rate, threshold, named, config)


def _named(items: list[ItemResult], metric: str, threshold: Threshold) -> list[str]:
    """The items that pull the metric to the wrong side, worst first."""
    sign = 1.0 if threshold.min is not None else -1.0
    best = 1.0 if threshold.min is not None else 0.0
    found = [(sign * value, item.id) for item in items if (value := item.value(metric)) not in (None, best)]
    return [item_id for _, item_id in sorted(found)]


def _against(key: str, rate: Rate, threshold: Threshold, named: list[str], config: GateConfig) -> Check:
    numbers: dict[str, Any] = {"value": rate.value, "num_items": rate.num_items}
    numbers |= {"min": threshold.min, "max": threshold.max, "on": threshold.on, "items": named[:_NUM_NAMED]}
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
    failed = (threshold.min is not None and low < threshold.min) or (threshold.max is not None and high > threshold.max)
    told = _told(rate, threshold)
    if rate.num_items < config.min_group_items and not (failed and threshold.hard):
        reason = f"{told}: only {rate.num_items} items, at least {config.min_group_items} are asked for"
        return Check(name=key, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
    outcome: Outcome = "BLOCK" if failed else "PASS"
    return Check(name=key, outcome=outcome, reason=f"{told}: {'failed' if failed else 'holds'}", numbers=numbers)


def _told(rate: Rate, threshold: Threshold) -> str:
    asked = [f"at least {threshold.min:g}"] if threshold.min is not None else []
    asked += [f"at most {threshold.max:g}"] if threshold.max is not None else []
    ends = f" [{rate.interval.low:.4g}, {rate.interval.high:.4g}]" if rate.interval is not None else ""
    of_bound = " for the interval's bound" if threshold.on == "bound" else ""
    return f"{rate.value:.4g}{ends} on {rate.num_items} items, asked {' and '.join(asked)}{of_bound}"


def _go_live(rule: GoLive, candidate: Mapping[str, SuiteResult], config: GateConfig) -> list[Check]:
    """The share of answers with G = 1, over the suite and over every slice with a floor."""
    result = candidate.get(rule.suite)
    if result is None:
        raise _unknown("the gate's `go_live` names no suite that was evaluated", rule.suite, candidate)
    for name in (*rule.safe, *rule.schema_valid, *rule.grounded):
        if name not in result.metrics:
            raise _unknown(f"`go_live` names `{name}`, which suite {rule.suite} does not rate", name, result.metrics)
    good = {item.id: go_live(item, rule, result) for item in result.items}
    checks = []
    for where, floor in [(None, rule.min), *rule.floors.items()]:
        if where is not None and where not in result.slice_names():
            raise _unknown(f"`go_live` names no slice of suite {rule.suite}", where, result.slice_names())
        values = {item.id: g for item in result.within(where) if (g := good[item.id]) is not None}
        rate = Rate(mean([float(g) for g in values.values()]), len(values), None)
        key = f"{rule.suite}.go_live" + (f"[{where}]" if where else "")
        named = [item_id for item_id, g in values.items() if not g]
        checks.append(_against(key, rate, Threshold(min=floor), named, config))
    return checks


# ---------------------------------------------------------------------------------------------- against the baseline


def _paired(name: str, result: SuiteResult, baseline: Mapping[str, SuiteResult]) -> SuiteResult:
    """The baseline's result on the very same items. Raises: MismatchError."""
    before = baseline.get(name)
    again = "evaluate both models on the same suite with the same settings"
    if before is None:
        raise MismatchError(f"the baseline was not evaluated on suite {name}", do=again)
    for what in ("suite", "verifier"):
        if before.digests[what] != result.digests[what]:
            why = f"the {what}'s content differs, so the numbers cannot be compared"
            raise MismatchError(f"suite {name} changed between baseline and candidate", why=why, do=again)
    if dict(before.params) != dict(result.params):
        differ = [key for key in result.params if result.params[key] != before.params.get(key)]
        raise MismatchError(f"suite {name} was sampled differently: {', '.join(differ)}", do=again)
    missing = {item.id for item in result.items} ^ {item.id for item in before.items}
    if missing:
        what = f"{len(missing)} items of suite {name} are on one side only, for example {min(missing)!r}"
        raise MismatchError(what, why="the test is paired by item", do=again)
    return before


def _regressions(result: SuiteResult, before: SuiteResult, config: GateConfig) -> list[Check]:
    """A check for every metric, one for every slice that did not hold, and one for all the slices that did."""
    whole = [_compare(metric, None, result, before, config, config.alpha) for metric in result.metrics]
    places = [
        (metric, where)
        for where in result.slice_names()
        for metric in result.metrics
        if len(_pairs(metric, where, result, before)) >= config.min_group_items
        or _key(result, metric, where) in config.max_drop
    ]
    parts = [
        check
        for metric, where in places
        if (check := _compare(metric, where, result, before, config, config.alpha / len(places)))
    ]
    failed = [check for check in parts if check.outcome != "PASS"]
    if len(parts) > len(failed):
        reason = f"{len(parts) - len(failed)} of {len(parts)} comparisons of a metric on a slice show no regression"
        failed.append(Check(name=f"{result.name}: slices against the baseline", outcome="PASS", reason=reason))
    return [*(check for check in whole if check), *failed]


def _key(result: SuiteResult, metric: str, where: str | None) -> str:
    return f"{result.name}.{metric}" + (f"[{where}]" if where else "")


def _pairs(metric: str, where: str | None, result: SuiteResult, before: SuiteResult) -> dict[str, tuple[float, float]]:
    """Item → (candidate, baseline) where the metric applies to both."""
    earlier = {item.id: item.value(metric) for item in before.within(where)}
    now = {item.id: item.value(metric) for item in result.within(where)}
    return {
        item_id: (value, old)
        for item_id, value in now.items()
        if value is not None and (old := earlier.get(item_id)) is not None
    }


def _compare(
    metric: str, where: str | None, result: SuiteResult, before: SuiteResult, config: GateConfig, alpha: float
) -> Check | None:
    """The paired comparison; None if it applies to too few of the baseline's items to lose anything."""
    from strop.statistics import mcnemar  # numpy is slow to import, and recipes are read without it

    key = _key(result, metric, where)
    pairs = _pairs(metric, where, result, before)
    num_before = sum(item.value(metric) is not None for item in before.within(where))
    if num_before < config.min_group_items and key not in config.max_drop:
        return None
    sign = 1.0 if result.metrics[metric].direction == "higher" else -1.0
    worse = [item_id for item_id, (now, old) in pairs.items() if sign * (now - old) < 0]
    better = [item_id for item_id, (now, old) in pairs.items() if sign * (now - old) > 0]
    p_value = mcnemar(len(better), len(worse))
    old_mean, new_mean = mean([old for _, old in pairs.values()]), mean([now for now, _ in pairs.values()])
    numbers = {
        "candidate": new_mean,
        "baseline": old_mean,
        "num_items": len(pairs),
        "better": len(better),
        "worse": len(worse),
        "p_value": p_value,
        "alpha": alpha,
        "items": worse[:_NUM_NAMED],
    }
    name = f"{key} against the baseline"
    if len(pairs) < config.min_group_items or old_mean is None or new_mean is None:
        reason = f"it applies to {num_before} of the baseline's items, and to both models on {len(pairs)} only"
        return Check(name=name, outcome="INSUFFICIENT", reason=reason, numbers=numbers)
    moved = f"{old_mean:.4g} → {new_mean:.4g} on {len(pairs)} paired items ({len(worse)} worse, {len(better)} better"
    if key in config.max_drop:
        margin, drop = config.max_drop[key], sign * (old_mean - new_mean)
        failed = drop > margin + 1e-12
        reason = f"{moved}): {'more' if failed else 'not more'} than the tolerated drop of {margin:g}"
        numbers |= {"drop": drop, "max_drop": margin}
    else:
        failed = len(worse) > len(better) and p_value < alpha
        verdict = "a significant regression" if failed else "no significant regression"
        reason = f"{moved}, exact p = {p_value:.2g} against {alpha:.2g}): {verdict}"
    return Check(name=name, outcome="BLOCK" if failed else "PASS", reason=reason, numbers=numbers)
