"""The named methods are the points that their papers describe, and stand to each other as their formulas say.

Where two methods are compared, advantages and aggregation are held equal, so that only the named difference is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, random_rows, row
from strop.batches import collate
from strop.credit import group_advantages
from strop.errors import RecipeError
from strop.objectives import (
    PolicyGradient,
    Total,
    ValueLoss,
    cispo,
    dapo,
    dr_grpo,
    grpo,
    gspo,
    luffy,
    ppo,
    reinforce,
    rloo,
)
from strop.types import Objective, Outputs, Sample

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 5)
thorough = settings(max_examples=15, deadline=None, derandomize=True)
LENGTH = 9
NAMED: dict[str, Callable[..., Objective]] = {
    "reinforce": reinforce,
    "rloo": rloo,
    "ppo": ppo,
    "grpo": grpo,
    "dr_grpo": lambda **more: dr_grpo(constant_length=LENGTH, **more),
    "gspo": gspo,
    "dapo": dapo,
    "cispo": cispo,
    "luffy": lambda **more: luffy(constant_length=LENGTH, **more),
}
OF_GROUPS: dict[str, tuple[PolicyGradient, dict[str, Any]]] = {
    "grpo": (grpo(), {"scale": "std"}),
    "dr_grpo": (dr_grpo(constant_length=LENGTH), {"scale": None}),
    "gspo": (gspo(), {"scale": "std"}),
    "dapo": (dapo(), {"scale": "std"}),
    "rloo": (rloo(), {"scale": None, "baseline": "leave_one_out"}),
}
"""Each group method with the credit that goes with it."""


def on_policy(rows: Sequence[Sample]) -> list[Sample]:
    return [replace(s, streams={k: v for k, v in s.streams.items() if k != "old_logprobs"}) for s in rows]


def judged(rows: Sequence[Sample], rewards: Sequence[float], **credit: Any) -> list[Sample]:
    """The rows with the advantages that credit makes of these rewards."""
    group_ids = torch.tensor([int(sample.facts["group_ids"]) for sample in rows])
    advantages = group_advantages(torch.tensor(rewards, dtype=torch.float64), group_ids, **credit).tolist()
    return [
        replace(sample, streams={**sample.streams, "advantages": (advantage,) * len(sample.token_ids)})
        for sample, advantage in zip(rows, advantages, strict=True)
    ]


def random_rewards(seed: int, count: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64).tolist()


# -------------------------------------------------------------------------------------------------------------- points


@pytest.mark.capability("RL-17", "RL-20")
def test_the_named_methods_are_the_points_that_their_papers_describe() -> None:
    symmetric = {"clip_low": 0.2, "clip_high": 0.2}
    assert reinforce() == PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_sum")
    assert rloo() == PolicyGradient(ratio="sequence_sum", aggregate="sequence_mean", **symmetric)
    assert grpo() == PolicyGradient(surrogate="clip", ratio="token", aggregate="sequence_mean", **symmetric)
    assert dr_grpo(constant_length=64) == PolicyGradient(aggregate="constant", constant_length=64, **symmetric)
    assert gspo() == PolicyGradient(ratio="sequence", aggregate="sequence_mean", clip_low=3e-4, clip_high=4e-4)
    assert dapo() == PolicyGradient(aggregate="token_mean", clip_low=0.2, clip_high=0.28)
    assert cispo() == PolicyGradient(surrogate="cispo", aggregate="token_mean", clip_high=4.0)
    assert luffy(constant_length=64) == PolicyGradient(
        surrogate="reinforce", aggregate="constant", constant_length=64, expert_gamma=0.1, entropy_weight=0.001
    )
    policy = PolicyGradient(aggregate="token_mean", **symmetric)
    assert ppo() == Total(((1.0, policy), (0.1, ValueLoss(clip=0.2))))


def test_what_a_named_method_is_given_is_what_its_objective_has() -> None:
    bounds = {"clip_low": 0.1, "clip_high": 0.3, "temperature": 0.7}
    for method in (rloo, grpo, gspo, dapo, lambda **more: dr_grpo(constant_length=5, **more)):
        objective = method(**bounds)
        assert {name: getattr(objective, name) for name in bounds} == bounds
    with_kl = grpo(kl="k3", beta=0.1)
    assert (with_kl.kl, with_kl.beta) == ("k3", 0.1)
    assert (cispo(clip_high=2.0).clip_high, luffy(constant_length=5, gamma=0.3).expert_gamma) == (2.0, 0.3)
    assert luffy(constant_length=5, entropy_weight=0.01).entropy_weight == 0.01
    total = ppo(**bounds, value_clip=None, value_weight=0.5, entropy_weight=0.01)
    policy = PolicyGradient(aggregate="token_mean", entropy_weight=0.01, **bounds)
    assert total == Total(((1.0, policy), (0.5, ValueLoss(clip=None, temperature=0.7))))


@pytest.mark.capability("AB-temperature-in-logp")
@pytest.mark.parametrize("name", NAMED)
def test_every_method_asks_for_log_probabilities_at_the_temperature_of_the_sampling(name: str) -> None:
    assert NAMED[name](temperature=0.7).temperature == 0.7
    assert NAMED[name]().temperature == 1.0
    with pytest.raises(RecipeError, match="temperature is 0"):
        NAMED[name](temperature=0.0)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_metrics_keep_the_dtype_and_agree_between_dtypes(name: str, dtype: torch.dtype) -> None:
    batch = collate(random_rows(3))
    batch = replace(batch, streams={key: stream.to(dtype) for key, stream in batch.streams.items()})
    outputs = Outputs(**{key: batch.streams[key] for key in ("logprobs", "entropy", "values")})
    objective = NAMED[name]()
    loss = objective(outputs, batch, objective.count(batch))
    assert {loss.value.dtype, *(metric.dtype for metric in loss.metrics.values())} == {dtype}
    assert loss.value.item() == pytest.approx(descend(objective, random_rows(3)).value, rel=1e-5)


@pytest.mark.capability("RL-04")
def test_ppo_is_the_sum_of_its_parts() -> None:
    rows = random_rows(8)
    total = descend(ppo(value_weight=0.3, entropy_weight=0.05), rows)
    policy, critic = descend(PolicyGradient(aggregate="token_mean"), rows), descend(ValueLoss(), rows)
    assert total.value == pytest.approx(policy.value + 0.3 * critic.value - 0.05 * policy.metrics["entropy"])
    torch.testing.assert_close(total.gradient, policy.gradient)
    torch.testing.assert_close(total.gradient_of("values"), 0.3 * critic.gradient_of("values"))
    assert total.metrics == pytest.approx({**policy.metrics, **critic.metrics})


# ----------------------------------------------------------------------------------------------------------- relations


@pytest.mark.capability("RL-09", "RL-10", "AB-zero-variance-group")
@pytest.mark.parametrize("name", OF_GROUPS)
@thorough
@given(seed=seeds, size=sizes, reward=st.floats(-3, 3))
def test_equal_rewards_give_no_gradient_at_all(name: str, seed: int, size: int, reward: float) -> None:
    objective, credit = OF_GROUPS[name]
    rows = random_rows(seed, num_groups=2, group_size=size)
    assert not descend(objective, judged(rows, [reward] * len(rows), **credit)).gradient.any()


@pytest.mark.capability("RL-14", "AB-ratio-1-on-first-step")
@thorough
@given(seed=seeds, size=sizes)
def test_the_first_step_of_gspo_is_that_of_grpo(seed: int, size: int) -> None:
    rows = on_policy(judged(random_rows(seed, 2, size), random_rewards(seed, 2 * size), scale="std"))
    one, other = descend(gspo(), rows), descend(grpo(), rows)
    torch.testing.assert_close(one.gradient, other.gradient)
    assert one.value == pytest.approx(other.value)
    assert one.metrics["ratio"] == pytest.approx(1.0)
    assert one.metrics["clip_fraction"] == 0.0


@pytest.mark.capability("RL-15")
@thorough
@given(seed=seeds)
def test_dapo_with_one_bound_and_grpos_aggregation_is_grpo(seed: int) -> None:
    rows = random_rows(seed)
    narrow = replace(dapo(clip_high=0.2), aggregate="sequence_mean")
    one, other = descend(narrow, rows), descend(grpo(), rows)
    assert one.value == pytest.approx(other.value)
    assert one.metrics == pytest.approx(other.metrics)
    torch.testing.assert_close(one.gradient, other.gradient)
    wide = replace(dapo(), aggregate="sequence_mean")
    good_beyond = [row([-1.0], old_logprobs=[-1.25], advantages=1.0)]  # a ratio of 1.284: beyond both
    good_between = [row([-1.0], old_logprobs=[-1.23], advantages=1.0)]  # 1.259: beyond GRPO's bound only
    assert not descend(wide, good_beyond).gradient.any()
    assert descend(wide, good_between).gradient.any()
    assert not descend(grpo(), good_between).gradient.any()


@thorough
@given(seed=seeds)
def test_in_answers_of_one_token_all_ratios_are_the_same(seed: int) -> None:
    rows = [replace(s, loss_mask=(*[False] * (len(s.loss_mask) - 1), True)) for s in random_rows(seed, num_groups=3)]
    token = descend(grpo(), rows)
    for ratio in ("sequence", "sequence_sum"):
        other = descend(replace(grpo(), ratio=ratio), rows)
        assert other.value == pytest.approx(token.value)
        assert other.metrics == pytest.approx(token.metrics)
        torch.testing.assert_close(other.gradient, token.gradient)


@pytest.mark.capability("RL-12", "RL-13")
@thorough
@given(seed=seeds, size=sizes)
def test_dr_grpo_is_rloo_times_one_less_than_the_group_over_the_group(seed: int, size: int) -> None:
    rows = on_policy(random_rows(seed, 2, size))
    rewards = random_rewards(seed, len(rows))
    mean = descend(dr_grpo(constant_length=LENGTH), judged(rows, rewards, scale=None))
    credit = {"scale": None, "baseline": "leave_one_out"}
    left_out = descend(dr_grpo(constant_length=LENGTH), judged(rows, rewards, **credit))
    torch.testing.assert_close(mean.gradient, left_out.gradient * (size - 1) / size, rtol=1e-5, atol=1e-7)
    # RLOO's own aggregation differs by the constant alone
    own = descend(rloo(), judged(rows, rewards, **credit))
    torch.testing.assert_close(mean.gradient, own.gradient * (size - 1) / size / LENGTH, rtol=1e-5, atol=1e-7)


@pytest.mark.capability("RL-13")
@thorough
@given(seed=seeds)
def test_the_first_step_of_rloo_is_that_of_reinforce(seed: int) -> None:
    rows = on_policy(random_rows(seed))
    torch.testing.assert_close(descend(rloo(), rows).gradient, descend(reinforce(), rows).gradient)


@pytest.mark.capability("RL-09", "RL-10", "AB-std-convention")
@thorough
@given(seed=seeds, size=sizes)
def test_doubling_all_rewards_leaves_grpo_and_doubles_dr_grpo(seed: int, size: int) -> None:
    rows = random_rows(seed, 2, size)
    rewards = random_rewards(seed, len(rows))
    doubled = [2 * reward for reward in rewards]
    one, two = (descend(grpo(), judged(rows, r, scale="std")).gradient for r in (rewards, doubled))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)  # the offset 1e-6 beside the deviation
    one, two = (
        descend(dr_grpo(constant_length=LENGTH), judged(rows, r, scale=None)).gradient for r in (rewards, doubled)
    )
    torch.testing.assert_close(2 * one, two, rtol=1e-5, atol=1e-7)


@thorough
@given(seed=seeds)
def test_cispo_without_a_bound_that_binds_has_the_gradient_of_the_free_ratio(seed: int) -> None:
    rows = random_rows(seed)
    free = descend(PolicyGradient(surrogate="reinforce", aggregate="token_mean"), rows)
    torch.testing.assert_close(descend(cispo(clip_high=1e6), rows).gradient, free.gradient)


# --------------------------------------------------------------------------------------------------------- length bias


def planted(lengths: Sequence[int], rewards: Sequence[float], objective: PolicyGradient, **credit: Any) -> list[float]:
    """The push on each answer's first token, in a group of planted lengths and rewards."""
    answers = [row([-1.0] * length, name=str(number)) for number, length in enumerate(lengths)]
    gradients = descend(objective, judged(answers, rewards, **credit)).gradients
    return [-gradients[str(number)][1].item() for number in range(len(lengths))]


