"""SimPO against hand numbers, its gradient, its target margin, and a plain-Python version."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import DPO, SimPO
from strop.objectives.pairs import REDUCTIONS, Reduction
from strop.types import Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)

ROWS = [
    row([-1.0, -2.0, -3.0], name="chosen", preferred=1.0),  # mean -2
    row([-4.0, -3.0], name="rejected", preferred=0.0),  # mean -3.5
]


def test_hand_numbers_with_means_over_tokens() -> None:
    result = descend(SimPO(beta=2.0, gamma=1.0), ROWS)  # 2 · 1.5 - 1
    assert result.value == pytest.approx(math.log(1 + math.exp(-2.0)))
    expected = {
        "margin": 1.5,
        "accuracy": 1.0,
        "logps_chosen": -2.0,
        "logps_rejected": -3.5,
        "rewards_chosen": -4.0,
        "rewards_rejected": -7.0,
    }
    assert result.metrics == pytest.approx(expected)


@pytest.mark.capability("A1-4")
def test_point_6_against_point_2_is_a_margin_of_ln_3() -> None:
    rows = [row([math.log(0.6)], name="a", preferred=1.0), row([math.log(0.2)], name="b")]
    result = descend(SimPO(beta=1.0, gamma=0.0), rows)
    assert result.metrics["margin"] == pytest.approx(math.log(3), abs=1e-6)
    assert result.value == pytest.approx(math.log(4 / 3), abs=1e-6)


def test_the_gradient_is_shared_out_over_the_tokens_and_is_half_at_the_target() -> None:
    slope = 2.0 / (1 + math.exp(2.0))
    result = descend(SimPO(beta=2.0, gamma=1.0), ROWS)
    assert result.gradients["chosen"].tolist() == pytest.approx([0.0] + [-slope / 3] * 3)
    assert result.gradients["rejected"].tolist() == pytest.approx([0.0] + [slope / 2] * 2)
    at_target = descend(SimPO(beta=2.0, gamma=3.0), ROWS)
    assert at_target.value == pytest.approx(math.log(2))
    assert at_target.gradients["chosen"].sum().item() == pytest.approx(-1.0)


def test_length_alone_wins_nothing_with_means_and_loses_with_sums() -> None:
    rows = [row([-1.0] * 9, name="a", preferred=1.0), row([-1.0], name="b")]
    assert descend(SimPO(), rows).metrics["margin"] == 0.0
    assert descend(SimPO(reduction="sum"), rows).metrics["margin"] == -8.0


@thorough
@given(seed=seeds, beta=st.floats(0.1, 3.0), gamma=st.floats(0.0, 2.0), reduction=st.sampled_from(sorted(REDUCTIONS)))
def test_the_value_equals_a_loop_over_the_pairs(seed: int, beta: float, gamma: float, reduction: Reduction) -> None:
    rows = random_rows(seed)
    losses = []
    for chosen, rejected in zip(rows[0::2], rows[1::2], strict=True):
        h = logp(chosen, reduction) - logp(rejected, reduction)
        losses.append(math.log1p(math.exp(gamma - beta * h)))
    result = descend(SimPO(beta=beta, gamma=gamma, reduction=reduction), rows)
    assert result.value == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def logp(sample: Sample, reduction: Reduction) -> float:
    trained = [value for mask, value in zip(sample.loss_mask, sample.streams["logprobs"], strict=True) if mask]
    return sum(trained) / (len(trained) if reduction == "mean" else 1)


@thorough
@given(seed=seeds)
def test_sums_without_a_target_are_dpo_against_a_uniform_reference(seed: int) -> None:
    rows = random_rows(seed)
    uniform = [replace(s, streams={**s.streams, "ref_logprobs": (0.0,) * len(s.token_ids)}) for s in rows]
    one, other = descend(SimPO(beta=0.3, gamma=0.0, reduction="sum"), rows), descend(DPO(beta=0.3), uniform)
    assert one.value == pytest.approx(other.value)
    assert one.metrics == pytest.approx(other.metrics)


def test_the_defaults_average_over_tokens_and_ask_for_a_lead() -> None:
    assert SimPO() == SimPO(beta=2.0, gamma=1.0, reduction="mean")
    assert SimPO().needs == {"logprobs"}
    assert SimPO().temperature == 1.0
    with pytest.raises(TypeError):
        SimPO(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_meaning_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError, match="beta"):
        SimPO(beta=beta)


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf])
def test_a_gamma_without_a_meaning_is_refused(gamma: float) -> None:
    with pytest.raises(RecipeError, match="gamma"):
        SimPO(gamma=gamma)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(RecipeError, match="reduction is 'median'"):
        SimPO(reduction="median")  # type: ignore[arg-type]
