"""The one shift and the per-sequence reductions, against loops over sequences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.segments import (
    following,
    last_of_each,
    predictors,
    reverse_scan,
    scatter,
    segment_count,
    segment_last,
    segment_mean,
    segment_sum,
)

thorough = settings(max_examples=40, deadline=None, derandomize=True)
sequences = st.lists(
    st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=6), min_size=1, max_size=5
)


def lay_out(rows: list[list[tuple[float, bool]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values, mask and sequence ids of the rows laid end to end."""
    values = torch.tensor([value for row in rows for value, _ in row], dtype=torch.float64)
    mask = torch.tensor([masked for row in rows for _, masked in row])
    return values, mask, torch.tensor([i for i, row in enumerate(rows) for _ in row])


@pytest.mark.capability("AB-shift-by-one")
def test_a_token_is_predicted_from_the_position_before_it_in_its_own_sequence() -> None:
    mask = torch.tensor([False, True, True, False, False, True])
    position_ids = torch.tensor([0, 1, 2, 0, 1, 2])
    targets, positions = predictors(mask, position_ids)
    assert targets.tolist() == [1, 2, 5]
    assert positions.tolist() == [0, 1, 4]


def test_the_first_token_of_a_sequence_cannot_be_trained() -> None:
    with pytest.raises(AssertionError, match="first token"):
        predictors(torch.tensor([False, True, True]), torch.tensor([0, 1, 0]))


def test_nothing_masked_in_has_no_predictors() -> None:
    targets, positions = predictors(torch.zeros(3, dtype=torch.bool), torch.arange(3))
    assert targets.tolist() == positions.tolist() == []


def test_scattered_values_stand_at_their_targets_and_keep_their_gradient() -> None:
    values = torch.tensor([2.0, 3.0], requires_grad=True)
    placed = scatter(values, torch.tensor([1, 3]), 5)
    assert placed.tolist() == [0, 2, 0, 3, 0]
    (gradient,) = torch.autograd.grad((placed * torch.arange(5)).sum(), values)
    assert gradient.tolist() == [1.0, 3.0]


@thorough
@given(rows=sequences)
def test_segment_reductions_equal_a_loop_over_the_sequences(rows: list[list[tuple[float, bool]]]) -> None:
    values, mask, ids = lay_out(rows)
    sums = [sum(value for value, _ in row) for row in rows]
    kept = [[value for value, masked in row if masked] for row in rows]
    means = [sum(row) / len(row) if row else 0.0 for row in kept]
    assert segment_sum(values, ids, len(rows)).tolist() == pytest.approx(sums, abs=1e-9)
    assert segment_mean(values, mask, ids, len(rows)).tolist() == pytest.approx(means, abs=1e-9)
    assert segment_count(mask, ids, len(rows)).tolist() == [len(row) for row in kept]


def test_a_sequence_without_masked_tokens_has_mean_zero_and_no_gradient() -> None:
    values = torch.tensor([5.0, 7.0], requires_grad=True)
    means = segment_mean(values, torch.tensor([False, True]), torch.tensor([0, 1]), 2)
    assert means.tolist() == [0.0, 7.0]
    (gradient,) = torch.autograd.grad(means.sum(), values)
    assert gradient.tolist() == [0.0, 1.0]


def test_a_sequence_number_without_any_token_is_zero() -> None:
    assert segment_sum(torch.ones(2), torch.tensor([0, 2]), 4).tolist() == [1.0, 0.0, 1.0, 0.0]


def test_a_long_sequence_is_counted_exactly() -> None:
    assert (
        segment_count(torch.ones(70_000, dtype=torch.bool), torch.zeros(70_000, dtype=torch.int64), 1).item() == 70_000
    )


# ------------------------------------------------------------------------------------------ along a sequence, backwards

# Two sequences and an untrained one between them: a prompt token each, and a tool's answer inside the first.
MASK = torch.tensor([False, True, False, True, True, False, False, True])
OWNERS = torch.tensor([0, 0, 0, 0, 0, 1, 2, 2])
VALUES = torch.tensor([9.0, 1.0, 9.0, 2.0, 4.0, 9.0, 9.0, 8.0], dtype=torch.float64)


def test_the_last_token_of_a_sequence_is_its_last_masked_one() -> None:
    mask = torch.tensor([False, True, True, False, False, False, True])
    owners = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    assert last_of_each(mask, owners).tolist() == [False, False, True, False, False, False, True]
    assert segment_last(torch.arange(7.0), mask, owners, 3).tolist() == [2.0, 0.0, 6.0]


def test_the_following_token_is_the_next_masked_one_of_the_same_sequence() -> None:
    assert following(VALUES, MASK, OWNERS).tolist() == [0, 2.0, 0, 4.0, 0, 0, 0, 0]


def test_a_reverse_scan_decays_once_a_masked_token_and_stays_within_its_sequence() -> None:
    # Sequence 0 from its end: 4, then 2 + 4/2 = 4, then 1 + 4/2 = 3; sequence 2: 8.
    assert reverse_scan(VALUES, 0.5, MASK, OWNERS, 3).tolist() == [0, 3.0, 0, 4.0, 4.0, 0, 0, 8.0]


def test_scans_of_nothing_are_nothing() -> None:
    nothing = torch.zeros(8, dtype=torch.bool)
    for found in (following(VALUES, nothing, OWNERS), reverse_scan(VALUES, 0.5, nothing, OWNERS, 3)):
        assert found.tolist() == [0.0] * 8
    assert segment_last(VALUES, nothing, OWNERS, 3).tolist() == [0.0] * 3


def test_a_reverse_scan_is_differentiable() -> None:
    values = VALUES.clone().requires_grad_()
    reverse_scan(values, 0.5, MASK, OWNERS, 3)[1].backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1.0, 0, 0.5, 0.25, 0, 0, 0]


@thorough
@given(rows=sequences, decay=st.floats(-2, 2))
def test_scans_equal_a_loop_over_the_masked_tokens_of_each_sequence(
    rows: list[list[tuple[float, bool]]], decay: float
) -> None:
    values, mask, owners = lay_out(rows)
    scanned, behind, last, at_last = [], [], [], []
    for row in rows:
        kept = [value for value, masked in row if masked]
        sums, carry = [], 0.0
        for value in reversed(kept):
            carry = value + decay * carry
            sums.insert(0, carry)
        numbers = iter(range(len(kept)))
        for _, masked in row:
            i = next(numbers) if masked else -1
            scanned.append(sums[i] if masked else 0.0)
            behind.append(kept[i + 1] if masked and i + 1 < len(kept) else 0.0)
            last.append(masked and i + 1 == len(kept))
        at_last.append(kept[-1] if kept else 0.0)
    assert reverse_scan(values, decay, mask, owners, len(rows)).tolist() == pytest.approx(scanned)
    assert following(values, mask, owners).tolist() == behind
    assert last_of_each(mask, owners).tolist() == last
    assert segment_last(values, mask, owners, len(rows)).tolist() == at_last
