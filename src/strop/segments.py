"""The flat token axis: the one next-token shift and the per-sequence reductions.

Conventions: N tokens of S sequences laid end to end; ``sequence_ids [N]`` in 0..S-1; every stream is aligned to the
token it describes. Sequence-level formulas are reductions over segments, never over padded rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def predictors(mask: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of the masked tokens and of the positions whose logits predict them.

    This is the only next-token shift: the logits at index i - 1 predict the token at index i of the same sequence.

    Shapes: ``mask [N]`` bool, ``position_ids [N]`` int; both results ``[M]`` int64 with M = mask.sum().
    Raises: AssertionError if the first token of a sequence is masked in, since nothing predicts it.
    """
    targets = mask.nonzero(as_tuple=True)[0]
    assert not bool((position_ids[targets] == 0).any()), "the first token of a sequence has no predictor"
    return targets, targets - 1


def scatter(values: Tensor, targets: Tensor, num_tokens: int) -> Tensor:
    """``values [M]`` placed at ``targets [M]`` of a zero vector ``[num_tokens]``; differentiable in ``values``."""
    return values.new_zeros(num_tokens).index_copy(0, targets, values)


def segment_sum(values: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """The sum over each sequence: ``values [N]`` → ``[S]``; 0 for a sequence without tokens."""
    return values.new_zeros(num_sequences).index_add(0, sequence_ids, values)


def segment_mean(values: Tensor, mask: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """The mean over each sequence's masked part: ``values``, ``mask`` bool [N] → ``[S]``; 0 where the mask is empty."""
    counts = segment_sum(mask.to(values.dtype), sequence_ids, num_sequences)
    return segment_sum(values * mask, sequence_ids, num_sequences) / counts.clamp(min=1)


def segment_count(mask: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """How many masked tokens each sequence has: ``mask [N]`` bool → ``[S]`` int64."""
    return segment_sum(mask.to(torch.int64), sequence_ids, num_sequences)
