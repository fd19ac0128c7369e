"""GAE against its closed forms and plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flat_rows import Rows, lay_out, number, sequences, spread, thorough, trained
from strop.credit import explained_variance, gae, terminal_rewards, whiten
from strop.errors import RecipeError


def one_sequence(rewards: list[float], values: list[float], **settings: Any) -> tuple[list[float], list[float]]:
    mask, ids = torch.ones(len(rewards), dtype=torch.bool), torch.zeros(len(rewards), dtype=torch.int64)
    settings = {"final_values": torch.zeros(1), **settings}
    advantages, returns = gae(torch.tensor(rewards), torch.tensor(values), mask, ids, 1, **settings)
    return advantages.tolist(), returns.tolist()


def finals(rows: Rows, value: float = 0.0) -> Tensor:
    return torch.full((len(rows),), value, dtype=torch.float64)


@pytest.mark.capability("RL-05")
def test_gae_on_three_tokens_worked_by_hand() -> None:
    # γ = 0.5, λ = 0.5. δ = (0 + 1 - 1, 0 + 2 - 2, 8 + 0 - 4) = (0, 0, 4); A = (4/16, 4/4, 4); R = A + V.
    advantages, returns = one_sequence([0.0, 0.0, 8.0], [1.0, 2.0, 4.0], gamma=0.5, lam=0.5)
    assert advantages == [0.25, 1.0, 4.0]
    assert returns == [1.25, 3.0, 8.0]


@pytest.mark.capability("RL-05")
def test_by_default_nothing_is_discounted_and_lambda_is_0_95() -> None:
    advantages, _ = one_sequence([0.0, 0.0, 1.0], [0.0, 0.0, 0.0])
    assert advantages == pytest.approx([0.95**2, 0.95, 1.0])


@pytest.mark.capability("RL-05")
@thorough
@given(rows=sequences, gamma=st.sampled_from([0.5, 0.9, 1.0]), final=number)
def test_lambda_0_is_the_one_step_error(rows: Rows, gamma: float, final: float) -> None:
    rewards, values, mask, ids = lay_out(rows)
    expected = []
    for row in trained(rows):
        ahead = [v for _, v in row[1:]] + [final]
        expected.append([r + gamma * after - v for (r, v), after in zip(row, ahead, strict=False)])
    found, _ = gae(rewards, values, mask, ids, len(rows), final_values=finals(rows, final), gamma=gamma, lam=0.0)
    assert found.tolist() == pytest.approx(spread(rows, expected), abs=1e-9)


@pytest.mark.capability("RL-05")
@thorough
@given(rows=sequences, gamma=st.sampled_from([0.5, 0.9, 1.0]), final=number)
def test_lambda_1_is_what_was_earned_from_here_on_minus_the_value(rows: Rows, gamma: float, final: float) -> None:
    rewards, values, mask, ids = lay_out(rows)
    earned = []
    for row in trained(rows):
        ahead = [r for r, _ in row] + [final]
        earned.append([sum(gamma**k * r for k, r in enumerate(ahead[t:])) for t in range(len(row))])
    expected = [[e - v for e, (_, v) in zip(es, row, strict=True)] for es, row in zip(earned, trained(rows))]
    found, returns = gae(rewards, values, mask, ids, len(rows), final_values=finals(rows, final), gamma=gamma, lam=1.0)
    assert found.tolist() == pytest.approx(spread(rows, expected), abs=1e-9)
    assert returns.tolist() == pytest.approx(spread(rows, earned), abs=1e-9)


def loop(rewards: list[float], values: list[float], mask: list[bool], gamma: float, lam: float) -> list[float]:
    """One padded sequence from its end, a masked position handing on what it was handed: verl's rule, as a loop."""
    next_value = last = 0.0
    found = []
    for reward, value, masked in reversed(list(zip(rewards, values, mask, strict=True))):
        if masked:
            last = reward + gamma * next_value - value + gamma * lam * last
            next_value = value
        found.append(last if masked else 0.0)
    return found[::-1]


@pytest.mark.capability("RL-05")
@pytest.mark.capability("AB-tool-tokens-masked")
@thorough
@given(rows=sequences, gamma=st.sampled_from([0.9, 1.0]), lam=st.sampled_from([0.3, 0.95]))
def test_tool_tokens_hand_value_and_advantage_through_unchanged(rows: Rows, gamma: float, lam: float) -> None:
    rewards, values, mask, ids = lay_out(rows)
    found, returns = gae(rewards, values, mask, ids, len(rows), final_values=finals(rows), gamma=gamma, lam=lam)
    expected = [a for row in rows for a in loop(*map(list, zip(*row, strict=True)), gamma, lam)]  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)
    known = [a + v if m else 0.0 for a, (_, v, m) in zip(expected, (t for row in rows for t in row), strict=True)]
    assert returns.tolist() == pytest.approx(known, abs=1e-9)


