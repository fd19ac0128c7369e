"""Bootstrap intervals against the normal approximation, scipy, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from strop.statistics import NUM_RESAMPLES, mean_interval, paired_difference, rate_difference_interval


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=40).tolist()
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_the_bootstrap_agrees_with_the_normal_approximation_on_many_values() -> None:
    values = np.random.default_rng(1).exponential(size=900)
    half = 1.96 * values.std(ddof=1) / 30
    interval = mean_interval(values.tolist())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_copies_of_an_item_bring_no_certainty_when_they_are_one_cluster() -> None:
    values = np.random.default_rng(2).normal(size=60).tolist()
    items = list(range(60))
    copied = mean_interval(values * 8, clusters=items * 8)
    naive = mean_interval(values * 8)
    single = mean_interval(values, clusters=items)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    assert naive.high - naive.low < 0.5 * (single.high - single.low)


def test_clusters_of_different_size_weigh_by_their_samples() -> None:
    values, clusters = [1.0] * 9 + [0.0], ["a"] * 9 + ["b"]
    interval = mean_interval(values, clusters=clusters)
    assert (interval.low, interval.high) == (0.0, 1.0)  # two clusters: a resample may hold only one of them


@pytest.mark.slow
@pytest.mark.capability("EV-51")
def test_the_clustered_bootstrap_covers_the_mean_95_percent_of_the_time() -> None:
    # 60 items of mixed difficulty, 4 samples each; the truth is the mean difficulty, 0.4 for Beta(2, 3).
    generator = np.random.default_rng(0)
    items = np.repeat(np.arange(60), 4).tolist()
    num_covered = 0
    for trial in range(400):
        passes = generator.binomial(1, np.repeat(generator.beta(2, 3, 60), 4))
        interval = mean_interval(passes.tolist(), clusters=items, num_resamples=400, seed=trial)
        num_covered += interval.low <= 0.4 <= interval.high
    assert 0.92 <= num_covered / 400 <= 0.98  # 0.93–0.97 and the simulation's own error of ± 1 point


def test_the_interval_of_a_difference_is_that_of_the_items_differences() -> None:
    candidate, baseline = [1.0, 0.75, 0.0, 1.0], [0.25, 0.75, 0.0, 0.0]
    difference, interval = paired_difference(candidate, baseline)
    assert difference == 0.4375
    assert interval == mean_interval([0.75, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("passed", [0.0, 1.0])
def test_no_change_on_any_item_is_still_uncertain(passed: float) -> None:
    difference, interval = paired_difference([passed] * 100, [passed] * 100)
    assert difference == 0.0
    assert interval.low == pytest.approx(-interval.high)
    assert 0.01 < interval.high < 0.06


def test_a_change_on_every_item_is_not_certain_for_the_next_one() -> None:
    difference, interval = paired_difference([1.0] * 97, [0.0] * 97)
    assert difference == interval.high == 1.0
    assert 0.9 < interval.low < 0.97


def test_pairing_removes_the_variance_that_the_items_share() -> None:
    generator = np.random.default_rng(5)
    difficulty = generator.normal(0, 10, 100)
    candidate, baseline = difficulty + 0.5 + generator.normal(0, 0.1, 100), difficulty
    _, paired = paired_difference(candidate.tolist(), baseline.tolist())
    assert paired.low > 0.45
    assert mean_interval(candidate.tolist()).low < -0.5


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_value_has_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="two independent clusters"):
        mean_interval(values)


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        mean_interval([1.0, math.nan])


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(4).exponential(size=50)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    ours = mean_interval(values.tolist(), num_resamples=4000)
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_two_values_give_the_enumerated_quantiles() -> None:
    # A resample of {0, 1} is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4: the 40 % interval holds the middle only.
    interval = mean_interval([0.0, 1.0], confidence=0.4)
    assert (interval.low, interval.high) == (0.5, 0.5)
    wide = mean_interval([0.0, 1.0], confidence=0.6)
    assert (wide.low, wide.high) == (0.0, 1.0)


def test_the_defaults_are_95_percent_2000_resamples_and_seed_0() -> None:
    values, zeros = np.random.default_rng(6).normal(size=9).tolist(), [0.0] * 9
    said = mean_interval(values, confidence=0.95, num_resamples=2000, seed=0)
    assert mean_interval(values) == said
    assert paired_difference(values, zeros)[1] == said
    assert NUM_RESAMPLES == 2000


def test_every_setting_reaches_the_interval_of_a_difference() -> None:
    values, zeros = np.random.default_rng(6).normal(size=9).tolist(), [0.0] * 9
    given = {"clusters": list("aabbccdde"), "confidence": 0.8, "num_resamples": 150, "seed": 5}
    assert paired_difference(values, zeros, **given)[1] == mean_interval(values, **given)


def test_pass_or_fail_with_clusters_is_resampled_and_without_them_counted() -> None:
    candidate, baseline = [1.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0, 1.0]
    difference, interval = paired_difference(candidate, baseline)
    assert (difference, interval) == (0.2, rate_difference_interval(2, 2, 1, 0))
    assert paired_difference(candidate, baseline, confidence=0.8)[1] == rate_difference_interval(2, 2, 1, 0, 0.8)
    _, clustered = paired_difference(candidate, baseline, clusters=list("abcde"))
    assert clustered == mean_interval([1.0, -1.0, 0.0, 1.0, 0.0])


def test_a_hundred_resamples_are_the_fewest() -> None:
    mean_interval([0.0, 1.0], num_resamples=100)
    with pytest.raises(ValueError, match="at least 100 resamples, not 99"):
        mean_interval([0.0, 1.0], num_resamples=99)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="95"):
        mean_interval([0.0, 1.0], confidence=95)


def test_runs_over_different_items_have_no_difference() -> None:
    with pytest.raises(ValueError, match="share their items"):
        paired_difference([1.0, 0.5], [1.0])
