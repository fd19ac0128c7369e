"""The token mean of the negative log-likelihood, against hand numbers and plain torch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from random_batches import descend, random_rows, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import CrossEntropy, dft


@pytest.mark.capability("SF-01", "A1-1")
def test_two_tokens_of_probability_point_8_and_point_4_cost_1_13943_nats_together() -> None:
    result = descend(CrossEntropy(), [row([math.log(0.8), math.log(0.4)])])
    assert 2 * result.value == pytest.approx(1.13943, abs=5e-6)
    assert result.metrics == {"nll": pytest.approx(1.13943 / 2, abs=5e-6)}


def test_the_mean_is_over_tokens_not_over_rows() -> None:
    # (1 + 1 + 1 + 5) / 4 tokens, where the mean of row means would be (1 + 5) / 2.
    assert descend(CrossEntropy(), [row([-1.0, -1.0, -1.0]), row([-5.0], name="b")]).value == pytest.approx(2.0)


def test_the_gradient_of_each_trained_token_is_minus_one_over_their_number() -> None:
    result = descend(CrossEntropy(), [row([-1.0, -2.0, -3.0, -4.0])])
    assert result.gradient.tolist() == [0.0, -0.25, -0.25, -0.25, -0.25]


def test_a_weight_scales_its_term_and_not_the_denominator() -> None:
    result = descend(CrossEntropy(), [row([-1.0, -3.0], weights=[0.5, 0.0])])
    assert result.value == pytest.approx(0.5 / 2)
    assert result.gradient.tolist() == [0.0, -0.25, 0.0]
    assert result.metrics["nll"] == pytest.approx((1 + 3) / 2)


def test_a_certain_token_costs_nothing_and_still_pulls() -> None:
    result = descend(CrossEntropy(), [row([0.0])])
    assert result.value == 0.0
    assert result.gradient.tolist() == [0.0, -1.0]


def test_the_value_and_gradient_are_those_of_torch_cross_entropy_over_logits() -> None:
    torch.manual_seed(0)
    logits = torch.randn(12, 7, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 7, (12,))
    supervised = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0], dtype=torch.bool)
    theirs = torch.nn.functional.cross_entropy(logits, labels.masked_fill(~supervised, -100))
    (expected,) = torch.autograd.grad(theirs, logits)

    chosen = logits.log_softmax(-1)[torch.arange(12), labels]
    sample = replace(row(chosen.detach().tolist()), loss_mask=(False, *supervised.tolist()))
    ours = descend(CrossEntropy(), [sample])
    (gradient,) = torch.autograd.grad(chosen, logits, ours.gradient[1:])
    assert ours.value == pytest.approx(theirs.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_the_value_equals_a_loop_over_the_tokens() -> None:
    rows = random_rows(3, num_groups=4)
    terms = [
        -weight * logprob
        for sample in rows
        for trained, logprob, weight in zip(
            sample.loss_mask, sample.streams["logprobs"], sample.streams["weights"], strict=True
        )
        if trained
    ]
    assert descend(CrossEntropy(), rows).value == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_dynamic_fine_tuning_scales_each_token_by_its_detached_probability() -> None:
    result = descend(dft(), [row([math.log(0.8), math.log(0.4)])])
    # -0.8 ln 0.8 - 0.4 ln 0.4 over two tokens; the gradient of -sg(p) log p is -p.
    assert result.value == pytest.approx(-(0.8 * math.log(0.8) + 0.4 * math.log(0.4)) / 2)
    assert result.gradient.tolist() == pytest.approx([0.0, -0.4, -0.2])
    assert result.metrics["nll"] == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)


def test_dynamic_fine_tuning_and_weights_multiply() -> None:
    result = descend(dft(), [row([math.log(0.5), math.log(0.5)], weights=[2.0, 0.0])])
    assert result.gradient.tolist() == pytest.approx([0.0, -0.5, 0.0])


def test_a_span_weight_holds_for_its_tokens_only() -> None:
    result = descend(CrossEntropy(), [row([-1.0, -1.0, -1.0, -1.0], weights=[1.0, 3.0, 3.0, 1.0])])
    assert result.value == pytest.approx(8 / 4)
    assert result.gradient.tolist() == pytest.approx([0.0, -0.25, -0.75, -0.75, -0.25])


def test_an_unknown_token_scale_is_refused() -> None:
    with pytest.raises(RecipeError, match="token_scale"):
        CrossEntropy(token_scale="square")  # type: ignore[arg-type]


def test_counts_are_plain_numbers() -> None:
    counts = CrossEntropy().count(collate(random_rows(0)))
    assert {type(count) for count in counts.values()} == {float}
    assert counts["tokens"] == sum(sum(row.loss_mask) for row in random_rows(0))


def test_the_temperature_of_a_likelihood_is_not_a_setting() -> None:
    with pytest.raises(TypeError, match="temperature"):
        CrossEntropy(temperature=0.5)  # type: ignore[call-arg]
