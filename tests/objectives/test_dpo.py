"""DPO against hand numbers, its closed-form gradient, and a plain-Python version."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import descend, masked_out, random_rows, row
from strop.errors import RecipeError
from strop.objectives import DPO
from strop.types import Sample

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=25, deadline=None, derandomize=True)


def pair(
    chosen: list[float], rejected: list[float], ref_chosen: list[float], ref_rejected: list[float]
) -> list[Sample]:
    return [
        row(chosen, name="chosen", preferred=1.0, ref_logprobs=ref_chosen),
        row(rejected, name="rejected", preferred=0.0, ref_logprobs=ref_rejected),
    ]


HALF = [math.log(0.5)]


@pytest.mark.capability("PR-08", "AB-DPO-ln2", "AB-ref-equals-policy-at-step-0")
def test_the_loss_at_the_reference_is_ln_2_and_every_pair_is_a_tie() -> None:
    rows = pair([-1.0, -2.0], [-4.0], [-1.0, -2.0], [-4.0])
    result = descend(DPO(), rows)
    assert result.value == pytest.approx(math.log(2), abs=1e-7)
    assert result.metrics["margin"] == 0.0
    assert result.metrics["accuracy"] == 0.5


@pytest.mark.capability("PR-08", "A1-4")
def test_point_6_against_point_2_under_a_uniform_reference_is_a_margin_of_ln_3() -> None:
    result = descend(DPO(beta=0.1), pair([math.log(0.6)], [math.log(0.2)], HALF, HALF))
    assert result.metrics["margin"] == pytest.approx(math.log(3), abs=1e-6)
    assert result.metrics["accuracy"] == 1.0
    # -ln σ(0.1 ln 3) = ln(1 + 3^-0.1)
    assert result.value == pytest.approx(math.log(1 + 3**-0.1), abs=1e-6)


def test_sums_run_over_the_whole_answer() -> None:
    result = descend(DPO(beta=1.0), pair([-1.0, -2.0], [-4.0], [-2.0, -2.0], [-3.0]))
    expected = {
        "logps_chosen": -3.0,
        "logps_rejected": -4.0,
        "rewards_chosen": 1.0,
        "rewards_rejected": -1.0,
        "margin": 2.0,
        "accuracy": 1.0,
    }
    assert result.metrics == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}


def test_the_gradient_is_minus_beta_sigma_of_the_wrong_side_on_every_token_of_the_answer() -> None:
    beta, margin = 0.5, 2.0
    result = descend(DPO(beta=beta), pair([-1.0, -2.0], [-4.0], [-2.0, -2.0], [-3.0]))
    slope = beta / (1 + math.exp(beta * margin))
    assert result.gradients["chosen"].tolist() == pytest.approx([0.0, -slope, -slope])
    assert result.gradients["rejected"].tolist() == pytest.approx([0.0, slope])


def test_label_smoothing_mixes_in_the_loss_of_the_swapped_pair() -> None:
    rows = pair([-1.0], [-2.0], [-2.0], [-2.0])
    right, wrong = math.log(1 + math.exp(-1.0)), math.log(1 + math.exp(1.0))
    result = descend(DPO(beta=1.0, label_smoothing=0.2), rows)
    assert result.value == pytest.approx(0.8 * right + 0.2 * wrong, abs=1e-6)


def test_a_smoothed_pair_stops_pulling_once_the_policy_is_as_sure_as_the_label() -> None:
    # The optimum of the smoothed loss is σ(β h) = 1 - ε: h = ln 9 at ε = 0.1.
    rows = pair([math.log(9.0)], [0.0], [0.0], [0.0])
    assert descend(DPO(beta=1.0, label_smoothing=0.1), rows).gradient.abs().max() < 1e-7


@pytest.mark.parametrize("margin", [1e4, -1e4])
def test_huge_margins_stay_finite(margin: float) -> None:
    result = descend(DPO(beta=1.0), pair([margin], [0.0], [0.0], [0.0]))
    assert result.value == pytest.approx(max(0.0, -margin))
    assert result.gradient.tolist() == pytest.approx([0.0, -1.0, 0.0, 1.0] if margin < 0 else [0.0] * 4)


def test_a_pair_with_an_empty_answer_counts_nowhere() -> None:
    good = pair([-1.0], [-2.0], [-2.0], [-2.0])
    broken = pair([-1.0], [-9.0], [-3.0], [-2.0])
    broken = [
        replace(sample, name=f"broken {sample.name}", facts={**sample.facts, "group_ids": 1}) for sample in broken
    ]
    alone, both = descend(DPO(), good), descend(DPO(), [*good, broken[0], masked_out(broken[1])])
    assert both.value == pytest.approx(alone.value)
    assert not both.gradients["broken chosen"].any()


@thorough
@given(seed=seeds)
def test_swapping_chosen_and_rejected_negates_the_margin(seed: int) -> None:
    rows = random_rows(seed)
    swapped = [replace(s, facts={**s.facts, "preferred": 1 - s.facts["preferred"]}) for s in rows]
    one, other = descend(DPO(), rows), descend(DPO(), swapped)
    assert one.metrics["margin"] == pytest.approx(-other.metrics["margin"], abs=1e-9)
    assert one.metrics["accuracy"] == pytest.approx(1 - other.metrics["accuracy"], abs=1e-9)
    assert one.metrics["rewards_chosen"] == pytest.approx(other.metrics["rewards_rejected"], abs=1e-9)


@thorough
@given(seed=seeds, beta=st.floats(0.01, 2.0), label_smoothing=st.floats(0.0, 0.49))
def test_the_value_equals_a_loop_over_the_pairs(seed: int, beta: float, label_smoothing: float) -> None:
    rows = random_rows(seed)
    total = 0.0
    for chosen, rejected in zip(rows[0::2], rows[1::2], strict=True):
        h = log_ratio(chosen) - log_ratio(rejected)
        probability = 1 / (1 + math.exp(-beta * h))
        total -= (1 - label_smoothing) * math.log(probability) + label_smoothing * math.log(1 - probability)
    result = descend(DPO(beta=beta, label_smoothing=label_smoothing), rows)
    assert result.value == pytest.approx(total / (len(rows) / 2), rel=1e-5)


def log_ratio(sample: Sample) -> float:
    streams = zip(sample.loss_mask, sample.streams["logprobs"], sample.streams["ref_logprobs"], strict=True)
    return sum(logprob - ref for trained, logprob, ref in streams if trained)


@pytest.mark.capability("PR-08")
def test_the_margin_grows_on_toy_pairs_until_the_chosen_answer_dominates() -> None:
    logits = torch.zeros(3, requires_grad=True)
    margins = []
    for _ in range(200):
        logprobs = logits.log_softmax(-1)
        result = descend(
            DPO(beta=0.5), pair([logprobs[0].item()], [logprobs[1].item()], [-math.log(3)], [-math.log(3)])
        )
        margins.append(result.metrics["margin"])
        upstream = torch.stack([result.gradients["chosen"][1], result.gradients["rejected"][1]]).float()
        (gradient,) = torch.autograd.grad(logprobs[:2], logits, upstream)
        logits = (logits - 1.0 * gradient).detach().requires_grad_()
    assert all(later > earlier for earlier, later in itertools.pairwise(margins))
    assert margins[-1] > 5
    assert logits.softmax(-1)[2].item() < logits.softmax(-1)[0].item()


def test_a_margin_that_grows_by_displacement_shows_in_the_chosen_log_probability() -> None:
    before = descend(DPO(), pair([-1.0, -1.0], [-2.0], [-1.0, -1.0], [-2.0]))
    after = descend(DPO(), pair([-2.0, -1.5], [-9.0], [-1.0, -1.0], [-2.0]))
    assert after.value < before.value
    assert after.metrics["margin"] > before.metrics["margin"]
    assert after.metrics["logps_chosen"] == before.metrics["logps_chosen"] - 1.5
    assert after.metrics["rewards_chosen"] == pytest.approx(-0.1 * 1.5)


def test_an_impossible_rejected_answer_costs_nothing() -> None:
    result = descend(DPO(), pair([-1.0], [-math.inf], [-1.0], [-1.0]))
    assert result.value == 0.0
    assert not result.gradient.any()


@pytest.mark.parametrize("beta", [0.2, 1.5])
def test_the_tilted_reference_is_where_bradley_terry_preferences_stop_pulling(beta: float) -> None:
    # KL-regularised reward maximisation has the optimum p = p_ref exp(r / beta) / Z. With every pair labelled by the
    # Bradley-Terry probability of its rewards (label_smoothing = the chance of the other label) DPO rests there.
    reference, rewards = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, -0.2, 1.1])
    optimum = (reference.log() + rewards / beta).log_softmax(-1)
    for better, worse in [(0, 1), (2, 0), (2, 1)]:
        wrong = 1 / (1 + math.exp(rewards[better] - rewards[worse]))
        rows = pair(*([source[side].item()] for source in (optimum, reference.log()) for side in (better, worse)))
        assert descend(DPO(beta=beta, label_smoothing=wrong), rows).gradient.abs().max() < 1e-6
        assert descend(DPO(beta=2 * beta, label_smoothing=wrong), rows).gradient.abs().max() > 1e-2


def test_the_defaults_are_those_of_the_paper_and_nothing_is_smoothed() -> None:
    assert DPO() == DPO(beta=0.1, label_smoothing=0.0)
    assert DPO().needs == {"logprobs"}
    assert DPO().temperature == 1.0
    with pytest.raises(TypeError):
        DPO(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_meaning_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError, match="beta"):
        DPO(beta=beta)


@pytest.mark.parametrize("label_smoothing", [-0.1, 0.5, math.nan])
def test_a_label_smoothing_that_is_no_minority_is_refused(label_smoothing: float) -> None:
    with pytest.raises(RecipeError, match="label_smoothing"):
        DPO(label_smoothing=label_smoothing)
