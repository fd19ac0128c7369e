"""Step labels against hand numbers and a loop; where labels stand; an outcome model as good as can be."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, random_rows, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import StepLabel, label_steps, labels_until_first_error
from strop.types import Outputs, Sample

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=20, deadline=None, derandomize=True)
LN_3 = math.log(3)


def labelled(scores: list[float], labels: list[float]) -> Sample:
    return row([-1.0] * len(scores), scores=scores, labels=labels)


@pytest.mark.capability("RS-09")
def test_a_score_of_ln_3_is_three_quarters() -> None:
    right, wrong = descend(StepLabel(), [labelled([LN_3], [1.0])]), descend(StepLabel(), [labelled([LN_3], [0.0])])
    assert right.value == pytest.approx(-math.log(0.75))
    assert wrong.value == pytest.approx(-math.log(0.25))
    assert right.metrics == pytest.approx({"probability": 0.75, "accuracy": 1.0})
    assert wrong.metrics == pytest.approx({"probability": 0.75, "accuracy": 0.0})
    assert right.by_output["scores"]["row"].tolist() == pytest.approx([0, -0.25])
    assert wrong.by_output["scores"]["row"].tolist() == pytest.approx([0, 0.75])


def test_soft_labels_pull_to_their_share() -> None:
    result = descend(StepLabel(), [labelled([LN_3], [0.75])])
    assert result.value == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert result.gradient_of("scores").abs().max() < 1e-7
    assert result.metrics["accuracy"] == 1.0


def test_on_the_line_is_half_right() -> None:
    result = descend(StepLabel(), [labelled([0.0, -1.0, 1.0], [1.0, 0.5, 1.0])])
    assert result.metrics["accuracy"] == pytest.approx(2 / 3)


@thorough
@given(seed=seeds)
def test_the_value_equals_a_loop_over_the_labelled_tokens(seed: int) -> None:
    rows = random_rows(seed)
    losses = [
        -math.log(p if y else 1 - p)
        for sample in rows
        for trained, score, y in zip(sample.loss_mask, sample.streams["scores"], sample.streams["labels"], strict=True)
        if trained and (p := 1 / (1 + math.exp(-score)))
    ]
    assert descend(StepLabel(), rows).value == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize(("score", "label", "loss"), [(1e4, 1.0, 0.0), (1e4, 0.0, 1e4), (-1e4, 1.0, 1e4)])
def test_certain_scores_stay_finite(score: float, label: float, loss: float) -> None:
    result = descend(StepLabel(), [labelled([score], [label])])
    assert result.value == pytest.approx(loss)
    assert result.gradient_of("scores").tolist() == pytest.approx([0, (score > 0) - label])


@pytest.mark.parametrize("label", [-1.0, 1.5, -0.01])
def test_a_rating_that_is_no_probability_is_a_mistake(label: float) -> None:
    with pytest.raises(AssertionError, match="map ratings"):
        descend(StepLabel(), [labelled([0.0], [label])])


def test_what_it_asks_of_the_policy() -> None:
    assert StepLabel().needs == {"scores"}
    assert StepLabel().temperature == 1.0
    with pytest.raises(TypeError, match="temperature"):
        StepLabel(temperature=2.0)  # type: ignore[call-arg]
    sample = labelled([0.0], [1.0])
    bare = replace(sample, streams={key: s for key, s in sample.streams.items() if key != "scores"})
    with pytest.raises(AssertionError, match="not asked for scores"):
        descend(StepLabel(), [bare])


# ------------------------------------------------------------------------------------------ where labels stand


@pytest.mark.capability("AB-PRM-label-position")
def test_a_label_stands_on_the_steps_last_token_and_not_on_the_next_ones_first() -> None:
    # prompt 0-1, step 2-3, step 4-6 (its separator included), step 7
    mask, labels = label_steps(8, [(2, 4), (4, 7), (7, 8)], [1.0, 0.0, 0.25])
    assert mask == (False, False, False, True, False, False, True, True)
    assert labels == (0, 0, 0, 1.0, 0, 0, 0.0, 0.25)


@pytest.mark.capability("AB-PRM-label-position")
def test_only_the_scores_at_the_ends_of_steps_are_read() -> None:
    mask, labels = label_steps(5, [(1, 3), (3, 5)], [1.0, 0.0])
    sample = Sample(
        name="a",
        token_ids=(0,) * 5,
        loss_mask=mask,
        streams={"logprobs": (0.0,) * 5, "scores": (9.0, 9.0, LN_3, 9.0, -LN_3), "labels": labels},
    )
    result = descend(StepLabel(), [sample])
    assert result.value == pytest.approx(-math.log(0.75))
    assert result.by_output["scores"]["a"].tolist() == pytest.approx([0, 0, -0.125, 0, 0.125])


@pytest.mark.capability("AB-PRM-label-position")
def test_steps_behind_the_first_error_are_unlabelled_and_not_negative() -> None:
    assert labels_until_first_error([1, 0, -1, 1, -1]) == (1.0, 1.0, 0.0, None, None)
    assert labels_until_first_error([1, 1]) == (1.0, 1.0)
    assert {type(label) for label in labels_until_first_error([1, -1])} == {float}
    assert labels_until_first_error([-1, -1]) == (0.0, None)
    assert labels_until_first_error([]) == ()
    mask, labels = label_steps(4, [(1, 2), (2, 3), (3, 4)], labels_until_first_error([1, -1, 1]))
    assert mask == (False, True, True, False)
    assert labels == (0.0, 1.0, 0.0, 0.0)


def test_an_outcome_label_is_the_label_of_one_step_that_is_the_whole_answer() -> None:
    assert label_steps(4, [(1, 4)], [1.0]) == ((False, False, False, True), (0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("steps", "labels"),
    [
        ([(1, 2)], []),
        ([(1, 2)], [1.0, 0.0]),
        ([(0, 2)], [1.0]),
        ([(2, 2)], [1.0]),
        ([(1, 5)], [1.0]),
        ([(1, 3), (2, 4)], [1.0, 1.0]),
    ],
)
def test_spans_that_are_no_steps_are_refused(steps: list[tuple[int, int]], labels: list[float]) -> None:
    with pytest.raises(RecipeError):
        label_steps(4, steps, labels)


# ------------------------------------------------------------------------------------------ a planted outcome


def area_under_curve(scores: torch.Tensor, is_right: torch.Tensor) -> float:
    """The share of (right, wrong) pairs in which the right one scores higher."""
    return (scores[is_right][:, None] > scores[~is_right][None, :]).double().mean().item()


def learn(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The weights of a linear outcome head after descent."""
    batch = collate([row([-1.0], name=str(i), labels=[float(y)]) for i, y in enumerate(labels)])
    objective, weights = StepLabel(), torch.zeros(features.shape[1], requires_grad=True)
    totals = objective.count(batch)
    for _ in range(80):
        scores = torch.zeros(batch.num_tokens)
        scores[1::2] = features @ weights
        loss = objective(Outputs(logprobs=scores, scores=scores), batch, totals)
        (gradient,) = torch.autograd.grad(loss.value, weights)
        weights = (weights - 2.0 * gradient).detach().requires_grad_()
    return weights.detach()


@pytest.mark.capability("RS-09")
def test_a_learned_outcome_model_ranks_as_well_as_the_planted_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    planted, features = torch.tensor([1.5, -1.0, 0.5, 0.0]), torch.randn(2400, 4, generator=generator)
    passes = torch.rand(2400, generator=generator) < (features @ planted).sigmoid()
    weights = learn(features[:800], passes[:800])
    held_out, is_right = features[800:], passes[800:]
    best = area_under_curve(held_out @ planted, is_right)
    assert 0.8 < best < 0.95
    assert area_under_curve(held_out @ weights, is_right) > best - 0.01


@pytest.mark.capability("RS-09")
def test_where_the_outcome_is_a_function_of_the_answer_the_model_becomes_the_indicator() -> None:
    features = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1))
    passes = features @ torch.tensor([1.0, 1.0, -1.0]) > 0
    weights = learn(features[:600], passes[:600])
    assert area_under_curve(features[600:] @ weights, passes[600:]) > 0.999
    assert area_under_curve(passes[600:].float(), passes[600:]) == 1.0


def test_a_step_that_nobody_rated_is_not_the_first_error() -> None:
    with pytest.raises(RecipeError, match="without a rating"):
        labels_until_first_error([1, math.nan, 1])
