"""Robust DPO against hand numbers, its gradient, its unbiasedness under flipped labels, and a plain-Python version."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import DPO, RobustDPO
from strop.types import Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def pair(chosen: float, rejected: float) -> list[Sample]:
    """One token each, under a reference of log-probability -1."""
    return [
        row([chosen], name="chosen", preferred=1.0, ref_logprobs=[-1.0]),
        row([rejected], name="rejected", preferred=0.0, ref_logprobs=[-1.0]),
    ]


def test_hand_number_for_a_margin_of_2() -> None:
    right, wrong = math.log(1 + math.exp(-1.0)), math.log(1 + math.exp(1.0))  # β h = 0.5 · 2
    result = descend(RobustDPO(beta=0.5, flip_probability=0.2), pair(-1.0, -3.0))
    assert result.value == pytest.approx((0.8 * right - 0.2 * wrong) / 0.6, abs=1e-7)
    assert result.metrics["margin"] == pytest.approx(2.0)
    assert result.metrics["rewards_rejected"] == pytest.approx(-1.0)


def test_the_gradient_never_fades() -> None:
    beta, flip = 0.5, 0.2
    result = descend(RobustDPO(beta=beta, flip_probability=flip), pair(-1.0, -3.0))
    wrong_side = 1 / (1 + math.exp(1.0))
    slope = beta * (0.8 * wrong_side + 0.2 * (1 - wrong_side)) / 0.6
    assert result.gradient.tolist() == pytest.approx([0.0, -slope, 0.0, slope])
    far = descend(RobustDPO(beta=beta, flip_probability=flip), pair(-1.0, -1e4))
    assert far.gradient.tolist() == pytest.approx([0.0, -beta * 0.2 / 0.6, 0.0, beta * 0.2 / 0.6])
    assert far.value == pytest.approx(-beta * (1e4 - 1) * 0.2 / 0.6)


@thorough
@given(seed=seeds, flip=st.floats(0.0, 0.45))
def test_the_expectation_over_flipped_labels_is_dpo_on_the_true_ones(seed: int, flip: float) -> None:
    rows = random_rows(seed, num_groups=2)
    expected_value, expected_gradient = 0.0, 0.0 * descend(DPO(), rows).gradient
    for flips in itertools.product((False, True), repeat=2):
        probability = math.prod(flip if flipped else 1 - flip for flipped in flips)
        noisy = [
            replace(sample, facts={**sample.facts, "preferred": abs(flips[number // 2] - sample.facts["preferred"])})
            for number, sample in enumerate(rows)
        ]
        result = descend(RobustDPO(beta=0.4, flip_probability=flip), noisy)
        expected_value += probability * result.value
        expected_gradient += probability * result.gradient
    clean = descend(DPO(beta=0.4), rows)
    assert expected_value == pytest.approx(clean.value, rel=1e-9)
    assert expected_gradient.tolist() == pytest.approx(clean.gradient.tolist(), rel=1e-9, abs=1e-12)


@thorough
@given(seed=seeds, beta=st.floats(0.01, 2.0))
def test_without_flips_it_is_dpo(seed: int, beta: float) -> None:
    rows = random_rows(seed)
    ours, dpo = descend(RobustDPO(beta=beta, flip_probability=0.0), rows), descend(DPO(beta=beta), rows)
    assert ours.value == pytest.approx(dpo.value)
    assert ours.gradient.tolist() == pytest.approx(dpo.gradient.tolist())
    assert ours.metrics == pytest.approx(dpo.metrics)


def test_at_the_reference_the_loss_is_ln_2() -> None:
    assert descend(RobustDPO(), pair(-1.0, -1.0)).value == pytest.approx(math.log(2))


def test_the_defaults_and_what_they_need() -> None:
    assert RobustDPO() == RobustDPO(beta=0.1, flip_probability=0.1)
    assert RobustDPO().needs == {"logprobs"}
    assert RobustDPO().temperature == 1.0
    with pytest.raises(TypeError):
        RobustDPO(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_meaning_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError, match="beta"):
        RobustDPO(beta=beta)


@pytest.mark.parametrize("flip_probability", [-0.1, 0.5, math.nan])
def test_labels_that_carry_nothing_are_refused(flip_probability: float) -> None:
    with pytest.raises(RecipeError, match="flip_probability"):
        RobustDPO(flip_probability=flip_probability)
