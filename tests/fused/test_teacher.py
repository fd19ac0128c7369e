"""Fused divergences equal the formula on whole logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from strop.fused import against_teacher, against_top
from strop.objectives.divergence import forward_kl, reverse_kl, with_tail


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


Formula = Callable[[Tensor, Tensor], Tensor]
STUDENT = [numbers(0, 5, 3), numbers(1, 7, 3), numbers(2, 7)]
TEACHER = [numbers(3, 5, 4), numbers(4, 7, 4), numbers(5, 7)]


def logprobs(parts: list[Tensor], tau: float) -> Tensor:
    return ((parts[0] @ parts[1].T + parts[2]) / tau).log_softmax(-1)


@pytest.mark.parametrize("formula", [forward_kl, reverse_kl])
@pytest.mark.parametrize("tau", [1.0, 2.0])
@pytest.mark.parametrize("rows_at_once", [1, 2, 9])
def test_a_teacher_given_by_its_head_equals_the_formula_on_all_logits(
    formula: Formula, tau: float, rows_at_once: int
) -> None:
    found = against_teacher(
        formula,
        *STUDENT[:2],
        *TEACHER[:2],
        bias=STUDENT[2],
        teacher_bias=TEACHER[2],
        tau=tau,
        max_bytes=2 * rows_at_once * 7 * 4,
    )
    expected = formula(logprobs(STUDENT, tau), logprobs(TEACHER, tau).detach())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(found.sum(), [*STUDENT, *TEACHER], allow_unused=True)
    theirs = torch.autograd.grad(expected.sum(), STUDENT)
    for one, other in zip(ours, theirs, strict=False):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert ours[3:] == (None, None, None)  # the teacher is a constant


def test_the_teacher_at_its_own_temperature_of_1_and_without_biases() -> None:
    # logits ln 9 and 0 are [.9, .1]; ln 1.5 and 0 are [.6, .4]: the golden divergence
    one = torch.ones(1, 1)
    student, teacher = torch.tensor([[math.log(1.5)], [0.0]]), torch.tensor([[math.log(9.0)], [0.0]])
    found = against_teacher(forward_kl, one, student, one, teacher)
    assert found.tolist() == pytest.approx([0.22629], abs=1e-5)
    ids, top = torch.tensor([[0]]), torch.tensor([[math.log(0.9)]])
    found = against_top(lambda s, i, t: forward_kl(*with_tail(s, i, t)), one, student, ids, top)
    assert found.tolist() == pytest.approx([0.22629], abs=1e-5)


@pytest.mark.parametrize("rows_at_once", [1, 2, 9])
def test_a_teacher_given_by_its_likeliest_tokens_equals_the_formula_on_all_logits(rows_at_once: int) -> None:
    top = logprobs(TEACHER, 2.0).detach().topk(3)
    top_logprobs = top.values.requires_grad_()
    found = against_top(
        lambda s, ids, t: reverse_kl(*with_tail(s, ids, t)),
        *STUDENT[:2],
        top.indices,
        top_logprobs,
        bias=STUDENT[2],
        tau=2.0,
        max_bytes=rows_at_once * 7 * 4,
    )
    expected = reverse_kl(*with_tail(logprobs(STUDENT, 2.0), top.indices, top.values.detach()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(found.sum(), [*STUDENT, top_logprobs], allow_unused=True)
    for one, other in zip(ours, torch.autograd.grad(expected.sum(), STUDENT), strict=False):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert ours[3] is None


def test_the_logits_of_both_models_together_stay_within_the_bytes() -> None:
    sizes: list[int] = []

    def look(student: Tensor, teacher: Tensor) -> Tensor:
        sizes.append(len(student))
        return forward_kl(student, teacher)

    against_teacher(look, *STUDENT[:2], *TEACHER[:2], max_bytes=2 * 2 * 7 * 4)
    assert sizes == [2, 2, 1]
    sizes.clear()
    against_top(
        lambda s, i, t: look(s, s), *STUDENT[:2], torch.zeros(5, 1).long(), torch.zeros(5, 1), max_bytes=2 * 7 * 4
    )
    assert sizes == [2, 2, 1]


def test_a_teachers_head_may_be_wider_than_its_hidden_states() -> None:
    hidden, weight, bias = (part.detach() for part in TEACHER)
    narrow = [hidden.bfloat16(), weight.bfloat16(), bias.bfloat16()]
    expected = against_teacher(forward_kl, *STUDENT[:2], *narrow[:2], teacher_bias=narrow[2])
    found = against_teacher(forward_kl, *STUDENT[:2], narrow[0], weight, teacher_bias=bias)
    assert torch.equal(found, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = against_teacher(forward_kl, *STUDENT[:2], narrow[0], weight, teacher_bias=bias)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
