"""The ratio axis: how far the policy has moved from the one that sampled, a token or a sequence at a time.

Each function maps ``log_ratio [N]`` = logprobs - old_logprobs to the log of the ratio that stands
at each token, ``[N]``, and is differentiable in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from strop.segments import segment_mean, segment_sum
from strop.types import Batch

Ratio = Literal["token", "sequence", "sequence_sum", "none"]
MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to ± this before the exponential: e^20 is finite in float32 and its gradient is 0 beyond."""


def token(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log ρ_t = log p(y_t) - log p_old(y_t). *Source*: Schulman et al. 2017 (arXiv:1707.06347), section 3."""
    return log_ratio


def sequence(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log s_i = (1/|y_i|) Σ_t (log p - log p_old), the geometric mean, at every token of sequence i.

    *Source*: GSPO (arXiv:2507.18071), section 4.1. With ``sequence_mean`` the loss of a sequence is -s_i A_i once and
    d/d log p_t = -s_i A_i / |y_i|, the same as of GSPO's token-wise form sg(s_i) p_t / sg(p_t) (section 4.3). The
    other aggregations count s_i A_i once a token, so long answers weigh more, which is a different objective and not an
    error: ``sequence_sum`` with it is LUSPO's. A range for token ratios (0.2) never clips here.
    """
    means = segment_mean(log_ratio, batch.loss_mask, batch.sequence_ids, batch.num_sequences)
    return means[batch.sequence_ids]


def sequence_sum(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log ρ_i = Σ_t (log p - log p_old), of the whole answer's probabilities, at every token of sequence i.

    *Source*: RLOO (arXiv:2402.14740), with PPO's clip as TRL's ``RLOOTrainer`` has it. Aggregate by
    ``sequence_mean``: the loss of a sequence is then -ρ_i A_i once. This is the exact importance weight of an answer,
    and it explodes: a drift of δ nats a token is a ratio of e^(δ |y|), so that the clip stops long answers first.
    """
    sums = segment_sum(log_ratio * batch.loss_mask, batch.sequence_ids, batch.num_sequences)
    return sums[batch.sequence_ids]


def none(log_ratio: Tensor, batch: Batch) -> Tensor:
    """log 1 with the gradient of log p: the samples count as the policy's own, whoever drew them."""
    return log_ratio - log_ratio.detach()


RATIOS: Mapping[Ratio, Callable[[Tensor, Batch], Tensor]] = {
    "token": token,
    "sequence": sequence,
    "sequence_sum": sequence_sum,
    "none": none,
}
