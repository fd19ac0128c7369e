"""The ratios at the tokens of two sequences, by hand: what is masked out never enters a sequence's ratio."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from random_batches import descend, row
from strop.batches import collate
from strop.objectives import PolicyGradient
from strop.objectives.ratio import RATIOS
from strop.types import Batch, Sample


def with_a_tool_token() -> list[Sample]:
    """A row of three trained tokens with a tool's token between them, and a row of one."""
    long = row([-1.0] * 4, name="long")
    return [replace(long, loss_mask=(False, True, False, True, True)), row([-1.0], name="short")]


LOG_RATIO = [9.0, 0.1, 7.0, 0.2, 0.6, 8.0, -0.5]
TRAINED = [1, 3, 4, 6]


def at_the_trained_tokens(ratio: Any) -> tuple[list[float], Tensor]:
    """The log-ratio at each trained token, and the Jacobian of those with respect to all tokens."""
    batch: Batch = collate(with_a_tool_token())

    def found(log_ratio: Tensor) -> Tensor:
        return RATIOS[ratio](log_ratio, batch)[TRAINED]

    log_ratio = torch.tensor(LOG_RATIO, dtype=torch.float64)
    return found(log_ratio).tolist(), torch.autograd.functional.jacobian(found, log_ratio)


@pytest.mark.capability("AB-tool-tokens-masked")
@pytest.mark.parametrize(
    ("ratio", "values", "own", "of_the_sequence"),
    [
        ("token", [0.1, 0.2, 0.6, -0.5], 1.0, 0.0),
        ("sequence", [0.3, 0.3, 0.3, -0.5], 1 / 3, 1 / 3),
        ("sequence_sum", [0.9, 0.9, 0.9, -0.5], 1.0, 1.0),
        ("none", [0.0, 0.0, 0.0, 0.0], 1.0, 0.0),
    ],
)
def test_the_ratio_of_a_token_a_sequence_and_none_by_hand(
    ratio: Any, values: list[float], own: float, of_the_sequence: float
) -> None:
    found, jacobian = at_the_trained_tokens(ratio)
    assert found == pytest.approx(values)
    expected = torch.zeros(4, 7, dtype=torch.float64)
    for place, token in enumerate(TRAINED[:3]):
        expected[place, TRAINED[:3]] = of_the_sequence
        expected[place, token] = own
    expected[3, 6] = 1.0
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.parametrize(("log_ratio", "slope"), [(19.5, 1.0), (20.5, 0.0), (-19.5, 1.0), (-20.5, 0.0)])
def test_ratios_are_clamped_at_twenty_nats(log_ratio: float, slope: float) -> None:
    rows = [row([-1.0], old_logprobs=[-1.0 - log_ratio], advantages=[math.copysign(1.0, -log_ratio)])]
    result = descend(PolicyGradient(), rows)
    clamped = math.exp(max(-20.0, min(20.0, log_ratio)))
    assert result.metrics["ratio"] == pytest.approx(clamped, rel=1e-6)
    assert result.value == pytest.approx(math.copysign(clamped, log_ratio), rel=1e-6)
    assert result.gradient[1].item() == pytest.approx(slope * result.value, rel=1e-6)


def test_a_small_drift_of_every_token_explodes_in_the_product_and_not_in_the_geometric_mean() -> None:
    rows = [row([-1.0] * 100, old_logprobs=[-1.05] * 100, advantages=-1.0)]
    assert descend(PolicyGradient(ratio="sequence_sum"), rows).metrics["ratio"] == pytest.approx(math.exp(5), rel=1e-4)
    assert descend(PolicyGradient(ratio="sequence"), rows).metrics["ratio"] == pytest.approx(math.exp(0.05))
