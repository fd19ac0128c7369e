"""On a policy small enough to enumerate, mean gradients equal exact ones: no sampling, no tolerance for luck."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from random_batches import descend, row
from strop.credit import (
    ConstantBaseline,
    MovingAverageBaseline,
    gae,
    group_advantages,
    on_policy_distillation_advantages,
    penalised_scores,
    penalised_token_rewards,
    rewards_to_go,
    terminal_rewards,
)
from strop.objectives import CrossEntropy, PolicyGradient, dr_grpo, grpo
from strop.objectives.kl import KLS
from strop.types import Objective

NUM_TOKENS = 3
ANSWERS = list(itertools.product(range(NUM_TOKENS), repeat=2))
REWARDS = torch.tensor([0.0, 1.0, 0.3, 0.0, 0.0, 0.7, 0.2, 0.0, 0.0], dtype=torch.float64)
REINFORCE = PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_sum")
CLIP = PolicyGradient(surrogate="clip", ratio="token", aggregate="sequence_sum")


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


class OneTokenPolicy:
    """p(a) = softmax(parameters)[a]: one answer a token."""

    def __init__(self, parameters: Tensor) -> None:
        self.parameters = parameters.double().requires_grad_()

    def token_logprobs(self) -> Tensor:
        """log p of each answer's only token, [A, 1]."""
        return self.parameters.log_softmax(-1)[:, None]


Policy = TwoTokenPolicy | OneTokenPolicy
Credit = Callable[[list[int]], Tensor]
"""From the answers of a group to their advantages, [G] or one a token, [G, T]."""


def gradient_of(value: Tensor, policy: Policy) -> Tensor:
    return torch.autograd.grad(value, policy.parameters)[0]


def exact_gradient(policy: Policy, rewards: Tensor = REWARDS) -> Tensor:
    """d E[r] / d parameters, by enumeration of the answers."""
    return gradient_of((policy.token_logprobs().sum(-1).exp() * rewards).sum(), policy)


def ascent(policy: Policy, objective: Objective, answers: list[int], advantages: Tensor) -> Tensor:
    """What one optimizer step on these answers adds to the parameters at learning rate 1."""
    logprobs = policy.token_logprobs()
    per_token = advantages if advantages.dim() == 2 else advantages[:, None].expand(-1, logprobs.shape[1])
    rows = [
        row(logprobs[answer].tolist(), name=str(i), advantages=per_token[i].tolist())
        for i, answer in enumerate(answers)
    ]
    gradients = descend(objective, rows).gradients
    upstream = torch.stack([gradients[str(i)][1:] for i in range(len(rows))])
    return -torch.autograd.grad(logprobs[answers], policy.parameters, upstream)[0]


def moments(policy: Policy, objective: Objective, group_size: int, credit: Credit) -> tuple[Tensor, float]:
    """Mean and total variance of the step over every group that can be drawn, weighted by its probability.

    Groups that differ only in their order are one, counted as often as it can be ordered.
    """
    probabilities = policy.token_logprobs().detach().sum(-1).exp()
    mean, square = torch.zeros_like(policy.parameters), 0.0
    for group in itertools.combinations_with_replacement(range(len(probabilities)), group_size):
        orders = math.factorial(group_size) / math.prod(math.factorial(n) for n in Counter(group).values())
        answers = list(group)
        weight = orders * probabilities[answers].prod()
        step = ascent(policy, objective, answers, credit(answers))
        mean = mean + weight * step
        square += float(weight * step.square().sum())
    return mean.detach(), square - float(mean.square().sum())


def mean_step(policy: Policy, objective: Objective, group_size: int, credit: Credit) -> Tensor:
    return moments(policy, objective, group_size, credit)[0]


def in_groups(rewards: Tensor = REWARDS, **settings: object) -> Credit:
    """The group's own advantages."""
    return lambda answers: group_advantages(
        rewards[answers], torch.zeros(len(answers), dtype=torch.int64), **{"scale": None, **settings}
    )  # type: ignore[arg-type]


