"""A weighted sum of objectives is the sum of their values, gradients and metrics."""

from __future__ import annotations

import math

import pytest

from random_batches import descend, random_rows
from strop.errors import RecipeError
from strop.objectives import DPO, CrossEntropy, PolicyGradient, Total, ppo


def test_a_total_adds_values_and_gradients_with_their_weights() -> None:
    rows = random_rows(0)
    one, other = descend(DPO(), rows), descend(CrossEntropy(), rows)
    total = descend(Total(((2.0, DPO()), (0.5, CrossEntropy()))), rows)
    assert total.value == pytest.approx(2 * one.value + 0.5 * other.value)
    assert total.gradient.tolist() == pytest.approx((2 * one.gradient + 0.5 * other.gradient).tolist())
    assert total.metrics == pytest.approx({**one.metrics, **other.metrics})


def test_a_total_needs_what_its_terms_need() -> None:
    total = Total(((1.0, CrossEntropy()), (1.0, PolicyGradient())))
    assert total.needs == {"logprobs", "entropy"}
    assert total.temperature == 1.0


def test_a_total_does_not_care_for_micro_batches() -> None:
    rows, total = random_rows(3, 4), Total(((1.0, DPO()), (0.5, CrossEntropy())))
    whole, split = descend(total, rows), descend(total, rows, max_tokens=1)
    assert whole.value == pytest.approx(split.value)
    assert whole.gradient.tolist() == pytest.approx(split.gradient.tolist())


@pytest.mark.parametrize("terms", [(), ((1.0, CrossEntropy()), (1.0, PolicyGradient(temperature=0.7)))])
def test_a_total_of_nothing_or_of_two_temperatures_is_refused(terms: tuple) -> None:
    with pytest.raises(RecipeError, match="temperatures"):
        Total(terms)


def test_two_terms_that_measure_the_same_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="measure the same"):
        descend(Total(((1.0, CrossEntropy()), (1.0, CrossEntropy()))), random_rows(0))


def test_two_terms_that_count_the_same_name_differently_are_a_mistake() -> None:
    class Odd(CrossEntropy):
        def count(self, batch):  # type: ignore[no-untyped-def]
            return {"tokens": 1.0}

    with pytest.raises(AssertionError, match="count tokens differently"):
        descend(Total(((1.0, CrossEntropy()), (1.0, Odd()))), random_rows(0))


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_climbs_a_loss_or_is_no_number_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match="weight of CrossEntropy"):
        Total(((1.0, DPO()), (weight, CrossEntropy())))
    with pytest.raises(RecipeError, match="weight of ValueLoss"):
        ppo(value_weight=weight)


def test_a_total_of_one_term_is_that_term() -> None:
    total = Total(((1.0, PolicyGradient(temperature=0.7)),))
    assert total.temperature == 0.7
    assert total.needs == {"logprobs", "entropy"}
