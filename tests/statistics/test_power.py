"""Power and sample sizes against enumeration, R's documented numbers, and each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from strop.statistics import (
    mcnemar,
    mcnemar_num_items,
    mcnemar_power,
    paired_detectable_difference,
    power,
    two_rate_detectable_difference,
    two_rate_num_items,
    two_rate_power,
)


def enumerated(n: int, gain: float, loss: float, alpha: float) -> float:
    """P(p ≤ alpha) over every pair of counts, with scipy's multinomial."""
    cells = [(g, c, n - g - c) for g, c in itertools.product(range(n + 1), repeat=2) if g + c <= n]
    weights = stats.multinomial.pmf(cells, n, [gain, loss, 1 - gain - loss])
    return float(sum(w for w, (g, c, _) in zip(weights, cells) if mcnemar(g, c) <= alpha))


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize(
    "rates", [(0.3, 0.1), (0.1, 0.3), (0.2, 0.2), (0.6, 0.4), (0.25, 0.0), (0.0, 0.25), (1.0, 0.0)]
)
@pytest.mark.parametrize(("n", "alpha"), [(1, 0.05), (12, 0.05), (25, 0.05), (25, 0.2)])
def test_the_power_of_mcnemar_is_that_of_every_outcome(rates: tuple[float, float], n: int, alpha: float) -> None:
    assert mcnemar_power(n, *rates, alpha) == pytest.approx(enumerated(n, *rates, alpha), abs=1e-12)


def test_a_level_that_is_a_tail_itself_is_reached() -> None:
    # Six changes, all one way: p = 2 / 64 exactly.
    assert mcnemar_power(6, 1.0, 0.0, alpha=2 / 64) == pytest.approx(1.0)
    assert type(mcnemar_power(6, 1.0, 0.0, alpha=2 / 64)) is float
    assert mcnemar_power(6, 1.0, 0.0, alpha=1.99 / 64) == 0.0
    assert mcnemar_power(6, 0.5, 0.5, alpha=2 / 64) == pytest.approx(2 / 64)


def test_thousands_of_items_have_a_power() -> None:
    assert mcnemar_power(2000, 0.06, 0.04) == pytest.approx(0.796, abs=0.02)  # normal approximation: Φ(√n d/√ψ - 1.96)


@pytest.mark.parametrize(("rates", "target"), [((0.2, 0.05), 0.8), ((0.05, 0.2), 0.8), ((0.3, 0.05), 0.9)])
def test_the_smallest_number_of_items_reaches_the_power_and_one_less_does_not(
    rates: tuple[float, float], target: float
) -> None:
    n = mcnemar_num_items(*rates, target)
    assert mcnemar_power(n, *rates) >= target
    assert all(mcnemar_power(m, *rates) < target for m in range(1, n, 5))
    assert mcnemar_power(n - 1, *rates) < target


def test_the_power_asked_for_is_80_percent_at_5_percent_unless_told() -> None:
    assert mcnemar_num_items(0.3, 0.05) == mcnemar_num_items(0.3, 0.05, 0.8, 0.05) < mcnemar_num_items(0.3, 0.05, 0.85)
    assert mcnemar_power(30, 0.3, 0.05) == mcnemar_power(30, 0.3, 0.05, 0.05)
    assert two_rate_power(30, 0.3, 0.5) == two_rate_power(30, 0.3, 0.5, 0.05)
    assert two_rate_num_items(0.3, 0.5) == two_rate_num_items(0.3, 0.5, 0.8, 0.05)
    assert paired_detectable_difference(40, 0.4) == paired_detectable_difference(40, 0.4, 0.8, 0.05)
    assert two_rate_detectable_difference(40, 0.4) == two_rate_detectable_difference(40, 0.4, 0.8, 0.05)


def test_a_number_of_items_that_does_not_suffice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert power.MAX_ITEMS == 10_000
    monkeypatch.setattr(power, "MAX_ITEMS", 49)
    needed = 49  # six changes one way are the fewest that McNemar notices
    assert mcnemar_num_items(0.16, 0.0) <= needed
    with pytest.raises(ValueError, match="49 items are too few"):
        mcnemar_num_items(0.12, 0.1)


def test_the_last_allowed_number_of_items_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = mcnemar_num_items(0.4, 0.0)
    monkeypatch.setattr(power, "MAX_ITEMS", needed)
    assert mcnemar_num_items(0.4, 0.0) == needed
    monkeypatch.setattr(power, "MAX_ITEMS", needed - 1)
    with pytest.raises(ValueError, match="too few"):
        mcnemar_num_items(0.4, 0.0)


@pytest.mark.parametrize(("n", "changed", "target"), [(60, 0.3, 0.8), (40, 1.0, 0.9)])
def test_the_detectable_paired_difference_has_just_the_power(n: int, changed: float, target: float) -> None:
    d = paired_detectable_difference(n, changed, target)
    assert 0 < d < changed
    assert mcnemar_power(n, (changed + d) / 2, (changed - d) / 2) == pytest.approx(target, abs=1e-6)


@pytest.mark.capability("EV-51")
def test_two_rates_are_found_as_often_as_r_documents() -> None:
    # power.prop.test(n = 50, p1 = .50, p2 = .75) gives 0.740; (p1 = .50, p2 = .75, power = .90) gives n = 76.7.
    assert two_rate_power(50, 0.5, 0.75) == pytest.approx(0.740, abs=5e-4)
    assert two_rate_power(50, 0.75, 0.5) == two_rate_power(50, 0.5, 0.75)
    assert two_rate_num_items(0.5, 0.75, 0.9) == two_rate_num_items(0.75, 0.5, 0.9) == 77


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_number_of_items_is_the_first_with_that_power(alpha: float) -> None:
    n = two_rate_num_items(0.4, 0.5, 0.8, alpha)
    assert two_rate_power(n, 0.4, 0.5, alpha) >= 0.8 > two_rate_power(n - 1, 0.4, 0.5, alpha)