@pytest.mark.capability("RL-12")
def test_grpos_push_on_a_token_depends_on_its_answers_length_and_dr_grpos_does_not() -> None:
    lengths, rewards = [2, 8, 2, 8], [1.0, 1.0, 0.0, 0.0]
    short_right, long_right, short_wrong, long_wrong = planted(lengths, rewards, grpo(), scale="std")
    assert short_right == pytest.approx(4 * long_right)  # a short right answer is praised four times as much a token
    assert short_wrong == pytest.approx(4 * long_wrong)  # and a long wrong one blamed a quarter: length pays
    pushes = planted(lengths, rewards, dr_grpo(constant_length=8), scale=None)
    assert pushes == pytest.approx([1 / 64, 1 / 64, -1 / 64, -1 / 64])


@pytest.mark.capability("RL-12")
def test_on_a_planted_task_the_expected_pressure_on_length_is_gone_with_dr_grpo() -> None:
    """Reward and length are independent: right and wrong, short and long, all four equally often in each place."""
    kinds = list(itertools.product((2, 8), (1.0, 0.0)))
    pressure = dict.fromkeys(("grpo", "dr_grpo"), 0.0)
    for group in itertools.product(kinds, repeat=3):
        lengths, rewards = zip(*group, strict=True)
        for name, objective, scale in (
            ("grpo", grpo(), "std"),
            ("dr_grpo", dr_grpo(constant_length=8), None),
        ):
            for length, reward, push in zip(
                lengths, rewards, planted(lengths, rewards, objective, scale=scale), strict=True
            ):
                if not reward:  # what a wrong answer loses by a token: less where it is long, with GRPO
                    pressure[name] += push if length == 8 else -push
    assert pressure["grpo"] > 0.1
    assert pressure["dr_grpo"] == pytest.approx(0.0, abs=1e-6)
