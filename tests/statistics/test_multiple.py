"""Holm's correction by hand, against Bonferroni, and its family-wise error."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.statistics import holm, holm_rejections

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)
quick = settings(max_examples=25, deadline=None, derandomize=True)


def test_four_p_values_by_hand() -> None:
    # Sorted .005 .01 .03 .04: times 4 3 2 1 = .02 .03 .06 .04, never falling: .02 .03 .06 .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_rejections([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]


def test_an_adjusted_value_at_the_level_is_rejected_and_the_level_is_5_percent_unless_told() -> None:
    assert holm_rejections([0.025, 0.05]) == [True, True]
    assert holm_rejections([0.026, 0.05]) == [False, False]
    assert holm_rejections([0.026, 0.05], alpha=0.06) == [True, True]


def test_adjusted_values_stay_probabilities() -> None:
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([1.0]) == [1.0]
    assert holm([0.0]) == [0.0]
    assert holm([]) == []


@quick
@given(values=p_values)
def test_holm_lies_between_the_raw_values_and_bonferronis(values: list[float]) -> None:
    for raw, adjusted in zip(values, holm(values), strict=True):
        assert raw <= adjusted <= min(1.0, len(values) * raw) + 1e-12


@quick
@given(values=p_values)
def test_the_procedure_is_stepping_down(values: list[float]) -> None:
    # Holm's own words: compare the smallest with α/m, the next with α/(m-1), and stop at the first that fails.
    rejected, left = set(), len(values)
    for index in sorted(range(len(values)), key=lambda i: values[i]):
        if values[index] * left > 0.05:
            break
        rejected.add(index)
        left -= 1
    assert holm_rejections(values) == [i in rejected for i in range(len(values))]


@quick
@given(values=p_values)
def test_the_order_of_the_tests_does_not_matter(values: list[float]) -> None:
    assert holm(values[::-1]) == pytest.approx(holm(values)[::-1])


@pytest.mark.capability("EV-51")
def test_the_chance_of_any_false_rejection_stays_at_5_percent() -> None:
    # Three true hypotheses, p-values on a grid fine enough for the levels .05/3 and .05 (exact uniform on 1/60 … 1).
    grid = [i / 60 for i in range(1, 61)]
    cases = list(itertools.product(grid, repeat=3))
    share = sum(any(holm_rejections(case)) for case in itertools.islice(cases, 0, None, 7)) / len(cases[::7])
    assert share == pytest.approx(1 - (1 - 1 / 60) ** 3, abs=0.002)
    assert share <= 0.05


@pytest.mark.parametrize("p", [-0.01, 1.01, math.nan])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="p-value"):
        holm([0.5, p])


def test_a_level_above_one_half_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        holm_rejections([0.5], alpha=0.5)
