"""Rates corrected for what detectors miss: hand numbers, limits, and coverage by simulation."""

import random

import numpy as np
import pytest

from strop.evals.red_team.measuring import Measurement
from strop.evals.red_team.rates import Count, corrected_rate
from strop.statistics import true_rate_interval, wilson


def measured(found: int = 90, positive: int = 100, passed: int = 80, negative: int = 100) -> Measurement:
    return Measurement(
        detector="call",
        digest="d",
        num_positive=positive,
        num_found=found,
        num_negative=negative,
        num_passed=passed,
        num_texts=positive + negative,
    )


def test_the_rate_is_rogan_and_gladens() -> None:
    rate = corrected_rate([Count(detector="call", found=40, num_items=100)], {"call": measured()})
    assert rate.observed == 0.4
    assert rate.observed_interval == wilson(40, 100)
    assert rate.corrected == pytest.approx((0.4 + 0.8 - 1) / (0.9 + 0.8 - 1))  # 0.2857
    _, interval = true_rate_interval(40, 100, passed_good=90, num_good=100, failed_bad=80, num_bad=100)
    assert rate.interval is not None
    assert (rate.interval.low, rate.interval.high) == pytest.approx((interval.low, interval.high))


def test_two_detectors_are_weighted_by_their_items_and_their_intervals_squared_and_added() -> None:
    known = {"call": measured(), "advice": measured(70, 100, 100, 100)}
    counts = [Count(detector="call", found=40, num_items=100), Count(detector="advice", found=35, num_items=50)]
    both = corrected_rate(counts, known)  # type: ignore[arg-type]
    first, second = (corrected_rate([count], known) for count in counts)  # type: ignore[arg-type]
    assert second.corrected == 1.0  # 0.7 / 0.7
    assert first.corrected
    assert first.interval
    assert second.interval
    assert both.corrected
    assert both.interval
    assert both.corrected == pytest.approx((2 * first.corrected + 1.0) / 3)
    below = (2 / 3 * (first.corrected - first.interval.low)) ** 2 + (1 / 3 * (1.0 - second.interval.low)) ** 2
    assert both.interval.low == pytest.approx(both.corrected - below**0.5)


def test_a_correction_never_makes_a_rate_surer_than_it_was_seen() -> None:
    rate = corrected_rate([Count(detector="call", found=0, num_items=30)], {"call": measured()})
    assert rate.corrected == 0.0
    assert rate.interval is not None
    assert rate.interval.high >= wilson(0, 30).high
    assert true_rate_interval(0, 30, passed_good=90, num_good=100, failed_bad=80, num_bad=100)[1].high < 0.05


@pytest.mark.parametrize(
    ("counts", "known", "told"),
    [
        ([], {}, "no item was scored"),
        ([Count(detector="call", found=0, num_items=0)], {}, "no item was scored"),
        ([Count(detector="call", found=1, num_items=2)], {}, "`call` is unmeasured"),
        ([Count(detector="call", found=1, num_items=2)], {"call": measured(20, 100, 70, 100)}, "no better than chance"),
    ],
)
def test_without_a_corrected_rate_it_is_said_why(counts: list[Count], known: dict, told: str) -> None:  # type: ignore[type-arg]
    rate = corrected_rate(counts, known)
    assert rate.corrected is None
    assert rate.interval is None
    assert told in rate.uncorrected


def test_the_interval_over_two_detectors_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(3)

    def draw(p: float, n: int) -> int:
        return sum(rng.random() < p for _ in range(n))

    truths, errors, n = (0.3, 0.1), ((0.85, 0.95), (0.75, 0.9)), 80
    covered = 0
    for _ in range(300):
        counts, known = [], {}
        for name, truth, (sensitivity, specificity) in zip(("call", "advice"), truths, errors, strict=True):
            seen = draw(truth * sensitivity + (1 - truth) * (1 - specificity), n)
            counts.append(Count(detector=name, found=seen, num_items=n))  # type: ignore[arg-type]
            known[name] = measured(draw(sensitivity, 35), 35, draw(specificity, 35), 35)
        rate = corrected_rate(counts, known)  # type: ignore[arg-type]
        if rate.interval is None:
            continue
        covered += rate.interval.low <= sum(truths) / 2 <= rate.interval.high
    assert covered / 300 >= 0.93


def test_the_upper_end_over_detectors_is_seldom_below_the_truth_even_where_nothing_is_there() -> None:
    generator = np.random.default_rng(5)
    errors = {"call": (0.87, 1.0), "advice": (0.84, 0.8), "transfer": (0.73, 0.93)}
    for truth in (0.0, 0.05):
        low = 0
        for _ in range(400):
            counts, known = [], {}
            for name, (sensitivity, specificity) in errors.items():
                seen = generator.binomial(40, truth * sensitivity + (1 - truth) * (1 - specificity))
                counts.append(Count(detector=name, found=int(seen), num_items=40))  # type: ignore[arg-type]
                good, bad = generator.binomial(32, sensitivity), generator.binomial(33, specificity)
                known[name] = measured(int(good), 32, int(bad), 33)
            rate = corrected_rate(counts, known)  # type: ignore[arg-type]
            low += rate.interval is not None and rate.interval.high < truth
        assert low / 400 <= 0.025
