"""Baselines of REINFORCE, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from strop.credit import ConstantBaseline, MovingAverageBaseline
from strop.errors import RecipeError

rewards = torch.tensor([1.0, 0.0, 0.5, math.nan])
is_graded = torch.tensor([True, True, True, False])


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("baseline", [ConstantBaseline(value=0.25), MovingAverageBaseline(value=0.25)])
def test_the_advantage_is_the_distance_to_the_baseline_and_zero_for_what_was_not_graded(baseline: Any) -> None:
    assert baseline.advantages(rewards[:3]).tolist() == [0.75, -0.25, 0.25]
    assert baseline.advantages(rewards, is_graded=is_graded).tolist() == [0.75, -0.25, 0.25, 0.0]


@pytest.mark.capability("RL-02")
def test_a_constant_stays_and_is_zero_by_default() -> None:
    baseline = ConstantBaseline()
    assert baseline.value == 0.0
    assert baseline.update(rewards, is_graded=is_graded) is baseline


@pytest.mark.capability("RL-02")
def test_a_moving_average_moves_toward_the_mean_of_what_was_graded() -> None:
    baseline = MovingAverageBaseline()
    once = baseline.update(torch.tensor([1.0, 0.0]))
    assert baseline.value == 0.0
    assert once.value == pytest.approx(0.05)
    assert once.update(rewards, is_graded=is_graded).value == pytest.approx(0.9 * 0.05 + 0.1 * 0.5)
    assert MovingAverageBaseline(decay=0.0, value=9.0).update(rewards[:3]).value == 0.5


def test_a_step_without_anything_graded_leaves_the_average() -> None:
    baseline = MovingAverageBaseline(value=0.3)
    assert baseline.update(torch.tensor([math.nan]), is_graded=torch.tensor([False])) is baseline
    assert baseline.update(torch.tensor([2.0]), is_graded=torch.tensor([True])).value == pytest.approx(0.47)


@pytest.mark.capability("AB-detached-advantages")
@pytest.mark.parametrize("baseline", [ConstantBaseline(), MovingAverageBaseline()])
@pytest.mark.parametrize("graded", [None, torch.tensor([True])])
def test_advantages_carry_no_gradient_to_the_rewards(baseline: Any, graded: torch.Tensor | None) -> None:
    assert not baseline.advantages(torch.ones(1, requires_grad=True), is_graded=graded).requires_grad


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_that_never_learns_or_overshoots_is_refused(decay: float) -> None:
    with pytest.raises(RecipeError, match="decay"):
        MovingAverageBaseline(decay=decay)


@pytest.mark.parametrize("kind", [ConstantBaseline, MovingAverageBaseline])
def test_a_baseline_that_is_not_finite_is_refused(kind: Any) -> None:
    with pytest.raises(RecipeError, match="value"):
        kind(value=math.inf)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("graded_dtype", [torch.bool, torch.int64, torch.float32])
def test_rewards_and_what_was_graded_may_be_truths_counts_or_numbers(
    dtype: torch.dtype, graded_dtype: torch.dtype
) -> None:
    rewards_, graded = torch.tensor([0, 0, 1, 0]).to(dtype), torch.tensor([0, 0, 1, 1]).to(graded_dtype)
    baseline = MovingAverageBaseline(value=0.25, decay=0.0)
    assert baseline.update(rewards_, is_graded=graded).value == 0.5
    assert baseline.advantages(rewards_, is_graded=graded).tolist() == [0.0, 0.0, 0.75, -0.25]
    assert baseline.advantages(rewards_).tolist() == [-0.25, -0.25, 0.75, -0.25]
