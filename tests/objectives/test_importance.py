"""The correction between sampler and trainer: weights by hand, exactly 1 with one engine, and a planted gap undone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from random_batches import descend, random_rows, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import ImportanceCorrection, PolicyGradient, dapo, grpo, reinforce
from strop.types import Objective, Sample

LOGS = [math.log(4.0), math.log(0.5), math.log(1.0)]
"""log p_old - log p_sampler of the three trained tokens of the first row; the second row's one is 0."""


def gap_rows() -> list[Sample]:
    first = row([-1.0] * 4, name="a", old_logprobs=-2.0, sampler_logprobs=[-2 - x for x in (LOGS[0], 9, *LOGS[1:])])
    first = replace(first, loss_mask=(False, True, False, True, True))  # the token between is a tool's
    return [first, row([-1.0], name="b", old_logprobs=-2.0, sampler_logprobs=-2.0)]


def weights(**settings_: Any) -> list[float]:
    """The four trained tokens' weights."""
    batch = collate(gap_rows())
    found, _ = ImportanceCorrection(**settings_)(
        batch.streams["old_logprobs"], batch.streams["sampler_logprobs"], batch
    )
    return found[batch.loss_mask].tolist()


@pytest.mark.capability("RL-21", "AB-tool-tokens-masked")
@pytest.mark.parametrize(
    ("level", "free"),
    [
        ("token", [4.0, 0.5, 1.0, 1.0]),
        ("sequence", [2.0, 2.0, 2.0, 1.0]),
        ("geometric", [2 ** (1 / 3)] * 3 + [1.0]),
    ],
)
def test_the_weight_of_each_level_by_hand(level: Any, free: list[float]) -> None:
    assert weights(level=level, high=inf) == pytest.approx(free, rel=1e-6)


@pytest.mark.capability("RL-21")
@pytest.mark.parametrize(
    ("outside", "low", "high", "expected"),
    [
        ("truncate", 0.0, 3.0, [3.0, 0.5, 1.0, 1.0]),
        ("truncate", 0.75, 3.0, [3.0, 0.75, 1.0, 1.0]),
        ("mask", 0.0, 3.0, [0.0, 0.5, 1.0, 1.0]),
        ("mask", 0.75, 3.0, [0.0, 0.0, 1.0, 1.0]),
        ("mask", 0.4, 5.0, [4.0, 0.5, 1.0, 1.0]),
    ],
)
def test_beyond_the_bounds_a_weight_is_cut_or_dropped(
    outside: Any, low: float, high: float, expected: list[float]
) -> None:
    assert weights(outside=outside, low=low, high=high) == pytest.approx(expected, rel=1e-6)


def test_a_weight_at_its_bound_is_inside() -> None:
    old, sampler = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    batch = collate([row([-1.0])])
    for gap in (math.log(2.0), math.log(0.5)):
        old[1] = gap
        ratio = torch.tensor(gap, dtype=torch.float64).exp().item()
        bounds = {"high": ratio} if gap > 0 else {"low": ratio}
        found, measured = ImportanceCorrection(outside="mask", **bounds)(old, sampler, batch)
        assert found[1].item() == ratio
        assert measured["sampler_outside"][1].item() == 0.0


def test_by_default_tokens_are_truncated_at_two_and_not_below() -> None:
    assert ImportanceCorrection() == ImportanceCorrection(level="token", outside="truncate", high=2.0, low=0.0)
    assert weights() == pytest.approx([2.0, 0.5, 1.0, 1.0], rel=1e-6)


def test_the_gap_is_measured_over_the_step() -> None:
    rows = [replace(s, streams={**s.streams, "advantages": (1.0,) * len(s.token_ids)}) for s in gap_rows()]
    metrics = descend(dapo_with(ImportanceCorrection(outside="mask", low=0.75, high=3.0)), rows).metrics
    assert metrics["sampler_weight"] == pytest.approx((0 + 0 + 1 + 1) / 4)
    assert metrics["sampler_outside"] == pytest.approx(2 / 4)
    k3 = [math.exp(x) - 1 - x for x in LOGS]  # samples are the sampler's: E[old / sampler] - 1 - E[log old / sampler]
    assert metrics["sampler_kl"] == pytest.approx(sum(k3) / 4, rel=1e-6)


def dapo_with(correction: ImportanceCorrection) -> PolicyGradient:
    return replace(dapo(), correction=correction)


@pytest.mark.capability("RL-21", "AB-ratio-1-on-first-step")
@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("outside", ["truncate", "mask"])
@pytest.mark.parametrize("has_old", [True, False])
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_with_the_same_engine_the_weight_is_exactly_one_and_nothing_changes(
    level: Any, outside: Any, has_old: bool, seed: int
) -> None:
    source = "old_logprobs" if has_old else "logprobs"
    rows = [replace(s, streams={**s.streams, "sampler_logprobs": s.streams[source]}) for s in random_rows(seed)]
    if not has_old:
        rows = [replace(s, streams={k: v for k, v in s.streams.items() if k != "old_logprobs"}) for s in rows]
    corrected = descend(replace(grpo(), correction=ImportanceCorrection(level=level, outside=outside)), rows)
    plain = descend(grpo(), rows)
    assert corrected.value == plain.value
    assert torch.equal(corrected.gradient, plain.gradient)
    assert corrected.metrics["sampler_weight"] == pytest.approx(1.0, abs=1e-15)
    assert corrected.metrics["sampler_outside"] == corrected.metrics["sampler_kl"] == 0.0


def test_where_the_sampler_is_called_old_nothing_is_counted_twice() -> None:
    rows = random_rows(3)
    bypass = [replace(s, streams={**s.streams, "old_logprobs": s.streams["sampler_logprobs"]}) for s in rows]
    corrected = descend(dapo_with(ImportanceCorrection(level="sequence")), bypass)
    assert corrected.value == descend(dapo(), bypass).value