@pytest.mark.capability("RL-05")
def test_a_sequence_that_was_cut_off_goes_on_with_the_value_it_is_given_and_the_others_do_not() -> None:
    rewards, values = torch.zeros(4), torch.tensor([0.5, 0.5, 0.5, 0.5])
    mask, ids = torch.ones(4, dtype=torch.bool), torch.tensor([0, 0, 1, 1])
    found, _ = gae(rewards, values, mask, ids, 2, final_values=torch.tensor([0.0, 0.8]), gamma=0.5, lam=0.0)
    assert found.tolist() == pytest.approx([-0.25, -0.5, -0.25, 0.5 * 0.8 - 0.5])


def test_what_stands_after_the_end_must_be_said() -> None:
    with pytest.raises(TypeError, match="final_values"):
        gae(torch.zeros(1), torch.zeros(1), torch.ones(1).bool(), torch.zeros(1).long(), 1)  # type: ignore[call-arg]


@pytest.mark.capability("AB-value-returns-before-whitening")
def test_the_critics_target_is_the_return_before_the_advantages_are_whitened() -> None:
    mask, ids = torch.ones(3, dtype=torch.bool), torch.tensor([0, 0, 1])
    values = torch.tensor([0.2, 0.4, 0.1])
    rewards = terminal_rewards(torch.tensor([1.0, 0.0]), mask, ids)
    advantages, returns = gae(rewards, values, mask, ids, 2, final_values=torch.zeros(2), lam=1.0)
    whitened = whiten(advantages, mask)
    assert returns.tolist() == pytest.approx([1.0, 1.0, 0.0])  # what was earned, in the rewards' own unit
    assert (whitened + values).tolist() != pytest.approx([1.0, 1.0, 0.0], abs=0.1)


@pytest.mark.capability("AB-detached-advantages")
def test_advantages_and_returns_carry_no_gradient_to_rewards_or_critic() -> None:
    leaf = torch.ones(2, requires_grad=True)
    plain, mask, ids = torch.ones(2), torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    for rewards, values, final in ((leaf, plain, plain[:1]), (plain, leaf, plain[:1]), (plain, plain, leaf[:1])):
        advantages, returns = gae(rewards, values, mask, ids, 1, final_values=final)
        assert not advantages.requires_grad
        assert not returns.requires_grad
    assert not terminal_rewards(leaf, mask, ids).requires_grad


@pytest.mark.parametrize("name", ["gamma", "lam"])
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_a_discount_or_decay_outside_zero_to_one_is_refused(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=f"^{name} is"):
        one_sequence([1.0], [0.0], **{name: value})


def test_a_score_stands_at_the_last_trained_token_and_nowhere_without_one() -> None:
    mask = torch.tensor([False, True, True, False, False, False, True])
    ids = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    rewards = terminal_rewards(torch.tensor([0.5, math.nan, -2.0]), mask, ids)
    assert rewards.tolist() == [0, 0, 0.5, 0, 0, 0, -2.0]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_our_own_mistake(score: float) -> None:
    with pytest.raises(AssertionError, match="ungraded"):
        terminal_rewards(torch.tensor([0.0, score]), torch.tensor([True, True]), torch.tensor([0, 1]))


@pytest.mark.capability("RL-06")
@thorough
@given(rows=sequences)
def test_explained_variance_equals_numpys(rows: Rows) -> None:
    values, returns, mask, _ = lay_out(rows)
    v, r = values.numpy()[mask.numpy()], returns.numpy()[mask.numpy()]
    if len(r) < 2 or np.ptp(r) == 0:
        assert math.isnan(explained_variance(values, returns, mask))
    else:
        assert explained_variance(values, returns, mask) == pytest.approx(1 - np.var(r - v) / np.var(r), rel=1e-6)


@pytest.mark.capability("RL-06")
def test_a_perfect_critic_explains_everything_a_constant_one_nothing_and_one_offset_does_not_show() -> None:
    returns, mask = torch.tensor([1.0, 0.0, 3.0]), torch.ones(3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(returns + 5, returns, mask) == 1.0
    assert explained_variance(torch.full((3,), 2.0), returns, mask) == pytest.approx(0.0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)


@pytest.mark.capability("RL-06")
def test_two_different_returns_are_enough_and_equal_ones_explain_nothing() -> None:
    mask = torch.ones(2, dtype=torch.bool)
    assert explained_variance(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]), mask) == pytest.approx(0.75)
    assert math.isnan(explained_variance(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 2.0]), mask))
    assert math.isnan(
        explained_variance(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]), torch.tensor([True, False]))
    )
    assert math.isnan(explained_variance(torch.zeros(2), torch.zeros(2), torch.zeros(2, dtype=torch.bool)))


def test_explained_variance_is_taken_in_double_precision() -> None:
    # Var(0, 2, 6) = 28/3 and Var(0, 0.75, 0) = 3/16; in float32 16777218 - 1.25 is 16777216 and nothing is missed.
    returns = torch.tensor([16777216.0, 16777218.0, 16777222.0])
    values = torch.tensor([0.0, 1.25, 6.0])
    mask = torch.ones(3, dtype=torch.bool)
    assert explained_variance(values, returns, mask) == pytest.approx(1 - (3 / 16) / (28 / 3), rel=1e-9)
