"""Intervals and tests against published numbers, enumeration, scipy, and simulated coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from strop.statistics import (
    Interval,
    compare_paired,
    is_equivalent,
    mcnemar,
    mean_interval,
    paired_difference,
    pass_at_k,
    rate_difference_interval,
    wilson,
    win_rate,
)

thorough = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 400))
    return draw(st.integers(0, n)), n


# -------------------------------------------------------------------------------------------------------- proportions


def test_eight_of_ten_is_49_to_94_percent() -> None:
    interval = wilson(8, 10)
    assert (round(interval.low, 2), round(interval.high, 2)) == (0.49, 0.94)


@thorough
@given(case=counts(), confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_equals_scipys(case: tuple[int, int], confidence: float) -> None:
    k, n = case
    theirs = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    ours = wilson(k, n, confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_an_interval_ends_exactly_at_0_and_1_and_still_has_width() -> None:
    assert wilson(0, 20).low == 0.0
    assert wilson(0, 20).high > 0.1
    assert wilson(20, 20).high == 1.0
    assert wilson(20, 20).low < 0.9


def test_no_trials_claim_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize("case", [(-1, 5), (6, 5), (math.nan, 5)])
def test_impossible_counts_are_refused(case: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(*case)


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize("n", [100, 200, 500])
@pytest.mark.parametrize("p", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_wilson_covers_the_truth_95_percent_of_the_time(n: int, p: float) -> None:
    # Exact coverage: the probability of every count whose interval holds p.
    k = np.arange(n + 1)
    covers = [(interval := wilson(int(i), n)).low <= p <= interval.high for i in k]
    assert 0.93 <= stats.binom.pmf(k, n, p)[covers].sum() <= 0.97


# ----------------------------------------------------------------------------------------------------- paired outcomes


@pytest.mark.capability("EV-51")
@thorough
@given(gained=st.integers(0, 200), lost=st.integers(0, 200))
def test_mcnemar_equals_the_exact_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_one_item_against_nine_is_p_02148() -> None:
    # 2 · (C(10,0) + C(10,1)) / 2^10 = 22 / 1024
    assert mcnemar(9, 1) == mcnemar(1, 9) == 22 / 1024


def test_thousands_of_discordant_items_do_not_overflow() -> None:
    assert mcnemar(2500, 2500) == 1.0
    assert 0 < mcnemar(2700, 2300) < 1e-6


def test_paired_runs_are_compared_item_by_item() -> None:
    candidate = [True, True, False, True, False]
    baseline = [False, True, True, False, False]
    outcome = compare_paired(candidate, baseline)
    assert (outcome.num_items, outcome.gained, outcome.lost, outcome.p_value) == (5, 2, 1, 1.0)


def test_runs_over_different_items_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="share their items"):
        compare_paired([True], [True, False])
    with pytest.raises(ValueError, match="share their items"):
        paired_difference([], [])


# -------------------------------------------------------------------------------------------------------------- pass@k


@pytest.mark.parametrize(("n", "c", "k"), [(n, c, k) for n in (1, 4, 7) for c in range(n + 1) for k in range(1, n + 1)])
def test_pass_at_k_is_the_share_of_draws_that_hold_a_correct_sample(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations([i < c for i in range(n)], k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_best_of_five_at_20_percent_passes_67_232_percent_of_the_time_in_expectation() -> None:
    # 1 - 0.8^5; the estimate from n samples averages to it exactly over c ~ Binomial(n, 0.2).
    n, c = 12, np.arange(13)
    expected = sum(stats.binom.pmf(i, n, 0.2) * pass_at_k(n, int(i), 5) for i in c)
    assert expected == pytest.approx(0.67232, abs=1e-9)


@pytest.mark.parametrize("case", [(4, 1, 5), (4, 1, 0), (4, 5, 2), (4, -1, 2)])
def test_pass_at_k_refuses_fewer_samples_than_k(case: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        pass_at_k(*case)


# --------------------------------------------------------------------------------------------------------------- means


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


def test_the_paired_interval_reproduces_the_published_example() -> None:
    # An example of Newcombe 1998: 36 both, 12 and 2 discordant, 0 neither; method 10.
    interval = rate_difference_interval(36, 12, 2, 0)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0569, 0.3404)


def test_swapping_the_runs_mirrors_the_interval_of_their_difference() -> None:
    one, other = rate_difference_interval(20, 9, 3, 8), rate_difference_interval(20, 3, 9, 8)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize("cells", [(0.5, 0.2, 0.1, 0.2), (0.6, 0.15, 0.15, 0.1), (0.3, 0.3, 0.1, 0.3)])
def test_the_interval_of_a_paired_rate_difference_covers_it_95_percent_of_the_time(cells: tuple[float, ...]) -> None:
    # Exact coverage over every outcome of 40 items: both, gained, lost, neither.
    n, covered = 40, 0.0
    for both, gained, lost in itertools.product(range(n + 1), repeat=3):
        neither = n - both - gained - lost
        if neither >= 0:
            counts_ = (both, gained, lost, neither)
            log_weight = math.lgamma(n + 1) + sum(k * math.log(p) - math.lgamma(k + 1) for k, p in zip(counts_, cells))
            interval = rate_difference_interval(*counts_)
            covered += math.exp(log_weight) * (interval.low <= cells[1] - cells[2] <= interval.high)
    assert 0.93 <= covered <= 0.975


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


# ---------------------------------------------------------------------------------------------- equivalence, win rates


@pytest.mark.capability("EV-51")
def test_equal_within_the_margin_needs_an_interval_inside_it_and_not_merely_overlapping_ones() -> None:
    generator = np.random.default_rng(7)
    noise = generator.normal(0, 0.05, 200).tolist()
    zeros = [0.0] * 200
    assert is_equivalent(noise, zeros, margin=0.02)
    assert not is_equivalent([value + 0.03 for value in noise], zeros, margin=0.02)
    few = noise[:4]  # the same scatter on four items: not enough evidence is not equivalence
    assert not is_equivalent([20 * value for value in few], zeros[:4], margin=0.02)


def test_equivalence_at_5_percent_asks_for_the_90_percent_interval_inside_the_margin() -> None:
    differences = np.random.default_rng(8).normal(0.05, 0.3, 100).tolist()
    high_90 = paired_difference(differences, [0.0] * 100, confidence=0.90)[1].high
    high_95 = paired_difference(differences, [0.0] * 100, confidence=0.95)[1].high
    assert is_equivalent(differences, [0.0] * 100, margin=(high_90 + high_95) / 2)
    assert not is_equivalent(differences, [0.0] * 100, margin=0.99 * high_90)


@pytest.mark.capability("EV-51")
def test_two_runs_at_the_edge_of_the_margin_are_called_equal_at_most_5_percent_of_the_time() -> None:
    generator = np.random.default_rng(3)
    num_called = sum(
        is_equivalent(generator.normal(0.1, 0.3, 80).tolist(), [0.0] * 80, margin=0.1, num_resamples=400)
        for _ in range(300)
    )
    assert num_called / 300 <= 0.09  # 5 % and three standard errors


@pytest.mark.parametrize(("wins", "ties", "losses", "expected"), [(6, 2, 2, 0.7), (0, 4, 0, 0.5), (0, 0, 3, 0.0)])
def test_a_tie_is_half_a_win(wins: int, ties: int, losses: int, expected: float) -> None:
    rate, interval = win_rate(wins, ties, losses)
    assert rate == expected
    assert interval.low <= rate <= interval.high
    assert interval == wilson(wins + ties / 2, wins + ties + losses)


def test_a_win_rate_needs_a_comparison() -> None:
    with pytest.raises(ValueError, match="at least one"):
        win_rate(0, 0, 0)
