"""The critic's loss: the worse of two errors by hand, where its gradient stops, and the explained variance."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import Descent, descend, masked_out, random_rows, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import ValueLoss, step_explained_variance
from strop.types import Outputs, Sample

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=15, deadline=None, derandomize=True)


def one_token(value: float, old: float, target: float, **settings_: Any) -> Descent:
    rows = [row([-1.0], values=[value], old_values=[old], returns=[target])]
    return descend(ValueLoss(**settings_), rows)


@pytest.mark.capability("RL-06")
@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope"),
    [
        (1.5, 1.25, 3.0, 1.125, -1.5),  # inside the range: half the squared error
        (2.0, 1.0, 3.0, 1.125, 0.0),  # moved too far toward the return: held at 1.5, no gradient
        (0.0, 1.0, -2.0, 3.125, 0.0),  # the same from above: held at 0.5
        (0.0, 1.0, 3.0, 4.5, -3.0),  # moved away from the return: free, so that it can come back
        (6.0, 1.0, 3.0, 4.5, 3.0),  # beyond the return by more than the bound lacks: free
        (3.0, 1.0, 3.0, 1.125, 0.0),  # exactly right, and too fast
    ],
)
def test_the_loss_is_half_the_worse_of_the_free_and_the_clipped_error(
    value: float, old: float, target: float, loss: float, slope: float
) -> None:
    result = one_token(value, old, target, clip=0.5)
    assert result.value == pytest.approx(loss)
    assert result.gradient_of("values")[1].item() == pytest.approx(slope)
    assert result.metrics["value_clip_fraction"] == float(slope == 0.0)


@pytest.mark.capability("RL-06")
def test_without_a_clip_it_is_half_the_squared_error_and_the_old_values_are_not_needed() -> None:
    result = descend(ValueLoss(clip=None), [row([-1.0], values=[2.0], returns=[5.0])])
    assert result.value == pytest.approx(4.5)
    assert result.gradient_of("values")[1].item() == pytest.approx(-3.0)
    assert "value_clip_fraction" not in result.metrics


def test_by_default_values_move_by_a_fifth_at_most() -> None:
    assert ValueLoss() == ValueLoss(clip=0.2, temperature=1.0)
    assert one_token(2.0, 1.0, 3.0).value == pytest.approx(0.5 * 1.8**2)


def test_the_metrics_are_token_means_of_the_step() -> None:
    rows = [
        row([-1.0] * 2, name="a", values=[1.0, 2.0], old_values=[1.0, 2.0], returns=[2.0, 5.0]),
        row([-1.0], name="b", values=[0.0], old_values=[1.0], returns=[-4.0]),
    ]
    metrics = descend(ValueLoss(), rows).metrics
    assert metrics["value_error"] == pytest.approx((-1 - 3 + 4) / 3)
    assert metrics["value_error_square"] == pytest.approx((1 + 9 + 16) / 3)
    assert metrics["return"] == pytest.approx((2 + 5 - 4) / 3)
    assert metrics["return_square"] == pytest.approx((4 + 25 + 16) / 3)
    assert metrics["value_clip_fraction"] == pytest.approx(1 / 3)


def slow_value(rows: list[Sample], clip: float | None) -> float:
    losses = []
    for sample in rows:
        for t, is_trained in enumerate(sample.loss_mask):
            if is_trained:
                value, old, target = (sample.streams[key][t] for key in ("values", "old_values", "returns"))
                error = (value - target) ** 2
                if clip is not None:
                    error = max(error, (max(old - clip, min(value, old + clip)) - target) ** 2)
                losses.append(error / 2)
    return sum(losses) / len(losses)


@quick
@given(seed=seeds, clip=st.sampled_from([None, 0.1, 0.2, 1.0]))
def test_it_equals_a_loop_over_the_tokens(seed: int, clip: float | None) -> None:
    rows = random_rows(seed)
    assert descend(ValueLoss(clip=clip), rows).value == pytest.approx(slow_value(rows, clip), rel=1e-5)


@quick
@given(seed=seeds)
def test_only_the_values_have_a_gradient(seed: int) -> None:
    result = descend(ValueLoss(), random_rows(seed))
    assert not result.gradient.any()
    assert result.gradient_of("values").any()


def test_it_needs_the_values_and_counts_the_trained_tokens() -> None:
    assert ValueLoss().needs == {"values"}
    count = ValueLoss().count(collate([row([-1.0] * 3)]))
    assert count == {"tokens": 3.0}
    assert all(isinstance(number, float) for number in count.values())
    with pytest.raises(AssertionError, match="critic"):
        descend(ValueLoss(), [row([-1.0], old_values=[1.0], returns=[1.0])])


def test_nothing_to_train_is_zero() -> None:
    result = descend(ValueLoss(), [masked_out(row([-1.0], values=1.0, old_values=1.0, returns=3.0))])
    assert result.value == 0.0
    assert set(result.metrics.values()) == {0.0}
    assert not result.gradient_of("values").any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_keeps_the_dtype_of_the_values(dtype: torch.dtype) -> None:
    batch = collate([row([-1.0], old_values=[1.0], returns=[3.0])])
    values = torch.tensor([0.0, 2.0], dtype=dtype)
    loss = ValueLoss()(Outputs(logprobs=values, values=values), batch, {"tokens": 1.0})
    assert loss.value.dtype == dtype
    assert loss.value.item() == pytest.approx(0.5 * 1.8**2)


@pytest.mark.parametrize(
    ("settings_", "setting"),
    [
        ({"clip": 0.0}, "clip"),
        ({"clip": -0.1}, "clip"),
        ({"clip": inf}, "clip"),
        ({"clip": nan}, "clip"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": inf}, "temperature"),
        ({"temperature": nan}, "temperature"),
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, Any], setting: str) -> None:
    with pytest.raises(RecipeError, match=f"value loss: {setting} is"):
        ValueLoss(**settings_)


# --------------------------------------------------------------------------------------------------- explained variance


def explained(values: list[float], returns: list[float]) -> float | None:
    rows = [row([-1.0] * len(values), values=values, old_values=values, returns=returns)]
    return step_explained_variance(descend(ValueLoss(), rows).metrics)


@pytest.mark.capability("RL-06")
def test_the_explained_variance_by_hand() -> None:
    returns = [1.0, 2.0, 3.0, 6.0]
    assert explained(returns, returns) == pytest.approx(1.0)
    assert explained([3.0] * 4, returns) == pytest.approx(0.0)
    assert explained([11.0, 12.0, 13.0, 16.0], returns) == pytest.approx(1.0)  # a constant error is no variance
    assert explained([-1.0, -2.0, -3.0, -6.0], returns) == pytest.approx(1 - 4.0)
    assert explained([1.0, 2.0, 3.0, 2.0], returns) == pytest.approx(1 - 3.0 / 3.5)


def test_the_variance_of_equal_returns_explains_nothing() -> None:
    assert explained([1.0, 2.0], [3.0, 3.0]) is None
    assert explained([0.0, 0.0], [0.0, 0.0]) is None
    moments = {"value_error": 0.0, "value_error_square": 0.0, "return": 1.0}
    assert step_explained_variance({**moments, "return_square": 1 + 0.9e-6}) is None
    assert step_explained_variance({**moments, "return_square": 1 + 1.1e-6}) == 1.0


@quick
@given(seed=seeds)
def test_the_explained_variance_of_micro_batches_is_that_of_the_step(seed: int) -> None:
    rows = random_rows(seed, 4)
    values, returns = (
        torch.tensor([s.streams[key][t] for s in rows for t, m in enumerate(s.loss_mask) if m], dtype=torch.float64)
        for key in ("values", "returns")
    )
    expected = 1 - ((returns - values).var() / returns.var()).item()
    found = step_explained_variance(descend(ValueLoss(), rows, max_tokens=12).metrics)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
