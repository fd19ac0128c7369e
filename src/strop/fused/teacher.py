"""Divergences from a teacher, from hidden states of the student without all logits of either.

The formula itself is handed in, as a function of log-probabilities (those of ``strop.objectives.divergence`` fit).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from strop.fused.rows import MAX_BYTES, by_rows


def against_teacher(
    terms: Callable[[Tensor, Tensor], Tensor],
    hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    tau: float = 1.0,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """``terms(student_logprobs, teacher_logprobs)`` a token, the teacher given by its hidden states and head: ``[M]``.

    Both log-probabilities are log softmax(logits / ``tau``) over the same vocabulary. Shapes: ``hidden [M, H]``,
    ``weight [V, H]``, ``teacher_hidden [M, H']``, ``teacher_weight [V, H']``.
    Differentiable in ``hidden``, ``weight`` and ``bias``; the teacher is a constant. Both share ``max_bytes``.
    The teacher's product runs in the precision of ``teacher_hidden``.
    """
    head, head_bias = teacher_weight.detach().to(teacher_hidden.dtype), teacher_bias
    if head_bias is not None:
        head_bias = head_bias.detach().to(teacher_hidden.dtype)

    def function(logits: Tensor, teacher_rows: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            teacher_logits = functional.linear(teacher_rows, head, head_bias).to(logits.dtype)
        return (terms((logits / tau).log_softmax(1), (teacher_logits / tau).log_softmax(1)),)

    rows = by_rows(function, hidden, weight, teacher_hidden, bias=bias, max_bytes=max_bytes // 2)
    return rows[0]


def against_top(
    terms: Callable[[Tensor, Tensor, Tensor], Tensor],
    hidden: Tensor,
    weight: Tensor,
    top_ids: Tensor,
    top_logprobs: Tensor,
    *,
    bias: Tensor | None = None,
    tau: float = 1.0,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """``terms(student_logprobs, top_ids, top_logprobs)`` a token, for a teacher's K most likely tokens: ``[M]``.

    The student's log-probabilities are log softmax(logits / ``tau``); the teacher's come at ``tau`` already. Shapes:
    ``hidden [M, H]``, ``weight [V, H]``, ``top_ids [M, K]`` int64, ``top_logprobs [M, K]``.
    Differentiable in ``hidden``, ``weight`` and ``bias``; the teacher is a constant.
    """

    def function(logits: Tensor, ids: Tensor, logprobs: Tensor) -> tuple[Tensor, ...]:
        return (terms((logits / tau).log_softmax(1), ids, logprobs),)

    rows = by_rows(function, hidden, weight, top_ids, top_logprobs, bias=bias, max_bytes=max_bytes)
    return rows[0]
