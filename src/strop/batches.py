"""Laying samples end to end, and cutting a batch between its groups: no padding in either direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from strop.errors import MismatchError
from strop.types import Batch, Completion, Cursor, Sample

_INTEGER_FACTS = frozenset({"group_ids"})
_PROVIDERS = {
    "advantages": "strop.methods.grpo and dr_grpo, or strop.credit",
    "sampler_logprobs": "strop.methods.grpo and dr_grpo, or completion_sample from what a sampler reported",
    "ref_logprobs": "strop.methods.dpo, or the log-probabilities of a policy's forward before the first step",
    "is_expert": "the rows themselves: 1 on the tokens of demonstrations, 0 on those of the policy",
    "returns": "strop.credit.gae",
    "old_values": "the critic's values before the step's first update",
    "labels": "strop.objectives.label_steps",
    "teacher_top_ids": "a teacher's logits: the ids of its likeliest tokens",
    "teacher_top_logprobs": "a teacher's logits: the log-probabilities of its likeliest tokens",
    "group_ids": "strop.methods.dpo, one id a pair; strop.methods.grpo, one id a prompt",
    "preferred": "strop.methods.dpo, or the rows themselves: 1 for the answer to learn from, 0 for the other",
    "reference_kl": "strop.objectives.reference_point",
}
"""Who makes the streams and facts that objectives read."""


def collate(
    samples: Sequence[Sample], *, cursor: Cursor | None = None, metrics: Mapping[str, float] | None = None
) -> Batch:
    """One batch of ``samples`` in their order; a stream or fact must be on all of them or on none."""
    assert samples, "a batch needs at least one sample"
    lengths = [len(sample.token_ids) for sample in samples]
    for sample in samples:
        assert len(sample.loss_mask) == len(sample.token_ids), sample.name
        assert not sample.loss_mask[0], sample.name
        assert sample.streams.keys() == samples[0].streams.keys(), sample.name
        assert all(len(stream) == len(sample.token_ids) for stream in sample.streams.values()), sample.name
    return Batch(
        token_ids=torch.tensor([t for s in samples for t in s.token_ids], dtype=torch.int64),
        position_ids=torch.cat([torch.arange(length) for length in lengths]),
        sequence_ids=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(lengths)),
        loss_mask=torch.tensor([m for s in samples for m in s.loss_mask], dtype=torch.bool),
        names=tuple(sample.name for sample in samples),
        streams={
            key: torch.tensor([v for s in samples for v in s.streams[key]], dtype=torch.float32)
            for key in samples[0].streams
        },
        facts={key: _fact(key, [s.facts[key] for s in samples]) for key in samples[0].facts},
        cursor=dict(cursor or {}),
        metrics=dict(metrics or {}),
    )


def _fact(key: str, values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64 if key in _INTEGER_FACTS else torch.float32)


def completion_sample(name: str, prompt_ids: Sequence[int], completion: Completion) -> Sample:
    """A prompt with its completion, whose every token is trained, the stop token included.

    Its stream ``sampler_logprobs`` is 0 on the prompt.
    """
    num_prompt, num_new = len(prompt_ids), len(completion.token_ids)
    return Sample(
        name=name,
        token_ids=(*prompt_ids, *completion.token_ids),
        loss_mask=(False,) * num_prompt + (True,) * num_new,
        streams={"sampler_logprobs": (0.0,) * num_prompt + completion.sampler_logprobs},
    )


def sequence_lengths(batch: Batch) -> Tensor:
    """Tokens of each sequence, [S] int64."""
    return torch.bincount(batch.sequence_ids, minlength=batch.num_sequences)


def take(batch: Batch, sequences: Sequence[int]) -> Batch:
    """The batch of only these sequences, renumbered in the given order; cursor and metrics stay."""
    lengths = sequence_lengths(batch)
    starts = torch.cumsum(lengths, 0) - lengths
    tokens = torch.cat([torch.arange(int(starts[s]), int(starts[s] + lengths[s])) for s in sequences])
    tokens = tokens.to(batch.token_ids.device)
    chosen = torch.tensor(list(sequences), device=batch.token_ids.device)
    return replace(
        batch,
        token_ids=batch.token_ids[tokens],
        position_ids=batch.position_ids[tokens],
        sequence_ids=torch.repeat_interleave(torch.arange(len(sequences), device=tokens.device), lengths[chosen]),
        loss_mask=batch.loss_mask[tokens],
        names=tuple(batch.names[s] for s in sequences),
        streams={key: stream[tokens] for key, stream in batch.streams.items()},
        facts={key: fact[chosen] for key, fact in batch.facts.items()},
    )


def stream_of(batch: Batch, name: str) -> Tensor:
    """The stream, [N] or [N, K]. Raises: MismatchError if the batch has none of this name."""
    return _part(batch.streams, "stream", name)


def fact_of(batch: Batch, name: str) -> Tensor:
    """The fact, [S]. Raises: MismatchError if the batch has none of this name."""
    return _part(batch.facts, "fact", name)


def _part(parts: Mapping[str, Tensor], kind: str, name: str) -> Tensor:
    if name not in parts:
        raise MismatchError(
            f"the objective reads the {kind} {name!r}, and the batch has none",
            why=f"its {kind}s are {', '.join(sorted(parts))}" if parts else f"it has no {kind}s",
            do=f"pair the objective with batches that have it; it comes from {_PROVIDERS.get(name, 'the batches')}",
        )
    return parts[name]


def split(batch: Batch, max_tokens: int) -> list[Batch]:
    """Micro-batches of at most ``max_tokens`` tokens where groups allow it, cut only between groups.

    A group is the sequences that share ``facts["group_ids"]`` (a preference pair, the samples of one prompt); without
    that fact every sequence is its own group. A group larger than the limit is a micro-batch of its own.
    """
    groups: dict[int, list[int]] = {}
    ids = batch.facts["group_ids"].tolist() if "group_ids" in batch.facts else range(batch.num_sequences)
    for sequence, group in enumerate(ids):
        groups.setdefault(int(group), []).append(sequence)
    lengths = sequence_lengths(batch).tolist()
    pieces: list[list[int]] = []
    room = 0
    for members in groups.values():
        size = sum(lengths[member] for member in members)
        if not pieces or size > room:
            pieces.append([])
            room = max_tokens
        pieces[-1].extend(members)
        room -= size
    if len(pieces) == 1 and pieces[0] == list(range(batch.num_sequences)):
        return [batch]
    return [take(batch, piece) for piece in pieces]


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The same batch with its tensors on ``device``."""
    return replace(
        batch,
        token_ids=batch.token_ids.to(device),
        position_ids=batch.position_ids.to(device),
        sequence_ids=batch.sequence_ids.to(device),
        loss_mask=batch.loss_mask.to(device),
        streams={key: stream.to(device) for key, stream in batch.streams.items()},
        facts={key: fact.to(device) for key, fact in batch.facts.items()},
    )
