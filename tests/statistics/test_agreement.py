"""Kappas against published tables, the delta method, and what leaves them undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from strop.statistics import Agreement, cohen_kappa, fleiss_kappa

quick = settings(max_examples=20, deadline=None, derandomize=True)
GRADES = ["poor", "fair", "good"]
TABLE = [[20, 5, 1], [3, 15, 6], [2, 4, 14]]


def ratings(table: Sequence[Sequence[int]], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    pairs = [(labels[i], labels[j]) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def slow_kappa(shares: NDArray[np.float64], power: float | None) -> float:
    """From Cohen's disagreement weights, one cell at a time."""
    size = len(shares)
    seen = dealt = 0.0
    for i in range(size):
        for j in range(size):
            cost = (i != j) if power is None else abs(i - j) ** power
            seen += cost * shares[i, j]
            dealt += cost * sum(shares[i]) * sum(shares[:, j])
    return 1 - seen / dealt


def test_two_readers_of_50_grants_agree_at_0_4() -> None:
    # The common textbook table: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; o = .7, e = .5.
    found = cohen_kappa(*ratings([[20, 5], [10, 15]], ["yes", "no"]))
    assert (found.kappa, found.observed, found.expected) == pytest.approx((0.4, 0.7, 0.5))
    assert found.num_items == 50
    assert found.interval is not None
    assert {type(x) for x in (found.kappa, found.observed, found.expected, found.interval.low)} == {float}


@pytest.mark.parametrize(("weights", "power"), [(None, None), ("linear", 1), ("quadratic", 2)])
def test_kappa_and_its_standard_error_are_those_of_the_delta_method(weights: str | None, power: float | None) -> None:
    found = cohen_kappa(*ratings(TABLE, GRADES), categories=GRADES, weights=weights)
    shares = np.array(TABLE) / 70
    assert found.kappa == pytest.approx(slow_kappa(shares, power))
    slopes = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            moved = np.zeros((3, 3))
            moved[i, j] = 1e-6
            slopes[i, j] = (slow_kappa(shares + moved, power) - slow_kappa(shares - moved, power)) / 2e-6
    # The shares as they come do not sum to 1 when one moves; the multinomial variance takes the mean slope out.
    variance = ((slopes**2 * shares).sum() - (slopes * shares).sum() ** 2) / 70
    assert found.interval is not None
    half = 1.959964 * math.sqrt(variance)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (found.kappa - half, found.kappa + half), abs=1e-5
    )


def test_the_interval_is_a_95_percent_one_unless_told() -> None:
    labels = ratings(TABLE, GRADES)
    assert cohen_kappa(*labels) == cohen_kappa(*labels, confidence=0.95) != cohen_kappa(*labels, confidence=0.9)
    with pytest.raises(ValueError, match="confidence"):
        cohen_kappa(*labels, confidence=1.0)


def test_neighbouring_grades_are_half_or_three_quarters_right() -> None:
    # (poor, fair) has credit 1 - 1/2 linear and 1 - 1/4 quadratic, (poor, good) none.
    first, second = ["poor", "poor", "fair", "good"], ["fair", "good", "fair", "poor"]
    assert cohen_kappa(first, second, categories=GRADES, weights="linear").observed == pytest.approx(1.5 / 4)
    assert cohen_kappa(first, second, categories=GRADES, weights="quadratic").observed == pytest.approx(1.75 / 4)


@quick
@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=12))
def test_swapping_the_raters_or_renaming_the_labels_changes_nothing(pairs: list[tuple[str, str]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    there, back = cohen_kappa(first, second), cohen_kappa(second, first)
    renamed = cohen_kappa([ord(x) for x in first], [ord(x) for x in second], categories=[99, 97, 98])
    for other in (back, renamed):
        assert (there.kappa is None) == (other.kappa is None)
        if there.kappa is not None and other.kappa is not None:
            assert there.kappa == pytest.approx(other.kappa)


def test_one_label_everywhere_leaves_nothing_to_measure() -> None:
    assert cohen_kappa(["a"] * 4, ["a"] * 4) == Agreement(
        kappa=None, interval=None, observed=1.0, expected=1.0, num_items=4
    )
    assert cohen_kappa(["a"], ["a"]).kappa is None


def test_full_agreement_is_1_without_an_interval() -> None:
    found = cohen_kappa(["a", "b", "a"], ["a", "b", "a"])
    assert (found.kappa, found.interval) == (1.0, None)


def test_full_disagreement_is_below_0() -> None:
    assert cohen_kappa(["a", "b"], ["b", "a"]).kappa == pytest.approx(-1.0)
    assert cohen_kappa(["a", "a"], ["b", "a"]).kappa == 0.0  # one rater never varies: chance explains it all


@pytest.mark.parametrize("labels", [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_raters_share_their_items(labels: tuple[list[str], list[str]]) -> None:
    with pytest.raises(ValueError, match="label the same items"):
        cohen_kappa(*labels)


def test_labels_and_weights_need_their_categories() -> None:
    with pytest.raises(ValueError, match="'d' is none of the categories"):
        cohen_kappa(["a", "d"], ["a", "b"], categories=["a", "b"])
    with pytest.raises(ValueError, match="named twice"):
        cohen_kappa(["a", "b"], ["a", "b"], categories=["a", "b", "a"])
    for categories in (None, ["a"]):
        with pytest.raises(ValueError, match="two or more categories"):
            cohen_kappa(["a", "a"], ["a", "a"], categories=categories, weights="linear")
    with pytest.raises(ValueError, match="weights are linear, quadratic or None, not 'cubic'"):
        cohen_kappa(["a", "b"], ["a", "b"], categories=["a", "b"], weights="cubic")
    plain = cohen_kappa(["a", "b", "b"], ["a", "a", "b"])
    assert cohen_kappa(["a", "b", "b"], ["a", "a", "b"], categories=["a", "b"], weights="linear") == plain


# --------------------------------------------------------------------------------------------------------------- Fleiss

PSYCHIATRISTS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_fourteen_raters_of_ten_items_agree_at_0_210() -> None:
    # The worked example of the Wikipedia article on Fleiss' kappa.
    assert fleiss_kappa(PSYCHIATRISTS) == pytest.approx(0.210, abs=5e-4)
    assert type(fleiss_kappa(PSYCHIATRISTS)) is float


def test_two_raters_with_alike_margins_have_cohens_kappa() -> None:
    # 20 yes-yes, 5 yes-no, 5 no-yes, 20 no-no: margins are one half for both.
    table = [[2, 0]] * 20 + [[1, 1]] * 10 + [[0, 2]] * 20
    assert fleiss_kappa(table) == pytest.approx(cohen_kappa(*ratings([[20, 5], [5, 20]], ["y", "n"])).kappa)


def test_one_label_for_everything_is_undefined_and_agreement_on_two_is_1() -> None:
    assert fleiss_kappa([[3, 0], [3, 0]]) is None
    assert fleiss_kappa([[3, 0], [0, 3]]) == pytest.approx(1.0)
    assert fleiss_kappa([[1, 1]]) == pytest.approx(-1.0)


@pytest.mark.parametrize("counts", [[], [[0, 0]], [[1, 0]], [[2, 1], [1, 1]], [[2, 0], [1, 1, 0]]])
def test_every_item_has_the_same_raters_and_labels(counts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="two or more raters"):
        fleiss_kappa(counts)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        fleiss_kappa([[3, -1], [1, 1]])
