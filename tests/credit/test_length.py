"""Length penalties against their piecewise formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flat_rows import thorough
from strop.credit import (
    group_advantages,
    is_informative,
    linear_length_penalty,
    overlong_filter,
    relative_length_reward,
    soft_overlong_penalty,
)
from strop.errors import RecipeError


@pytest.mark.capability("RL-18")
def test_the_soft_penalty_is_zero_then_falls_linearly_over_the_buffer_then_stays() -> None:
    lengths = torch.tensor([0, 15, 16, 17, 18, 20, 25])
    penalty = soft_overlong_penalty(lengths, max_length=20, buffer=4)
    assert penalty.tolist() == [0.0, 0.0, 0.0, -0.25, -0.5, -1.0, -1.0]
    doubled = soft_overlong_penalty(lengths, max_length=20, buffer=4, factor=2.0)
    assert doubled.tolist() == [0.0, 0.0, 0.0, -0.5, -1.0, -2.0, -2.0]


@pytest.mark.capability("RL-18")
def test_the_papers_own_lengths_give_the_papers_own_penalty() -> None:
    # 20480 tokens, of which the last 4096 are the buffer: half the penalty in the middle of it.
    lengths = torch.tensor([16384, 18432, 20480])
    assert soft_overlong_penalty(lengths, max_length=20480, buffer=4096).tolist() == [0.0, -0.5, -1.0]


@pytest.mark.capability("RL-18")
def test_the_buffer_may_be_the_whole_length_or_a_single_token() -> None:
    assert soft_overlong_penalty(torch.tensor([5]), max_length=10, buffer=10).tolist() == [-0.5]
    assert soft_overlong_penalty(torch.tensor([9, 10]), max_length=10, buffer=1).tolist() == [0.0, -1.0]


@pytest.mark.parametrize("settings", [{"buffer": 0}, {"buffer": 11}, {"factor": 0.0}, {"factor": math.nan}])
def test_an_impossible_soft_penalty_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(settings))} is"):
        soft_overlong_penalty(torch.tensor([5]), **{"max_length": 10, "buffer": 2, **settings})


@pytest.mark.capability("RL-18")
def test_the_filter_takes_cut_off_sequences_out_of_the_mask_and_leaves_the_others() -> None:
    mask, ids = torch.tensor([False, True, False, True, True]), torch.tensor([0, 0, 1, 1, 1])
    assert overlong_filter(mask, torch.tensor([1.0, 0.0]), ids).tolist() == [False, False, False, True, True]
    assert overlong_filter(mask, torch.tensor([False, True]), ids).tolist() == [False, True, False, False, False]


@pytest.mark.capability("RL-16")
@pytest.mark.capability("AB-filter-on-acc")
def test_an_overlong_penalty_makes_a_group_that_is_all_right_look_informative_and_accuracy_does_not() -> None:
    accuracy, lengths, ids = torch.ones(4), torch.tensor([10, 10, 19, 20]), torch.zeros(4, dtype=torch.int64)
    shaped = accuracy + soft_overlong_penalty(lengths, max_length=20, buffer=4)
    assert is_informative(shaped, ids).tolist() == [True] * 4  # the trap
    assert is_informative(accuracy, ids).tolist() == [False] * 4  # what dynamic sampling must filter by
    assert group_advantages(shaped, ids, scale=None)[0] > 0


def test_a_linear_penalty_is_the_weight_at_the_full_length() -> None:
    penalty = linear_length_penalty(torch.tensor([0, 5, 20]), max_length=20, weight=0.5)
    assert penalty.tolist() == [0.0, -0.125, -0.5]


@pytest.mark.parametrize("settings", [{"max_length": 0}, {"weight": 0.0}, {"weight": -1.0}, {"weight": math.inf}])
def test_an_impossible_linear_penalty_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(settings))} is"):
        linear_length_penalty(torch.tensor([5]), **{"max_length": 10, "weight": 1.0, **settings})


def test_among_right_answers_the_shortest_gains_and_the_longest_loses_half() -> None:
    reward = relative_length_reward(torch.tensor([10, 20, 15]), torch.ones(3), torch.zeros(3).long())
    assert reward.tolist() == [0.5, -0.5, 0.0]


def test_a_wrong_answer_never_gains_by_being_short_and_loses_by_being_long() -> None:
    reward = relative_length_reward(torch.tensor([10, 20, 12, 18]), torch.zeros(4).bool(), torch.zeros(4).long())
    assert reward.tolist() == pytest.approx([0.0, -0.5, 0.0, -0.3])


def test_shortest_and_longest_are_of_the_whole_group_right_and_wrong() -> None:
    reward = relative_length_reward(torch.tensor([10, 15, 20]), torch.tensor([0.0, 1.0, 0.0]), torch.zeros(3).long())
    assert reward.tolist() == [0.0, 0.0, -0.5]


@pytest.mark.parametrize("lengths", [[7], [7, 7, 7]])
def test_equally_long_answers_get_nothing(lengths: list[int]) -> None:
    for is_correct in (torch.ones(len(lengths)), torch.zeros(len(lengths))):
        reward = relative_length_reward(torch.tensor(lengths), is_correct, torch.zeros(len(lengths)).long())
        assert reward.tolist() == [0.0] * len(lengths)


answers = st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.integers(-2, 2)), min_size=1, max_size=8)


@thorough
@given(answers=answers)
def test_the_relative_reward_equals_a_loop_over_groups_in_any_order(answers: list[tuple[int, bool, int]]) -> None:
    lengths, is_correct, ids = (torch.tensor(column) for column in zip(*answers, strict=True))
    expected = []
    for length, right, group in answers:
        others = [other for other, _, its_group in answers if its_group == group]
        low, high = min(others), max(others)
        relative = 0.0 if high == low else 0.5 - (length - low) / (high - low)
        expected.append(relative if right else min(0.0, relative))
    assert relative_length_reward(lengths, is_correct, ids).tolist() == pytest.approx(expected, abs=1e-6)
