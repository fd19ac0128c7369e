"""Process rewards, by hand, and what padding with steps does to each."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flat_rows import thorough
from strop.credit import potential_rewards, process_rewards
from strop.errors import RecipeError

NAN = math.nan


def reward(steps: list[float], aggregate: Any, **settings: Any) -> float:
    ids = torch.zeros(len(steps), dtype=torch.int64)
    return process_rewards(torch.tensor(steps, dtype=torch.float64), ids, 1, aggregate=aggregate, **settings).item()


@pytest.mark.capability("RS-11")
@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("sum", [1.5, 0.25]),
        ("min", [0.2, 0.25]),
        ("product", [0.08, 0.25]),
        ("mean", [0.5, 0.25]),
        ("last", [0.5, 0.25]),
    ],
)
def test_each_aggregate_of_the_steps_of_two_solutions_worked_by_hand(aggregate: Any, expected: list[float]) -> None:
    scores, ids = torch.tensor([0.8, 0.2, 0.5, 0.25]), torch.tensor([0, 0, 0, 1])
    assert process_rewards(scores, ids, 2, aggregate=aggregate).tolist() == pytest.approx(expected)


@pytest.mark.capability("RS-11")
def test_padding_with_barely_positive_steps_raises_the_sum_without_end_and_neither_min_nor_product() -> None:
    honest, padded = [0.9, 0.9], [0.9, 0.9, *[0.1] * 30]
    assert reward(padded, "sum") == pytest.approx(reward(honest, "sum") + 3)
    assert reward(padded, "min") < reward(honest, "min")
    assert reward(padded, "product") < reward(honest, "product")


@pytest.mark.capability("RS-11")
def test_padding_with_trivial_steps_raises_sum_and_mean_and_neither_min_nor_product() -> None:
    honest, padded = [0.4, 0.6], [0.4, 0.6, *[1.0] * 8]
    assert reward(padded, "sum") > reward(honest, "sum") + 7
    assert reward(padded, "mean") == pytest.approx(0.9)
    assert reward(padded, "min") == reward(honest, "min")
    assert reward(padded, "product") == pytest.approx(reward(honest, "product"))


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@pytest.mark.capability("RS-11")
@thorough
@given(steps=probabilities, padding=probabilities)
def test_no_padding_at_all_raises_the_min_or_the_product(steps: list[float], padding: list[float]) -> None:
    assert reward([*steps, *padding], "min") <= reward(steps, "min")
    assert reward([*steps, *padding], "product") <= reward(steps, "product") + 1e-12


@pytest.mark.parametrize("aggregate", ["sum", "min", "product", "mean", "last"])
def test_unjudged_steps_are_refused_by_default_and_left_out_on_request(aggregate: Any) -> None:
    with pytest.raises(RecipeError, match="2 of 4 steps"):
        reward([0.5, NAN, 0.25, NAN], aggregate)
    assert reward([0.5, NAN, 0.25, NAN], aggregate, unjudged="skip") == reward([0.5, 0.25], aggregate)


@pytest.mark.parametrize("aggregate", ["sum", "min", "product", "mean", "last"])
def test_a_solution_without_a_judged_step_has_no_reward_at_all(aggregate: Any) -> None:
    scores, ids = torch.tensor([NAN, 0.5]), torch.tensor([0, 2])
    found = process_rewards(scores, ids, 3, aggregate=aggregate, unjudged="skip").tolist()
    assert [math.isnan(value) for value in found] == [True, True, False]
    assert found[2] == 0.5


@pytest.mark.parametrize("outside", [-0.1, 1.1])
def test_a_product_of_scores_that_are_not_probabilities_is_refused(outside: float) -> None:
    with pytest.raises(RecipeError, match="probabilities"):
        reward([0.5, outside], "product")
    assert reward([outside, outside], "min") == outside


def test_a_product_takes_the_certain_scores() -> None:
    assert reward([1.0, 1.0], "product") == 1.0
    assert reward([1.0, 0.0], "product") == 0.0


@pytest.mark.capability("RS-11")
def test_the_difference_of_potentials_is_what_each_step_added() -> None:
    potentials, ids = torch.tensor([0.5, 0.25, 1.0, 0.75, 0.25]), torch.tensor([0, 0, 0, 1, 1])
    found = potential_rewards(potentials, ids, initial=torch.tensor([0.25, 0.5]))
    assert found.tolist() == [0.25, -0.25, 0.75, 0.25, -0.5]


@pytest.mark.capability("RS-11")
@thorough
@given(steps=probabilities, padding=st.lists(st.sampled_from([0.0, 0.3, 0.9]), max_size=4), data=st.data())
def test_potential_rewards_add_up_to_the_last_potential_however_many_steps_lie_between(
    steps: list[float], padding: list[float], data: st.DataObject
) -> None:
    start = data.draw(st.floats(0, 1))
    potentials = torch.tensor([*padding, *steps], dtype=torch.float64)
    found = potential_rewards(
        potentials, torch.zeros(len(potentials)).long(), initial=torch.tensor([start], dtype=torch.float64)
    )
    assert found.sum().item() == pytest.approx(steps[-1] - start, abs=1e-9)


def test_a_skipped_step_earns_nothing_and_the_next_is_compared_with_the_one_before_it() -> None:
    potentials, ids = torch.tensor([0.5, NAN, 1.0, NAN, 0.75]), torch.tensor([0, 0, 0, 1, 1])
    initial = torch.tensor([0.0, 0.25])
    assert potential_rewards(potentials, ids, initial=initial, unjudged="skip").tolist() == [0.5, 0.0, 0.5, 0.0, 0.5]
    with pytest.raises(RecipeError, match="2 of 5 steps"):
        potential_rewards(potentials, ids, initial=initial)


@pytest.mark.capability("AB-detached-advantages")
@pytest.mark.parametrize("aggregate", ["sum", "min", "product", "mean", "last"])
def test_process_rewards_carry_no_gradient(aggregate: Any) -> None:
    leaf, ids = torch.tensor([0.5, 0.2], requires_grad=True), torch.zeros(2, dtype=torch.int64)
    assert not process_rewards(leaf, ids, 1, aggregate=aggregate).requires_grad
    assert not potential_rewards(leaf, ids, initial=torch.zeros(1)).requires_grad
    assert not potential_rewards(leaf.detach(), ids, initial=leaf[:1]).requires_grad


def test_the_potentials_that_are_handed_in_stay_as_they_are() -> None:
    initial, potentials = torch.tensor([0.25, 0.5]), torch.tensor([0.5, 1.0])
    potential_rewards(potentials, torch.tensor([0, 0]), initial=initial)
    assert (initial.tolist(), potentials.tolist()) == ([0.25, 0.5], [0.5, 1.0])


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"aggregate is 'max'\n.*'sum', 'min', 'product', 'mean', 'last'"):
        reward([0.5], "max")
    with pytest.raises(RecipeError, match=r"unjudged is 'zero'\n.*'refuse', 'skip'"):
        reward([0.5], "min", unjudged="zero")


def test_a_first_potential_told_as_a_whole_number_does_not_round_the_others() -> None:
    ids = torch.tensor([0, 0])
    rewards = potential_rewards(torch.tensor([0.25, 0.75]), ids, initial=torch.tensor([0]))
    assert rewards.tolist() == [0.25, 0.5]
