"""Wilson, Newcombe and win rates against scipy, published numbers, and coverage by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from strop.statistics import Interval, rate_difference_interval, unpaired_difference_interval, wilson, win_rate

thorough = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 400))
    return draw(st.integers(0, n)), n


@pytest.mark.capability("A1-5")
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


@pytest.mark.parametrize(("wins", "ties", "losses", "expected"), [(6, 2, 2, 0.7), (0, 4, 0, 0.5), (0, 0, 3, 0.0)])
def test_a_tie_is_half_a_win(wins: int, ties: int, losses: int, expected: float) -> None:
    rate, interval = win_rate(wins, ties, losses)
    assert rate == expected
    assert interval.low <= rate <= interval.high
    assert interval == wilson(wins + ties / 2, wins + ties + losses)


def test_a_win_rate_needs_a_comparison() -> None:
    with pytest.raises(ValueError, match="at least one"):
        win_rate(0, 0, 0)


def test_every_interval_is_a_95_percent_one_unless_told() -> None:
    assert wilson(3, 9) == wilson(3, 9, 0.95) != wilson(3, 9, 0.9)
    assert rate_difference_interval(3, 2, 1, 4) == rate_difference_interval(3, 2, 1, 4, 0.95)
    assert unpaired_difference_interval(3, 9, 2, 8) == unpaired_difference_interval(3, 9, 2, 8, 0.95)
    assert win_rate(3, 2, 1) == win_rate(3, 2, 1, 0.95)


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (-1, 2, 3, 4), (1, -2, 3, 4), (1, 2, -3, 4), (3, 2, 1, -1)])
def test_a_paired_difference_needs_items_and_no_negative_count(cells: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        rate_difference_interval(*cells)


def test_outcomes_that_go_against_each_other_widen_the_interval() -> None:
    # By hand from method 10: no correction for a negative correlation, and none left where it exceeds the numerator.
    lower, upper = (wilson(5, 10).low, wilson(5, 10).high)
    apart = rate_difference_interval(1, 4, 4, 1)
    phi = (1 * 1 - 4 * 4) / 25
    half = math.sqrt((0.5 - lower) ** 2 - 2 * phi * (0.5 - lower) * (upper - 0.5) + (upper - 0.5) ** 2)
    assert (apart.low, apart.high) == pytest.approx((-half, half))
    barely = rate_difference_interval(3, 2, 2, 3)  # 3·3 - 2·2 = 5 = n/2: corrected to nothing
    assert barely.high == pytest.approx(math.sqrt((upper - 0.5) ** 2 + (0.5 - lower) ** 2))


def test_one_item_alone_has_an_interval() -> None:
    # p1 = 1, p2 = 0: from √((1 - l)² + u²) below 1 up to 1, with Wilson's l and u of 1/1 and 0/1; φ is 0.
    one, none = wilson(1, 1), wilson(0, 1)
    found = rate_difference_interval(0, 1, 0, 0)
    assert found.high == 1.0
    assert found.low == pytest.approx(1 - math.hypot(1 - one.low, none.high))
    assert unpaired_difference_interval(1, 1, 0, 1) == found


def test_the_unpaired_interval_reproduces_the_published_example() -> None:
    # Newcombe 1998 (eleven methods), table II (a): 56/70 - 48/80, method 10.
    interval = unpaired_difference_interval(56, 70, 48, 80)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize(("n", "points"), [(500, 6.07), (164, 10.60), (244, 8.69)])
def test_two_independent_runs_at_40_percent_differ_by_noise_of_several_points(n: int, points: float) -> None:
    # 1.96 √(2 · 0.4 · 0.6 / n); Newcombe's interval is a hair narrower in the middle.
    interval = unpaired_difference_interval(round(0.4 * n), n, round(0.4 * n), n)
    assert 100 * (interval.high - interval.low) / 2 == pytest.approx(points, abs=0.11)


@pytest.mark.parametrize("case", [(0, 0, 1, 2), (1, 2, 0, 0)])
def test_an_unpaired_difference_needs_trials_on_both_sides(case: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="both sides"):
        unpaired_difference_interval(*case)


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.3, 0.7), (0.2, 0.4), (0.8, 0.6)])
def test_the_interval_of_an_unpaired_difference_covers_it_95_percent_of_the_time(rates: tuple[float, float]) -> None:
    k = np.arange(31)
    weights = np.outer(stats.binom.pmf(k, 30, rates[0]), stats.binom.pmf(k, 30, rates[1]))
    held = [unpaired_difference_interval(int(a), 30, int(b), 30) for a, b in itertools.product(k, k)]
    covers = np.array([i.low <= rates[0] - rates[1] <= i.high for i in held]).reshape(31, 31)
    assert 0.93 <= weights[covers].sum() <= 0.97


@pytest.mark.parametrize("counts_", [(-1, 3, 3), (3, -1, 3), (3, 3, -1)])
def test_a_win_rate_has_no_negative_counts(counts_: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        win_rate(*counts_)


def test_one_comparison_is_a_win_rate() -> None:
    assert win_rate(1, 0, 0)[0] == win_rate(0, 0, 1)[0] + 1 == 1.0


@pytest.mark.parametrize("counts", [(3, 1, 1, 5), (3, 2, 2, 2), (4, 1, 1, 1), (2, 3, 1, 4), (9, 1, 0, 2), (1, 0, 0, 1)])
def test_the_correlation_is_corrected_for_continuity_only_where_it_is_positive(counts: tuple[int, ...]) -> None:
    # Newcombe's method 10 written out once more: φ = max(ad - bc - n/2, 0) / √(…) where ad > bc, plain elsewhere.
    a, b, c, d = counts
    n = sum(counts)
    cross = a * d - b * c
    numerator = max(cross - n / 2, 0) if a * d > b * c else cross
    phi = numerator / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    one, two = (stats.binomtest(k, n).proportion_ci(0.95, method="wilson") for k in (a + b, a + c))
    p1, p2 = (a + b) / n, (a + c) / n
    down, up = (p1 - one.low, two.high - p2), (one.high - p1, p2 - two.low)
    low, high = (math.sqrt(x * x - 2 * phi * x * y + y * y) for x, y in (down, up))
    found = rate_difference_interval(*counts)
    assert (found.low, found.high) == pytest.approx((p1 - p2 - low, p1 - p2 + high))