def test_the_detectable_rise_has_just_the_power() -> None:
    d = two_rate_detectable_difference(200, 0.4, 0.9, 0.01)
    assert two_rate_power(200, 0.4, 0.4 + d, 0.01) == pytest.approx(0.9, abs=1e-6)
    # One item a side still tells nearly never from always.
    assert two_rate_detectable_difference(1, 0.01, 0.3, 0.2) <= 0.99


def test_the_z_test_rejects_as_often_as_said() -> None:
    # Every outcome of 80 against 80, tested with the pooled z.
    k = np.arange(81)
    one, other = np.meshgrid(k / 80, k / 80, indexing="ij")
    pooled = (one + other) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(one - other) / np.sqrt(2 * pooled * (1 - pooled) / 80)
    weights = np.outer(stats.binom.pmf(k, 80, 0.4), stats.binom.pmf(k, 80, 0.6))
    assert two_rate_power(80, 0.4, 0.6) == pytest.approx(weights[z > 1.959964].sum(), abs=0.02)


@pytest.mark.parametrize("rates", [(-0.1, 0.2), (0.2, -0.1), (0.6, 0.5), (0.0, 0.0), (math.nan, 0.1)])
def test_rates_of_change_that_cannot_be_are_refused(rates: tuple[float, float]) -> None:
    for function in (lambda: mcnemar_power(9, *rates), lambda: mcnemar_num_items(*rates)):
        with pytest.raises(ValueError, match="add up to at most 1"):
            function()


@pytest.mark.parametrize("changed", [0.0, 1.1])
def test_a_rate_of_change_that_cannot_be_detects_nothing(changed: float) -> None:
    with pytest.raises(ValueError, match="add up to at most 1"):
        paired_detectable_difference(9, changed)


@pytest.mark.parametrize("rates", [(0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0)])
def test_rates_of_0_or_1_have_no_normal_approximation(rates: tuple[float, float]) -> None:
    for function in (lambda: two_rate_power(9, *rates), lambda: two_rate_num_items(*rates)):
        with pytest.raises(ValueError, match="rates between 0 and 1"):
            function()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rise_starts_between_0_and_1(rate: float) -> None:
    with pytest.raises(ValueError, match="rates between 0 and 1"):
        two_rate_detectable_difference(9, rate)


WITH_ITEMS: list[Callable[[int], float]] = [
    lambda n: mcnemar_power(n, 1.0, 0.0),
    lambda n: two_rate_power(n, 0.5, 0.6),
    lambda n: paired_detectable_difference(n, 1.0, 0.3, 0.25),
    lambda n: two_rate_detectable_difference(n, 0.01, 0.3),
]


@pytest.mark.parametrize("function", WITH_ITEMS)
def test_a_comparison_needs_an_item(function: Callable[[int], float]) -> None:
    with pytest.raises(ValueError, match="at least one item, not 0"):
        function(0)


WITH_POWER: list[Callable[[float, float], float]] = [
    lambda power_, alpha: mcnemar_num_items(0.5, 0.0, power_, alpha),
    lambda power_, alpha: two_rate_num_items(0.1, 0.6, power_, alpha),
    lambda power_, alpha: paired_detectable_difference(90, 0.5, power_, alpha),
    lambda power_, alpha: two_rate_detectable_difference(90, 0.5, power_, alpha),
]


@pytest.mark.parametrize("function", WITH_POWER)
def test_a_power_lies_above_the_level_and_below_1(function: Callable[[float, float], float]) -> None:
    for wrong in (0.05, 1.0, math.nan):
        with pytest.raises(ValueError, match="a power lies between"):
            function(wrong, 0.05)
    with pytest.raises(ValueError, match="alpha"):
        function(0.8, 0.5)
    assert function(0.06, 0.05) > 0


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_level_is_above_0_and_below_one_half(alpha: float) -> None:
    for function in (lambda: mcnemar_power(9, 0.2, 0.1, alpha), lambda: two_rate_power(9, 0.2, 0.1, alpha)):
        with pytest.raises(ValueError, match="alpha"):
            function()


def test_a_power_that_is_just_reached_is_reached() -> None:
    n = mcnemar_num_items(0.4, 0.0, 0.5)
    assert mcnemar_num_items(0.4, 0.0, mcnemar_power(n, 0.4, 0.0)) == n
    largest = power._two_rate_power(20, 0.5, 1.0, 0.05)
    assert two_rate_detectable_difference(20, 0.5, largest) == pytest.approx(0.5)


def test_equal_rates_have_nothing_to_find() -> None:
    for function in (mcnemar_num_items, two_rate_num_items):
        with pytest.raises(ValueError, match="no difference to find"):
            function(0.2, 0.2)


def test_too_few_items_for_any_difference_say_so() -> None:
    with pytest.raises(ValueError, match=r"largest difference, 1, is found with power 0\.00 only, not 0\.8"):
        paired_detectable_difference(5, 1.0)  # five changes one way have p = 1/16
    assert paired_detectable_difference(6, 1.0, 0.8) < 1.0  # six have 1/32
    with pytest.raises(ValueError, match=r"largest difference, 0\.1, is found"):
        two_rate_detectable_difference(9, 0.9)