def against(baseline: ConstantBaseline | MovingAverageBaseline, rewards: Tensor = REWARDS) -> Credit:
    return lambda answers: baseline.advantages(rewards[answers])


def flat(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[G, T] laid end to end, all trained, with the sequence ids."""
    ids = torch.arange(len(tokens)).repeat_interleave(tokens.shape[1])
    return tokens.flatten(), torch.ones(tokens.numel(), dtype=torch.bool), ids


def assert_same(step: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(step, expected, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------- the exact gradient


@pytest.mark.capability("RL-02", "IM-11")
def test_the_exact_gradient_is_that_of_finite_differences() -> None:
    policy, step = TwoTokenPolicy(), 1e-5
    found = exact_gradient(policy)
    for i in range(12):
        values = []
        for sign in (1, -1):
            moved = policy.parameters.detach().numpy().copy()
            moved[i] += sign * step
            tables = [np.exp(moved[:3]), *np.exp(moved[3:].reshape(3, 3))]
            first, *second = [table / table.sum() for table in tables]
            values.append(sum(first[a] * second[a][b] * r for (a, b), r in zip(ANSWERS, REWARDS.tolist())))
        assert found[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-9)


# --------------------------------------------------------------------------------------------------------- estimators


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("objective", [REINFORCE, CLIP], ids=["reinforce", "clip"])
@pytest.mark.parametrize("value", [0.0, 0.4, -3.0])
def test_any_constant_baseline_leaves_the_exact_gradient(objective: PolicyGradient, value: float) -> None:
    policy = TwoTokenPolicy(3)
    assert_same(mean_step(policy, objective, 2, against(ConstantBaseline(value=value))), exact_gradient(policy))


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("earlier", [[1, 1, 5], [0, 3, 4]])
def test_a_moving_average_of_earlier_steps_leaves_the_exact_gradient(earlier: list[int]) -> None:
    policy = TwoTokenPolicy(4)
    baseline = MovingAverageBaseline(decay=0.5).update(REWARDS[earlier])
    assert_same(mean_step(policy, REINFORCE, 2, against(baseline)), exact_gradient(policy))


@pytest.mark.capability("RL-02")
def test_a_moving_average_updated_before_its_use_shrinks_the_gradient_by_what_it_saw_of_the_sample() -> None:
    policy, baseline = TwoTokenPolicy(4), MovingAverageBaseline(decay=0.5)
    mean = mean_step(policy, REINFORCE, 2, lambda answers: against(baseline.update(REWARDS[answers]))(answers))
    assert_same(mean, exact_gradient(policy) * (1 - 0.5 / 2))


@pytest.mark.capability("RL-02")
@pytest.mark.capability("RL-13")
@pytest.mark.parametrize(("objective", "group_size"), [(REINFORCE, 2), (REINFORCE, 3), (CLIP, 2)])
def test_a_leave_one_out_baseline_is_the_exact_gradient_on_average(objective: Objective, group_size: int) -> None:
    policy = TwoTokenPolicy()
    mean = mean_step(policy, objective, group_size, in_groups(baseline="leave_one_out"))
    assert_same(mean, exact_gradient(policy))


@pytest.mark.capability("RL-02")
@pytest.mark.parametrize("group_size", [2, 3])
def test_the_groups_own_mean_shrinks_the_gradient_by_one_over_the_group_and_does_not_turn_it(group_size: int) -> None:
    policy = TwoTokenPolicy(1)
    mean = mean_step(policy, REINFORCE, group_size, in_groups())
    assert_same(mean, exact_gradient(policy) * (group_size - 1) / group_size)


@pytest.mark.capability("RL-12")
@pytest.mark.parametrize("group_size", [2])
def test_dr_grpo_on_policy_is_the_exact_gradient_over_its_constant_on_average(group_size: int) -> None:
    policy = TwoTokenPolicy(2)
    mean = mean_step(policy, dr_grpo(constant_length=5), group_size, in_groups())
    assert_same(mean, exact_gradient(policy) * (group_size - 1) / group_size / 5)


@pytest.mark.capability("RL-10")
@pytest.mark.capability("AB-std-convention")
@pytest.mark.parametrize(("scale", "freedom"), [("std", 1), ("population_std", 0)])
def test_grpo_has_the_mean_of_its_own_formula_which_is_not_the_direction_of_the_reward(
    scale: str, freedom: int
) -> None:
    policy, logprobs = TwoTokenPolicy(2), TwoTokenPolicy(2).token_logprobs().sum(-1)
    jacobian = torch.autograd.functional.jacobian(_answer_logprobs, policy.parameters)
    rewards, probabilities = REWARDS.numpy(), logprobs.exp().tolist()
    expected = torch.zeros(12, dtype=torch.float64)
    for group in itertools.product(range(9), repeat=3):
        known = rewards[list(group)]
        if np.ptp(known) > 0:
            advantages = (known - known.mean()) / (known.std(ddof=freedom) + 1e-6)
            weight = math.prod(probabilities[answer] for answer in group)
            for answer, advantage in zip(group, advantages, strict=True):
                expected += weight * advantage * jacobian[answer] / 3 / 2
    mean = mean_step(policy, grpo(), 3, in_groups(scale=scale))
    assert_same(mean, expected)
    assert torch.cosine_similarity(mean, exact_gradient(policy), dim=0) < 0.999


def _answer_logprobs(parameters: Tensor) -> Tensor:
    first, second = parameters[:3].log_softmax(-1), parameters[3:].view(3, 3).log_softmax(-1)
    return torch.stack([first[a] + second[a, b] for a, b in ANSWERS])


def critic(policy: TwoTokenPolicy) -> Tensor:
    """The exact value before each token of each answer, [9, 2]: E[r], and E[r | first token]."""
    probabilities = policy.token_logprobs().detach().exp()
    after_first = (probabilities[:, 1] * REWARDS).view(3, 3).sum(-1)
    before = (probabilities[::3, 0] * after_first).sum()
    return torch.stack([before.expand(9), after_first.repeat_interleave(3)], dim=1)


def by_critic(values: Tensor, lam: float) -> Credit:
    def credit(answers: list[int]) -> Tensor:
        known, mask, ids = flat(values[answers])
        rewards = terminal_rewards(REWARDS[answers], mask, ids)
        final = torch.zeros(len(answers), dtype=torch.float64)
        return gae(rewards, known, mask, ids, len(answers), final_values=final, lam=lam)[0].view(-1, 2)

    return credit


@pytest.mark.capability("RL-05")
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_ppos_first_step_with_an_exact_critic_is_the_exact_gradient_for_any_lambda(lam: float) -> None:
    policy = TwoTokenPolicy(5)
    assert_same(mean_step(policy, CLIP, 1, by_critic(critic(policy), lam)), exact_gradient(policy))


@pytest.mark.capability("RL-05")
def test_a_wrong_critic_turns_the_gradient_unless_lambda_is_1() -> None:
    policy, wrong = TwoTokenPolicy(5), torch.linspace(-1, 1, 18, dtype=torch.float64).view(3, 3, 2)
    values = wrong[:, :1].expand(3, 3, 2).reshape(9, 2)  # it knows the first token, not the second
    values = torch.stack([values[:, 0].mean().expand(9), values[:, 1]], dim=1)
    assert_same(mean_step(policy, CLIP, 1, by_critic(values, 1.0)), exact_gradient(policy))
    turned = mean_step(policy, CLIP, 1, by_critic(values, 0.5))
    assert torch.cosine_similarity(turned, exact_gradient(policy), dim=0) < 0.99


@pytest.mark.capability("RL-02")
def test_rewards_to_go_credit_a_token_only_with_what_comes_after_it_and_keep_the_exact_gradient() -> None:
    policy = TwoTokenPolicy(6)
    step_rewards = torch.tensor([[a / 2, (a + 2 * b) % 3 / 3] for a, b in ANSWERS], dtype=torch.float64)

    def credit(answers: list[int]) -> Tensor:
        rewards, mask, ids = flat(step_rewards[answers])
        return rewards_to_go(rewards, mask, ids, len(answers)).view(-1, 2)

    mean, variance = moments(policy, REINFORCE, 1, credit)
    assert_same(mean, exact_gradient(policy, step_rewards.sum(-1)))
    whole, larger = moments(policy, REINFORCE, 1, lambda answers: step_rewards[answers].sum(-1))
    assert_same(whole, mean)
    assert variance < larger


# -------------------------------------------------------------------------------------------------- KL in the reward


def regularised_gradient(policy: Policy, rewards: Tensor, ref: Tensor, beta: float) -> Tensor:
    """d (E[r] - β KL(policy || ref)) / d parameters, by enumeration; ``ref`` [A, T]."""
    logprobs = policy.token_logprobs().sum(-1)
    return gradient_of((logprobs.exp() * (rewards - beta * (logprobs - ref.sum(-1)))).sum(), policy)


@pytest.mark.capability("RL-07")
@pytest.mark.capability("RL-13")
def test_kl_in_the_reward_of_sequences_is_the_gradient_of_the_reverse_kl_under_leave_one_out() -> None:
    policy, ref = TwoTokenPolicy(7), TwoTokenPolicy(8).token_logprobs().detach()

    def credit(answers: list[int]) -> Tensor:
        logprobs, mask, ids = flat(policy.token_logprobs()[answers])
        scores = penalised_scores(REWARDS[answers], logprobs, ref[answers].flatten(), mask, ids, beta=0.3)
        return group_advantages(scores, torch.zeros(len(answers)), scale=None, baseline="leave_one_out")

    assert_same(mean_step(policy, CLIP, 2, credit), regularised_gradient(policy, REWARDS, ref, 0.3))


@pytest.mark.capability("RL-07")
@pytest.mark.capability("RL-05")
def test_kl_in_the_reward_of_tokens_is_the_gradient_of_the_reverse_kl_under_gae() -> None:
    policy, ref = TwoTokenPolicy(7), TwoTokenPolicy(8).token_logprobs().detach()

    def credit(answers: list[int]) -> Tensor:
        logprobs, mask, ids = flat(policy.token_logprobs()[answers])
        rewards = penalised_token_rewards(REWARDS[answers], logprobs, ref[answers].flatten(), mask, ids, beta=0.3)
        values, final = torch.full_like(rewards, 0.2), torch.zeros(len(answers), dtype=torch.float64)
        return gae(rewards, values, mask, ids, len(answers), final_values=final, lam=1.0)[0].view(-1, 2)

    assert_same(mean_step(policy, CLIP, 1, credit), regularised_gradient(policy, REWARDS, ref, 0.3))


def test_on_policy_distillation_ignores_what_a_token_does_to_the_tokens_after_it() -> None:
    policy, teacher = TwoTokenPolicy(7), TwoTokenPolicy(8).token_logprobs().detach()

    def credit(answers: list[int]) -> Tensor:
        logprobs, mask, _ = flat(policy.token_logprobs()[answers])
        return on_policy_distillation_advantages(logprobs, teacher[answers].flatten(), mask).view(-1, 2)

    logprobs = policy.token_logprobs()
    reach = logprobs[:, 0].detach().exp()  # how often the second token's context is met, a constant here
    gaps = logprobs - teacher
    by_token = (logprobs[::3, 0].exp() * gaps[::3, 0]).sum() + (reach * logprobs[:, 1].exp() * gaps[:, 1]).sum()
    assert_same(mean_step(policy, REINFORCE, 1, credit), -gradient_of(by_token, policy))


def exact_step(policy: Policy, objective: Objective, advantages: Tensor) -> Tensor:
    """The mean step of single samples in one descent: every answer once, its advantage weighted by its probability."""
    probabilities = policy.token_logprobs().detach().sum(-1).exp()
    return ascent(policy, objective, list(range(len(probabilities))), len(probabilities) * probabilities * advantages)


@pytest.mark.capability("PR-06")
@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_ascending_the_reward_less_the_kl_reaches_the_reference_tilted_by_the_reward(beta: float) -> None:
    # Half natural-gradient steps: each halves the distance of every log-odds, however rare its answers.
    policy, ref = TwoTokenPolicy(9), TwoTokenPolicy(10).token_logprobs().detach()
    _, mask, ids = flat(ref)
    for _ in range(25):
        logprobs = policy.token_logprobs().detach()
        scores = penalised_scores(REWARDS, logprobs.flatten(), ref.flatten(), mask, ids, beta=beta)
        baseline = ConstantBaseline(value=float((logprobs.sum(-1).exp() * scores).sum()))
        step = fisher_inverse(policy) @ exact_step(policy, REINFORCE, baseline.advantages(scores))
        policy.parameters = (policy.parameters + 0.5 / beta * step).detach().requires_grad_()
    optimum = (ref.sum(-1) + REWARDS / beta).softmax(-1)  # π_ref exp(r / β) / Z
    torch.testing.assert_close(policy.token_logprobs().sum(-1).exp(), optimum, rtol=1e-4, atol=0)


def fisher_inverse(policy: TwoTokenPolicy) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(_answer_logprobs, policy.parameters.detach())
    probabilities = policy.token_logprobs().detach().sum(-1).exp()
    return torch.linalg.pinv(jacobian.T @ (probabilities[:, None] * jacobian), hermitian=True, rtol=1e-9)


@pytest.mark.capability("PR-06")
def test_with_a_binary_reward_the_pass_rate_at_the_optimum_is_the_odds_times_e_to_one_over_beta() -> None:
    ref = torch.tensor([0.5, 0.3, 0.2]).double().log()
    rewards, beta = torch.tensor([0.0, 1.0, 0.0]).double(), 0.5
    policy = OneTokenPolicy(ref.clone())
    for _ in range(200):
        step = regularised_gradient(policy, rewards, ref[:, None], beta)
        policy.parameters = (policy.parameters + 2.0 * step).detach().requires_grad_()
    tilt = math.exp(1 / beta)
    passed = policy.token_logprobs()[1, 0].exp().item()
    assert passed == pytest.approx(0.3 * tilt / (0.3 * tilt + 1 - 0.3), rel=1e-6)


# ------------------------------------------------------------------------------------------------------------ variance


@pytest.mark.capability("RL-03")
def test_the_variance_of_the_gradient_falls_with_each_baseline() -> None:
    # An easy and a hard prompt, four samples each, one token of three. One constant suits neither prompt; leave-one-out
    # estimates each prompt's own mean, which a perfect critic would know: 0.127 > 0.063 > 0.056 > 0.045 in total.
    easy, hard = torch.tensor([0.0, 1.0, 1.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double()
    prompts = [
        (OneTokenPolicy(torch.tensor([-0.5, 0.5, 1.0])), easy),
        (OneTokenPolicy(torch.tensor([1.0, 0.5, -1.0])), hard),
    ]
    means = [float((policy.token_logprobs().detach()[:, 0].exp() * rewards).sum()) for policy, rewards in prompts]
    variances: dict[str, float] = {}
    for (policy, rewards), own in zip(prompts, means, strict=True):
        for name, credit in {
            "none": against(ConstantBaseline(), rewards),
            "constant": against(ConstantBaseline(value=sum(means) / 2), rewards),
            "leave one out": in_groups(rewards, baseline="leave_one_out"),
            "own mean": against(ConstantBaseline(value=own), rewards),
        }.items():
            mean, variance = moments(policy, REINFORCE, 4, credit)
            assert_same(mean, exact_gradient(policy, rewards))
            if name != "leave one out":
                value = {"none": 0.0, "constant": sum(means) / 2, "own mean": own}[name]
                assert variance == pytest.approx(_by_numpy(policy, rewards, value) / 4, rel=1e-4)
            variances[name] = variances.get(name, 0.0) + variance
    assert variances["none"] > variances["constant"] > variances["leave one out"] > variances["own mean"]


@pytest.mark.capability("RL-03")
def test_in_pairs_leave_one_out_is_noisier_than_no_baseline_at_all() -> None:
    # One right and one wrong answer, right with probability p, v = p (1 - p); |d log p|² = 2 (1 - p)² and 2 p².
    # Leave-one-out steps by (-1, 1) / 2 when the two differ (2 v of the time). All less |E|² = 2 v², by hand.
    policy, rewards = OneTokenPolicy(torch.tensor([0.3, -0.2])), torch.tensor([0.0, 1.0]).double()
    p = float(policy.token_logprobs().detach()[1, 0].exp())
    v = p * (1 - p)
    _, left_out = moments(policy, REINFORCE, 2, in_groups(rewards, baseline="leave_one_out"))
    _, none = moments(policy, REINFORCE, 2, against(ConstantBaseline(), rewards))
    _, own_mean = moments(policy, REINFORCE, 2, against(ConstantBaseline(value=p), rewards))
    assert (left_out, none, own_mean) == pytest.approx((v - 2 * v**2, v * (1 - p) - v**2, v - 4 * v**2), abs=1e-6)
    assert left_out > none > own_mean


def _by_numpy(policy: OneTokenPolicy, rewards: Tensor, baseline: float) -> float:
    """The total variance of one sample's (r - b) d log p, d log p[a] = onehot(a) - p."""
    p = policy.parameters.detach().softmax(-1).numpy()
    steps = (rewards.numpy() - baseline)[:, None] * (np.eye(len(p)) - p)
    return float(p @ (steps**2).sum(1) - ((p @ steps) ** 2).sum())


@pytest.mark.capability("RL-03")
@pytest.mark.capability("RL-05")
def test_with_an_exact_critic_the_variance_falls_below_any_constants_and_on_as_lambda_falls() -> None:
    policy = TwoTokenPolicy(5)
    mean_reward = float((policy.token_logprobs().detach().sum(-1).exp() * REWARDS).sum())
    credits = [
        against(ConstantBaseline()),
        against(ConstantBaseline(value=mean_reward)),
        by_critic(critic(policy), 0.5),
        by_critic(critic(policy), 0.0),
    ]
    variances = [moments(policy, REINFORCE, 1, credit)[1] for credit in credits]
    assert variances == sorted(variances, reverse=True)


# ------------------------------------------------------------------------------------------------- filter and imitate


@pytest.mark.capability("DV-21")
@pytest.mark.parametrize("kept", [REWARDS, (REWARDS > 0.25).double()], ids=["weighted", "filtered"])
def test_filtering_by_the_reward_and_imitating_converges_to_the_policy_conditioned_on_it(kept: Tensor) -> None:
    sampler = TwoTokenPolicy(11).token_logprobs().detach().sum(-1).exp()
    conditional = sampler * kept / (sampler * kept).sum()  # q ∝ π r
    policy = TwoTokenPolicy(11)
    answers = conditional.nonzero()[:, 0].tolist()
    weights = len(answers) * conditional[answers]

    def descended(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        policy.parameters = torch.tensor(parameters, requires_grad=True)
        logprobs = policy.token_logprobs()
        rows = [row(logprobs[a].tolist(), name=str(a), weights=w) for a, w in zip(answers, weights.tolist())]
        descent = descend(CrossEntropy(), rows)
        upstream = torch.stack([descent.gradients[str(a)][1:] for a in answers])
        return descent.value, torch.autograd.grad(logprobs[answers], policy.parameters, upstream)[0].numpy()

    start = policy.parameters.detach().numpy()
    descended(minimize(descended, start, jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 0}).x)
    found = policy.token_logprobs().detach().sum(-1).exp()
    torch.testing.assert_close(found, conditional, rtol=0, atol=1e-3)


# --------------------------------------------------------------------------------------------------- KL as a loss term


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
