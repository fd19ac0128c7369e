"""Distillation advantages, by hand and by composition in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flat_rows import Rows, lay_out, sequences, thorough, trained
from strop.credit import minillm_advantages, on_policy_distillation_advantages
from strop.errors import RecipeError


def test_a_token_the_teacher_likes_better_than_the_student_is_worth_the_difference() -> None:
    logprobs, teacher = torch.tensor([math.nan, -2.0, -0.5]), torch.tensor([math.nan, -0.5, -1.5])
    found = on_policy_distillation_advantages(logprobs, teacher, torch.tensor([False, True, True]))
    assert found.tolist() == [0.0, 1.5, -1.0]


def test_on_three_tokens_the_expected_gradient_is_that_of_the_reverse_kl() -> None:
    parameters = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    logprobs = parameters.log_softmax(-1)
    advantages = on_policy_distillation_advantages(logprobs, teacher, torch.ones(3, dtype=torch.bool))
    (ascent,) = torch.autograd.grad((logprobs.exp().detach() * advantages * logprobs).sum(), parameters)
    reverse = (parameters.softmax(-1) * (parameters.log_softmax(-1) - teacher)).sum()
    (expected,) = torch.autograd.grad(reverse, parameters)
    torch.testing.assert_close(ascent, -expected)


@thorough
@given(rows=sequences, gamma=st.sampled_from([0.9, 1.0]))
def test_minillms_advantages_equal_a_loop_and_numpys_whitening(rows: Rows, gamma: float) -> None:
    logprobs, teacher, mask, ids = lay_out(rows)
    means = []
    for row in trained(rows):
        rewards = [t - s for s, t in row]
        for i in range(len(row)):
            ahead = rewards[i:]
            means.append(sum(gamma**k * r for k, r in enumerate(ahead)) / len(ahead))
    expected = np.zeros(len(logprobs))
    if len(means) > 1 and np.ptp(means) >= 1e-6:
        expected[mask.numpy()] = (np.array(means) - np.mean(means)) / np.sqrt(np.var(means, ddof=1) + 1e-8)
    found = minillm_advantages(logprobs, teacher, mask, ids, len(rows), gamma=gamma)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


def test_minillm_does_not_discount_by_default() -> None:
    # Rewards (0, 2, 2), then means from each token on: 4/3, 2, 2; whitened: (-2, 1, 1) / sqrt(3).
    logprobs, teacher = torch.tensor([-1.0, -3.0, -3.0]), torch.tensor([-1.0, -1.0, -1.0])
    mask, ids = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)
    expected = [-2 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)]
    assert minillm_advantages(logprobs, teacher, mask, ids, 1).tolist() == pytest.approx(expected)


@pytest.mark.capability("AB-detached-teacher")
@pytest.mark.capability("AB-detached-advantages")
def test_neither_student_nor_teacher_gets_a_gradient_through_an_advantage() -> None:
    leaf, plain = torch.tensor([-1.0, -2.0], requires_grad=True), torch.tensor([-2.0, -1.0])
    mask, ids = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    for student, teacher in ((leaf, plain), (plain, leaf)):
        assert not on_policy_distillation_advantages(student, teacher, mask).requires_grad
        assert not minillm_advantages(student, teacher, mask, ids, 1).requires_grad


def test_a_discount_outside_zero_to_one_is_refused() -> None:
    mask, ids = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(RecipeError, match="gamma"):
        minillm_advantages(torch.zeros(1), torch.zeros(1), mask, ids, 1, gamma=1.5)
