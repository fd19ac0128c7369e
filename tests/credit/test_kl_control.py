"""KL in the reward and its controllers, by hand, and in a closed loop with a policy that can be enumerated."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from flat_rows import Rows, lay_out, sequences, spread, thorough, trained
from strop.credit import AdaptiveKL, FixedKL, penalised_scores, penalised_token_rewards, sequence_kl, token_kl
from strop.errors import RecipeError


@pytest.mark.capability("A1-3")
@pytest.mark.parametrize(("beta", "penalty", "net"), [(0.1, 0.05, 1.15), (3.0, 1.5, -0.3)])
def test_a_reward_of_1_2_at_a_kl_of_a_half_is_worth_less_the_dearer_the_kl(
    beta: float, penalty: float, net: float
) -> None:
    logprobs, ref_logprobs = torch.tensor([0.0, -1.0, -0.7]), torch.tensor([0.0, -1.2, -1.0])
    mask, ids, scores = torch.tensor([False, True, True]), torch.zeros(3, dtype=torch.int64), torch.tensor([1.2])
    kl = sequence_kl(logprobs, ref_logprobs, mask, ids, 1)
    assert kl.tolist() == pytest.approx([0.5])
    assert beta * kl.item() == pytest.approx(penalty)
    assert penalised_scores(scores, logprobs, ref_logprobs, mask, ids, beta=beta).tolist() == pytest.approx([net])
    by_token = penalised_token_rewards(scores, logprobs, ref_logprobs, mask, ids, beta=beta)
    assert by_token.tolist() == pytest.approx([0.0, -0.2 * beta, 1.2 - 0.3 * beta])


@pytest.mark.capability("RL-07")
@thorough
@given(rows=sequences, beta=st.sampled_from([0.0, 0.3]))
def test_penalties_equal_a_loop_over_the_chosen_tokens(rows: Rows, beta: float) -> None:
    logprobs, ref_logprobs, mask, ids = lay_out(rows)
    scores = torch.arange(1, len(rows) + 1, dtype=torch.float64)
    gaps = [[x - y for x, y in row] for row in trained(rows)]
    by_token = [
        [(i + 1 if t == len(row) - 1 else 0) - beta * gap for t, gap in enumerate(row)] for i, row in enumerate(gaps)
    ]
    by_sequence = [i + 1 - beta * sum(row) for i, row in enumerate(gaps)]
    assert token_kl(logprobs, ref_logprobs, mask).tolist() == pytest.approx(spread(rows, gaps))
    found = penalised_token_rewards(scores, logprobs, ref_logprobs, mask, ids, beta=beta)
    assert found.tolist() == pytest.approx(spread(rows, by_token))
    found = penalised_scores(scores, logprobs, ref_logprobs, mask, ids, beta=beta)
    assert found.tolist() == pytest.approx(by_sequence)


@pytest.mark.capability("AB-detached-advantages")
def test_penalised_rewards_carry_no_gradient() -> None:
    leaf, plain = torch.zeros(1, requires_grad=True), torch.zeros(1)
    mask, ids = torch.tensor([True]), torch.tensor([0])
    for scores, logprobs, ref in ((leaf, plain, plain), (plain, leaf, plain), (plain, plain, leaf)):
        assert not penalised_scores(scores, logprobs, ref, mask, ids, beta=0.1).requires_grad
        assert not penalised_token_rewards(scores, logprobs, ref, mask, ids, beta=0.1).requires_grad
        assert not token_kl(logprobs, ref, mask).requires_grad


@pytest.mark.parametrize("beta", [-0.1, math.inf, math.nan])
def test_a_negative_or_infinite_price_is_refused_everywhere(beta: float) -> None:
    zero, mask, ids = torch.zeros(1), torch.tensor([True]), torch.tensor([0])
    for penalised in (penalised_scores, penalised_token_rewards):
        with pytest.raises(RecipeError, match="beta is"):
            penalised(zero, zero, zero, mask, ids, beta=beta)
    with pytest.raises(RecipeError, match="beta is"):
        FixedKL(beta=beta)


@pytest.mark.capability("RL-07")
def test_a_fixed_price_stays_and_may_be_nothing() -> None:
    fixed = FixedKL(beta=0.0)
    assert fixed.update(7.0, 64) is fixed


@pytest.mark.capability("RL-07")
@pytest.mark.parametrize(
    ("kl", "factor"),
    [(0.1, 1.0), (0.11, 1.01), (0.09, 0.99), (0.12, 1.02), (0.3, 1.02), (0.02, 0.98), (-0.5, 0.98)],
)
def test_the_price_follows_the_relative_error_clipped_to_a_fifth(kl: float, factor: float) -> None:
    controller = AdaptiveKL(beta=0.05, target=0.1)
    updated = controller.update(kl, 1000)  # a tenth of the horizon of 10,000
    assert updated.beta == pytest.approx(0.05 * factor)
    assert (updated.target, updated.horizon, controller.beta) == (0.1, 10_000, 0.05)


@pytest.mark.capability("RL-07")
def test_twice_the_samples_move_the_price_twice_as_far_and_half_the_horizon_too() -> None:
    assert AdaptiveKL(beta=1.0, target=0.1, horizon=100).update(9.0, 20).beta == pytest.approx(1.04)
    assert AdaptiveKL(beta=1.0, target=0.1, horizon=50).update(9.0, 20).beta == pytest.approx(1.08)


@pytest.mark.parametrize("name", ["beta", "target", "horizon"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_an_adaptive_price_needs_positive_settings(name: str, value: float) -> None:
    settings: dict[str, Any] = {"beta": 0.1, "target": 0.1, "horizon": 10, name: value}
    with pytest.raises(RecipeError, match=f"{name} is"):
        AdaptiveKL(**settings)


@pytest.mark.parametrize(("kl", "num_samples"), [(math.nan, 1), (math.inf, 1), (0.1, 0), (0.1, -1), (0.1, 50)])
def test_an_update_that_would_lose_the_price_is_refused(kl: float, num_samples: int) -> None:
    with pytest.raises(RecipeError, match="samples" if math.isfinite(kl) else "measured"):
        AdaptiveKL(beta=0.1, target=0.1, horizon=10).update(kl, num_samples)
    assert AdaptiveKL(beta=0.1, target=0.1, horizon=10).update(-9.0, 49).beta > 0
    assert AdaptiveKL(beta=0.1, target=0.1, horizon=10).update(9.0, 1).beta == pytest.approx(0.102)


REF = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
REWARDS = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)


def optimal_kl(beta: float) -> float:
    """KL(π* || ref) of the optimum π* ∝ π_ref exp(r / β), which falls as β grows."""
    optimum = (REF + REWARDS / beta).log_softmax(0)
    return (optimum.exp() * (optimum - REF)).sum().item()


def improve(parameters: Tensor, beta: float, rate: float) -> Tensor:
    """One exact policy-gradient step with the KL in the reward: the mean over all answers, none drawn."""
    logprobs = parameters.log_softmax(0)
    everything = torch.ones(4, dtype=torch.bool)
    rewards = penalised_scores(REWARDS, logprobs, REF, everything, torch.arange(4), beta=beta)
    probabilities = logprobs.exp()
    return parameters + rate * probabilities * (rewards - (probabilities * rewards).sum())


@pytest.mark.capability("RL-07")
@pytest.mark.parametrize("start", [0.02, 5.0])
def test_in_a_closed_loop_the_target_is_reached_from_a_price_too_low_and_from_one_too_high(start: float) -> None:
    controller, parameters = AdaptiveKL(beta=start, target=0.25, horizon=64), REF.clone()
    for _ in range(200):
        for _ in range(4):
            parameters = improve(parameters, controller.beta, rate=0.5)
        logprobs = parameters.log_softmax(0)
        every = torch.ones(4, dtype=torch.bool)
        kl = (logprobs.exp() * sequence_kl(logprobs, REF, every, torch.arange(4), 4)).sum().item()
        controller = controller.update(kl, 32)
    assert kl == pytest.approx(0.25, rel=1e-2)
    assert controller.beta == pytest.approx(brentq(lambda beta: optimal_kl(beta) - 0.25, 0.05, 5.0), rel=2e-2)


@pytest.mark.capability("RL-07")
def test_a_fixed_price_leads_to_the_optimum_of_its_own_kl() -> None:
    controller, parameters = FixedKL(beta=0.4), torch.zeros(4, dtype=torch.float64)
    for _ in range(300):
        parameters = improve(parameters, controller.update(1.0, 32).beta, rate=1.0)
    torch.testing.assert_close(parameters.softmax(0), (REF + REWARDS / 0.4).softmax(0), rtol=1e-6, atol=1e-8)
