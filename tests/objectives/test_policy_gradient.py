"""The policy gradient's axes: clip sides, ratios, aggregation, KL, and the named points of their product."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import Descent, descend, random_rows, row
from strop.credit import group_advantages
from strop.errors import RecipeError
from strop.objectives import PolicyGradient, dr_grpo, grpo
from strop.types import Sample

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=25, deadline=None, derandomize=True)
AXES: dict[str, list[Any]] = {
    "surrogate": ["clip", "reinforce"],
    "ratio": ["token", "sequence", "none"],
    "aggregate": ["token_mean", "sequence_mean", "sequence_sum", "constant"],
    "kl": [None, "k2", "k3"],
}


def without(sample: Sample, *streams: str) -> Sample:
    return replace(sample, streams={key: s for key, s in sample.streams.items() if key not in streams})


def on_policy(rows: list[Sample]) -> list[Sample]:
    return [without(sample, "old_logprobs") for sample in rows]


# --------------------------------------------------------------------------------------------------------- hand numbers


def one_token(ratio: float, advantage: float, **settings_: Any) -> Descent:
    rows = [row([-1.0], old_logprobs=[-1.0 - math.log(ratio)], advantages=[advantage])]
    return descend(PolicyGradient(**settings_), rows)


@pytest.mark.capability("RL-04")
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.5, 1.0, -1.2, 0.0),  # above the range with a good sample: enough
        (1.5, -1.0, 1.5, 1.5),  # above the range with a bad sample: push it back
        (0.5, 1.0, -0.5, -0.5),  # below the range with a good sample: pull it up
        (0.5, -1.0, 0.8, 0.0),  # below the range with a bad sample: enough
        (1.1, 1.0, -1.1, -1.1),
        (0.9, -1.0, 0.9, 0.9),
    ],
)
def test_the_clip_stops_the_gradient_on_its_two_sides_and_only_there(
    ratio: float, advantage: float, value: float, gradient: float
) -> None:
    result = one_token(ratio, advantage)
    assert result.value == pytest.approx(value, abs=1e-6)
    assert result.gradient[1].item() == pytest.approx(gradient, abs=1e-6)
    assert result.metrics["clip_fraction"] == float(gradient == 0.0)


@pytest.mark.capability("RL-15")
def test_the_two_clip_bounds_are_independent() -> None:
    assert one_token(1.25, 1.0, clip_high=0.28).gradient[1].item() == pytest.approx(-1.25)
    assert one_token(1.25, 1.0, clip_low=0.28).gradient[1].item() == 0.0
    assert one_token(0.75, -1.0, clip_low=0.28).gradient[1].item() == pytest.approx(0.75)
    assert one_token(0.75, -1.0, clip_high=0.28).gradient[1].item() == 0.0


def test_the_two_sides_of_the_clip_are_counted_apart() -> None:
    logs = [math.log(r) for r in (1.5, 1.5, 0.5, 1.0)]
    rows = [
        row([-1.0] * 4, name="good", old_logprobs=[-1.0 - log for log in logs], advantages=1.0),
        row([-1.0] * 4, name="bad", old_logprobs=[-1.0 - log for log in logs], advantages=-1.0),
    ]
    metrics = descend(grpo(), rows).metrics
    assert metrics["clip_fraction_high"] == pytest.approx(2 / 8)
    assert metrics["clip_fraction_low"] == pytest.approx(1 / 8)
    assert metrics["clip_fraction"] == pytest.approx(3 / 8)
    assert metrics["ratio"] == pytest.approx((1.5 + 1.5 + 0.5 + 1.0) / 4)
    assert metrics["approx_kl"] == pytest.approx(sum(math.exp(x) - 1 - x for x in logs) / 4)


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("token_mean", -(3 * 1.0 + 1 * 2.0) / 4),
        ("sequence_mean", -(1.0 + 2.0) / 2),
        ("sequence_sum", -(3.0 + 2.0) / 2),
        ("constant", -(3.0 + 2.0) / (2 * 10)),
    ],
)
def test_each_aggregation_divides_by_its_own_denominator(aggregate: Any, value: float) -> None:
    rows = [row([-1.0] * 3, name="long", advantages=1.0), row([-1.0], name="short", advantages=2.0)]
    length = 10 if aggregate == "constant" else None
    assert descend(PolicyGradient(aggregate=aggregate, constant_length=length), rows).value == pytest.approx(value)


@pytest.mark.capability("RL-17")
def test_with_the_token_mean_a_token_weighs_the_same_in_a_long_and_in_a_short_answer() -> None:
    rows = [row([-1.0] * 9, name="long", advantages=1.0), row([-1.0], name="short", advantages=1.0)]
    by_token = descend(PolicyGradient(aggregate="token_mean"), rows).gradients
    assert by_token["long"][1:].tolist() == pytest.approx([-0.1] * 9)
    assert by_token["short"][1:].tolist() == pytest.approx([-0.1])
    by_sequence = descend(PolicyGradient(aggregate="sequence_mean"), rows).gradients
    assert by_sequence["long"][1:].tolist() == pytest.approx([-0.5 / 9] * 9)
    assert by_sequence["short"][1:].tolist() == pytest.approx([-0.5])


def test_the_constant_normaliser_does_not_see_the_length_of_the_answers() -> None:
    rows = [row([-1.0] * 2, name="a", advantages=1.0), row([-1.0] * 2, name="b", advantages=1.0)]
    longer = [rows[0], row([-1.0] * 8, name="b", advantages=0.0)]
    objective = dr_grpo(constant_length=16)
    before, after = descend(objective, rows).gradients["a"], descend(objective, longer).gradients["a"]
    assert before.tolist() == after.tolist() == pytest.approx([0.0, -1 / 32, -1 / 32])


@pytest.mark.capability("RL-14")
def test_the_sequence_ratio_is_the_geometric_mean_and_clips_the_whole_sequence() -> None:
    rows = [row([-1.0, -1.0], old_logprobs=[-1.0 - math.log(4.0), -1.0], advantages=1.0)]
    inside = descend(PolicyGradient(ratio="sequence", clip_high=1.5), rows)
    assert inside.value == pytest.approx(-2.0)  # sqrt(4 · 1)
    assert inside.gradient.tolist() == pytest.approx([0.0, -1.0, -1.0])  # -s A / |y| for every token
    outside = descend(PolicyGradient(ratio="sequence", clip_high=0.5), rows)
    assert outside.value == pytest.approx(-1.5)
    assert not outside.gradient.any()


@pytest.mark.parametrize(
    ("kl", "value", "slope"), [("k2", 0.5 * 0.49, 0.7), ("k3", math.exp(-0.7) - 0.3, 1 - math.exp(-0.7))]
)
def test_the_kl_term_adds_its_estimate_and_pulls_toward_the_reference(kl: Any, value: float, slope: float) -> None:
    rows = [row([-1.0], ref_logprobs=[-1.7], advantages=[0.0])]
    result = descend(PolicyGradient(kl=kl, beta=0.5), rows)
    assert result.value == pytest.approx(0.5 * value, abs=1e-6)
    assert result.gradient[1].item() == pytest.approx(0.5 * slope, abs=1e-6)
    assert result.metrics["ref_kl"] == pytest.approx(value, abs=1e-6)


def test_the_mean_entropy_is_reported_when_the_outputs_hold_it() -> None:
    rows = [row([-1.0, -1.0], advantages=1.0, entropy=[0.5, 1.5])]
    assert descend(grpo(), rows).metrics["entropy"] == pytest.approx(1.0)
    assert "entropy" not in descend(grpo(), [without(rows[0], "entropy")]).metrics


# --------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("log_ratio", [1e4, -1e4])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_huge_ratios_stay_finite(log_ratio: float, advantage: float, ratio: Any) -> None:
    rows = [row([-1.0], old_logprobs=[-1.0 - log_ratio], ref_logprobs=[-1.0 - log_ratio], advantages=[advantage])]
    result = descend(PolicyGradient(ratio=ratio, kl="k3", beta=0.1), rows)
    assert math.isfinite(result.value)
    assert result.gradient.isfinite().all()


@pytest.mark.parametrize(
    "settings_",
    [
        {"aggregate": "constant"},
        {"constant_length": 8},
        {"aggregate": "constant", "constant_length": 0},
        {"kl": "k3"},
        {"beta": 0.1},
        {"kl": "k1", "beta": 0.1},
        {"kl": "k3", "beta": -0.1},
        {"clip_low": 0.0},
        {"clip_high": -0.1},
        {"temperature": 0.0},
        {"surrogate": "ppo"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="policy gradient"):
        PolicyGradient(**settings_)


# ------------------------------------------------------------------------------------------------------------ relations


@thorough
@given(seed=seeds)
def test_the_first_step_of_grpo_has_the_gradient_of_reinforce(seed: int) -> None:
    rows = on_policy(random_rows(seed))
    reinforce = PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_mean")
    torch.testing.assert_close(descend(grpo(), rows).gradient, descend(reinforce, rows).gradient)


@thorough
@given(seed=seeds)
def test_a_stated_equal_old_policy_is_the_same_as_none(seed: int) -> None:
    rows = random_rows(seed)
    equal = [replace(s, streams={**s.streams, "old_logprobs": s.streams["logprobs"]}) for s in rows]
    one, other = descend(grpo(), on_policy(rows)), descend(grpo(), equal)
    assert one.value == pytest.approx(other.value)
    torch.testing.assert_close(one.gradient, other.gradient)
    assert other.metrics["ratio"] == pytest.approx(1.0)
    assert other.metrics["approx_kl"] == pytest.approx(0.0, abs=1e-12)


@thorough
@given(seed=seeds, reward=st.floats(-3, 3))
def test_equal_rewards_give_no_gradient_at_all(seed: int, reward: float) -> None:
    rows = random_rows(seed, num_groups=2, group_size=3)
    group_ids = torch.tensor([int(sample.facts["group_ids"]) for sample in rows])
    advantages = group_advantages(torch.full((6,), reward), group_ids, scale="std").tolist()
    judged = [
        replace(sample, streams={**sample.streams, "advantages": (advantage,) * len(sample.token_ids)})
        for sample, advantage in zip(rows, advantages, strict=True)
    ]
    for objective in (grpo(), dr_grpo(constant_length=9), PolicyGradient(ratio="sequence")):
        assert not descend(objective, judged).gradient.any()


@pytest.mark.capability("RL-14")
@thorough
@given(seed=seeds)
def test_on_policy_the_sequence_ratio_has_the_gradient_of_the_token_ratio(seed: int) -> None:
    rows = on_policy(random_rows(seed))
    torch.testing.assert_close(descend(PolicyGradient(ratio="sequence"), rows).gradient, descend(grpo(), rows).gradient)


@pytest.mark.capability("RL-20")
@pytest.mark.parametrize(("surrogate", "ratio", "aggregate", "kl"), list(itertools.product(*AXES.values())))
def test_every_combination_of_the_axes_equals_a_loop_over_the_tokens(
    surrogate: Any, ratio: Any, aggregate: Any, kl: Any
) -> None:
    length = 6 if aggregate == "constant" else None
    beta = 0.3 if kl else 0.0
    objective = PolicyGradient(
        surrogate=surrogate, ratio=ratio, aggregate=aggregate, kl=kl, beta=beta, constant_length=length, clip_high=0.3
    )
    rows = random_rows(11, num_groups=4)
    result = descend(objective, rows)
    assert result.value == pytest.approx(slow_value(rows, surrogate, ratio, aggregate, kl, beta, 0.2, 0.3), rel=1e-5)
    assert result.gradient.any()


@pytest.mark.capability("RL-20")
def test_no_two_combinations_of_the_axes_are_the_same_objective() -> None:
    rows = random_rows(5, num_groups=4)
    gradients = {}
    for surrogate, ratio, aggregate, kl in itertools.product(*AXES.values()):
        if surrogate == "clip" and ratio == "none":
            continue  # without a ratio there is nothing to clip: the gradient is that of reinforce, by design
        length = 6 if aggregate == "constant" else None
        objective = PolicyGradient(
            surrogate=surrogate,
            ratio=ratio,
            aggregate=aggregate,
            kl=kl,
            beta=0.3 if kl else 0.0,
            constant_length=length,
        )
        gradients[surrogate, ratio, aggregate, kl] = tuple(descend(objective, rows).gradient.tolist())
    assert len(set(gradients.values())) == len(gradients)


def slow_value(
    rows: list[Sample], surrogate: str, ratio: str, aggregate: str, kl: str | None, beta: float, low: float, high: float
) -> float:
    """The papers' formulas with lists and loops, in plain Python floats."""
    sequence_losses = []
    for sample in rows:
        trained = [t for t, is_trained in enumerate(sample.loss_mask) if is_trained]
        logprobs, old, ref, advantages = (
            [sample.streams[key][t] for t in trained]
            for key in ("logprobs", "old_logprobs", "ref_logprobs", "advantages")
        )
        mean_log_ratio = sum(p - q for p, q in zip(logprobs, old, strict=True)) / len(trained)
        losses = []
        for p, q, r, advantage in zip(logprobs, old, ref, advantages, strict=True):
            rho = {"token": math.exp(p - q), "sequence": math.exp(mean_log_ratio), "none": 1.0}[ratio]
            loss = -min(rho * advantage, min(max(rho, 1 - low), 1 + high) * advantage)
            if surrogate == "reinforce":
                loss = -rho * advantage * p
            if kl is not None:
                loss += beta * {"k2": (p - r) ** 2 / 2, "k3": math.exp(r - p) - 1 - (r - p)}[kl]
            losses.append(loss)
        sequence_losses.append(losses)
    total = sum(sum(losses) for losses in sequence_losses)
    return {
        "token_mean": total / sum(len(losses) for losses in sequence_losses),
        "sequence_mean": sum(sum(losses) / len(losses) for losses in sequence_losses) / len(rows),
        "sequence_sum": total / len(rows),
        "constant": total / (len(rows) * 6),
    }[aggregate]


def test_the_named_methods_are_the_points_that_their_papers_describe() -> None:
    assert grpo() == PolicyGradient(surrogate="clip", ratio="token", aggregate="sequence_mean")
    assert dr_grpo(constant_length=64) == PolicyGradient(aggregate="constant", constant_length=64)
