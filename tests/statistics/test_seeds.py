"""Mean and spread over seeds: the numbers of the documents, scipy's interval, and what is refused."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from strop.statistics import over_seeds


@pytest.mark.capability("A1-14")
def test_the_null_of_five_seeds_is_0_04_plus_or_minus_0_9() -> None:
    found = over_seeds([-1.4, 0.4, 0.0, 1.0, 0.2])
    assert (found.num_seeds, round(found.mean, 2), round(found.std, 1)) == (5, 0.04, 0.9)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


@pytest.mark.capability("A1-15")
@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ([12.1, 11.3, 12.7], 12.0, 0.7),
        ([10.7, 12.5, 9.1], 10.8, 1.7),
        ([9.7, 9.9, 9.9], 9.8, 0.1),
        ([10.1, 7.3, 9.1], 8.8, 1.4),
    ],
)
def test_the_four_arms_of_three_seeds_are_as_published(values: list[float], mean: float, std: float) -> None:
    found = over_seeds(values)
    assert (round(found.mean, 1), round(found.std, 1)) == (mean, std)


@pytest.mark.capability("EV-51")
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_scipys(confidence: float) -> None:
    values = [0.31, 0.42, 0.18, 0.55]
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    found = over_seeds(values, confidence)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_the_interval_is_a_95_percent_one_unless_told() -> None:
    assert over_seeds([1.0, 2.0]) == over_seeds([1.0, 2.0], 0.95)


def test_two_seeds_by_hand() -> None:
    # mean 2, std √2, standard error 1, t quantile 12.706
    found = over_seeds([1.0, 3.0])
    assert found.interval is not None
    assert (found.mean, found.std) == pytest.approx((2.0, math.sqrt(2)))
    assert found.interval.high - 2 == 2 - found.interval.low == pytest.approx(12.7062047)


def test_seeds_that_agree_exactly_give_no_interval() -> None:
    found = over_seeds([0.1, 0.1, 0.1])
    assert found.interval is None
    assert (found.mean, found.std) == pytest.approx((0.1, 0.0))
    assert over_seeds([0.1, 0.1, 0.2]).interval is not None


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_seed_has_no_spread(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two; there are"):
        over_seeds(values)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_failed_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        over_seeds([1.0, value])


def test_seeds_that_agree_to_rounding_give_no_interval_either() -> None:
    assert over_seeds([0.1 + 0.2, 0.3, 0.3]).interval is None
    assert over_seeds([0.3001, 0.3, 0.3]).interval is not None
    assert over_seeds([0.0, 0.0]).interval is None
