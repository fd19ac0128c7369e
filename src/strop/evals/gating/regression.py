"""Against the baseline, item by item: a proven regression blocks, a margin is shown to hold, or more items are asked.

Whole suites, slices and the tests of other evidence are corrected together, so that the chance of any false block is
at most ``alpha`` however many there are. What that costs in power: ``docs/gate.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strop.errors import RecipeError
from strop.evals.gating.companions import beside
from strop.evals.gating.config import GateConfig
from strop.evals.gating.keys import Place, drop_places, margins_by_place
from strop.evals.gating.pairs import Pair, applying, pairs_of, within
from strop.evals.gating.thresholds import NUM_NAMED
from strop.evals.metrics import mean
from strop.evals.results import SuiteResult
from strop.types import Check, Outcome

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """One metric at one place, before and now."""

    place: Place
    pairs: tuple[Pair, ...]
    num_before: int
    """Items of the baseline to which it applied."""
    margin: float | None
    max_drop: float | None
    p_value: float = 1.0
    """One-sided, of "no worse than the baseline"; 1 where ``max_drop`` decides."""
    least_p: float = 1.0
    """What it would be if every change had been for the worse."""
    is_tested: bool = False
    """Whether it takes part in the correction: there are enough pairs, and no ``max_drop``."""

    @property
    def worsenings(self) -> list[float]:
        """Of each item."""
        return [pair.worsening for pair in self.pairs]

    @property
    def clusters(self) -> list[str]:
        """Of each item."""
        return [pair.cluster for pair in self.pairs]


def compare(
    candidate: Mapping[str, SuiteResult], baseline: Mapping[str, SuiteResult], config: GateConfig
) -> list[Comparison]:
    """Every rated metric over whole suites, over slices with enough items, and wherever the configuration asks.

    A slice that holds every item to which the metric applies is the whole again, and not compared a second time.
    Raises: RecipeError for keys that name nothing rated, and for a place with both a margin and a tolerated drop.
    """
    margins, drops = asked_places(config, candidate)
    found: list[Comparison] = []
    for name, result in candidate.items():
        slices = result.slice_names()
        for metric in (metric for metric, rule in result.metrics.items() if rule.is_gate):
            pairs, before = pairs_of(metric, result, baseline[name]), applying(metric, baseline[name])
            for where in [None, *slices]:
                place, inside = Place(name, metric, where), within(pairs, where)
                num_before = len(within(before, where))
                is_asked = place in margins or place in drops
                is_whole_again = where is not None and len(inside) == len(pairs)
                num_enough = len(inside) if where else num_before
                if is_asked or (num_enough >= config.min_group_items and not is_whole_again):
                    one = Comparison(place, tuple(inside), num_before, margins.get(place), drops.get(place))
                    found.append(_tested(one, config))
    return found


def asked_places(
    config: GateConfig, candidate: Mapping[str, SuiteResult]
) -> tuple[dict[Place, float], dict[Place, float]]:
    """The margin and the tolerated drop of every place that has one. Raises: as ``compare``."""
    margins = margins_by_place(config.margins, candidate)
    drops = {
        place: drop for key, drop in config.max_drop.items() for place in drop_places(key, candidate, table="max_drop")
    }
    for place in margins.keys() & drops.keys():
        raise RecipeError(
            f"`{place.key}` has a margin and a tolerated drop",
            why="`max_drop` decides by the drop alone, and a margin asks for proof that it is smaller",
            do="keep one of them",
        )
    return margins, drops


def _tested(found: Comparison, config: GateConfig) -> Comparison:
    if found.max_drop is not None or len(found.pairs) < config.min_group_items:
        return found
    p_value, least_p = regression_p_value(found.worsenings, found.clusters)
    return replace(found, p_value=p_value, least_p=least_p, is_tested=True)


def regression_p_value(worsenings: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """The one-sided exact p-value of "no worse on average", and what it would be were every change for the worse.

    Clusters whose changes are all of one size, as of pass or fail: P[X ≥ worse], X ~ Binomial(worse + better, 1/2)
    (McNemar); others: the sign-flip test of whole clusters, 1 where they did not get worse on average. The null:
    baseline and candidate could be swapped in any cluster.
    """
    from strop.statistics import NUM_FLIPS, mcnemar, sign_flip  # numpy is slow to import, and recipes are read without

    sums: dict[str, float] = {}
    for worsening, cluster in zip(worsenings, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + worsening
    changed = [total for total in sums.values() if abs(total) > _ROUNDING]
    worse = sum(total > 0 for total in changed)
    better = len(changed) - worse
    if not changed or max(map(abs, changed)) - min(map(abs, changed)) <= _ROUNDING:
        p_value = mcnemar(better, worse) / 2 if worse > better else 1.0
        if better >= worse > 0:
            p_value = 1 - mcnemar(better + 1, worse - 1) / 2
        return p_value, 0.5 ** len(changed)
    p_value = sign_flip(changed, [0.0] * len(changed)) / 2 if sum(changed) > _ROUNDING else 1.0
    return p_value, max(0.5 ** len(changed), 0.5 / (1 + NUM_FLIPS))


def corrected(p_values: Sequence[float], least: Sequence[float], alpha: float) -> tuple[list[float], int]:
    """The adjusted p-values (reject at ≤ alpha), and over how many tests they were corrected.

    Holm's correction over the tests that could reach alpha / k at all, for the smallest k not exceeded by their number:
    a test in which two items changed cannot reject whatever they did, and costs the others nothing. How many changed
    says nothing of the direction, so the level holds. *Source*: Holm 1979; Tarone 1990.
    """
    from strop.statistics import holm

    count = next((k for k in range(1, len(least) + 1) if sum(p <= alpha / k for p in least) <= k), len(least))
    counted = [index for index, p in enumerate(least) if p <= alpha / max(count, 1)]
    adjusted = [1.0] * len(p_values)
    for index, value in zip(counted, holm([p_values[index] for index in counted]), strict=True):
        adjusted[index] = value
    return adjusted, len(counted)


# ------------------------------------------------------------------------------------------------------------ judging


def judge(
    found: Comparison, adjusted_p: float, num_tests: int, candidate: Mapping[str, SuiteResult], config: GateConfig
) -> Check:
    """The check of one comparison."""
    name = f"{found.place.key} against the baseline"
    numbers = {"dimension": candidate[found.place.suite].metrics[found.place.metric].dimension, **_numbers(found)}
    if found.is_tested:
        numbers |= {"p_value": found.p_value, "adjusted_p": adjusted_p, "alpha": config.alpha, "num_tests": num_tests}
    if len(found.pairs) < config.min_group_items:
        outcome, reason = _too_few(found, config, numbers)
    elif found.max_drop is not None:
        outcome, reason = _by_drop(found, found.max_drop, numbers)
    elif found.margin is not None:
        outcome, reason = _by_margin(found, found.margin, adjusted_p, num_tests, config.alpha, numbers)
    else:
        outcome, reason = _by_regression(found, adjusted_p, num_tests, config.alpha, numbers)
    return beside(Check(name=name, outcome=outcome, reason=reason, numbers=numbers), found.place, candidate)


def _numbers(found: Comparison) -> dict[str, Any]:
    worst_first = sorted((pair for pair in found.pairs if pair.worsening > 0), key=lambda pair: -pair.worsening)
    return {
        "candidate": mean([pair.now for pair in found.pairs]),
        "baseline": mean([pair.old for pair in found.pairs]),
        "num_items": len(found.pairs),
        "num_clusters": len({pair.cluster for pair in found.pairs}),
        "num_before": found.num_before,
        "better": sum(pair.worsening < 0 for pair in found.pairs),
        "worse": len(worst_first),
        "items": [pair.id for pair in worst_first[:NUM_NAMED]],
    }


def _moved(found: Comparison, numbers: Mapping[str, Any]) -> str:
    clusters = f" in {numbers['num_clusters']} clusters" if numbers["num_clusters"] < numbers["num_items"] else ""
    lost = found.num_before - len(found.pairs)
    unpaired = f", {lost} of the baseline's items have no value now" if lost > 0 else ""
    return (
        f"{numbers['baseline']:.4g} → {numbers['candidate']:.4g} on {numbers['num_items']} paired items{clusters} "
        f"({numbers['worse']} worse, {numbers['better']} better{unpaired})"
    )


def _too_few(found: Comparison, config: GateConfig, numbers: dict[str, Any]) -> tuple[Outcome, str]:
    from strop.evals.gating.non_inferiority import items_needed

    num_pairs = len(found.pairs)
    reason = (
        f"it applies to {found.num_before} of the baseline's items, and to both models on {num_pairs} only; "
        f"at least {config.min_group_items} are asked for (`min_group_items`): raise the suite's `limit`, "
        f"or lower `min_group_items`"
    )
    if found.margin is not None and found.pairs:
        _require_share(found)
        needed = items_needed(found.worsenings, found.clusters, found.margin, config.alpha)
        numbers |= {"margin": found.margin, "items_needed": max(needed, config.min_group_items)}
        reason += f"; a margin of {found.margin:g} takes about {numbers['items_needed']}"
    return "INSUFFICIENT", reason


def _by_drop(found: Comparison, max_drop: float, numbers: dict[str, Any]) -> tuple[Outcome, str]:
    if max_drop >= 1 and all(0 <= value <= 1 for pair in found.pairs for value in (pair.now, pair.old)):
        raise RecipeError(
            f"`{found.place.key}` has a tolerated drop of {max_drop:g}",
            why="its values lie between 0 and 1, and no drop of theirs exceeds that",
            do="write a share: 0.05 for five points",
        )
    drop = sum(found.worsenings) / len(found.pairs)
    failed = drop > max_drop + _ROUNDING
    numbers |= {"drop": drop, "max_drop": max_drop}
    told = f"{_moved(found, numbers)}: {'more' if failed else 'not more'} than the tolerated drop of {max_drop:g}"
    return ("BLOCK" if failed else "PASS"), told


def _by_regression(
    found: Comparison, adjusted_p: float, num_tests: int, alpha: float, numbers: dict[str, Any]
) -> tuple[Outcome, str]:
    from strop.evals.gating.non_inferiority import drop_in_reach

    in_reach = drop_in_reach(found.worsenings, found.clusters, alpha / max(num_tests, 1))
    numbers |= {"drop_in_reach": in_reach}
    tested = _tested_told(found, adjusted_p, num_tests)
    if adjusted_p <= alpha:
        return "BLOCK", f"{_moved(found, numbers)}, {tested}: a significant regression"
    reach = f"; one of {in_reach:.2g} would have been found 4 times in 5" if in_reach < 1 else "; too few to find any"
    return "PASS", f"{_moved(found, numbers)}, {tested}: no significant regression{reach}"


def _by_margin(
    found: Comparison, margin: float, adjusted_p: float, num_tests: int, alpha: float, numbers: dict[str, Any]
) -> tuple[Outcome, str]:
    from strop.evals.gating.non_inferiority import items_needed, margin_in_reach, margin_p_value

    _require_share(found)
    worsenings, clusters = found.worsenings, found.clusters
    p_value, is_exact = margin_p_value(worsenings, clusters, margin)
    test = "exact" if is_exact else "betting"
    numbers |= {"margin": margin, "margin_p": p_value, "margin_test": test}
    moved = f"{_moved(found, numbers)}, margin {margin:g}"
    if p_value <= alpha:
        return "PASS", f"{moved}, {test} p = {p_value:.2g}: shown to be worse by less than the margin, if at all"
    if adjusted_p <= alpha:
        beyond_p, _ = margin_p_value(worsenings, clusters, margin, "above")
        numbers |= {"beyond_margin_p": beyond_p}
        by_more = ", and by more than the margin" if beyond_p <= alpha else ""
        return "BLOCK", f"{moved}, {_tested_told(found, adjusted_p, num_tests)}: a significant regression{by_more}"
    needed = items_needed(worsenings, clusters, margin, alpha)
    in_reach = margin_in_reach(worsenings, clusters, alpha)
    numbers |= {"items_needed": needed, "margin_in_reach": in_reach}
    told = f"about {needed} items would show it 4 times in 5 if nothing changed, and these a margin of {in_reach:.2g}"
    if needed <= len(worsenings):
        told = "an unchanged candidate would have shown it 4 times in 5"
    reason = f"{moved}, {test} p = {p_value:.2g}: neither a regression nor its absence is shown; {told}"
    return "INSUFFICIENT", reason


def _tested_told(found: Comparison, adjusted_p: float, num_tests: int) -> str:
    drop = sum(found.worsenings)
    if drop <= _ROUNDING:  # a p-value of "no worse" says nothing more of it
        return "better" if drop < -_ROUNDING else "unchanged"
    return f"one-sided p = {found.p_value:.2g}, {adjusted_p:.2g} corrected for {num_tests} tests"


def _require_share(found: Comparison) -> None:
    outside = [value for pair in found.pairs for value in (pair.now, pair.old) if not 0 <= value <= 1]
    if outside:
        raise RecipeError(
            f"`{found.place.key}` cannot have a margin",
            why=f"its values do not stay between 0 and 1 ({outside[0]:g}), so that no number of items bounds its mean",
            do="give it a `max_drop`, or a threshold",
        )
