"""The margin tests: their statistics against slow independent versions, their level, and what they plan."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from strop.evals.gating.non_inferiority import (
    betting_p_value,
    drop_in_reach,
    exact_p_value,
    items_needed,
    margin_in_reach,
    margin_p_value,
    score,
)
from strop.statistics import paired_detectable_difference


def slow_score(n: int, gained: int, lost: int, margin: float) -> float:
    """Tango's statistic with the likelihood maximised numerically over the rate of gains."""

    def minus_log_likelihood(gain: float) -> float:
        rates = (gain, gain + margin, 1 - 2 * gain - margin)
        counts = (gained, lost, n - gained - lost)
        return -sum(c * math.log(max(rate, 1e-300)) for c, rate in zip(counts, rates) if c)

    best = minimize_scalar(
        minus_log_likelihood, bounds=(0, (1 - margin) / 2), method="bounded", options={"xatol": 1e-12}
    )
    gain = 0.0 if minus_log_likelihood(0.0) <= best.fun else float(best.x)
    variance = (2 * gain + margin - margin**2) / n
    return ((gained - lost) / n + margin) / math.sqrt(variance)


@pytest.mark.parametrize(("n", "gained", "lost"), [(40, 3, 5), (40, 0, 0), (100, 10, 2), (100, 0, 4), (25, 6, 12)])
@pytest.mark.parametrize("margin", [0.02, 0.1, 0.3])
def test_the_score_is_tangos_with_the_likelihood_maximised_numerically(
    n: int, gained: int, lost: int, margin: float
) -> None:
    found = score(n, np.array([float(gained)]), np.array([float(lost)]), margin)[0]
    assert found == pytest.approx(slow_score(n, gained, lost, margin), abs=1e-4)


@pytest.mark.parametrize(("n", "gained", "lost", "margin"), [(12, 1, 0, 0.2), (12, 0, 0, 0.2), (10, 3, 2, 0.3)])
def test_the_exact_p_value_is_the_largest_tail_over_all_outcomes_listed(
    n: int, gained: int, lost: int, margin: float
) -> None:
    outcomes = [(g, k) for g in range(n + 1) for k in range(n + 1 - g)]
    z = {outcome: slow_score(n, *outcome, margin) for outcome in outcomes}
    tails = {"below": 0.0, "above": 0.0}
    for change in np.linspace(margin, 1, 201):
        chance = multinomial(n, [(change - margin) / 2, (change + margin) / 2, 1 - change])
        at = {outcome: float(chance.pmf([*outcome, n - sum(outcome)])) for outcome in outcomes}
        near = z[gained, lost]
        tails["below"] = max(tails["below"], sum(p for outcome, p in at.items() if z[outcome] >= near - 1e-5))
        tails["above"] = max(tails["above"], sum(p for outcome, p in at.items() if z[outcome] <= near + 1e-5))
    assert exact_p_value(n, gained, lost, margin) == pytest.approx(tails["below"], abs=2e-3)
    assert exact_p_value(n, gained, lost, margin, "above") == pytest.approx(tails["above"], abs=2e-3)


def test_items_that_never_change_show_a_margin_when_losing_none_would_be_unlikely() -> None:
    """(1 - m)^n ≤ 0.05: 149 items for two points, 29 for ten; one fewer does not do."""
    for margin, n in ((0.02, 149), (0.1, 29)):
        assert math.ceil(math.log(0.05) / math.log(1 - margin)) == n
        assert exact_p_value(n, 0, 0, margin) <= 0.05 < exact_p_value(n - 1, 0, 0, margin)
        assert items_needed([0.0] * 30, [str(i) for i in range(30)], margin, 0.05) == n


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize(("n", "margin"), [(30, 0.05), (30, 0.2), pytest.param(80, 0.02, marks=pytest.mark.slow)])
def test_a_true_drop_of_the_margin_or_more_passes_at_most_alpha_times_whatever_share_changes(
    n: int, margin: float
) -> None:
    """Exact: every outcome listed with its probability, at rates of change between those of the test's own grid."""
    passing = [
        (g, k)
        for g in range(n + 1)
        for k in range(n + 1 - g)
        if k - g < margin * n and exact_p_value(n, g, k, margin) <= 0.05
    ]
    assert passing
    for drop, share in itertools.product((margin, 1.5 * margin), np.linspace(0, 1, 60)):
        change = drop + (1 - drop) * share
        chance = multinomial(n, [(change - drop) / 2, (change + drop) / 2, 1 - change])
        counts = np.array([[g, k, n - g - k] for g, k in passing])
        assert chance.pmf(counts).sum() <= 0.05 + 1e-9


