"""The aggregations: each denominator by hand, over the whole step, and what a token weighs in the gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from random_batches import descend, masked_out, row
from strop.batches import collate
from strop.objectives import PolicyGradient, dr_grpo
from strop.objectives.aggregate import AGGREGATES, denominators
from strop.types import Batch, Sample


def rows() -> list[Sample]:
    """Three trained tokens around a tool's one, one trained token, and a row with nothing to train."""
    long = replace(row([-1.0] * 4, name="long"), loss_mask=(False, True, False, True, True))
    return [long, row([-1.0], name="short"), masked_out(row([-1.0, -1.0], name="nothing"))]


def batch() -> Batch:
    return collate(rows())


LOSSES = torch.tensor([50.0, 1.0, 60.0, 2.0, 3.0, 70.0, 5.0, 80.0, 90.0, 99.0], dtype=torch.float64)
TRAINED = [1, 3, 4, 6]


def test_the_denominators_are_trained_tokens_and_sequences_that_have_some() -> None:
    assert denominators(batch()) == {"tokens": 4.0, "sequences": 2.0}
    assert all(isinstance(number, float) for number in denominators(batch()).values())
    assert denominators(collate(rows()[2:])) == {"tokens": 0.0, "sequences": 0.0}


@pytest.mark.capability("RL-17", "AB-tool-tokens-masked")
@pytest.mark.parametrize(
    ("aggregate", "value", "weights"),
    [
        ("token_mean", (1 + 2 + 3 + 5) / 4, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ("sequence_mean", (2 + 5) / 2, [1 / 6, 1 / 6, 1 / 6, 1 / 2]),
        ("sequence_sum", (6 + 5) / 2, [1 / 2, 1 / 2, 1 / 2, 1 / 2]),
        ("constant", (6 + 5) / (2 * 10), [1 / 20, 1 / 20, 1 / 20, 1 / 20]),
    ],
)
def test_value_and_weight_of_every_token_by_hand(aggregate: Any, value: float, weights: list[float]) -> None:
    def found(losses: Tensor) -> Tensor:
        return AGGREGATES[aggregate](losses, batch(), denominators(batch()), 10)

    assert found(LOSSES).item() == pytest.approx(value)
    jacobian = torch.autograd.functional.jacobian(found, LOSSES)
    expected = torch.zeros(10, dtype=torch.float64)
    expected[TRAINED] = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.capability("AB-per-step-normaliser", "AB-micro-batch-invariance")
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_denominator_is_the_steps_and_not_the_micro_batchs(aggregate: Any) -> None:
    long, short = collate(rows()[:1]), collate(rows()[1:2])
    totals = {name: denominators(long)[name] + denominators(short)[name] for name in ("tokens", "sequences")}
    parts = AGGREGATES[aggregate](LOSSES[:5], long, totals, 10) + AGGREGATES[aggregate](LOSSES[5:7], short, totals, 10)
    whole = AGGREGATES[aggregate](LOSSES, batch(), denominators(batch()), 10)
    assert parts.item() == pytest.approx(whole.item())


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_nothing_to_train_is_zero(aggregate: Any) -> None:
    empty = collate(rows()[2:])
    assert AGGREGATES[aggregate](LOSSES[7:], empty, denominators(empty), 10).item() == 0.0


@pytest.mark.capability("AB-L_max-constant", "RL-12")
def test_the_constant_normaliser_does_not_see_how_long_the_answers_are() -> None:
    objective = dr_grpo(constant_length=16)
    gradients = []
    for length in (2, 5, 16):
        step = [row([-1.0] * length, name="a", advantages=1.0), row([-1.0] * 2, name="b", advantages=0.0)]
        gradients.append(descend(objective, step).gradients["a"][1:])
        torch.testing.assert_close(gradients[-1], torch.full((length,), -1 / 32, dtype=torch.float64))


def test_the_constant_is_asserted_to_be_there() -> None:
    with pytest.raises(AssertionError):
        AGGREGATES["constant"](LOSSES, batch(), denominators(batch()), None)


def test_the_objective_counts_what_it_divides_by() -> None:
    assert PolicyGradient().count(batch()) == {"tokens": 4.0, "sequences": 2.0}


@pytest.mark.parametrize(
    ("aggregate", "value"), [("token_mean", 5.0), ("sequence_mean", 5.0), ("sequence_sum", 5.0), ("constant", 0.5)]
)
def test_a_step_of_one_token_is_divided_by_one(aggregate: Any, value: float) -> None:
    alone = collate(rows()[1:2])
    assert AGGREGATES[aggregate](LOSSES[5:7], alone, denominators(alone), 10).item() == pytest.approx(value)
