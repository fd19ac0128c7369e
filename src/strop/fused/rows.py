"""Functions of the next-token logits, evaluated a few rows at a time in both directions.

The logits of M tokens over a vocabulary of V are the largest tensor of a training step: M V numbers, held once as
logits, once as log-probabilities and once as gradients. Each row is a function of its own hidden state, so the rows can
be computed in chunks, thrown away, and computed again when the gradient comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

RowFunction = Callable[..., tuple[Tensor, ...]]
"""``function(logits [m, V], *rows [m, ...])`` → numbers ``[m]``, each differentiable in the logits of its own row."""

MAX_BYTES = 32 * 1024 * 1024
"""What the logits of one chunk may take; the backward pass holds several times as much."""


def by_rows(
    function: RowFunction,
    hidden: Tensor,
    weight: Tensor,
    *rows: Tensor,
    bias: Tensor | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Tensor, ...]:
    """What ``function`` makes of the logits ``hidden @ weight.T + bias``, as ``[M]`` each, in chunks of rows.

    The backward pass computes the logits of a chunk again, asks autograd for dL/dlogits, and adds up d hidden =
    dlogits · weight, d weight = dlogitsᵀ · hidden and d bias = Σ dlogits. What needs no gradient gets none computed:
    the weight of a frozen head, an output that nothing descends. Four products instead of three, and no M V memory.

    *Source*: recomputation is Chen et al. 2016 (arXiv:1604.06174); for the head's cross-entropy, Wijmans et al. 2024
    (arXiv:2411.09009, "Cut your losses") do it inside one kernel.
    Shapes: ``hidden [M, H]``, ``weight [V, H]``, ``bias [V]``; ``rows [M, ...]`` are constants that go with the tokens.
    The product runs in the precision of autocast, or of ``hidden``; the logits handed to ``function`` are float32 or
    wider, and the weight's gradient is added up in that precision too. M = 0 gives empty results and zero gradients.
    Differentiable once, in ``hidden``, ``weight`` and ``bias`` only: anything else that ``function`` closes over is a
    constant.
    """
    device = hidden.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    size = chunk_rows(weight.shape[0], _wide(compute), max_bytes)
    results: tuple[Tensor, ...] = _ByRows.apply(function, size, compute, hidden, weight, bias, *rows)  # type: ignore[no-untyped-call]
    return results


def chunk_rows(vocab_size: int, dtype: torch.dtype, max_bytes: int) -> int:
    """How many rows of logits fit into ``max_bytes``; at least 1."""
    return max(1, max_bytes // (vocab_size * dtype.itemsize))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _chunks(num_rows: int, size: int) -> list[slice]:
    """Slices of ``size`` rows; of no rows one empty slice, so that the results have their type."""
    return [slice(start, start + size) for start in range(0, max(num_rows, 1), size)]


class _ByRows(torch.autograd.Function):
    """The chunked evaluation and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        function: RowFunction,
        size: int,
        compute: torch.dtype,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *rows: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(hidden, weight, bias, *rows)
        ctx.set_materialize_grads(False)
        ctx.function, ctx.size, ctx.compute = function, size, compute
        head = _Head(weight, bias, compute)
        results: tuple[Tensor, ...] = ()
        with torch.autocast(hidden.device.type, enabled=False):
            for chunk in _chunks(hidden.shape[0], size):
                values = function(head.logits(hidden[chunk]), *(row[chunk] for row in rows))
                # Written in place: small results kept from every chunk would pin the large blocks between them.
                results = results or tuple(value.new_empty(hidden.shape[0]) for value in values)
                for result, value in zip(results, values, strict=True):
                    result[chunk] = value
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, *rows = ctx.saved_tensors
        if all(gradient is None for gradient in upstream):
            return (None,) * len(ctx.needs_input_grad)
        _, _, _, wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        wide = _wide(ctx.compute)
        d_hidden = torch.zeros_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight, dtype=wide) if wants_weight else None
        d_bias = torch.zeros_like(bias, dtype=wide) if wants_bias else None
        head = _Head(weight, bias, ctx.compute)
        with torch.autocast(hidden.device.type, enabled=False):
            for chunk in _chunks(hidden.shape[0], ctx.size):
                inputs = hidden[chunk].to(ctx.compute)
                d_logits = _d_logits(ctx.function, head.logits(inputs), [row[chunk] for row in rows], upstream, chunk)
                narrow = d_logits.to(ctx.compute)
                if d_hidden is not None:
                    d_hidden[chunk] = (narrow @ head.weight).to(hidden.dtype)
                if d_weight is not None:
                    _add_product(d_weight, narrow.T, inputs)
                if d_bias is not None:
                    d_bias += d_logits.sum(0)
        return (
            *(None, None, None, d_hidden),
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            *(None for _ in rows),
        )


class _Head:
    """The head's weights in the precision of its product, cast once for all chunks."""

    def __init__(self, weight: Tensor, bias: Tensor | None, compute: torch.dtype) -> None:
        self.compute = compute
        self.weight = weight.to(compute)
        self.bias = None if bias is None else bias.to(compute)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden · weightᵀ + bias, [m, V], widened after the product as the model's own head leaves it."""
        return functional.linear(hidden.to(self.compute), self.weight, self.bias).to(_wide(self.compute))


def _d_logits(
    function: RowFunction, logits: Tensor, rows: list[Tensor], upstream: tuple[Tensor | None, ...], chunk: slice
) -> Tensor:
    with torch.enable_grad():
        results = function(logits.requires_grad_(), *rows)
    descended = [(result, up[chunk]) for result, up in zip(results, upstream, strict=True) if up is not None]
    (gradient,) = torch.autograd.grad([result for result, _ in descended], logits, [up for _, up in descended])
    return gradient


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left · right, in place where the types allow it: the product alone is as large as the weight."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
