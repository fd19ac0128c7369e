"""Whitening against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flat_rows import Rows, lay_out, sequences, thorough
from strop.credit import masked_mean, masked_variance, whiten


def every(*values: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(values, dtype=torch.float64), torch.ones(len(values), dtype=torch.bool)


@thorough
@given(rows=sequences, shift_mean=st.booleans())
def test_whitening_equals_numpys_with_the_unbiased_variance(rows: Rows, shift_mean: bool) -> None:
    values, _, mask, _ = lay_out(rows)
    chosen = values.numpy()[mask.numpy()]
    expected = np.zeros(len(values))
    if len(chosen) > 1 and np.ptp(chosen) >= 1e-6:
        scaled = (chosen - chosen.mean()) / np.sqrt(chosen.var(ddof=1) + 1e-8)
        expected[mask.numpy()] = scaled if shift_mean else scaled + chosen.mean()
    elif not shift_mean:
        expected[mask.numpy()] = chosen
    np.testing.assert_allclose(whiten(values, mask, shift_mean=shift_mean).numpy(), expected, atol=1e-9)


def test_by_default_the_mean_goes_to_zero_and_without_the_shift_it_stays() -> None:
    values, mask = every(2.0, 4.0, 6.0)
    assert whiten(values, mask).tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-8)
    assert whiten(values, mask, shift_mean=False).tolist() == pytest.approx([3.0, 4.0, 5.0], abs=1e-8)


@pytest.mark.parametrize("values", [(0.1, 0.1, 0.1), (0.7, 0.7 + 9e-7), (5.0,)])
def test_equal_values_and_a_single_one_become_exactly_zero_or_stay_exactly(values: tuple[float, ...]) -> None:
    numbers, mask = every(*values)
    assert whiten(numbers, mask).tolist() == [0.0] * len(values)
    assert whiten(numbers, mask, shift_mean=False).tolist() == list(values)


def test_values_that_differ_by_the_spread_are_whitened_with_the_offset_holding_them_down() -> None:
    values, mask = every(0.0, 1e-6)
    by_hand = 0.5e-6 / math.sqrt(0.5e-12 + 1e-8)
    assert whiten(values, mask).tolist() == pytest.approx([-by_hand, by_hand])


@pytest.mark.parametrize("shift_mean", [True, False])
def test_nothing_trained_gives_zeros(shift_mean: bool) -> None:
    nothing = whiten(torch.tensor([math.nan, 3.0]), torch.zeros(2, dtype=torch.bool), shift_mean=shift_mean)
    assert nothing.tolist() == [0.0, 0.0]


@pytest.mark.capability("AB-detached-advantages")
@pytest.mark.parametrize("shift_mean", [True, False])
@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0]])
def test_whitened_values_carry_no_gradient(values: list[float], shift_mean: bool) -> None:
    leaf = torch.tensor(values, requires_grad=True)
    assert not whiten(leaf, torch.ones(2, dtype=torch.bool), shift_mean=shift_mean).requires_grad


def test_mean_and_variance_are_of_the_masked_values_only() -> None:
    values, mask = torch.tensor([1.0, math.nan, 4.0]), torch.tensor([True, False, True])
    assert masked_mean(values, mask).item() == 2.5
    assert masked_variance(values, mask).item() == 4.5  # (1.5² + 1.5²) / 1


def test_the_mean_of_nothing_and_the_variance_of_one_are_refused() -> None:
    values = torch.tensor([1.0, 2.0])
    assert masked_mean(values, torch.tensor([False, True])).item() == 2.0
    with pytest.raises(ValueError, match="no tokens"):
        masked_mean(values, torch.tensor([False, False]))
    with pytest.raises(ValueError, match="1 tokens"):
        masked_variance(values, torch.tensor([False, True]))
    with pytest.raises(ValueError, match="0 tokens"):
        masked_variance(values, torch.tensor([False, False]))
