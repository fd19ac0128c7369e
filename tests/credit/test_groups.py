"""Group baselines, against the documents' numbers and numpy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from strop.credit import group_advantages, is_informative
from strop.errors import RecipeError

thorough = settings(max_examples=40, deadline=None, derandomize=True)
rewards_of_groups = st.lists(st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3), min_size=1, max_size=4).map(
    lambda groups: torch.tensor(groups, dtype=torch.float64)
)


def one_group(rewards: list[float], **settings_: Any) -> list[float]:
    advantages = group_advantages(torch.tensor(rewards), torch.zeros(len(rewards), dtype=torch.int64), **settings_)
    return advantages.tolist()


def flat(groups: Tensor) -> tuple[Tensor, Tensor]:
    return groups.flatten(), torch.arange(len(groups)).repeat_interleave(groups.shape[1])


@pytest.mark.capability("RL-09")
@pytest.mark.capability("A1-7")
@pytest.mark.capability("A1-8")
@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([1.0, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]), ([1.0, 0.6, 0.2, 0.0], [0.55, 0.15, -0.25, -0.45])],
)
def test_without_scale_the_advantage_is_the_distance_to_the_group_mean(
    rewards: list[float], expected: list[float]
) -> None:
    assert one_group(rewards, scale=None) == pytest.approx(expected, abs=1e-6)


@pytest.mark.capability("RL-10")
@pytest.mark.capability("AB-std-convention")
def test_the_standard_deviation_has_bessels_correction() -> None:
    # Two binary rewards: ± 0.7071 with G - 1, where the population's deviation would give ± 1.
    assert one_group([1.0, 0.0], scale="std") == pytest.approx([1 / math.sqrt(2), -1 / math.sqrt(2)], abs=1e-5)
    assert one_group([1.0, 0, 0, 0], scale="std") == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)


@pytest.mark.capability("RL-10")
@pytest.mark.capability("AB-std-convention")
def test_the_populations_deviation_has_none() -> None:
    assert one_group([1.0, 0.0], scale="population_std") == pytest.approx([1.0, -1.0], abs=1e-5)
    expected = [3 / math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3)]
    assert one_group([1.0, 0, 0, 0], scale="population_std") == pytest.approx(expected, abs=1e-5)


@pytest.mark.capability("RL-10")
@pytest.mark.capability("AB-std-convention")
@thorough
@given(groups=rewards_of_groups)
def test_the_two_conventions_differ_by_the_root_of_g_over_g_minus_1(groups: Tensor) -> None:
    rewards, ids = flat(groups.round(decimals=2))  # away from the two offsets of 1e-6
    bessel = group_advantages(rewards, ids, scale="std")
    population = group_advantages(rewards, ids, scale="population_std")
    torch.testing.assert_close(population, bessel * math.sqrt(3 / 2), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("settings_", "told"),
    [
        ({"scale": "var"}, "scale is 'var'\n.*None, 'std', 'population_std'"),
        ({"scale": None, "baseline": "median"}, "baseline is 'median'\n.*'mean', 'leave_one_out'"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(settings_: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        one_group([1.0, 0.0], **settings_)


@pytest.mark.capability("RL-13")
@thorough
@given(groups=rewards_of_groups)
def test_leave_one_out_compares_each_sample_with_the_mean_of_the_others(groups: Tensor) -> None:
    rewards, ids = flat(groups)
    expected = [
        0.0 if max(group) - min(group) < 1e-6 else r - (sum(group) - r) / (len(group) - 1)
        for group in groups.tolist()
        for r in group
    ]
    advantages = group_advantages(rewards, ids, scale=None, baseline="leave_one_out")
    assert advantages.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.capability("RL-13")
@thorough
@given(groups=rewards_of_groups)
def test_the_group_mean_baseline_is_leave_one_out_times_g_minus_1_over_g(groups: Tensor) -> None:
    rewards, ids = flat(groups)
    mean = group_advantages(rewards, ids, scale=None)
    left_out = group_advantages(rewards, ids, scale=None, baseline="leave_one_out")
    torch.testing.assert_close(mean, left_out * 2 / 3)


@thorough
@given(groups=rewards_of_groups)
def test_scaled_advantages_equal_numpys(groups: Tensor) -> None:
    rewards, ids = flat(groups)
    array = groups.numpy()
    expected = (array - array.mean(1, keepdims=True)) / (array.std(1, ddof=1, keepdims=True) + 1e-6)
    expected[np.ptp(array, axis=1) < 1e-6] = 0.0
    np.testing.assert_allclose(group_advantages(rewards, ids, scale="std").numpy(), expected.ravel(), atol=1e-9)


@pytest.mark.capability("AB-zero-variance-group")
@pytest.mark.parametrize("scale", [None, "std", "population_std"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_equal_rewards_give_exactly_zero_even_with_rounding_noise(scale: Any, baseline: Any) -> None:
    noisy = [0.7, 0.7 + 1e-7, 0.7 - 1e-7]
    assert one_group(noisy, scale=scale, baseline=baseline) == [0.0, 0.0, 0.0]


@pytest.mark.capability("AB-singleton-group")
def test_a_group_of_one_is_refused_because_it_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(RecipeError, match="group 9 has a single sample"):
        group_advantages(torch.ones(3), torch.tensor([4, 4, 9]), scale=None)


@pytest.mark.parametrize("scale", [None, "std"])
@pytest.mark.parametrize("ungraded", [math.nan, math.inf, 5.0])
def test_ungraded_samples_leave_the_group_and_get_exactly_zero(scale: Any, ungraded: float) -> None:
    graded = torch.tensor([True, True, False, True])
    with_hole = one_group([1.0, 0.0, ungraded, 0.5], scale=scale, is_graded=graded)
    without = one_group([1.0, 0.0, 0.5], scale=scale)
    assert with_hole == pytest.approx([without[0], without[1], 0.0, without[2]])


@pytest.mark.parametrize("graded", [[False, False, False], [True, False, False]])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_fewer_than_two_graded_samples_teach_nothing(graded: list[bool], baseline: Any) -> None:
    advantages = one_group([1.0, 0.0, 0.0], scale="std", baseline=baseline, is_graded=torch.tensor(graded))
    assert advantages == [0.0, 0.0, 0.0]


@thorough
@given(groups=rewards_of_groups, data=st.data())
def test_the_order_of_the_samples_and_the_names_of_the_groups_do_not_matter(
    groups: Tensor, data: st.DataObject
) -> None:
    rewards, ids = flat(groups)
    order = torch.tensor(data.draw(st.permutations(range(len(rewards)))))
    shuffled = group_advantages(rewards[order], 1000 - 7 * ids[order], scale="std")
    torch.testing.assert_close(shuffled, group_advantages(rewards, ids, scale="std")[order])


@thorough
@given(groups=rewards_of_groups)
def test_doubling_the_rewards_doubles_the_plain_advantages_and_leaves_the_scaled_ones(groups: Tensor) -> None:
    groups = groups.round(decimals=2)  # away from the two offsets of 1e-6
    rewards, ids = flat(groups)
    plain = group_advantages(rewards, ids, scale=None)
    scaled = group_advantages(rewards, ids, scale="std")
    torch.testing.assert_close(group_advantages(2 * rewards, ids, scale=None), 2 * plain)
    torch.testing.assert_close(group_advantages(2 * rewards, ids, scale="std"), scaled, rtol=1e-3, atol=1e-6)


@pytest.mark.capability("AB-detached-advantages")
def test_advantages_carry_no_gradient_to_the_rewards() -> None:
    rewards = torch.tensor([1.0, 0.0], requires_grad=True)
    assert not group_advantages(rewards, torch.zeros(2, dtype=torch.int64), scale="std").requires_grad


def test_only_groups_with_different_graded_rewards_are_informative() -> None:
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    ids = torch.tensor([0, 0, 1, 1, 2, 2])
    assert is_informative(rewards, ids).tolist() == [False, False, True, True, True, True]
    graded = torch.tensor([True, True, True, True, False, True])
    assert is_informative(rewards, ids, is_graded=graded).tolist() == [False, False, True, True, False, False]


@pytest.mark.capability("RL-16")
@pytest.mark.capability("AB-filter-on-acc")
@pytest.mark.parametrize("pass_rate", [0.05, 0.5, 0.9])
def test_a_group_passes_and_fails_with_the_probability_that_dynamic_sampling_keeps_it(pass_rate: float) -> None:
    kept = 0.0
    for group in itertools.product([0.0, 1.0], repeat=4):
        probability = math.prod(pass_rate if passed else 1 - pass_rate for passed in group)
        informative = is_informative(torch.tensor(group), torch.zeros(4, dtype=torch.int64))
        kept += probability * informative[0].item()
    assert kept == pytest.approx(1 - pass_rate**4 - (1 - pass_rate) ** 4)


@pytest.mark.capability("AB-zero-variance-group")
def test_rewards_a_millionth_apart_are_different_and_closer_ones_are_not() -> None:
    ids = torch.zeros(2, dtype=torch.int64)
    for gap, informative in ((1e-6, True), (0.9e-6, False)):
        rewards = torch.tensor([0.0, gap], dtype=torch.float64)
        assert is_informative(rewards, ids).tolist() == [informative] * 2
        assert (group_advantages(rewards, ids, scale=None)[1] > 0) == informative


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_graded_reward_that_is_not_finite_is_our_own_mistake(reward: float) -> None:
    with pytest.raises(AssertionError, match="not finite"):
        one_group([1.0, reward], scale=None)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_passed_or_failed_may_be_told_as_truths_counts_or_numbers(dtype: torch.dtype) -> None:
    rewards, ids = torch.tensor([1, 0, 1, 1]).to(dtype), torch.tensor([0, 0, 1, 1])
    assert is_informative(rewards, ids).tolist() == [True, True, False, False]
    assert group_advantages(rewards, ids, scale=None).tolist() == [0.5, -0.5, 0.0, 0.0]
