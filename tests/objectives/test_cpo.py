"""CPO is the preference of summed log-probabilities plus the likelihood of the chosen answers."""

from __future__ import annotations

import math

import pytest

from random_batches import descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import cpo

ROWS = [
    row([-1.0, -2.0], name="chosen", preferred=1.0),
    row([-4.0, -3.0], name="rejected", preferred=0.0),
]


@pytest.mark.parametrize(("aggregate", "nll"), [("token_mean", 1.5), ("sequence_mean", 1.5), ("sequence_sum", 3.0)])
def test_hand_numbers(aggregate: str, nll: float) -> None:
    result = descend(cpo(beta=0.5, weight=3.0, aggregate=aggregate), ROWS)  # type: ignore[arg-type]
    assert result.value == pytest.approx(math.log(1 + math.exp(-2.0)) + 3 * nll)
    assert result.metrics["margin"] == pytest.approx(4.0)
    assert result.metrics["nll_chosen"] == pytest.approx(1.5)
    slope = 0.5 / (1 + math.exp(2.0))
    assert result.gradients["rejected"].tolist() == pytest.approx([0.0, slope, slope])
    pull = 1.0 if aggregate == "sequence_sum" else 0.5
    assert result.gradients["chosen"].tolist() == pytest.approx([0.0] + [-slope - 3 * pull] * 2)


@pytest.mark.capability("A1-4")
def test_point_6_against_point_2_is_a_margin_of_ln_3() -> None:
    rows = [row([math.log(0.6)], name="a", preferred=1.0), row([math.log(0.2)], name="b")]
    result = descend(cpo(), rows)
    assert result.metrics["margin"] == pytest.approx(math.log(3), abs=1e-6)
    assert result.value == pytest.approx(math.log(1 + 3**-0.1) - math.log(0.6), abs=1e-6)


def test_the_defaults_are_the_papers_weights_and_the_mean_over_tokens() -> None:
    rows = random_rows(5)
    stated = cpo(beta=0.1, weight=1.0, aggregate="token_mean")
    assert cpo() == stated
    assert descend(cpo(), rows).value != pytest.approx(descend(cpo(aggregate="sequence_mean"), rows).value)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_without_a_meaning_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match="weight"):
        cpo(weight=weight)


def test_a_beta_without_a_meaning_is_refused() -> None:
    with pytest.raises(RecipeError, match="beta"):
        cpo(beta=0.0)
