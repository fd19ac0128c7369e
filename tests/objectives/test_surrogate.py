"""The surrogates at one token: values, where the gradient stops, and which side is counted."""

from __future__ import annotations

import math
from math import inf
from typing import Any

import pytest
import torch

from strop.objectives import PolicyGradient
from strop.objectives.surrogate import CLIPPED, SURROGATES, Bounds

LOGPROB = -1.5


def at(surrogate: Any, ratio: float, advantage: float, **bounds: float) -> tuple[float, float]:
    """Value and gradient with respect to the log-probability, which is -1.5, of one token."""
    logprobs = torch.tensor([LOGPROB], dtype=torch.float64, requires_grad=True)
    ratios = (logprobs - LOGPROB + math.log(ratio)).exp()
    loss = SURROGATES[surrogate](ratios, logprobs, torch.tensor([advantage], dtype=torch.float64), Bounds(**bounds))
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    return loss.item(), gradient.item()


@pytest.mark.capability("RL-04", "AB-clip-sides")
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.5, 2.0, -2.6, 0.0),  # above the range with a good sample: enough
        (1.5, -2.0, 3.0, 3.0),  # above the range with a bad sample: push it back
        (0.5, 2.0, -1.0, -1.0),  # below the range with a good sample: pull it up
        (0.5, -2.0, 1.6, 0.0),  # below the range with a bad sample: enough
        (1.1, 2.0, -2.2, -2.2),
        (0.9, -2.0, 1.8, 1.8),
    ],
)
def test_the_clip_stops_the_gradient_on_two_of_four_sides(
    ratio: float, advantage: float, value: float, gradient: float
) -> None:
    assert at("clip", ratio, advantage, clip_low=0.2, clip_high=0.3) == pytest.approx((value, gradient))


@pytest.mark.capability("AB-dual-clip")
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (4.0, -2.0, 6.0, 0.0),  # a bad sample that became four times as likely: no further than c |A|
        (2.5, -2.0, 5.0, 5.0),  # below c it is pushed back as ever
        (0.5, -2.0, 1.6, 0.0),
        (4.0, 2.0, -2.6, 0.0),  # good samples know nothing of c
        (0.5, 2.0, -1.0, -1.0),
        (4.0, 0.0, 0.0, 0.0),
    ],
)
def test_the_dual_clip_bounds_the_loss_of_bad_samples_and_no_other(
    ratio: float, advantage: float, value: float, gradient: float
) -> None:
    found = at("dual_clip", ratio, advantage, clip_low=0.2, clip_high=0.3, dual_clip=3.0)
    assert found == pytest.approx((value, gradient))


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [(6.0, 2.0, 5.0), (6.0, -2.0, 5.0), (0.1, 2.0, 0.4), (0.1, -2.0, 0.4), (3.0, 2.0, 3.0)],
)
def test_cispo_bounds_the_weight_and_never_stops_the_gradient(ratio: float, advantage: float, weight: float) -> None:
    value, gradient = at("cispo", ratio, advantage, clip_low=0.6, clip_high=4.0)
    assert value == pytest.approx(-weight * advantage * LOGPROB)
    assert gradient == pytest.approx(-weight * advantage)


@pytest.mark.parametrize(("ratio", "advantage"), [(6.0, 2.0), (0.1, -2.0), (1e-3, 1.0)])
def test_reinforce_and_a_cispo_without_bounds_weigh_by_the_ratio_whatever_it_is(ratio: float, advantage: float) -> None:
    expected = (-ratio * advantage * LOGPROB, -ratio * advantage)
    assert at("reinforce", ratio, advantage) == pytest.approx(expected)
    assert at("cispo", ratio, advantage) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------------------------- sides

RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5]


def sides(surrogate: Any, advantage: float) -> dict[str, list[float]]:
    """The ratios that each side counts, with the range [0.75, 1.25] and c = 2: all exact in binary."""
    ratios = torch.tensor(RATIOS, dtype=torch.float64)
    bounds = Bounds(clip_low=0.25, clip_high=0.25, dual_clip=2.0)
    found = CLIPPED[surrogate](ratios, torch.full_like(ratios, advantage), bounds)
    return {name: ratios[side].tolist() for name, side in found.items()}


@pytest.mark.capability("AB-clip-sides")
def test_the_sides_are_counted_beyond_the_bound_and_not_at_it() -> None:
    above, below = [1.5, 2.0, 2.5], [0.5]
    assert sides("clip", 1.0) == {"low": [], "high": above}
    assert sides("clip", -1.0) == {"low": below, "high": []}
    assert sides("clip", 0.0) == {"low": [], "high": []}
    assert sides("dual_clip", 1.0) == {"low": [], "high": above, "dual": []}
    assert sides("dual_clip", -1.0) == {"low": below, "high": [], "dual": [2.5]}
    assert sides("dual_clip", 0.0) == {"low": [], "high": [], "dual": []}
    for advantage in (1.0, 0.0, -1.0):
        assert sides("cispo", advantage) == {"low": below, "high": above}
    assert sides("reinforce", 1.0) == {}


@pytest.mark.capability("AB-clip-sides", "AB-dual-clip")
@pytest.mark.parametrize("surrogate", ["clip", "dual_clip"])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_side_is_counted_exactly_where_the_gradient_is_zero(surrogate: Any, advantage: float) -> None:
    counted = {ratio for side in sides(surrogate, advantage).values() for ratio in side}
    for ratio in (0.5, 1.0, 1.5, 2.5):
        _, gradient = at(surrogate, ratio, advantage, clip_low=0.25, clip_high=0.25, dual_clip=2.0)
        assert (gradient == 0.0) == (ratio in counted)


@pytest.mark.parametrize(
    ("surrogate", "bounds"),
    [
        ("clip", (0.2, 0.2, inf)),
        ("dual_clip", (0.2, 0.2, 3.0)),
        ("cispo", (inf, 4.0, inf)),
        ("reinforce", (inf, inf, inf)),
    ],
)
def test_each_surrogate_has_its_own_bounds_where_none_are_given(surrogate: Any, bounds: tuple[float, ...]) -> None:
    found = PolicyGradient(surrogate=surrogate).bounds
    assert (found.clip_low, found.clip_high, found.dual_clip) == bounds


def test_a_given_bound_replaces_the_surrogates_own_and_leaves_the_others() -> None:
    found = PolicyGradient(surrogate="dual_clip", clip_high=0.28, dual_clip=10.0).bounds
    assert found == Bounds(clip_low=0.2, clip_high=0.28, dual_clip=10.0)
    assert PolicyGradient(surrogate="cispo", clip_low=0.5).bounds == Bounds(clip_low=0.5, clip_high=4.0)
