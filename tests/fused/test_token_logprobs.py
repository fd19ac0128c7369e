"""Fused log-probabilities and entropies against the definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.fused import logprobs_of, token_logprobs

thorough = settings(max_examples=20, deadline=None, derandomize=True)


def head(seed: int, tokens: int, vocabulary: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 4, generator=generator, requires_grad=True)
    weight = torch.randn(vocabulary, 4, generator=generator, requires_grad=True)
    bias = torch.randn(vocabulary, generator=generator, requires_grad=True)
    return hidden, weight, bias, torch.randint(0, vocabulary, (tokens,), generator=generator)


@thorough
@given(seed=st.integers(0, 99), tokens=st.integers(0, 9), temperature=st.floats(0.3, 3.0), rows=st.integers(1, 9))
def test_they_equal_the_definition_in_value_and_gradient(seed: int, tokens: int, temperature: float, rows: int) -> None:
    hidden, weight, bias, ids = head(seed, tokens, 7)
    found = token_logprobs(
        hidden, weight, ids, bias=bias, temperature=temperature, entropy=True, max_bytes=rows * 7 * 4
    )
    p = ((hidden.double() @ weight.double().T + bias.double()) / temperature).softmax(-1)
    expected = (p[range(tokens), ids].log(), -(p * p.log()).sum(-1))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(found[0].sum() + 0.3 * found[1].square().sum(), [hidden, weight, bias])
    theirs = torch.autograd.grad(expected[0].sum() + 0.3 * expected[1].square().sum(), [hidden, weight, bias])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_by_hand_the_logits_ln_3_and_0_give_three_quarters() -> None:
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[math.log(3)], [0.0]])
    (logprob,) = token_logprobs(hidden, weight, torch.tensor([0]))
    assert logprob.tolist() == pytest.approx([math.log(0.75)])
    # at temperature 1/2 the odds are 9 to 1; a bias of ln 9 on the other one makes them even
    (colder,) = token_logprobs(hidden, weight, torch.tensor([1]), temperature=0.5)
    assert colder.tolist() == pytest.approx([math.log(0.1)])
    (hotter,) = token_logprobs(hidden, weight, torch.tensor([1]), temperature=2.0)
    assert hotter.tolist() == pytest.approx([-math.log(1 + math.sqrt(3))])
    _, entropy = token_logprobs(hidden, weight, torch.tensor([1]), bias=torch.tensor([0.0, math.log(3)]), entropy=True)
    assert entropy.tolist() == pytest.approx([math.log(2)])


def test_the_entropy_is_computed_only_when_asked_and_changes_no_logprob() -> None:
    hidden, weight, _, ids = head(3, 5, 6)
    alone = token_logprobs(hidden, weight, ids)
    assert len(alone) == 1
    with_entropy = token_logprobs(hidden, weight, ids, entropy=True)
    torch.testing.assert_close(alone[0], with_entropy[0])


def test_the_bytes_bound_what_is_held_at_once() -> None:
    hidden, weight, _, ids = head(3, 5, 6)
    whole = token_logprobs(hidden, weight, ids)[0]
    pieces = token_logprobs(hidden, weight, ids, max_bytes=1)[0]
    torch.testing.assert_close(whole, pieces)
    one_row = torch.cat([token_logprobs(hidden[i : i + 1], weight, ids[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(pieces, one_row, rtol=0, atol=0)


def test_at_temperature_1_the_logits_are_not_touched() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.5]])
    (logprob,) = logprobs_of(logits, torch.tensor([1]), temperature=1.0, entropy=False)
    assert logprob.tolist() == pytest.approx([1.0 - math.log(math.e**2 + math.e + math.e**0.5)])
