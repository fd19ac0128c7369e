"""KTO against hand numbers, its gradient, its reference point, its limits, and a plain-Python version."""

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
from strop.objectives import KTO, reference_point
from strop.types import Outputs, Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def answer(
    logprobs: list[float], *, ref: float, desirable: bool, reference_kl: float = 0.5, name: str = "row"
) -> Sample:
    sample = row(logprobs, name=name, preferred=float(desirable), ref_logprobs=ref)
    return replace(sample, facts={**sample.facts, "reference_kl": reference_kl})


GOOD = answer([-1.0, -2.0], ref=-2.0, desirable=True, name="good")  # r = 1, lead 0.5
BAD = answer([-1.0, -1.0, -1.0], ref=-2.0, desirable=False, name="bad")  # r = 3, lead -2.5
WORSE = answer([-4.0], ref=-1.0, desirable=False, name="worse")  # r = -3, lead 3.5


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_hand_numbers() -> None:
    result = descend(KTO(beta=0.5, desirable_weight=2.0, undesirable_weight=0.5), [GOOD, BAD, WORSE])
    value = (2.0 * sigma(-0.25) + 0.5 * sigma(1.25) + 0.5 * sigma(-1.75)) / 3
    assert result.value == pytest.approx(value, abs=1e-7)
    expected = {
        "reference_kl": 0.5,
        "accuracy": 2 / 3,
        "logps_desirable": -3.0,
        "logps_undesirable": -3.5,
        "rewards_desirable": 0.5,
        "rewards_undesirable": 0.0,
    }
    assert result.metrics == pytest.approx(expected)


def test_the_gradient_is_the_bell_around_the_reference_point_on_every_token() -> None:
    result = descend(KTO(beta=0.5, desirable_weight=2.0, undesirable_weight=0.5), [GOOD, BAD, WORSE])
    good = -2.0 * 0.5 * sigma(0.25) * sigma(-0.25) / 3
    bad = 0.5 * 0.5 * sigma(1.25) * sigma(-1.25) / 3
    worse = 0.5 * 0.5 * sigma(1.75) * sigma(-1.75) / 3
    assert result.gradients["good"].tolist() == pytest.approx([0.0, good, good])
    assert result.gradients["bad"].tolist() == pytest.approx([0.0, bad, bad, bad])
    assert result.gradients["worse"].tolist() == pytest.approx([0.0, worse])


@pytest.mark.capability("AB-ref-equals-policy-at-step-0")
def test_at_the_reference_every_answer_costs_half_its_weight() -> None:
    rows = [
        answer([-1.0], ref=-1.0, desirable=True, reference_kl=0.0),
        answer([-2.0], ref=-2.0, desirable=False, reference_kl=0.0, name="bad"),
    ]
    result = descend(KTO(desirable_weight=1.5, undesirable_weight=0.5), rows)
    assert result.value == pytest.approx((0.75 + 0.25) / 2)
    assert result.metrics["accuracy"] == 0.5


def test_a_higher_reference_point_asks_more_of_desirable_answers_and_less_of_undesirable_ones() -> None:
    values = {
        (desirable, kl): descend(KTO(), [answer([-1.0], ref=-2.0, desirable=desirable, reference_kl=kl)]).value
        for desirable in (True, False)
        for kl in (0.0, 2.0)
    }
    assert values[True, 2.0] > values[True, 0.0]
    assert values[False, 2.0] < values[False, 0.0]


@pytest.mark.parametrize("logprob", [1e4, -1e4])
@pytest.mark.parametrize("desirable", [True, False])
def test_answers_far_from_the_reference_are_settled_or_given_up(logprob: float, desirable: bool) -> None:
    result = descend(KTO(), [answer([logprob], ref=0.0, desirable=desirable)])
    assert result.value == pytest.approx(0.0 if (logprob > 0) == desirable else 1.0)
    assert result.gradient.abs().max() < 1e-12


