"""ORPO against hand numbers, its gradient, certain answers in float32, two known traps, and a plain-Python loop."""

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
from strop.objectives import OddsRatio, orpo
from strop.objectives.orpo import MAX_LOGPROB, log_odds
from strop.types import Outputs, Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def pair(chosen: list[float], rejected: list[float]) -> list[Sample]:
    return [row(chosen, name="chosen", preferred=1.0), row(rejected, name="rejected")]


POINT_6, POINT_2 = math.log(0.6), math.log(0.2)


@pytest.mark.capability("PR-09")
def test_point_6_against_point_2_is_an_odds_ratio_of_6() -> None:
    result = descend(OddsRatio(), pair([POINT_6] * 3, [POINT_2]))  # odds 3/2 and 1/4
    assert result.value == pytest.approx(math.log(7 / 6), abs=1e-6)
    expected = {
        "margin": math.log(6),
        "accuracy": 1.0,
        "logps_chosen": POINT_6,
        "logps_rejected": POINT_2,
        "rewards_chosen": math.log(1.5),
        "rewards_rejected": math.log(0.25),
    }
    assert result.metrics == pytest.approx(expected, abs=1e-6)


@pytest.mark.capability("PR-09")
def test_the_loss_is_the_likelihood_of_the_chosen_tokens_plus_the_weighted_odds_ratio() -> None:
    result = descend(orpo(weight=0.5), pair([POINT_6] * 3, [POINT_2]))
    assert result.value == pytest.approx(-POINT_6 + 0.5 * math.log(7 / 6), abs=1e-6)
    assert result.metrics["nll_chosen"] == pytest.approx(-POINT_6, abs=1e-6)


def test_the_gradient_is_sigma_of_the_wrong_side_over_the_share_that_is_left() -> None:
    result = descend(OddsRatio(), pair([POINT_6] * 3, [POINT_2] * 2))  # σ(-D) = 1/7
    assert result.gradients["chosen"].tolist() == pytest.approx([0.0] + [-1 / 7 / 0.4 / 3] * 3)
    assert result.gradients["rejected"].tolist() == pytest.approx([0.0] + [1 / 7 / 0.8 / 2] * 2)


def test_equal_answers_cost_ln_2_and_count_half() -> None:
    result = descend(OddsRatio(), pair([-1.0, -3.0], [-2.0]))
    assert result.value == pytest.approx(math.log(2))
    assert result.metrics["accuracy"] == 0.5


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.6, 0.99])
def test_log_odds_are_those_of_the_probability(p: float) -> None:
    logprob = torch.tensor(math.log(p), dtype=torch.float64, requires_grad=True)
    odds = log_odds(logprob)
    odds.backward()
    assert odds.item() == pytest.approx(math.log(p / (1 - p)))
    assert logprob.grad is not None
    assert logprob.grad.item() == pytest.approx(1 / (1 - p))


@pytest.mark.parametrize("gap", [1e-3, 1e-5, 3e-7])
def test_log_odds_keep_their_digits_close_to_certainty_in_float32(gap: float) -> None:
    # p = e^-gap leaves 1 - p = gap - gap²/2 + ...; 1 - exp(-gap) in float32 would keep one digit of it.
    odds = log_odds(torch.tensor(-gap, dtype=torch.float32))
    assert odds.item() == pytest.approx(-gap - math.log(gap - gap**2 / 2), rel=1e-6)


@pytest.mark.capability("PR-09", "AB-ORPO-p-1-finite")
@pytest.mark.parametrize("certain", [0.0, -1e-30, -1e-12, 1e-7])
@pytest.mark.parametrize("other", [0.0, -1.0, -1e4])
@pytest.mark.parametrize("certain_is_chosen", [True, False])
def test_a_certain_answer_is_finite_in_float32_with_its_gradient(
    certain: float, other: float, certain_is_chosen: bool
) -> None:
    batch = collate(pair(*([[certain], [other]] if certain_is_chosen else [[other], [certain]])))
    logprobs = batch.streams["logprobs"].clone().requires_grad_()
    assert logprobs.dtype == torch.float32
    loss = orpo()(Outputs(logprobs=logprobs), batch, orpo().count(batch))
    loss.value.backward()
    assert logprobs.grad is not None
    assert math.isfinite(loss.value.item())
    assert logprobs.grad.isfinite().all()
    # An answer cannot be distinguished from certainty beyond 2^-23: log-odds of at most 23 ln 2.
    reward = loss.metrics["rewards_chosen" if certain_is_chosen else "rewards_rejected"].item()
    assert reward == pytest.approx(23 * math.log(2), rel=1e-6)


@pytest.mark.capability("AB-ORPO-p-1-finite")
def test_the_gradient_of_a_chosen_answer_stays_small_on_the_way_to_certainty_and_is_0_there() -> None:
    # As p → 1: σ(-D) / (1 - p) → the odds of the rejected answer, here 1/4.
    near = descend(OddsRatio(), pair([-1e-6], [POINT_2]))
    assert near.gradients["chosen"].tolist() == pytest.approx([0.0, -0.25], rel=1e-4)
    assert descend(OddsRatio(), pair([0.0], [POINT_2])).gradients["chosen"].tolist() == [0.0, 0.0]
    assert -torch.finfo(torch.float32).eps == MAX_LOGPROB


