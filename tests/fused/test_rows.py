"""The chunked evaluation equals the plain one, in values and gradients, and holds no more than it promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from strop.fused import MAX_BYTES, by_rows
from strop.fused.rows import chunk_rows

thorough = settings(max_examples=20, deadline=None, derandomize=True)


def numbers(seed: int, *shape: int, dtype: torch.dtype = torch.float32, grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)


def two_numbers(logits: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Two different nonlinear functions of a row and of a constant that goes with it."""
    return logits.logsumexp(-1) * scale, (logits.softmax(-1).square().sum(-1)) + scale


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor) -> tuple[Tensor, Tensor]:
    logits = hidden @ weight.T
    return two_numbers(logits if bias is None else logits + bias, scale)


def gradients(results: tuple[Tensor, ...], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    mixed = sum((result * numbers(9 + i, len(result), grad=False)).sum() for i, result in enumerate(results))
    return torch.autograd.grad(mixed, inputs, allow_unused=True)  # type: ignore[arg-type]


@thorough
@given(
    tokens=st.integers(0, 9),
    hidden_size=st.integers(1, 5),
    vocabulary=st.integers(1, 7),
    rows_at_once=st.integers(1, 10),
    with_bias=st.booleans(),
)
def test_values_and_gradients_equal_the_plain_path(
    tokens: int, hidden_size: int, vocabulary: int, rows_at_once: int, with_bias: bool
) -> None:
    hidden, weight = numbers(0, tokens, hidden_size), numbers(1, vocabulary, hidden_size)
    bias = numbers(2, vocabulary) if with_bias else None
    scale = numbers(3, tokens, grad=False)
    fused = by_rows(two_numbers, hidden, weight, scale, bias=bias, max_bytes=rows_at_once * vocabulary * 4)
    expected = plain(hidden, weight, bias, scale)
    inputs = [hidden, weight, *([] if bias is None else [bias])]
    for one, other in zip(fused, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(fused, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    hidden, weight = numbers(0, 5, 3, dtype=torch.float64), numbers(1, 4, 3, dtype=torch.float64)
    bias, scale = numbers(2, 4, dtype=torch.float64), numbers(3, 5, dtype=torch.float64, grad=False)
    assert torch.autograd.gradcheck(
        lambda h, w, b: by_rows(two_numbers, h, w, scale, bias=b, max_bytes=2 * 4 * 8), (hidden, weight, bias)
    )


def seen_sizes(tokens: int, **settings: Any) -> list[int]:
    sizes: list[int] = []

    def look(logits: Tensor) -> tuple[Tensor]:
        sizes.append(len(logits))
        return (logits.sum(-1),)

    by_rows(look, numbers(0, tokens, 2), numbers(1, 8, 2), **settings)[0].sum().backward()
    return sizes


def test_no_more_rows_are_held_at_once_than_the_bytes_allow_in_either_direction() -> None:
    assert seen_sizes(7, max_bytes=3 * 8 * 4) == [3, 3, 1] * 2
    assert seen_sizes(7, max_bytes=3 * 8 * 4 - 1) == [2, 2, 2, 1] * 2
    assert seen_sizes(3, max_bytes=1) == [1, 1, 1] * 2  # less than one row: a row at a time


def test_by_default_a_chunk_of_logits_takes_32_mib() -> None:
    assert MAX_BYTES == 33_554_432
    assert seen_sizes(9) == [9, 9]
    assert chunk_rows(131_072, torch.float32, MAX_BYTES) == 64
    assert chunk_rows(131_072, torch.float64, MAX_BYTES) == 32


def test_a_weight_that_is_frozen_gets_no_gradient_and_the_hidden_states_still_do() -> None:
    hidden, scale = numbers(0, 4, 3), numbers(3, 4, grad=False)
    weight, bias = numbers(1, 5, 3, grad=False), numbers(2, 5, grad=False)
    results = by_rows(two_numbers, hidden, weight, scale, bias=bias, max_bytes=40)
    (results[0].sum() + results[1].sum()).backward()
    assert weight.grad is None
    assert bias.grad is None
    expected = plain(other := hidden.detach().requires_grad_(), weight, bias, scale)
    torch.testing.assert_close(hidden.grad, torch.autograd.grad(expected[0].sum() + expected[1].sum(), other)[0])


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_what_wants_a_gradient_gets_one(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [numbers(0, 4, 3, grad=False), numbers(1, 5, 3, grad=False), numbers(2, 5, grad=False)]
    inputs[wanted].requires_grad_()
    products: list[str] = []
    original = torch.Tensor.addmm_
    monkeypatch.setattr(torch.Tensor, "addmm_", lambda *a, **k: products.append("weight") or original(*a, **k))
    result = by_rows(lambda logits: (logits.square().sum(-1),), inputs[0], inputs[1], bias=inputs[2])[0]
    found = torch.autograd.grad(result.sum(), inputs[wanted])[0]
    logits = inputs[0] @ inputs[1].T + inputs[2]
    expected = torch.autograd.grad(logits.square().sum(), inputs[wanted])[0]
    torch.testing.assert_close(found, expected)
    assert products == (["weight"] if wanted == 1 else [])


def test_an_output_that_nothing_descends_is_not_differentiated() -> None:
    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise AssertionError("not asked for")

    hidden = numbers(0, 4, 3)
    first, second = by_rows(lambda z: (z.sum(-1), Refuses.apply(z).sum(-1)), hidden, numbers(1, 5, 3))
    first.sum().backward(retain_graph=True)
    assert hidden.grad is not None
    with pytest.raises(AssertionError, match="not asked for"):
        second.sum().backward()


def test_a_result_used_twice_adds_its_gradients_and_a_graph_kept_gives_them_again() -> None:
    hidden, weight, scale = numbers(0, 4, 3), numbers(1, 5, 3), numbers(3, 4, grad=False)
    once = by_rows(two_numbers, hidden, weight, scale, max_bytes=40)[0]
    single = torch.autograd.grad(once.sum(), [hidden, weight], retain_graph=True)
    double = torch.autograd.grad(once.sum() + once.sum(), [hidden, weight], retain_graph=True)
    again = torch.autograd.grad(once.sum(), [hidden, weight])
    for one, two, three in zip(single, double, again, strict=True):
        torch.testing.assert_close(2 * one, two)
        torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    hidden, weight, scale = numbers(0, 4, 3), numbers(1, 5, 3), numbers(3, 4, grad=False)
    result = by_rows(two_numbers, hidden, weight, scale)[1].square().sum()
    (gradient,) = torch.autograd.grad(result, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_inputs_need_not_be_contiguous() -> None:
    hidden = numbers(0, 3, 4).T
    weight = numbers(1, 10, 3)[::2]
    scale = numbers(3, 8, grad=False)[::2]
    fused, expected = by_rows(two_numbers, hidden, weight, scale, max_bytes=40), plain(hidden, weight, None, scale)
    for one, other in zip(gradients(fused, [hidden, weight]), gradients(expected, [hidden, weight]), strict=True):
        torch.testing.assert_close(one, other)


def test_no_tokens_give_empty_results_and_zero_gradients() -> None:
    hidden, weight, bias = numbers(0, 0, 3), numbers(1, 5, 3), numbers(2, 5)
    results = by_rows(two_numbers, hidden, weight, numbers(3, 0, grad=False), bias=bias)
    assert [result.shape for result in results] == [(0,), (0,)]
    (results[0].sum() + results[1].sum()).backward()
    assert weight.grad is not None
    assert not weight.grad.any()
    assert bias.grad is not None
    assert not bias.grad.any()


def test_bfloat16_products_are_widened_before_the_function_and_the_weights_gradient_is_added_up_wide() -> None:
    hidden, weight = numbers(0, 64, 8, dtype=torch.bfloat16), numbers(1, 6, 8, dtype=torch.bfloat16)
    bias = numbers(2, 6, dtype=torch.bfloat16)
    seen = set()

    def look(logits: Tensor) -> tuple[Tensor]:
        seen.add(logits.dtype)
        return (logits.logsumexp(-1),)

    result = by_rows(look, hidden, weight, bias=bias, max_bytes=6 * 4)[0]
    result.sum().backward()
    assert seen == {torch.float32}
    assert result.dtype == torch.float32
    wide = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight, bias)]
    (wide[0] @ wide[1].T + wide[2]).logsumexp(-1).sum().backward()
    for narrow, exact in zip((hidden, weight, bias), wide, strict=True):
        assert narrow.grad is not None
        assert narrow.grad.dtype == torch.bfloat16
        scale = float(exact.grad.abs().max())  # type: ignore[union-attr]
        # 64 sums of one row each: added up in bfloat16 the error would be several times this
        torch.testing.assert_close(narrow.grad.double(), exact.grad, atol=0.01 * scale, rtol=0.01)


def test_under_autocast_the_product_has_autocasts_precision_in_both_directions() -> None:
    hidden, weight, bias, scale = numbers(0, 6, 8), numbers(1, 5, 8), numbers(2, 5), numbers(3, 6, grad=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = by_rows(two_numbers, hidden, weight, scale, bias=bias, max_bytes=40)
        logits = torch.nn.functional.linear(hidden, weight, bias).float()
    with torch.autocast("cpu", enabled=False):
        expected = two_numbers(logits, scale)
    for one, other in zip(fused, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    inputs = [hidden, weight, bias]
    for one, other in zip(gradients(fused, inputs), gradients(expected, inputs), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)
