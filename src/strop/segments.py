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


def segment_last(values: Tensor, mask: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """The value at each sequence's last masked token: ``[N]`` → ``[S]``; 0 where the mask is empty."""
    return segment_sum(values * last_of_each(mask, sequence_ids), sequence_ids, num_sequences)


def last_of_each(mask: Tensor, sequence_ids: Tensor) -> Tensor:
    """True at the last masked token of every sequence that has one: ``mask`` bool [N] → ``[N]`` bool."""
    tokens = mask.nonzero(as_tuple=True)[0]
    owners = sequence_ids[tokens]
    is_last = torch.ones_like(owners, dtype=torch.bool)
    is_last[:-1] = owners[1:] != owners[:-1]
    return torch.zeros_like(mask).index_fill(0, tokens[is_last], True)


def following(values: Tensor, mask: Tensor, sequence_ids: Tensor) -> Tensor:
    """At every masked token the value of the next masked token of its sequence, 0 at the last one: ``[N]`` → ``[N]``.

    Tokens in between that are masked out (a tool's answer) are stepped over. 0 outside the mask.
    """
    tokens = mask.nonzero(as_tuple=True)[0]
    owners, known = sequence_ids[tokens], values[tokens]
    behind = torch.zeros_like(known)
    behind[:-1] = torch.where(owners[1:] == owners[:-1], known[1:], 0)
    return scatter(behind, tokens, values.shape[0])


def reverse_scan(values: Tensor, decay: float, mask: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """y_t = x_t + ``decay`` · y_next over the masked tokens of each sequence, from its end: ``[N]`` → ``[N]``.

    Tokens that are masked out are stepped over: neither do they add, nor do they decay. 0 outside the mask.
    """
    tokens = mask.nonzero(as_tuple=True)[0]
    owners = sequence_ids[tokens]
    counts = segment_count(mask, sequence_ids, num_sequences)
    ends = torch.cumsum(counts, 0)
    from_end = ends[owners] - 1 - torch.arange(len(tokens), device=tokens.device)
    rows = values.new_zeros(int(counts.max()), num_sequences)
    rows[from_end, owners] = values[tokens]
    carried = values.new_zeros(num_sequences)
    scanned = []
    for row in rows:
        carried = row + decay * carried
        scanned.append(carried)
    found = torch.stack(scanned)[from_end, owners] if scanned else values[tokens]
    return scatter(found, tokens, values.shape[0])