@pytest.mark.capability("AB-detached-weights")
def test_the_weight_has_no_gradient_even_when_old_is_the_policy_itself() -> None:
    rows = [row([-1.0], sampler_logprobs=[-1.0 - math.log(1.5)], advantages=1.0)]
    result = descend(replace(reinforce(), correction=ImportanceCorrection()), rows)
    assert result.value == pytest.approx(1.5, rel=1e-6)  # -w A log p
    assert result.gradient[1].item() == pytest.approx(-1.5, rel=1e-6)  # -w A: w itself is not differentiated


def test_the_weight_is_on_the_surrogate_and_neither_on_the_divergence_nor_on_the_entropy() -> None:
    rows = [row([-1.0], sampler_logprobs=[-3.0], ref_logprobs=[-1.5], entropy=[0.7], advantages=0.0)]
    objective = PolicyGradient(kl="k2", beta=0.5, entropy_weight=0.1)
    corrected = descend(replace(objective, correction=ImportanceCorrection()), rows)
    assert corrected.value == descend(objective, rows).value == pytest.approx(0.5 * 0.125 - 0.07)


@pytest.mark.parametrize(("gap", "weight"), [(1e4, math.exp(20)), (-1e4, math.exp(-20)), (19.0, math.exp(19))])
def test_absurd_gaps_stay_finite(gap: float, weight: float) -> None:
    batch = collate([row([-1.0])])
    old = torch.tensor([0.0, gap], dtype=torch.float64)
    found, measured = ImportanceCorrection(high=inf)(old, torch.zeros_like(old), batch)
    assert found[1].item() == pytest.approx(weight)
    assert all(values.isfinite().all() for values in measured.values())


@pytest.mark.parametrize(
    "bounds",
    [
        {"high": 1.0},
        {"high": 0.5},
        {"high": nan},
        {"low": 1.0},
        {"low": -0.1},
        {"low": nan},
        {"low": 1.5, "high": 2.0},
    ],
)
def test_bounds_that_shut_out_an_agreeing_sampler_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="the bounds are"):
        ImportanceCorrection(**bounds)


@pytest.mark.parametrize("name", ["level", "outside"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"importance correction: {name} is 'turns'"):
        ImportanceCorrection(**{name: "turns"})


# -------------------------------------------------------------------------------------- a planted gap, by enumeration

ANSWERS = list(itertools.product(range(3), repeat=2))
ADVANTAGES = [0.5, -1.0, 0.3, 2.0, -0.7, 0.0, 1.0, -0.2, 0.1]


class Enumerated:
    """Policies of two tokens out of three: the one that is trained, the old one, and an engine that disagrees."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameters = torch.randn(12, generator=generator, dtype=torch.float64)
        self.policy = self.of(self.parameters)
        self.old = self.of(self.parameters + 0.2 * torch.randn(12, generator=generator, dtype=torch.float64))
        self.engine = self.of(self.parameters + 0.5 * torch.randn(12, generator=generator, dtype=torch.float64))

    @staticmethod
    def of(parameters: Tensor) -> Tensor:
        """log p of both tokens of each of the nine answers, [9, 2]."""
        first, second = parameters[:3].log_softmax(-1), parameters[3:].view(3, 3).log_softmax(-1)
        return torch.stack([torch.stack([first[a], second[a, b]]) for a, b in ANSWERS])


def expected_gradient(objective: Objective, policies: Enumerated, drawn_from: Tensor, sampler: Tensor | None) -> Tensor:
    """E over answers drawn from ``drawn_from`` of d loss / d log p, as a push on each token of each answer, [9, 2]."""
    pushes = []
    for number, chance in enumerate(drawn_from.sum(1).exp().tolist()):
        streams: dict[str, Sequence[float] | float] = {"old_logprobs": policies.old[number].tolist()}
        if sampler is not None:
            streams["sampler_logprobs"] = sampler[number].tolist()
        step = [row(policies.policy[number].tolist(), advantages=ADVANTAGES[number], **streams)]
        pushes.append(chance * descend(objective, step).gradient[1:])
    return torch.stack(pushes)


@pytest.mark.capability("RL-21")
@pytest.mark.parametrize("objective", [grpo(), PolicyGradient(ratio="sequence_sum"), reinforce()])
def test_samples_of_another_engine_weighted_by_the_sequence_give_the_gradient_of_the_old_policys_own(
    objective: PolicyGradient,
) -> None:
    policies = Enumerated()
    truth = expected_gradient(objective, policies, policies.old, None)
    exact = replace(objective, correction=ImportanceCorrection(level="sequence", high=inf))
    corrected = expected_gradient(exact, policies, policies.engine, policies.engine)
    torch.testing.assert_close(corrected, truth, rtol=1e-5, atol=1e-7)
    uncorrected = expected_gradient(objective, policies, policies.engine, None)
    assert (uncorrected - truth).norm() > 0.2 * truth.norm()


@pytest.mark.capability("RL-21")
def test_truncation_and_token_weights_leave_a_part_of_the_gap_and_take_most_of_it_away() -> None:
    policies = Enumerated()
    truth = expected_gradient(grpo(), policies, policies.old, None)
    planted = (expected_gradient(grpo(), policies, policies.engine, None) - truth).norm()
    for correction in (ImportanceCorrection(level="sequence"), ImportanceCorrection()):
        objective = replace(grpo(), correction=correction)
        left = (expected_gradient(objective, policies, policies.engine, policies.engine) - truth).norm()
        assert 1e-3 * planted < left < 0.75 * planted
