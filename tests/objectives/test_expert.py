"""Policy shaping on expert tokens: f(p), its gradient weight, and that nothing else of the step touches them."""

from __future__ import annotations

import math
from dataclasses import replace
from math import nan
from typing import Any

import pytest
import torch

from random_batches import descend, random_rows, row
from strop.credit import group_advantages
from strop.objectives import ImportanceCorrection, PolicyGradient, luffy
from strop.objectives.expert import shaped
from strop.types import Sample


def shaped_at(probability: float, advantage: float, gamma: float) -> tuple[float, float]:
    logprobs = torch.tensor([math.log(probability)], dtype=torch.float64, requires_grad=True)
    loss = shaped(logprobs, torch.tensor([advantage], dtype=torch.float64), gamma)
    return loss.item(), torch.autograd.grad(loss.sum(), logprobs)[0].item()


@pytest.mark.capability("RL-19")
@pytest.mark.parametrize("probability", [1e-9, 1e-3, 0.05, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("gamma", [0.1, 0.3])
def test_the_gradient_weight_of_an_expert_token(probability: float, gamma: float) -> None:
    value, gradient = shaped_at(probability, 2.0, gamma)
    assert value == pytest.approx(-2.0 * probability / (probability + gamma))
    assert gradient == pytest.approx(-2.0 * gamma * probability / (probability + gamma) ** 2)


@pytest.mark.capability("RL-19")
def test_the_weight_peaks_at_gamma_is_tenfold_for_rare_tokens_and_fades_for_sure_ones() -> None:
    assert shaped_at(0.1, 1.0, 0.1)[1] == pytest.approx(-0.25)
    assert all(abs(shaped_at(p, 1.0, 0.1)[1]) < 0.25 for p in (0.05, 0.09, 0.11, 0.2))
    assert shaped_at(1e-6, 1.0, 0.1)[1] == pytest.approx(-10 * 1e-6, rel=1e-4)
    assert shaped_at(1.0, 1.0, 0.1)[1] == pytest.approx(-0.1 / 1.21)


@pytest.mark.parametrize("logprob", [0.0, -1e4])
def test_the_shaping_is_finite_for_certain_and_hopeless_tokens(logprob: float) -> None:
    logprobs = torch.tensor([logprob], requires_grad=True)
    loss = shaped(logprobs, torch.ones(1), 0.1)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logprobs.grad is not None
    assert logprobs.grad.isfinite().all()


def mixed_group(**garbage: float) -> list[Sample]:
    """An expert's row, whose old and sampler's log-probabilities are ``garbage``, and a row of the policy's own."""
    expert = row([math.log(0.1), math.log(0.5)], name="expert", is_expert=1.0, advantages=0.6, entropy=1.0, **garbage)
    own = {"old_logprobs": [-1.5], "sampler_logprobs": [-2.0]}
    return [
        expert,
        row([-1.0], name="own", is_expert=0.0, advantages=-0.6, entropy=0.5, **{k: own[k] for k in garbage}),
    ]


@pytest.mark.capability("RL-19")
def test_luffy_shapes_the_experts_tokens_and_weighs_the_policys_by_the_free_ratio() -> None:
    objective = luffy(constant_length=8, entropy_weight=0.0)
    result = descend(objective, mixed_group(old_logprobs=nan))
    f = [0.1 / 0.2, 0.5 / 0.6]
    rho = math.exp(0.5)
    assert result.value == pytest.approx((-0.6 * sum(f) - 0.6 * rho) / 16, rel=1e-6)
    weights = [0.25, 0.1 * 0.5 / 0.36]
    assert result.gradients["expert"].tolist() == pytest.approx([0.0, *(-0.6 * w / 16 for w in weights)], rel=1e-6)
    assert result.gradients["own"].tolist() == pytest.approx([0.0, 0.6 * rho / 16], rel=1e-6)
    assert result.metrics["expert_share"] == pytest.approx(2 / 3)
    assert result.metrics["ratio"] == pytest.approx((1 + 1 + rho) / 3, rel=1e-6)
    assert result.metrics["approx_kl"] == pytest.approx((math.exp(0.5) - 1.5) / 3, rel=1e-6)


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence_sum", "none"])
@pytest.mark.parametrize("surrogate", ["clip", "dual_clip", "cispo", "reinforce"])
@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
def test_what_the_streams_hold_of_an_expert_is_never_read(ratio: Any, surrogate: Any, level: Any) -> None:
    objective = PolicyGradient(
        surrogate=surrogate, ratio=ratio, expert_gamma=0.1, correction=ImportanceCorrection(level=level)
    )
    one = descend(objective, mixed_group(old_logprobs=nan, sampler_logprobs=nan))
    other = descend(objective, mixed_group(old_logprobs=-0.1, sampler_logprobs=-7.0))
    assert math.isfinite(one.value)
    assert one.value == other.value
    assert one.metrics == other.metrics
    assert torch.equal(one.gradient, other.gradient)
    weights = [0.25, 0.1 * 0.5 / 0.36]
    assert one.gradients["expert"][1:].tolist() == pytest.approx([-0.6 * w / 4 for w in weights], rel=1e-6)


@pytest.mark.parametrize("level", ["sequence", "geometric"])
def test_a_sequence_that_an_expert_began_has_the_ratios_of_the_policys_part(level: Any) -> None:
    streams = {"old_logprobs": [-1.5, -1.25], "sampler_logprobs": [-1.75, -1.35]}
    whole = row([-1.0, -1.0], name="row", advantages=1.0, is_expert=0.0, **streams)
    begun = row(
        [-0.5, -1.0, -1.0],
        name="row",
        advantages=1.0,
        is_expert=[1.0, 0.0, 0.0],
        **{key: [-9.0, *values] for key, values in streams.items()},
    )
    objective = PolicyGradient(
        surrogate="reinforce",
        ratio="sequence" if level == "geometric" else "sequence_sum",
        aggregate="sequence_sum",
        expert_gamma=0.1,
        correction=ImportanceCorrection(level=level, high=9.0),
    )
    alone, behind = descend(objective, [whole]).gradient, descend(objective, [begun]).gradient
    torch.testing.assert_close(behind[2:], alone[1:])


@pytest.mark.capability("RL-19")
def test_a_group_without_an_expert_is_trained_as_if_there_were_no_shaping() -> None:
    rows = [replace(s, streams={**s.streams, "is_expert": (0.0,) * len(s.token_ids)}) for s in random_rows(2)]
    shaped_, plain = descend(PolicyGradient(expert_gamma=0.1), rows), descend(PolicyGradient(), rows)
    assert shaped_.value == plain.value
    assert torch.equal(shaped_.gradient, plain.gradient)
    assert shaped_.metrics == {**plain.metrics, "expert_share": 0.0}


@pytest.mark.capability("RL-19")
def test_when_every_sample_of_the_policy_is_right_the_expert_teaches_nothing() -> None:
    mixed = mixed_group(old_logprobs=-1.0)
    advantages = group_advantages(torch.ones(2), torch.zeros(2, dtype=torch.int64), scale=None).tolist()
    rows = [
        replace(sample, streams={**sample.streams, "advantages": (advantage,) * len(sample.token_ids)})
        for sample, advantage in zip(mixed, advantages, strict=True)
    ]
    assert not descend(luffy(constant_length=8, entropy_weight=0.0), rows).gradient.any()
