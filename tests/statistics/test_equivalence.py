"""Equivalence and non-inferiority: their intervals, scipy's one-sided tests, and their size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from strop.statistics import is_equivalent, is_equivalent_over_seeds, is_non_inferior, over_seeds, paired_difference

quick = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=3, max_size=6, unique=True)


@pytest.mark.capability("EV-51")
def test_equal_within_the_margin_needs_an_interval_inside_it_and_not_merely_overlapping_ones() -> None:
    generator = np.random.default_rng(7)
    noise = generator.normal(0, 0.05, 200).tolist()
    zeros = [0.0] * 200
    assert is_equivalent(noise, zeros, margin=0.02)
    assert not is_equivalent([value + 0.03 for value in noise], zeros, margin=0.02)
    assert not is_equivalent([value - 0.03 for value in noise], zeros, margin=0.02)
    few = noise[:4]  # the same scatter on four items: not enough evidence is not equivalence
    assert not is_equivalent([20 * value for value in few], zeros[:4], margin=0.02)


def test_equivalence_at_5_percent_asks_for_the_90_percent_interval_inside_the_margin() -> None:
    differences = np.random.default_rng(8).normal(0.05, 0.3, 100).tolist()
    high_90 = paired_difference(differences, [0.0] * 100, confidence=0.90)[1].high
    high_95 = paired_difference(differences, [0.0] * 100, confidence=0.95)[1].high
    assert is_equivalent(differences, [0.0] * 100, margin=(high_90 + high_95) / 2)
    assert not is_equivalent(differences, [0.0] * 100, margin=0.99 * high_90)


@pytest.mark.slow
@pytest.mark.capability("EV-51")
def test_two_runs_at_the_edge_of_the_margin_are_called_equal_at_most_5_percent_of_the_time() -> None:
    generator = np.random.default_rng(3)
    num_called = sum(
        is_equivalent(generator.normal(0.1, 0.3, 80).tolist(), [0.0] * 80, margin=0.1, num_resamples=400)
        for _ in range(300)
    )
    assert num_called / 300 <= 0.09  # 5 % and three standard errors


def test_no_worse_by_the_margin_looks_at_the_lower_end_only() -> None:
    differences = np.random.default_rng(8).normal(0.05, 0.3, 60).tolist()
    zeros = [0.0] * 60
    low = paired_difference(differences, zeros, confidence=0.90)[1].low
    assert low < 0
    assert is_non_inferior(differences, zeros, margin=-1.01 * low)
    assert not is_non_inferior(differences, zeros, margin=-0.99 * low)
    assert not is_equivalent(differences, zeros, margin=-1.01 * low)  # it may be better by more than that
    assert is_non_inferior([value + 5 for value in differences], zeros, margin=0.01)
    assert not is_non_inferior(zeros, [value + 5 for value in differences], margin=0.01)


@pytest.mark.parametrize("test", [is_equivalent, is_non_inferior])
def test_an_interval_that_ends_at_the_margin_is_not_inside(test: Callable[..., bool]) -> None:
    # Two clusters: the ends of the interval are the two values.
    assert not test([-0.5, 0.25], [0.0, 0.0], margin=0.5)
    assert test([-0.5, 0.25], [0.0, 0.0], margin=0.5001)
    assert is_equivalent([-0.25, 0.5], [0.0, 0.0], margin=0.5) is False


@pytest.mark.parametrize("test", [is_equivalent, is_non_inferior])
def test_the_defaults_are_a_level_of_5_percent_2000_resamples_and_seed_0(test: Callable[..., bool]) -> None:
    values, zeros = np.random.default_rng(9).normal(0, 1, 12).tolist(), [0.0] * 12
    interval = paired_difference(values, zeros, confidence=1 - 2 * 0.05, num_resamples=2000, seed=0)[1]
    edge = max(-interval.low, interval.high) if test is is_equivalent else -interval.low
    assert test(values, zeros, margin=math.nextafter(edge, 9))
    assert not test(values, zeros, margin=edge)


@pytest.mark.parametrize("test", [is_equivalent, is_non_inferior])
def test_every_setting_reaches_the_interval(test: Callable[..., bool]) -> None:
    values, zeros = np.random.default_rng(9).normal(0, 1, 12).tolist(), [0.0] * 12
    given = {"clusters": list("aabbccddeeff"), "num_resamples": 150, "seed": 4}
    interval = paired_difference(values, zeros, confidence=1 - 2 * 0.1, **given)[1]
    edge = max(-interval.low, interval.high) if test is is_equivalent else -interval.low
    assert test(values, zeros, margin=math.nextafter(edge, 9), alpha=0.1, **given)
    assert not test(values, zeros, margin=edge, alpha=0.1, **given)


@quick
@given(values=seeds, margin=st.sampled_from([0.2, 0.5, 1.0, 2.0]), alpha=st.sampled_from([0.05, 0.1]))
def test_seeds_are_equivalent_where_both_of_scipys_one_sided_t_tests_say_so(
    values: list[float], margin: float, alpha: float
) -> None:
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert is_equivalent_over_seeds(values, [0.0] * len(values), margin=margin, alpha=alpha) == (
        max(above, below) < alpha
    )


def test_seeds_need_a_tighter_spread_than_their_overlap_suggests() -> None:
    # 12.0 ± .7 and 10.8 ± 1.7 overlap; the 90 % interval of the difference by seed is -3.0 to 5.5.
    gold, gibberish = [12.1, 11.3, 12.7], [10.7, 12.5, 9.1]
    assert not is_equivalent_over_seeds(gold, gibberish, margin=2.0)
    assert is_equivalent_over_seeds(gold, gibberish, margin=6.0)
    assert is_equivalent_over_seeds(gibberish, gold, margin=6.0)


def test_seeds_are_tested_at_5_percent_unless_told() -> None:
    values = [0.1, 0.2, 0.4]
    high = stats.ttest_1samp(values, 0).confidence_interval(0.9).high
    assert is_equivalent_over_seeds(values, [0.0] * 3, margin=1.0001 * high)
    assert not is_equivalent_over_seeds(values, [0.0] * 3, margin=0.9999 * high)


@pytest.mark.parametrize("sign", [1, -1])
def test_seeds_whose_interval_ends_at_the_margin_are_not_inside(sign: int) -> None:
    values = [sign * value for value in (0.1, 0.2, 0.4)]
    interval = over_seeds(values, 1 - 2 * 0.05).interval
    assert interval is not None
    edge = max(-interval.low, interval.high)
    assert not is_equivalent_over_seeds(values, [0.0] * 3, margin=edge)
    assert is_equivalent_over_seeds(values, [0.0] * 3, margin=math.nextafter(edge, 9))


def test_seeds_whose_spread_is_unknown_are_not_equivalent() -> None:
    assert not is_equivalent_over_seeds([0.5, 0.5], [0.5, 0.5], margin=0.1)
    with pytest.raises(ValueError, match="at least two"):
        is_equivalent_over_seeds([0.5], [0.5], margin=0.1)
    with pytest.raises(ValueError, match="share their items"):
        is_equivalent_over_seeds([0.5, 0.4], [0.5], margin=0.1)


@pytest.mark.parametrize("test", [is_equivalent, is_non_inferior, is_equivalent_over_seeds])
def test_a_margin_is_positive_and_finite_and_a_level_below_one_half(test: Callable[..., bool]) -> None:
    for margin in (0.0, -0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="margin"):
            test([1.0, 0.5], [0.5, 0.4], margin=margin)
    for alpha in (0.0, 0.5):
        with pytest.raises(ValueError, match="alpha"):
            test([1.0, 0.5], [0.5, 0.4], margin=1.0, alpha=alpha)


@pytest.mark.parametrize(
    ("candidate", "baseline"), [([0.3, 0.5, 0.7], [0.1, 0.3, 0.5]), ([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3])]
)
def test_seeds_that_differ_by_one_value_to_rounding_leave_the_spread_unknown(
    candidate: list[float], baseline: list[float]
) -> None:
    assert not is_equivalent_over_seeds(candidate, baseline, margin=0.5)


def test_two_unchanged_graded_items_are_no_evidence_of_equivalence() -> None:
    # 0 changes of n: Wilson's 90 % bound is 2.706 / (n + 2.706), below 0.05 from n = 52 on.
    for n, expected in ((2, False), (51, False), (52, True)):
        assert is_equivalent([0.5] * n, [0.5] * n, margin=0.05) is expected
        assert is_non_inferior([0.7] * n, [0.7] * n, margin=0.05) is expected
    two_clusters = ["a", "b"] * 30
    assert not is_equivalent([0.5] * 60, [0.5] * 60, margin=0.05, clusters=two_clusters)


def test_items_that_all_differ_by_more_than_the_margin_are_not_equivalent_however_many() -> None:
    assert not is_equivalent([0.7] * 500, [0.5] * 500, margin=0.1)
    assert is_non_inferior([0.7] * 500, [0.5] * 500, margin=0.1)
    assert not is_non_inferior([0.5] * 500, [0.7] * 500, margin=0.1)


def test_what_was_not_seen_counts_on_both_sides_of_the_difference() -> None:
    # 100 items all .03 better: 0 further changes of 100 leave .03 ± .0263, which reaches beyond .05 above only.
    assert not is_equivalent([0.53] * 100, [0.5] * 100, margin=0.05)
    assert not is_equivalent([0.5] * 100, [0.53] * 100, margin=0.05)
    assert is_equivalent([0.53] * 100, [0.5] * 100, margin=0.06)
