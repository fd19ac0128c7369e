"""IPO against hand numbers under both normalisations, its gradient, its target, and a plain-Python version."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import IPO
from strop.objectives.pairs import REDUCTIONS, Reduction
from strop.types import Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)

ROWS = [
    row([-1.0, -2.0, -3.0], name="chosen", preferred=1.0, ref_logprobs=[-2.0, -3.0, -4.0]),  # log-ratio 3, mean 1
    row([-4.0, -3.0], name="rejected", preferred=0.0, ref_logprobs=[-3.0, -3.0]),  # log-ratio -1, mean -0.5
]


def test_hand_numbers_with_means_over_tokens() -> None:
    result = descend(IPO(beta=0.25), ROWS)  # target 2, h = 1 + 0.5
    assert result.value == pytest.approx(0.25)
    expected = {
        "margin": 1.5,
        "accuracy": 1.0,
        "logps_chosen": -2.0,
        "logps_rejected": -3.5,
        "rewards_chosen": 0.25,
        "rewards_rejected": -0.125,
    }
    assert result.metrics == pytest.approx(expected)


def test_hand_numbers_with_sums_over_tokens() -> None:
    result = descend(IPO(beta=0.25, reduction="sum"), ROWS)  # h = 3 + 1
    assert result.value == pytest.approx(4.0)
    assert result.metrics["margin"] == pytest.approx(4.0)
    assert result.metrics["logps_chosen"] == pytest.approx(-6.0)


def test_the_gradient_is_twice_the_distance_shared_out_over_the_tokens() -> None:
    mean = descend(IPO(beta=0.25), ROWS)
    assert mean.gradients["chosen"].tolist() == pytest.approx([0.0] + [2 * -0.5 / 3] * 3)
    assert mean.gradients["rejected"].tolist() == pytest.approx([0.0] + [-2 * -0.5 / 2] * 2)
    total = descend(IPO(beta=0.25, reduction="sum"), ROWS)  # beyond the target: pulled back
    assert total.gradients["chosen"].tolist() == pytest.approx([0.0, 4.0, 4.0, 4.0])
    assert total.gradients["rejected"].tolist() == pytest.approx([0.0, -4.0, -4.0])


@pytest.mark.capability("AB-ref-equals-policy-at-step-0")
def test_at_the_reference_the_loss_is_the_squared_target() -> None:
    rows = [row([-1.0], name="a", preferred=1.0, ref_logprobs=-1.0), row([-2.0], name="b", ref_logprobs=-2.0)]
    result = descend(IPO(beta=0.1), rows)
    assert result.value == pytest.approx(25.0)
    assert result.metrics["margin"] == 0.0
    assert result.metrics["accuracy"] == 0.5


def test_a_pair_at_the_target_margin_rests() -> None:
    rows = [row([4.0], name="a", preferred=1.0, ref_logprobs=-1.0), row([-1.0], name="b", ref_logprobs=-1.0)]
    result = descend(IPO(beta=0.1), rows)
    assert result.value == pytest.approx(0.0, abs=1e-12)
    assert result.gradient.abs().max() < 1e-12


@thorough
@given(seed=st.integers(0, 2**32 - 1), beta=st.floats(0.05, 2.0), reduction=st.sampled_from(sorted(REDUCTIONS)))
def test_the_value_equals_a_loop_over_the_pairs(seed: int, beta: float, reduction: Reduction) -> None:
    rows = random_rows(seed)
    losses = []
    for chosen, rejected in zip(rows[0::2], rows[1::2], strict=True):
        h = log_ratio(chosen, reduction) - log_ratio(rejected, reduction)
        losses.append((h - 0.5 / beta) ** 2)
    assert descend(IPO(beta=beta, reduction=reduction), rows).value == pytest.approx(
        sum(losses) / len(losses), rel=1e-5
    )


def log_ratio(sample: Sample, reduction: Reduction) -> float:
    streams = zip(sample.loss_mask, sample.streams["logprobs"], sample.streams["ref_logprobs"], strict=True)
    differences = [logprob - ref for trained, logprob, ref in streams if trained]
    return sum(differences) / (len(differences) if reduction == "mean" else 1)


def test_the_defaults_average_over_tokens() -> None:
    assert IPO() == IPO(beta=0.1, reduction="mean")
    assert IPO().needs == {"logprobs"}
    assert IPO().temperature == 1.0
    assert set(get_args(Reduction)) == set(REDUCTIONS)
    with pytest.raises(TypeError):
        IPO(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_meaning_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError, match="beta"):
        IPO(beta=beta)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(RecipeError, match="reduction is 'median'"):
        IPO(reduction="median")  # type: ignore[arg-type]
