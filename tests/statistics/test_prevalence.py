"""Purity and corrected rates: the specification's number, Bayes by counting, limits, and exact coverage."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy import stats

from strop.statistics import Interval, kept_purity, true_rate, true_rate_interval, wilson


def test_a_rare_good_sample_and_one_false_positive_in_ten_keep_29_percent_rubbish() -> None:
    assert kept_purity(0.2, 1.0, 0.1) == pytest.approx(0.2 / 0.28)
    assert round(kept_purity(0.2, 1.0, 0.1), 2) == 0.71


def test_purity_is_bayes_rule_over_counts() -> None:
    # Of 1000 samples 300 are good; kept are 240 of them and 140 of the 700 bad.
    assert kept_purity(0.3, 0.8, 0.2) == pytest.approx(240 / 380)
    assert kept_purity(1.0, 0.5, 0.5) == 1.0
    assert kept_purity(0.0, 0.5, 0.5) == 0.0


def test_a_grader_that_keeps_nothing_has_no_purity() -> None:
    for case in ((0.5, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0)):
        with pytest.raises(ValueError, match="nothing is kept"):
            kept_purity(*case)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_what_is_no_rate_is_refused(place: int, value: float) -> None:
    rates = [0.5, 0.9, 0.8]
    rates[place] = value
    for function in (kept_purity, true_rate):
        with pytest.raises(ValueError, match="a rate lies between"):
            function(*rates)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_the_correction_undoes_what_the_grader_did(rate: float) -> None:
    observed = rate * 0.9 + (1 - rate) * 0.2
    assert true_rate(observed, 0.9, 0.8) == pytest.approx(rate)


def test_what_the_grader_cannot_have_given_is_cut_off() -> None:
    assert true_rate(0.1, 0.9, 0.8) == 0.0
    assert true_rate(0.95, 0.9, 0.8) == 1.0


@pytest.mark.parametrize("grader", [(0.5, 0.5), (0.25, 0.75), (0.3, 0.2)])
def test_a_grader_no_better_than_chance_is_refused(grader: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no better than chance"):
        true_rate(0.5, *grader)


AUDIT = {"passed_good": 45, "num_good": 50, "failed_bad": 32, "num_bad": 40}


def test_the_interval_by_hand() -> None:
    # z = 1.959964: r' = 61.920729/123.841459, a' = 46/52, b' = 33/42, Youden 0.670330, p' = 0.426230
    z = 1.9599639845400545
    r, a, b = (60 + z * z / 2) / (120 + z * z), 46 / 52, 33 / 42
    p = (r + b - 1) / (a + b - 1)
    variances = r * (1 - r) / (120 + z * z), p**2 * a * (1 - a) / 52, (1 - p) ** 2 * b * (1 - b) / 42
    shift = 2 * z**2 * (variances[1] / p - variances[2] / (1 - p))
    half = z * sum(variances) ** 0.5 / (a + b - 1)
    estimate, interval = true_rate_interval(60, 120, **AUDIT)
    assert p == pytest.approx(0.426230, abs=1e-6)
    assert estimate == pytest.approx((0.5 + 0.8 - 1) / 0.7) == true_rate(0.5, 0.9, 0.8)
    assert (interval.low, interval.high) == pytest.approx((p + shift - half, p + shift + half))
    assert true_rate_interval(60, 120, **AUDIT, confidence=0.95) == (estimate, interval)
    narrower = true_rate_interval(60, 120, **AUDIT, confidence=0.8)[1]
    assert interval.low < narrower.low < estimate < narrower.high < interval.high


def test_a_huge_perfect_audit_leaves_the_uncertainty_of_the_rate_alone() -> None:
    many = 10**9
    estimate, interval = true_rate_interval(30, 100, passed_good=many, num_good=many, failed_bad=many, num_bad=many)
    assert estimate == pytest.approx(0.3)
    centre, z2 = wilson(30, 100), 1.959964**2
    assert (interval.low + interval.high) / 2 == pytest.approx((centre.low + centre.high) / 2, abs=1e-6)
    r = (30 + z2 / 2) / (100 + z2)
    assert (interval.high - interval.low) / 2 == pytest.approx(math.sqrt(z2 * r * (1 - r) / (100 + z2)), abs=1e-6)


def test_more_graded_samples_do_not_make_up_for_a_small_audit() -> None:
    thousand, million = (true_rate_interval(n // 2, n, **AUDIT)[1] for n in (1000, 10**6))
    assert million.high - million.low > 0.8 * (thousand.high - thousand.low) > 0.2


def test_the_interval_ends_at_0_and_1() -> None:
    assert true_rate_interval(0, 30, **AUDIT)[1].low == 0.0
    assert true_rate_interval(30, 30, **AUDIT)[1].high == 1.0
    one = true_rate_interval(1, 1, passed_good=1, num_good=1, failed_bad=1, num_bad=1)
    assert one == (1.0, Interval(0.0, 1.0))


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7])
def test_the_interval_covers_the_true_rate_95_percent_of_the_time(rate: float) -> None:
    # Every outcome of 20 graded, and of an audit of 12 good and 12 bad, weighed by its chance; refused ones left out.
    n, audit, sensitivity, specificity = 20, 12, 0.85, 0.9
    observed = rate * sensitivity + (1 - rate) * (1 - specificity)
    graded = stats.binom.pmf(range(n + 1), n, observed)
    good, bad = (stats.binom.pmf(range(audit + 1), audit, p) for p in (sensitivity, specificity))
    covered = total = 0.0
    for k, a, b in itertools.product(range(n + 1), range(audit + 1), range(audit + 1)):
        weight = graded[k] * good[a] * bad[b]
        if a + b > audit and weight > 1e-7:
            _, interval = true_rate_interval(k, n, passed_good=a, num_good=audit, failed_bad=b, num_bad=audit)
            covered += weight * (interval.low <= rate <= interval.high)
            total += weight
    assert 0.93 <= covered / total <= 0.98


BROKEN = [(0, 0), (-1, 5), (6, 5)]


@pytest.mark.parametrize(("part", "whole"), BROKEN)
def test_counts_lie_within_their_samples(part: int, whole: int) -> None:
    for function in (
        lambda: true_rate_interval(part, whole, **AUDIT),
        lambda: true_rate_interval(60, 120, **{**AUDIT, "passed_good": part, "num_good": whole}),
        lambda: true_rate_interval(60, 120, **{**AUDIT, "failed_bad": part, "num_bad": whole}),
    ):
        with pytest.raises(ValueError, match=f"{part} of {whole} samples"):
            function()


def test_an_audit_too_small_to_show_a_grader_better_than_chance_is_refused() -> None:
    # 0.2 + 1 - 1 > 0 as counted, but one bad sample alone proves little: 201/1002 + 2/3 < 1.
    with pytest.raises(ValueError, match="no better than chance"):
        true_rate_interval(5, 10, passed_good=200, num_good=1000, failed_bad=1, num_bad=1)
    with pytest.raises(ValueError, match="confidence"):
        true_rate_interval(60, 120, **AUDIT, confidence=1.0)


def test_as_many_bad_as_good_ones_kept_is_a_purity_of_one_half() -> None:
    assert kept_purity(0.5, 0.4, 0.4) == 0.5