@thorough
@given(seed=seeds, beta=st.floats(0.01, 2.0), kl=st.floats(0, 3), good=st.floats(0, 3), bad=st.floats(0, 3))
def test_the_value_equals_a_loop_over_the_rows(seed: int, beta: float, kl: float, good: float, bad: float) -> None:
    rows = [replace(sample, facts={**sample.facts, "reference_kl": kl}) for sample in random_rows(seed)]
    losses = []
    for sample in rows:
        streams = zip(sample.loss_mask, sample.streams["logprobs"], sample.streams["ref_logprobs"], strict=True)
        r = sum(logprob - ref for trained, logprob, ref in streams if trained)
        desirable = sample.facts["preferred"] == 1
        losses.append(good * (1 - sigma(beta * (r - kl))) if desirable else bad * (1 - sigma(beta * (kl - r))))
    result = descend(KTO(beta=beta, desirable_weight=good, undesirable_weight=bad), rows)
    assert result.value == pytest.approx(sum(losses) / len(losses), rel=1e-5, abs=1e-6)


def test_rows_without_trained_tokens_count_nowhere() -> None:
    objective = KTO()
    counts = objective.count(collate([GOOD, masked_out(BAD), WORSE]))
    assert counts == {"sequences": 2.0, "desirable": 1.0, "undesirable": 1.0}
    assert {type(count) for count in counts.values()} == {float}
    alone, beside = descend(objective, [GOOD, BAD]), descend(objective, [masked_out(WORSE), GOOD, BAD])
    assert beside.value == pytest.approx(alone.value)
    assert beside.metrics == pytest.approx(alone.metrics)
    only_good, with_masked = descend(objective, [GOOD]), descend(objective, [GOOD, masked_out(replace(GOOD, name="x"))])
    assert with_masked.metrics == pytest.approx(only_good.metrics)
    assert only_good.metrics["logps_undesirable"] == 0.0


def test_an_empty_step_is_0() -> None:
    result = descend(KTO(), [masked_out(GOOD), masked_out(BAD)])
    assert result.value == 0.0
    assert set(result.metrics.values()) == {0.0}
    assert not result.gradient.any()


def test_the_reference_point_and_the_label_get_no_gradient() -> None:
    batch = collate([GOOD, BAD])
    reference_kl = batch.facts["reference_kl"].clone().requires_grad_()
    batch = replace(batch, facts={**batch.facts, "reference_kl": reference_kl})
    outputs = Outputs(logprobs=batch.streams["logprobs"].clone().requires_grad_())
    KTO()(outputs, batch, KTO().count(batch)).value.backward()
    assert reference_kl.grad is None


def test_a_negative_reference_point_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="clamped at 0"):
        descend(KTO(), [GOOD, answer([-1.0], ref=-1.0, desirable=True, reference_kl=-0.1, name="other")])


def test_a_row_between_desirable_and_undesirable_is_a_mistake() -> None:
    half = replace(BAD, facts={**BAD.facts, "preferred": 0.5})
    with pytest.raises(AssertionError, match="desirable"):
        descend(KTO(), [GOOD, half])


def test_the_reference_point_is_the_mean_of_the_mismatched_log_ratios_but_not_below_0() -> None:
    assert reference_point(torch.tensor([3.0, -1.0, 2.5])).item() == pytest.approx(1.5)
    assert reference_point(torch.tensor([-3.0, 1.0])).item() == 0.0
    assert not reference_point(torch.tensor([1.0], requires_grad=True)).requires_grad


def test_the_reference_point_needs_a_log_ratio() -> None:
    with pytest.raises(RecipeError, match="no log-ratios"):
        reference_point(torch.zeros(0))


def test_the_defaults() -> None:
    assert KTO() == KTO(beta=0.1, desirable_weight=1.0, undesirable_weight=1.0)
    assert KTO().needs == {"logprobs"}
    assert KTO().temperature == 1.0
    with pytest.raises(TypeError):
        KTO(temperature=0.7)  # type: ignore[call-arg]


def test_a_side_may_be_switched_off() -> None:
    result = descend(KTO(undesirable_weight=0.0), [GOOD, BAD])
    assert result.gradients["good"].any()
    assert not result.gradients["bad"].any()
    assert not descend(KTO(desirable_weight=0.0), [GOOD, BAD]).gradients["good"].any()


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_meaning_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError, match="beta"):
        KTO(beta=beta)


@pytest.mark.parametrize("name", ["desirable_weight", "undesirable_weight"])
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_a_weight_without_a_meaning_is_refused(name: str, weight: float) -> None:
    with pytest.raises(RecipeError, match=rf"kto: {name} is"):
        KTO(**{name: weight})
