"""Is a score on a fixed suite a score on what the suite stands for? The same measure on a fresh draw beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.pairing import paired_change
from strop.evals.results import SuiteResult
from strop.statistics import Interval
from strop.types import Check, Outcome

PREFIX = "fresh-"
"""Before the name of the fixed suite: what ``fresh:NAME`` is called."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How much better a model is on the fixed items than on fresh ones."""

    suite: str
    metric: str
    kind: Literal["own", "gain"]
    """``own``: the candidate's score, fixed less fresh. ``gain``: the same of its gain over the baseline, item by item,
    which is the narrower one because hard and easy draws cancel."""
    fixed: float
    fresh: float
    num_fixed: int
    num_fresh: int
    interval: Interval

    @property
    def value(self) -> float:
        """fixed - fresh, turned so that above 0 is better on the fixed items."""
        return self.fixed - self.fresh


def measure_gap(
    fixed: SuiteResult,
    fresh: SuiteResult,
    baseline: tuple[SuiteResult, SuiteResult] | None = None,
    *,
    metric: str = "accuracy",
) -> Gap | None:
    """The gap of ``metric`` between a suite's items and a fresh draw, with its 95 % interval; None where undefined.

    With ``baseline``, its results on the same two suites, the gap is that of the gains: (candidate - baseline on the
    fixed items) - (the same on the fresh ones), each paired item by item. The two sets are independent, so

    g - √((a-l_a)² + (u_b-b)²)  to  g + √((u_a-a)² + (b-l_b)²)

    with a and b the two means, l and u their own intervals (Wilson's or the bootstrap's over items).
    *Source*: Zou and Donner 2008 (MOVER); for two rates it is Newcombe 1998, method 10.
    Raises: MismatchError if a baseline was not asked the same items.
    """
    sign = -1.0 if fixed.metrics.get(metric) is not None and fixed.metrics[metric].direction == "lower" else 1.0
    sides = []
    for place, result in enumerate((fixed, fresh)):
        side = _own(result, metric, sign) if baseline is None else _gain(result, baseline[place], metric, sign)
        if side is None:
            return None
        sides.append(side)
    (a, num_a, one), (b, num_b, two) = sides
    low = a - b - math.hypot(a - one.low, two.high - b)
    high = a - b + math.hypot(one.high - a, b - two.low)
    return Gap(
        suite=fixed.name,
        metric=metric,
        kind="own" if baseline is None else "gain",
        fixed=a,
        fresh=b,
        num_fixed=num_a,
        num_fresh=num_b,
        interval=Interval(low, high),
    )


_Side = tuple[float, int, Interval]


def _own(result: SuiteResult, metric: str, sign: float) -> _Side | None:
    rate = result.rate(metric)
    if rate.value is None or rate.interval is None:
        return None
    return sign * rate.value, rate.num_items, _turned(rate.interval, sign)


def _gain(result: SuiteResult, before: SuiteResult, metric: str, sign: float) -> _Side | None:
    if result.digests["suite"] != before.digests["suite"]:
        raise MismatchError(
            f"candidate and baseline were asked other items of {result.name}",
            why="gains are compared item by item",
            do="evaluate both on one draw: fresh:NAME@SEED with the seed of the suite's version",
        )
    change = paired_change(result, before, metric)
    return None if change is None else (sign * change.value, change.num_items, _turned(change.interval, sign))


def _turned(interval: Interval, sign: float) -> Interval:
    return interval if sign > 0 else Interval(-interval.high, -interval.low)


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Evidence for a gate: every suite that stands beside a fresh draw of itself.

    A gap whose 95 % interval lies above ``tolerance`` blocks: what was learned is the items. A fresh set with fewer
    than ``min_items`` to which the metric applies is INSUFFICIENT, and so is one that has no gap at all.
    """

    gaps: tuple[Gap, ...]
    undefined: tuple[str, ...] = ()
    """Suites that stand beside a fresh draw, where too little could be judged for a gap."""
    tolerance: float = 0.02
    min_items: int = 50
    name: str = "overfitting"

    @property
    def digest(self) -> str:
        """Identity of the gaps and the settings."""
        return digest_json([[asdict(gap) for gap in self.gaps], self.undefined, self.tolerance, self.min_items])

    def findings(self) -> list[Check]:
        """One check a gap, and one for each that is missing."""
        missing = [
            Check(
                name=f"{name}: fresh items",
                outcome="INSUFFICIENT",
                reason="too few of the fixed or of the fresh items could be judged to compare them",
                numbers={"tolerance": self.tolerance},
            )
            for name in self.undefined
        ]
        return [*map(self._check, self.gaps), *missing]

    def _check(self, gap: Gap) -> Check:
        num_items = min(gap.num_fixed, gap.num_fresh)
        flagged = gap.interval.low > self.tolerance
        outcome: Outcome = "BLOCK" if flagged else "INSUFFICIENT" if num_items < self.min_items else "PASS"
        what = "" if gap.kind == "own" else "gain over the baseline in "
        reason = (
            f"{what}{gap.metric} is {gap.fixed:.3f} on the {gap.num_fixed} fixed items and {gap.fresh:.3f} on "
            f"{gap.num_fresh} fresh ones: a gap of {gap.value:+.3f} "
            f"({gap.interval.low:+.3f} to {gap.interval.high:+.3f})"
        )
        if flagged:
            reason += f", above {self.tolerance:g}: the items were learned, not the task"
        elif outcome == "INSUFFICIENT":
            reason += f"; at least {self.min_items} items are asked for"
        numbers = {**asdict(gap), "gap": gap.value, "tolerance": self.tolerance}
        return Check(name=f"{gap.suite}: fresh items ({gap.kind})", outcome=outcome, reason=reason, numbers=numbers)


def overfitting(
    candidate: Mapping[str, SuiteResult], baseline: Mapping[str, SuiteResult] | None = None, *, tolerance: float = 0.02
) -> Overfitting | None:
    """The evidence for all suites NAME of which ``fresh-NAME`` was evaluated too; None if there is none.

    Both gaps are told where there is a baseline: a candidate may have learned the items before it.
    """
    gaps: list[tuple[str, Gap | None]] = []
    for name, fixed in candidate.items():
        fresh = candidate.get(f"{PREFIX}{name}")
        if fresh is None:
            continue
        gaps.append((name, measure_gap(fixed, fresh)))
        if baseline is not None and name in baseline and fresh.name in baseline:
            gaps.append((name, measure_gap(fixed, fresh, (baseline[name], baseline[fresh.name]))))
    found = tuple(gap for _, gap in gaps if gap is not None)
    undefined = tuple(dict.fromkeys(name for name, gap in gaps if gap is None))
    return Overfitting(gaps=found, undefined=undefined, tolerance=tolerance) if gaps else None
