"""Rewards to go, against plain loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flat_rows import Rows, lay_out, sequences, spread, thorough, trained
from strop.credit import rewards_to_go
from strop.errors import RecipeError


def one_sequence(rewards: list[float], mask: list[bool] | None = None, **settings: Any) -> list[float]:
    masked = torch.tensor(mask or [True] * len(rewards))
    ids = torch.zeros(len(rewards), dtype=torch.int64)
    return rewards_to_go(torch.tensor(rewards), masked, ids, 1, **settings).tolist()


@pytest.mark.capability("RL-02")
def test_a_reward_is_credited_to_every_token_before_it_and_by_default_in_full() -> None:
    assert one_sequence([0.0, 1.0, 0.0, 2.0]) == [3.0, 3.0, 2.0, 2.0]


@pytest.mark.capability("RL-02")
def test_a_discount_shrinks_what_comes_later() -> None:
    assert one_sequence([1.0, 2.0, 4.0], gamma=0.5) == [1 + 1 + 1, 2 + 2, 4]


def test_normalised_by_what_is_left_it_is_the_mean_of_the_rewards_from_here_on() -> None:
    assert one_sequence([3.0, 1.0, 2.0], normalise="remaining_length") == [2.0, 1.5, 2.0]
    assert one_sequence([4.0, 2.0], gamma=0.5, normalise="remaining_length") == [2.5, 2.0]


@pytest.mark.capability("AB-tool-tokens-masked")
@thorough
@given(rows=sequences, gamma=st.sampled_from([0.0, 0.5, 0.9, 1.0]), normalise=st.booleans())
def test_rewards_to_go_equal_a_loop_over_the_chosen_tokens(rows: Rows, gamma: float, normalise: bool) -> None:
    rewards, _, mask, ids = lay_out(rows)
    expected = []
    for row in trained(rows):
        sums = [sum(gamma**k * r for k, (r, _) in enumerate(row[t:])) for t in range(len(row))]
        expected.append([s / (len(row) - t) for t, s in enumerate(sums)] if normalise else sums)
    found = rewards_to_go(
        rewards, mask, ids, len(rows), gamma=gamma, normalise="remaining_length" if normalise else None
    )
    assert found.tolist() == pytest.approx(spread(rows, expected), abs=1e-9)


@pytest.mark.capability("AB-detached-advantages")
def test_returns_carry_no_gradient() -> None:
    rewards = torch.tensor([1.0, 2.0], requires_grad=True)
    found = rewards_to_go(rewards, torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64), 1)
    assert not found.requires_grad


@pytest.mark.parametrize("gamma", [-0.01, 1.01, math.nan])
def test_a_discount_outside_zero_to_one_is_refused(gamma: float) -> None:
    with pytest.raises(RecipeError, match="gamma is"):
        one_sequence([1.0], gamma=gamma)


def test_an_unknown_normaliser_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="remaining_length"):
        one_sequence([1.0], normalise="length")
