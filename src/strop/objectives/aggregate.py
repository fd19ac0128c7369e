"""The aggregation axis: from one loss a token to the step's scalar.

Each function returns the batch's share of the step's value from ``losses [N]``, the batch's mask and segments, and the
step's ``totals``: ``tokens`` (trained ones) and ``sequences`` (those with a trained token, so that masking a row out
equals removing it). Differentiable in ``losses``; an empty mask gives 0. ``constant_length`` is read by ``constant``
only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from strop.segments import segment_count, segment_mean
from strop.types import Batch

Aggregate = Literal["token_mean", "sequence_mean", "sequence_sum", "constant"]


def denominators(batch: Batch) -> dict[str, float]:
    """The batch's share of ``tokens`` and ``sequences``."""
    counts = segment_count(batch.loss_mask, batch.sequence_ids, batch.num_sequences)
    return {"tokens": float(counts.sum()), "sequences": float((counts > 0).sum())}


def token_mean(losses: Tensor, batch: Batch, totals: Mapping[str, float], constant_length: int | None) -> Tensor:
    """Σ_it l m / Σ_it m: every token weighs the same. *Source*: DAPO (arXiv:2503.14476), section 3.3."""
    return (losses * batch.loss_mask).sum() / max(totals["tokens"], 1.0)


def sequence_mean(losses: Tensor, batch: Batch, totals: Mapping[str, float], constant_length: int | None) -> Tensor:
    """(1/N) Σ_i (1/|y_i|) Σ_t l m: every sequence weighs the same. *Source*: GRPO (arXiv:2402.03300), eq. 3."""
    means = segment_mean(losses, batch.loss_mask, batch.sequence_ids, batch.num_sequences)
    return means.sum() / max(totals["sequences"], 1.0)


def sequence_sum(losses: Tensor, batch: Batch, totals: Mapping[str, float], constant_length: int | None) -> Tensor:
    """(1/N) Σ_i Σ_t l m: the policy gradient of whole sequences. *Source*: RLOO (arXiv:2402.14740)."""
    return (losses * batch.loss_mask).sum() / max(totals["sequences"], 1.0)


def constant(losses: Tensor, batch: Batch, totals: Mapping[str, float], constant_length: int | None) -> Tensor:
    """(1/(N L_max)) Σ_it l m, L_max fixed for the whole run. *Source*: Dr. GRPO (arXiv:2503.20783), section 3.2."""
    assert constant_length is not None, "the objective checks this when it is made"
    return sequence_sum(losses, batch, totals, constant_length) / constant_length


AGGREGATES: Mapping[Aggregate, Callable[[Tensor, Batch, Mapping[str, float], int | None], Tensor]] = {
    "token_mean": token_mean,
    "sequence_mean": sequence_mean,
    "sequence_sum": sequence_sum,
    "constant": constant,
}
