"""On a policy small enough to enumerate, mean gradients equal exact ones: no sampling, no tolerance for luck."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from random_batches import descend, row
from strop.credit import group_advantages
from strop.objectives import PolicyGradient, dr_grpo
from strop.objectives.kl import KLS
from strop.types import Objective

NUM_TOKENS = 3
ANSWERS = list(itertools.product(range(NUM_TOKENS), repeat=2))
REWARDS = torch.tensor([0.0, 1.0, 0.3, 0.0, 0.0, 0.7, 0.2, 0.0, 0.0], dtype=torch.float64)


class TwoTokenPolicy:
    """p(a, b) = softmax(first)[a] · softmax(second[a])[b], all parameters in one vector."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.parameters = torch.randn(12, generator=generator, dtype=torch.float64).requires_grad_()

    def token_logprobs(self) -> Tensor:
        """log p of both tokens of each of the nine answers, [9, 2]."""
        first = self.parameters[:3].log_softmax(-1)
        second = self.parameters[3:].view(3, 3).log_softmax(-1)
        return torch.stack([torch.stack([first[a], second[a, b]]) for a, b in ANSWERS])


def exact_gradient(policy: TwoTokenPolicy) -> Tensor:
    """d E[r] / d parameters, by enumeration of the answers."""
    expected_reward = (policy.token_logprobs().sum(-1).exp() * REWARDS).sum()
    return torch.autograd.grad(expected_reward, policy.parameters)[0]


def mean_step(policy: TwoTokenPolicy, objective: Objective, group_size: int, **credit: object) -> Tensor:
    """The expected descent direction: every possible group, weighted by the probability of drawing it."""
    logprobs = policy.token_logprobs()
    probabilities = logprobs.detach().sum(-1).exp()
    direction = torch.zeros(12, dtype=torch.float64)
    for group in itertools.product(range(len(ANSWERS)), repeat=group_size):
        rewards = REWARDS[list(group)]
        advantages = group_advantages(rewards, torch.zeros(group_size, dtype=torch.int64), **credit)  # type: ignore[arg-type]
        rows = [
            row(logprobs[answer].tolist(), name=str(i), advantages=advantages[i].item())
            for i, answer in enumerate(group)
        ]
        gradients = descend(objective, rows).gradients
        upstream = torch.stack([gradients[str(i)][1:] for i in range(group_size)])
        (gradient,) = torch.autograd.grad(logprobs[list(group)], policy.parameters, upstream, retain_graph=True)
        direction -= probabilities[list(group)].prod() * gradient
    return direction


REINFORCE = PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_sum")


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("group_size", [2, 3])
def test_reinforce_with_a_leave_one_out_baseline_is_the_exact_gradient_on_average(group_size: int) -> None:
    policy = TwoTokenPolicy()
    mean = mean_step(policy, REINFORCE, group_size, scale=None, baseline="leave_one_out")
    torch.testing.assert_close(mean, exact_gradient(policy), rtol=1e-5, atol=1e-7)


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("group_size", [2, 3])
def test_the_groups_own_mean_shrinks_the_gradient_by_one_over_the_group_and_does_not_turn_it(group_size: int) -> None:
    policy = TwoTokenPolicy(1)
    mean = mean_step(policy, REINFORCE, group_size, scale=None)
    expected = exact_gradient(policy) * (group_size - 1) / group_size
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-7)


def test_dr_grpo_on_policy_is_the_exact_gradient_over_its_constant_on_average() -> None:
    policy = TwoTokenPolicy(2)
    mean = mean_step(policy, dr_grpo(constant_length=5), 2, scale=None)
    torch.testing.assert_close(mean, exact_gradient(policy) / 2 / 5, rtol=1e-5, atol=1e-7)


def distributions() -> tuple[Tensor, Tensor]:
    parameters = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    return parameters, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()


def expectation(parameters: Tensor, values: Tensor) -> Tensor:
    """E under the policy, whose sampling probabilities are constants as they are for drawn samples."""
    return (parameters.softmax(-1).detach() * values).sum()


def test_the_expected_gradient_of_k2_is_that_of_the_reverse_kl() -> None:
    parameters, ref = distributions()
    logprobs = parameters.log_softmax(-1)
    reverse = (logprobs.exp() * (logprobs - ref)).sum()
    (expected,) = torch.autograd.grad(reverse, parameters, retain_graph=True)
    (gradient,) = torch.autograd.grad(expectation(parameters, KLS["k2"](logprobs - ref)), parameters)
    torch.testing.assert_close(gradient, expected)


def test_k3_has_the_value_of_the_reverse_kl_and_the_gradient_of_the_forward_one() -> None:
    parameters, ref = distributions()
    logprobs = parameters.log_softmax(-1)
    reverse = (logprobs.exp() * (logprobs - ref)).sum()
    forward = (ref.exp() * (ref - logprobs)).sum()
    estimate = expectation(parameters, KLS["k3"](logprobs - ref))
    torch.testing.assert_close(estimate, reverse)
    (expected,) = torch.autograd.grad(forward, parameters, retain_graph=True)
    (gradient,) = torch.autograd.grad(estimate, parameters)
    torch.testing.assert_close(gradient, expected)


def test_k3_is_never_negative() -> None:
    assert (KLS["k3"](torch.linspace(-30, 30, 601, dtype=torch.float64)) >= 0).all()
