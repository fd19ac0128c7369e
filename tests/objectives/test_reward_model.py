"""The Bradley-Terry loss against hand numbers, a loop, its gradient, and a planted preference."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, masked_out, random_rows, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import BradleyTerry
from strop.types import Outputs, Sample

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=20, deadline=None, derandomize=True)


def pair(chosen: list[float], rejected: list[float], group: int = 0, **facts: float) -> list[Sample]:
    """Two rows with a score for every trained token."""
    rows = [
        row([-1.0] * len(chosen), name=f"chosen {group}", group=group, preferred=1.0, scores=chosen),
        row([-1.0] * len(rejected), name=f"rejected {group}", group=group, preferred=0.0, scores=rejected),
    ]
    return [replace(sample, facts={**sample.facts, **facts}) for sample in rows]


@pytest.mark.capability("PR-05")
def test_equal_scores_of_zero_cost_ln_2_and_are_a_tie() -> None:
    result = descend(BradleyTerry(), pair([9.0, 0.0], [0.0]))
    assert result.value == pytest.approx(math.log(2))
    assert result.metrics == {"accuracy": 0.5, "margin": 0.0, "score": 0.0}


@pytest.mark.capability("PR-05")
def test_the_score_is_read_at_the_last_trained_token_only() -> None:
    rows = pair([5.0, -7.0, 2.0], [3.0, 0.5])
    rows[0] = replace(  # a tool's answer behind the last trained token
        rows[0],
        token_ids=(*rows[0].token_ids, 99),
        loss_mask=(*rows[0].loss_mask, False),
        streams={key: (*stream, 50.0) for key, stream in rows[0].streams.items()},
    )
    result = descend(BradleyTerry(center=0.0), rows)
    assert result.value == pytest.approx(math.log(1 + math.exp(-1.5)))
    slope = 1 / (1 + math.exp(1.5))
    assert result.by_output["scores"]["chosen 0"].tolist() == pytest.approx([0, 0, 0, -slope, 0])
    assert result.by_output["scores"]["rejected 0"].tolist() == pytest.approx([0, 0, slope])
    assert result.metrics == pytest.approx({"accuracy": 1.0, "margin": 1.5, "score": 1.25})


@pytest.mark.capability("PR-05")
def test_a_margin_is_by_how_much_the_preferred_row_must_lead() -> None:
    rows = pair([2.0], [0.5])
    for sample, margin in zip(rows, [1.0, 77.0], strict=True):
        sample.facts["margins"] = margin  # type: ignore[index]
    result = descend(BradleyTerry(center=0.0), rows)
    assert result.value == pytest.approx(math.log(1 + math.exp(-0.5)))
    assert result.metrics["margin"] == 1.5  # of the scores, not of the loss
    assert descend(BradleyTerry(center=0.0), rows[::-1]).value == pytest.approx(result.value)


def test_a_margin_is_a_constant() -> None:
    batch = collate(pair([2.0], [0.5], margins=1.0))
    margins = batch.facts["margins"].requires_grad_()
    scores = batch.streams["scores"].requires_grad_()
    loss = BradleyTerry()(Outputs(logprobs=scores, scores=scores), batch, {"pairs": 1.0}).value
    assert torch.autograd.grad(loss, [scores, margins], allow_unused=True)[1] is None


def test_centring_pulls_the_sum_of_both_scores_to_zero() -> None:
    rows = pair([3.0], [1.0])
    plain, centred = descend(BradleyTerry(center=0.0), rows), descend(BradleyTerry(center=0.1), rows)
    assert centred.value - plain.value == pytest.approx(0.1 * 16)
    pull = centred.gradient_of("scores") - plain.gradient_of("scores")
    assert pull.tolist() == pytest.approx([0, 0.8, 0, 0.8])
    assert descend(BradleyTerry(), rows).value - plain.value == pytest.approx(0.16)  # the default is 0.01


@thorough
@given(seed=seeds, center=st.floats(0, 1))
def test_the_value_equals_a_loop_over_the_pairs(seed: int, center: float) -> None:
    rows = random_rows(seed)
    total = 0.0
    for chosen, rejected in zip(rows[0::2], rows[1::2], strict=True):
        high, low = last_score(chosen), last_score(rejected)
        total += math.log(1 + math.exp(chosen.facts["margins"] - high + low)) + center * (high + low) ** 2
    assert descend(BradleyTerry(center=center), rows).value == pytest.approx(total / (len(rows) / 2), rel=1e-5)


def last_score(sample: Sample) -> float:
    return [s for s, trained in zip(sample.streams["scores"], sample.loss_mask, strict=True) if trained][-1]


def test_two_pairs_are_averaged_and_a_pair_with_an_empty_answer_counts_nowhere() -> None:
    one, other = pair([1.0], [0.0]), pair([0.0], [2.0], group=1)
    both = descend(BradleyTerry(center=0.0), one + other)
    assert both.value == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2)
    assert both.metrics == pytest.approx({"accuracy": 0.5, "margin": -0.5, "score": 0.75})
    alone = descend(BradleyTerry(center=0.0), [*one, other[0], masked_out(other[1])])
    assert alone.value == pytest.approx(math.log(1 + math.exp(-1)))


@pytest.mark.parametrize("lead", [1e4, -1e4])
def test_huge_leads_stay_finite(lead: float) -> None:
    result = descend(BradleyTerry(center=0.0), pair([lead], [0.0]))
    assert result.value == pytest.approx(max(0.0, -lead))
    assert result.gradient_of("scores").isfinite().all()


@pytest.mark.parametrize("center", [-0.01, math.nan, math.inf])
def test_a_centring_that_is_none_is_refused(center: float) -> None:
    with pytest.raises(RecipeError, match="center"):
        BradleyTerry(center=center)


def test_what_it_asks_of_the_policy() -> None:
    assert BradleyTerry().needs == {"scores"}
    assert BradleyTerry().temperature == 1.0
    with pytest.raises(TypeError, match="temperature"):
        BradleyTerry(temperature=2.0)  # type: ignore[call-arg]
    bare = [replace(s, streams={"logprobs": s.streams["logprobs"]}) for s in pair([1.0], [0.0])]
    with pytest.raises(AssertionError, match="not asked for scores"):
        descend(BradleyTerry(), bare)


@pytest.mark.capability("PR-05")
def test_a_linear_head_learns_a_planted_preference_up_to_its_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    planted = torch.tensor([1.0, -2.0, 0.5, 0.0])
    features = torch.randn(1600, 4, generator=generator)
    is_first_better = (features[0::2] - features[1::2]) @ planted > 0
    is_flipped = torch.rand(800, generator=generator) < 0.15
    first = (is_first_better ^ is_flipped).float()
    samples = [
        sample
        for group, label in enumerate(first[:600].tolist())
        for sample in (
            row([-1.0], name=f"{group}a", group=group, preferred=label),
            row([-1.0], name=f"{group}b", group=group, preferred=1 - label),
        )
    ]
    batch, weights, objective = collate(samples), torch.zeros(4, requires_grad=True), BradleyTerry()
    totals = objective.count(batch)
    for _ in range(60):
        scores = torch.zeros(batch.num_tokens)
        scores[1::2] = features[:1200] @ weights
        loss = objective(Outputs(logprobs=scores, scores=scores), batch, totals)
        (gradient,) = torch.autograd.grad(loss.value, weights)
        weights = (weights - 1.0 * gradient).detach().requires_grad_()
    lead = (features[1200::2] - features[1201::2]) @ weights.detach()
    accuracy = ((lead > 0) == (first[600:] == 1)).float().mean().item()
    assert accuracy > 0.85 - 0.03  # the ceiling is what is not flipped
    assert ((lead > 0) == is_first_better[600:]).float().mean() > 0.9
