"""RPO is DPO plus the chosen answers' likelihood, which keeps them from being displaced."""

from __future__ import annotations

import math

import pytest

from random_batches import descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import DPO, ChosenCrossEntropy, rpo

ROWS = [
    row([-1.0, -2.0], name="chosen", preferred=1.0, ref_logprobs=[-2.0, -2.0]),
    row([-4.0], name="rejected", preferred=0.0, ref_logprobs=[-3.0]),
]


@pytest.mark.parametrize(("aggregate", "nll"), [("token_mean", 1.5), ("sequence_mean", 1.5), ("sequence_sum", 3.0)])
def test_hand_numbers(aggregate: str, nll: float) -> None:
    result = descend(rpo(beta=0.5, weight=3.0, aggregate=aggregate), ROWS)  # type: ignore[arg-type]
    assert result.value == pytest.approx(math.log(1 + math.exp(-1.0)) + 3 * nll)
    assert result.metrics["margin"] == pytest.approx(2.0)
    assert result.metrics["nll_chosen"] == pytest.approx(1.5)


def test_loss_and_gradient_are_those_of_the_two_terms_added_up() -> None:
    rows = random_rows(4)
    together = descend(rpo(beta=0.3, weight=0.7), rows)
    comparison = descend(DPO(beta=0.3), rows)
    likelihood = descend(ChosenCrossEntropy(aggregate="sequence_mean"), rows)
    assert together.value == pytest.approx(comparison.value + 0.7 * likelihood.value)
    expected = comparison.gradient + 0.7 * likelihood.gradient
    assert together.gradient.tolist() == pytest.approx(expected.tolist())
    assert together.metrics == pytest.approx({**comparison.metrics, **likelihood.metrics})


def test_a_settled_pair_still_raises_the_chosen_answer_and_leaves_the_rejected_one() -> None:
    settled = [
        row([-1.0, -2.0], name="chosen", preferred=1.0, ref_logprobs=-1.0),
        row([-1e4], name="rejected", preferred=0.0, ref_logprobs=-1.0),
    ]
    assert not descend(DPO(), settled).gradient.any()
    result = descend(rpo(), settled)
    assert result.gradients["chosen"].tolist() == pytest.approx([0.0, -0.5, -0.5])
    assert not result.gradients["rejected"].any()


def test_the_defaults() -> None:
    assert rpo() == rpo(beta=0.1, weight=1.0, aggregate="sequence_mean")


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_without_a_meaning_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match="weight"):
        rpo(weight=weight)


def test_a_beta_without_a_meaning_is_refused() -> None:
    with pytest.raises(RecipeError, match="beta"):
        rpo(beta=math.nan)
