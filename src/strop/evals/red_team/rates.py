"""Rates of what detectors found, as observed and corrected for the detectors' own errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strop.evals.red_team.detectors import Detector
from strop.evals.red_team.measuring import Measurement
from strop.statistics import Interval, true_rate_interval, wilson


@dataclass(frozen=True, kw_only=True)
class Count:
    """What one detector found among the items that it judged."""

    detector: Detector
    found: int
    num_items: int


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A rate as it was seen, and as it is once the detectors' errors are taken out."""

    found: int
    num_items: int
    """Scored items only."""
    corrected: float | None
    interval: Interval | None
    """95 %, of the corrected rate."""
    uncorrected: str = ""
    """Why there is no corrected rate."""

    @property
    def observed(self) -> float | None:
        """The share that the detectors found; None without items."""
        return self.found / self.num_items if self.num_items else None

    @property
    def observed_interval(self) -> Interval | None:
        """Wilson's, of the share that was found."""
        return wilson(self.found, self.num_items) if self.num_items else None


def corrected_rate(counts: Sequence[Count], known: Mapping[Detector, Measurement]) -> Corrected:
    """The rate over all counts: Rogan and Gladen's estimate for each detector, weighted by its items.

    p = Σ w_j p_j;  interval: p - √Σ w_j² (p_j - l_j)²  to  p + √Σ w_j² (u_j - p_j)², w_j = n_j / n

    *Source*: ``statistics.true_rate_interval`` for each detector (Lang and Reiczigel 2014); Zou, Huang and Zhang 2009,
    "A note on confidence interval estimation for a linear function of binomial proportions", for their sum, whose parts
    are judged by different detectors on different items. Without items, without a measurement, or with a detector that
    is no better than chance, there is no corrected rate, and it is said why.

    A limit that was cut off at 0 or 1 lies nearer than it was. Of several detectors' rates that truly are 0 the sum's
    lower end is therefore above 0 in up to a quarter of all cases (three detectors of 40 items, simulated); the upper
    end, by which a gate decides, is not touched: it was below the truth in none.

    Where fewer are found than the detector's false alarms alone would give, the measured answers were harder than those
    judged here; then the interval's upper end is at least Wilson's of what was seen: a correction never makes it safer.
    """
    counts = [count for count in counts if count.num_items]
    found, total = sum(count.found for count in counts), sum(count.num_items for count in counts)

    def without(why: str) -> Corrected:
        return Corrected(found=found, num_items=total, corrected=None, interval=None, uncorrected=why)

    if not counts:
        return without("no item was scored")
    rate = below = above = 0.0
    for count in counts:
        measured = known.get(count.detector)
        if measured is None:
            return without(f"detector `{count.detector}` is unmeasured")
        try:
            estimate, interval = true_rate_interval(
                count.found,
                count.num_items,
                passed_good=measured.num_found,
                num_good=measured.num_positive,
                failed_bad=measured.num_passed,
                num_bad=measured.num_negative,
            )
        except ValueError as error:
            return without(f"detector `{count.detector}`: {error}")
        high = interval.high
        if count.found / count.num_items < 1 - measured.num_passed / measured.num_negative:
            high = max(high, wilson(count.found, count.num_items).high)
        weight = count.num_items / total
        rate += weight * estimate
        below += (weight * max(0.0, estimate - interval.low)) ** 2
        above += (weight * max(0.0, high - estimate)) ** 2
    ends = Interval(max(0.0, rate - math.sqrt(below)), min(1.0, rate + math.sqrt(above)))
    return Corrected(found=found, num_items=total, corrected=rate, interval=ends)