@pytest.mark.capability("PR-09")
def test_the_answers_length_alone_changes_nothing() -> None:
    # With sums a long answer's e^l underflows, its odds are its probability, and D becomes a plain margin of sums.
    short = descend(OddsRatio(), pair([POINT_6], [POINT_2]))
    long = descend(OddsRatio(), pair([POINT_6] * 300, [POINT_2] * 700))
    assert long.value == pytest.approx(short.value, rel=1e-5)
    assert long.metrics == pytest.approx(short.metrics, rel=1e-5)
    assert long.metrics["margin"] != pytest.approx(300 * POINT_6 - 700 * POINT_2)


@pytest.mark.parametrize("width", [1, 4])
def test_padding_behind_a_shorter_row_is_in_no_mean(width: int) -> None:
    # The original implementation's mask lets one pad position of every shorter row into its mean.
    rows = pair([-0.2, -0.4, -0.3], [-2.0])
    short = rows[1]
    padded = replace(
        short,
        token_ids=short.token_ids + (0,) * width,
        loss_mask=short.loss_mask + (False,) * width,
        streams={"logprobs": (*short.streams["logprobs"], *[-50.0] * width)},
    )
    plain, wide = descend(orpo(), rows), descend(orpo(), [rows[0], padded])
    assert wide.value == pytest.approx(plain.value)
    assert wide.metrics["logps_rejected"] == pytest.approx(-2.0)


def test_the_prompts_tokens_are_not_trained_by_the_likelihood_term() -> None:
    rows = pair([-0.2, -0.4, -9.0], [-2.0])
    prompt_of_two = replace(rows[0], loss_mask=(False, False, True, True))
    result = descend(orpo(), [prompt_of_two, rows[1]])
    assert result.metrics["nll_chosen"] == pytest.approx((0.4 + 9.0) / 2)
    assert result.gradients["chosen"][1].item() == 0.0


@thorough
@given(seed=seeds, weight=st.floats(0.01, 2.0))
def test_the_value_equals_a_loop_over_the_pairs(seed: int, weight: float) -> None:
    rows = random_rows(seed)
    nlls, losses = [], []
    for chosen, rejected in zip(rows[0::2], rows[1::2], strict=True):
        answers = [
            [v for m, v in zip(s.loss_mask, s.streams["logprobs"], strict=True) if m] for s in (chosen, rejected)
        ]
        p, q = (math.exp(sum(answer) / len(answer)) for answer in answers)
        ratio = (p / (1 - p)) / (q / (1 - q))
        losses.append(-math.log(ratio / (1 + ratio)))
        nlls.extend(-value for value in answers[0])
    expected = sum(nlls) / len(nlls) + weight * sum(losses) / len(losses)
    assert descend(orpo(weight=weight), rows).value == pytest.approx(expected, rel=1e-4)


def test_a_pair_with_an_empty_answer_counts_nowhere() -> None:
    good, broken = pair([-0.5], [-1.0]), [replace(s, name=f"broken {s.name}") for s in pair([-0.1], [-3.0])]
    broken = [replace(sample, facts={**sample.facts, "group_ids": 1}) for sample in broken]
    both = descend(orpo(), [*good, broken[0], masked_out(broken[1])])
    assert both.value == pytest.approx(descend(orpo(), good).value)
    assert not both.gradients["broken chosen"].any()


def test_an_empty_step_is_0() -> None:
    result = descend(orpo(), [masked_out(sample) for sample in pair([-1.0], [-2.0])])
    assert result.value == 0.0
    assert not result.gradient.any()


@pytest.mark.capability("PR-09")
def test_a_run_without_a_reference_learns_the_choice() -> None:
    logits = torch.zeros(3, requires_grad=True)
    for _ in range(100):
        logprobs = logits.log_softmax(-1)
        result = descend(orpo(weight=1.0), pair([logprobs[0].item()], [logprobs[1].item()]))
        upstream = torch.stack([result.gradients["chosen"][1], result.gradients["rejected"][1]]).float()
        (gradient,) = torch.autograd.grad(logprobs[:2], logits, upstream)
        logits = (logits - gradient).detach().requires_grad_()
    chosen, rejected, unseen = logits.softmax(-1).tolist()
    assert chosen > 0.9
    assert rejected < unseen  # both lose to the chosen answer, the rejected one also by its odds


def test_the_defaults_and_what_they_need() -> None:
    assert orpo() == orpo(weight=0.1)
    assert OddsRatio().needs == {"logprobs"}
    assert OddsRatio().temperature == 1.0
    with pytest.raises(TypeError):
        OddsRatio(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_without_a_meaning_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match="weight"):
        orpo(weight=weight)
