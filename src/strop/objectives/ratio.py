"""The ratio axis: how far the policy has moved from the one that sampled, a token or a sequence at a time.

Each function maps ``log_ratio [N]`` = logprobs - old_logprobs to the log of the ratio that stands
at each token, ``[N]``, and is differentiable in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from strop.segments import segment_mean
from strop.types import Batch

Ratio = Literal["token", "sequence", "none"]
MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to ± this before the exponential: e^20 is finite in float32 and its gradient is 0 beyond."""


def token(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log ρ_t = log p(y_t) - log p_old(y_t). *Source*: Schulman et al. 2017 (arXiv:1707.06347), section 3."""
    return log_ratio


def sequence(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log s_i = (1/|y_i|) Σ_t (log p - log p_old), the geometric mean, at every token of sequence i.

    *Source*: GSPO (arXiv:2507.18071), section 4.1. Aggregate by sequence means: a token sum counts s_i |y_i| times.
    """
    means = segment_mean(log_ratio, batch.loss_mask, batch.sequence_ids, batch.num_sequences)
    return means[batch.sequence_ids]


def none(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log 1 with the gradient of log p: the samples count as the policy's own, whoever drew them."""
    return log_ratio - log_ratio.detach()


RATIOS: Mapping[Ratio, Callable[[Tensor, Batch], Tensor]] = {"token": token, "sequence": sequence, "none": none}