@given(
    st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=4, max_size=30),
    st.sampled_from([0.02, 0.1, 0.4]),
    st.randoms(),
)
@settings(max_examples=60, deadline=None)
def test_betting_does_not_depend_on_the_order_and_a_loss_never_helps(values, margin, random) -> None:  # type: ignore[no-untyped-def]
    clusters = [str(i // 2) for i in range(len(values))]
    p_value = betting_p_value(values, clusters, margin)
    order = list(range(len(values)))
    random.shuffle(order)
    again = betting_p_value([values[i] for i in order], [clusters[i] for i in order], margin)
    assert again == pytest.approx(p_value)
    worse = betting_p_value([max(values[0], 0.9), *values[1:]], clusters, margin)
    assert worse >= p_value - 1e-12


@pytest.mark.capability("EV-51")
def test_betting_is_won_at_most_alpha_times_where_the_margin_is_the_truth() -> None:
    """Exact: 12 clusters that lose everything with probability 0.3 = the margin, and 6 with three outcomes each."""
    p_values = [betting_p_value([1.0] * k + [0.0] * (12 - k), [str(i) for i in range(12)], 0.3) for k in range(13)]
    wins = sum(math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k, p in enumerate(p_values) if p <= 0.05)
    assert wins <= 0.05
    chances = {1.0: 0.5, 0.0: 0.3, -0.5: 0.2}  # mean 0.4
    total = 0.0
    for outcome in itertools.product(chances, repeat=6):
        p = betting_p_value(outcome, [str(i) for i in range(6)], 0.4)
        total += (p <= 0.2) * math.prod(chances[value] for value in outcome)
    assert total <= 0.2


def test_above_a_large_margin_betting_keeps_its_level() -> None:
    """Exact: 40 clusters that lose with probability 0.95 and gain otherwise, a drop of exactly 0.9."""
    names = [str(i) for i in range(40)]
    p_values = [betting_p_value([-1.0] * k + [1.0] * (40 - k), names, 0.9, "above") for k in range(41)]
    wins = sum(math.comb(40, k) * 0.05**k * 0.95 ** (40 - k) for k, p in enumerate(p_values) if p <= 0.1)
    assert wins <= 0.1


def test_clusters_and_scores_are_bet_on_and_single_passes_and_failures_are_counted() -> None:
    worsenings = [0.0] * 200
    alone = [str(i) for i in range(200)]
    assert margin_p_value(worsenings, alone, 0.02) == (exact_p_value(200, 0, 0, 0.02), True)
    assert margin_p_value(worsenings, [str(i // 2) for i in range(200)], 0.02)[1] is False
    assert margin_p_value([*worsenings[1:], 0.5], alone, 0.02)[1] is False


def test_items_that_go_together_count_once() -> None:
    """Ten items in each of 30 clusters show less than 300 items of their own, and no more than 30."""
    worsenings = [0.0] * 300
    together = margin_p_value(worsenings, [str(i // 10) for i in range(300)], 0.05)[0]
    assert margin_p_value(worsenings, [str(i) for i in range(300)], 0.05)[0] <= 0.05 < together
    assert together >= margin_p_value([0.0] * 30, [str(i) for i in range(30)], 0.05)[0]


@pytest.mark.parametrize(("change", "margin"), [(0.05, 0.05), (0.1, 0.1), (0.3, 0.1)])
def test_as_many_items_as_are_said_to_be_needed_pass_about_four_times_in_five(change: float, margin: float) -> None:
    """The chance of PASS at no drop, from 300 draws of that many items: 80 %, give or take their error."""
    half = round(500 * change)
    worsenings = [1.0] * half + [-1.0] * half + [0.0] * (1000 - 2 * half)
    n = items_needed(worsenings, [str(i) for i in range(1000)], margin, 0.05)
    draws = np.random.default_rng(0).multinomial(n, [change / 2, change / 2, 1 - change], size=300)
    share = np.mean([exact_p_value(n, int(g), int(k), margin) <= 0.05 for g, k, _ in draws])
    assert 0.72 < share < 0.9


@pytest.mark.parametrize(("n", "change"), [(200, 0.1), (600, 0.1), (600, 0.3)])
def test_the_drop_in_reach_is_near_what_exact_power_says(n: int, change: float) -> None:
    """A two-sided McNemar at 2 alpha is the one-sided at alpha."""
    half = round(n * change / 2)
    worsenings = [1.0] * half + [-1.0] * half + [0.0] * (n - 2 * half)
    exact = paired_detectable_difference(n, change, 0.8, 2 * 0.01)
    assert drop_in_reach(worsenings, [str(i) for i in range(n)], 0.01) == pytest.approx(exact, rel=0.15)


def test_a_margin_in_reach_needs_as_many_items_as_there_are() -> None:
    worsenings = [1.0] * 40 + [-1.0] * 40 + [0.0] * 520
    clusters = [str(i) for i in range(600)]
    reach = margin_in_reach(worsenings, clusters, 0.05)
    assert items_needed(worsenings, clusters, reach, 0.05) == pytest.approx(600 + 2 / reach, rel=0.01)


def test_what_is_no_share_and_no_margin_is_refused() -> None:
    for worsenings, margin in (([2.0], 0.1), ([], 0.1), ([0.0], 0.0), ([0.0], 1.0)):
        with pytest.raises(ValueError, match="margin"):
            margin_p_value(worsenings, ["a"] * len(worsenings), margin)
    with pytest.raises(ValueError, match="cannot be"):
        exact_p_value(10, 6, 5, 0.1)
