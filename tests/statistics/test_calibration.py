"""Calibration by hand, AUC by counting pairs, and relations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from strop.statistics import auc, brier, expected_calibration_error

quick = settings(max_examples=25, deadline=None, derandomize=True)
graded = st.lists(st.tuples(st.integers(0, 10).map(lambda i: i / 10), st.booleans()), min_size=1, max_size=14)


def columns(rows: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [p for p, _ in rows], [y for _, y in rows]


# ------------------------------------------------------------------------------------------------------------------ ECE


def test_two_bins_by_hand() -> None:
    # [.1 .2 .4] came true 0 1 0: gap |.7 - 1|; [.5 .9] came true 1 1: gap |1.4 - 2|; over 5 items.
    stated, true = [0.1, 0.9, 0.2, 0.4, 0.5], [False, True, True, False, True]
    assert expected_calibration_error(stated, true, num_bins=2) == pytest.approx((0.3 + 0.6) / 5)
    # By rank the middle one, .4, opens the second bin: |.3 - 1| and |1.8 - 2|.
    assert expected_calibration_error(stated, true, num_bins=2, bins="equal_count") == pytest.approx((0.7 + 0.2) / 5)


def test_ten_bins_of_equal_width_unless_told() -> None:
    stated, true = [0.05, 0.095, 0.15, 0.95, 1.0], [True, False, False, True, False]
    # .05 and .095 together | .15 | .95 and 1 together
    expected = (abs(0.145 - 1) + 0.15 + abs(1.95 - 1)) / 5
    assert expected_calibration_error(stated, true) == pytest.approx(expected)
    assert expected_calibration_error(stated, true, num_bins=10, bins="equal_width") == pytest.approx(expected)
    assert expected_calibration_error(stated, true, num_bins=11) != pytest.approx(expected)


def test_a_probability_on_an_edge_belongs_to_the_upper_bin() -> None:
    # .5 with [.5, 1]: |(.5 + .9) - 1| and |.4 - 1|; with the lower bin it would be |.9 - 1| + |.9 - 1|.
    value = expected_calibration_error([0.4, 0.5, 0.9], [True, False, True], num_bins=2)
    assert value == pytest.approx((0.6 + 0.4) / 3)


def test_one_bin_is_the_gap_of_the_means() -> None:
    assert expected_calibration_error([0.2, 0.6], [True, False], num_bins=1) == pytest.approx(0.1)
    assert expected_calibration_error([1.0], [True]) == 0.0
    assert type(expected_calibration_error([1.0], [True])) is float
    assert expected_calibration_error([1.0], [False]) == 1.0


@quick
@given(rows=graded, bins=st.sampled_from(["equal_width", "equal_count"]), seed=st.integers(0, 9))
def test_the_order_of_the_items_does_not_matter(rows: list[tuple[float, bool]], bins: str, seed: int) -> None:
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    one, other = (expected_calibration_error(*columns(r), num_bins=3, bins=bins) for r in (rows, shuffled))
    assert one == pytest.approx(other, abs=1e-12)


def test_bins_by_rank_hold_equal_numbers() -> None:
    # Six values, three bins of two; each pair is off by its own amount.
    stated, true = [0.01, 0.02, 0.03, 0.04, 0.05, 0.9], [False, True, False, False, True, True]
    expected = (abs(0.03 - 1) + 0.07 + abs(0.95 - 2)) / 6
    assert expected_calibration_error(stated, true, num_bins=3, bins="equal_count") == pytest.approx(expected)


def test_equal_probabilities_share_a_bin_by_rank() -> None:
    # Four of .3 of which one came true, and one .9: the ties may not be torn apart by the outcomes.
    stated, true = [0.3, 0.3, 0.3, 0.3, 0.9], [True, False, False, False, True]
    value = expected_calibration_error(stated, true, num_bins=2, bins="equal_count")
    assert value == pytest.approx((abs(1.2 - 1) + 0.1) / 5)


def test_bins_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one bin, not 0"):
        expected_calibration_error([0.5], [True], num_bins=0)
    with pytest.raises(ValueError, match="equal_width or equal_count, not 'equal'"):
        expected_calibration_error([0.5], [True], bins="equal")


# ---------------------------------------------------------------------------------------------------------------- Brier


def test_four_forecasts_by_hand() -> None:
    # .8 three times, true twice; .3 once, false. Base rate 1/2.
    found = brier([0.8, 0.8, 0.8, 0.3], [True, True, False, False])
    assert found.score == pytest.approx((0.04 + 0.04 + 0.64 + 0.09) / 4)
    assert found.reliability == pytest.approx((3 * (0.8 - 2 / 3) ** 2 + 0.09) / 4)
    assert found.resolution == pytest.approx((3 * (2 / 3 - 1 / 2) ** 2 + 1 / 4) / 4)
    assert found.uncertainty == 0.25
    assert {type(x) for x in (found.score, found.reliability, found.resolution, found.uncertainty)} == {float}


@quick
@given(rows=graded)
def test_the_three_parts_add_up_to_the_score(rows: list[tuple[float, bool]]) -> None:
    found = brier(*columns(rows))
    assert found.score == pytest.approx(found.reliability - found.resolution + found.uncertainty, abs=1e-12)
    assert 0 <= found.resolution <= found.uncertainty + 1e-12


@pytest.mark.parametrize("rows", [([], []), ([0.5], []), ([0.5], [True, False])])
def test_every_item_has_a_value_and_an_outcome(rows: tuple[list[float], list[bool]]) -> None:
    for function in (brier, expected_calibration_error, auc):
        with pytest.raises(ValueError, match="a value and an outcome"):
            function(*rows)


@pytest.mark.parametrize("p", [-0.01, 1.01, math.nan])
def test_what_is_no_probability_is_refused(p: float) -> None:
    for function in (brier, expected_calibration_error):
        with pytest.raises(ValueError, match="probability lies between"):
            function([0.5, p], [True, False])


def test_certain_forecasts_are_allowed() -> None:
    assert brier([0.0, 1.0], [False, True]).score == 0.0
    assert brier([0.0, 1.0], [True, False]).score == 1.0


@pytest.mark.parametrize("outcome", [0.5, 2, -1, math.nan])
def test_an_outcome_is_true_or_false(outcome: float) -> None:
    for function in (brier, expected_calibration_error, auc):
        with pytest.raises(ValueError, match="true or false"):
            function([0.5, 0.4], [True, outcome])


# ------------------------------------------------------------------------------------------------------------------ AUC


@quick
@given(rows=graded)
def test_auc_is_the_share_of_pairs_ranked_right(rows: list[tuple[float, bool]]) -> None:
    stated, true = columns(rows)
    pairs = [(s, t) for (s, y), (t, z) in itertools.product(rows, rows) if y and not z]
    if not pairs:
        with pytest.raises(ValueError, match="both outcomes"):
            auc(stated, true)
        return
    expected = sum((s > t) + (s == t) / 2 for s, t in pairs) / len(pairs)
    assert auc(stated, true) == pytest.approx(expected)
    assert auc([-s for s in stated], true) == pytest.approx(1 - expected)
    assert auc([math.exp(3 * s) for s in stated], true) == pytest.approx(expected)


def test_auc_is_mann_whitneys_u_over_the_pairs() -> None:
    generator = np.random.default_rng(0)
    positive, negative = generator.normal(1, 1, 30), generator.normal(0, 1, 20)
    u = stats.mannwhitneyu(positive, negative).statistic
    assert auc([*positive, *negative], [True] * 30 + [False] * 20) == pytest.approx(u / 600)


def test_scores_need_not_be_probabilities_but_numbers() -> None:
    assert auc([-5.0, math.inf], [False, True]) == 1.0
    assert type(auc([-5.0, math.inf], [False, True])) is float
    with pytest.raises(ValueError, match="not a number"):
        auc([math.nan, 1.0], [False, True])


@pytest.mark.parametrize("true", [[True, True], [False, False]])
def test_one_class_has_no_auc(true: list[bool]) -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        auc([0.1, 0.2], true)


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    # One bin of both: stated .975, half came true. As a bin of its own the last would add up to (.05 + 1) / 2.
    assert expected_calibration_error([0.95, 1.0], [True, False], num_bins=10) == pytest.approx(0.475)


def test_the_middle_of_three_is_in_the_upper_of_two_bins_by_rank() -> None:
    value = expected_calibration_error([0.1, 0.5, 0.9], [False, True, True], num_bins=2, bins="equal_count")
    assert value == pytest.approx((0.1 + 2 * 0.3) / 3)


def test_numbers_are_plain_floats() -> None:
    found = brier([0.2, 0.7, 0.7], [False, True, False])
    numbers = [*vars(found).values(), expected_calibration_error([0.2, 0.6], [True, False])]
    numbers.append(auc([0.2, 0.6, 0.7], [False, True, False]))
    assert {type(number) for number in numbers} == {float}
