"""The reference execution: the model's own forward on right-padded rows, through its own head.

It touches nothing that a model family could do differently (attention windows, soft-caps, logit scaling, position
embeddings), so that every ``transformers`` causal language model runs without a special case.

Measured on a CPU core (4 layers of size 128): the buckets train 1.4 times faster than one padded batch. Laying rows
end to end and padding inside attention only gained -2 % to 13 % over buckets, and every family would have to prove
that its windows, soft-caps and scalings survive it: left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from strop.batches import sequence_lengths
from strop.segments import predictors, segment_count
from strop.types import Batch

_CALL_COST_TOKENS = {"cpu": 128}
"""One more call of the model costs about as much as this many more tokens (measured with 4 layers of size 128)."""
_ACCELERATOR_CALL_COST_TOKENS = 4096


@dataclass(frozen=True)
class Layout:
    """One bucket of B sequences, right-padded to T tokens."""

    input_ids: Tensor
    """[B, T] int64; padding repeats an arbitrary token that nothing attends to."""
    attention_mask: Tensor
    """[B, T] int64, 1 on real tokens."""
    position_ids: Tensor
    """[B, T] int64."""
    keep: Tensor
    """[B, T] bool, True where the logits predict a trained token."""
    targets: Tensor
    """[M] int64, the flat indices of these trained tokens, in the row-major order of ``keep``."""


def buckets(lengths: Sequence[int], max_padded_tokens: int, call_cost_tokens: int) -> list[list[int]]:
    """Indices of ``lengths``, longest first, cut so that a bucket's padded area stays within the bound.

    A bucket also ends where its padding would cost more than another call of the model; for evenly spread lengths,
    where k rows waste about k² and a call is shared by k rows, that is the cheapest cut.
    """
    pieces: list[list[int]] = []
    padding = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[pieces[-1][0]] if pieces else 0
        padding += longest - lengths[index]
        if pieces and padding <= call_cost_tokens and longest * (len(pieces[-1]) + 1) <= max_padded_tokens:
            pieces[-1].append(index)
        else:
            pieces.append([index])
            padding = 0
    return pieces


def layouts(batch: Batch, max_padded_tokens: int) -> list[Layout]:
    """The padded buckets that together predict every trained token of ``batch`` once."""
    targets, sources = predictors(batch.loss_mask, batch.position_ids)
    target_of = torch.full_like(batch.token_ids, -1).index_copy(0, sources, targets)
    lengths = sequence_lengths(batch)
    starts = torch.cumsum(lengths, 0) - lengths
    call_cost = _CALL_COST_TOKENS.get(batch.token_ids.device.type, _ACCELERATOR_CALL_COST_TOKENS)
    trained = segment_count(batch.loss_mask, batch.sequence_ids, batch.num_sequences).nonzero(as_tuple=True)[0]
    return [
        _lay_out(batch, target_of, starts[trained[piece]], lengths[trained[piece]])
        for piece in buckets(lengths[trained].tolist(), max_padded_tokens, call_cost)
    ]


def _lay_out(batch: Batch, target_of: Tensor, starts: Tensor, lengths: Tensor) -> Layout:
    steps = torch.arange(int(lengths.max()), device=starts.device)
    real = steps < lengths[:, None]
    index = starts[:, None] + torch.minimum(steps, lengths[:, None] - 1)
    keep = (target_of[index] >= 0) & real
    return Layout(
        input_ids=batch.token_ids[index],
        attention_mask=real.to(torch.int64),
        position_ids=steps.expand_as(real),
        keep=keep,
        targets=target_of[index[keep]],
    )


def kept_logits(model: nn.Module, layout: Layout, *, through_head: bool) -> Tensor:
    """The logits [M, V] at ``layout.keep``; ``through_head`` lets the model's head see only those positions."""
    arguments: dict[str, Any] = {
        "input_ids": layout.input_ids,
        "attention_mask": layout.attention_mask,
        "position_ids": layout.position_ids,
        "use_cache": False,
    }
    accepted = forward_arguments(model)
    arguments = {name: value for name, value in arguments.items() if name in accepted}
    if through_head:
        kept: Tensor = model(**arguments, logits_to_keep=layout.keep).logits
        return kept
    every: Tensor = model(**arguments).logits
    return every[layout.keep]


def forward_arguments(model: Any) -> frozenset[str]:
    """The names that the forward of the model inside any adapter accepts."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(inner.forward).parameters)


@torch.no_grad()
def selects_positions(model: nn.Module, vocab_size: int, device: torch.device) -> bool:
    """Whether this model computes exactly the masked positions for a boolean ``logits_to_keep``, found by trying it."""
    if "logits_to_keep" not in forward_arguments(model):
        return False
    input_ids = torch.arange(10, device=device).view(2, 5) % vocab_size
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], device=device)
    keep = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 1, 0, 0]], dtype=torch.bool, device=device)
    steps = torch.arange(5, device=device).expand(2, 5)
    layout = Layout(input_ids, real, steps, keep, torch.zeros(5, dtype=torch.int64, device=device))
    every = kept_logits(model, layout, through_head=False)
    try:
        kept = kept_logits(model, layout, through_head=True)
    except (IndexError, TypeError, ValueError, RuntimeError):
        return False
    tolerance = 1e-4 * float(every.abs().max().clamp(min=1))
    return kept.shape == every.shape and bool((kept - every).abs().max() < tolerance)


def plain_head(model: Any, vocab_size: int, device: torch.device) -> nn.Linear | None:
    """The head, if this model's logits are plainly its hidden @ weight.T + bias; None for any other model.

    Found by trying it: the head is made to answer numbers of every size, and the model must hand on exactly those. A
    soft-cap, a scaling, a second use of the head or an adapter on it is thus noticed, whatever the weights are.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = inner.get_output_embeddings()
    if type(head) is not nn.Linear or "forward" in vars(head) or head._forward_hooks or head._forward_pre_hooks:
        return None
    sizes = torch.logspace(-3, 3, vocab_size, device=device)
    answers = torch.stack([sizes, -sizes, sizes.flip(0)])[:, None].repeat_interleave(2, 1).flatten(0, 1)
    answered = answers.view(2, 3, vocab_size)
    row = torch.arange(3, device=device).expand(2, 3)
    layout = Layout(row % vocab_size, torch.ones_like(row), row, torch.ones_like(row, dtype=torch.bool), row[0])
    with torch.no_grad(), _head_answers(head, lambda hidden: answered) as calls:
        found = kept_logits(model, layout, through_head=False)
    is_plain = len(calls) == 1 and found.shape == answers.shape and bool((found.float() == answers).all())
    return head if is_plain else None


def kept_hidden(model: nn.Module, layout: Layout, head: nn.Linear, *, through_head: bool) -> Tensor:
    """The hidden states [M, H] from which ``head`` would compute the logits at ``layout.keep``."""
    with _head_answers(head, lambda hidden: hidden[..., :1]) as calls:
        kept_logits(model, layout, through_head=through_head)
    (hidden,) = calls
    return hidden if through_head else hidden[layout.keep]


@contextmanager
def _head_answers(head: Any, answer: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Within it, the head computes nothing, answers ``answer(hidden)``, and what it was given is listed."""
    calls: list[Tensor] = []

    def forward(hidden: Tensor) -> Tensor:
        calls.append(hidden)
        return answer(hidden)

    head.forward = forward
    try:
        yield calls
    finally:
        del head.forward
