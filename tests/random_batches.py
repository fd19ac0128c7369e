"""Random rows on the flat token axis, and what an objective makes of them, for property tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from strop.batches import collate, split
from strop.types import Batch, Objective, Outputs, Sample


def random_rows(seed: int, num_groups: int = 3, group_size: int = 2) -> list[Sample]:
    """Rows with every stream that an objective may read; masked-out tokens hold garbage that must not matter.

    ``logprobs`` and ``entropy`` are carried as streams, so that they follow their tokens through every rearrangement.
    """
    generator = np.random.default_rng(seed)
    return [
        _random_row(generator, name=f"{group}-{member}", group=group, preferred=float(member == 0))
        for group in range(num_groups)
        for member in range(group_size)
    ]


def _random_row(generator: np.random.Generator, *, name: str, group: int, preferred: float) -> Sample:
    length = int(generator.integers(2, 8))
    mask = np.concatenate([[False], generator.random(length - 1) < 0.7])
    mask[-1] = True
    logprobs = -generator.exponential(1.0, length)
    streams = {
        "logprobs": logprobs,
        "entropy": generator.exponential(1.0, length),
        "old_logprobs": logprobs + generator.normal(0, 0.4, length),
        "ref_logprobs": logprobs + generator.normal(0, 0.4, length),
        "advantages": np.full(length, generator.normal()),
        "weights": generator.random(length),
    }
    return Sample(
        name=name,
        token_ids=tuple(int(t) for t in generator.integers(0, 50, length)),
        loss_mask=tuple(bool(m) for m in mask),
        streams={key: tuple(float(v) for v in values) for key, values in streams.items()},
        facts={"group_ids": group, "preferred": preferred},
    )


def row(
    logprobs: Sequence[float], *, name: str = "row", group: int = 0, preferred: float = 0.0, **streams: object
) -> Sample:
    """A prompt token and then one trained token for each of ``logprobs``; a scalar stream holds for every token."""
    length = len(logprobs) + 1
    full = {"logprobs": [0.0, *logprobs]}
    for key, value in streams.items():
        full[key] = [0.0, *value] if isinstance(value, Sequence) else [float(value)] * length  # type: ignore[arg-type]
    return Sample(
        name=name,
        token_ids=tuple(range(length)),
        loss_mask=(False, *[True] * (length - 1)),
        streams=full,
        facts={"group_ids": group, "preferred": preferred},
    )


def masked_out(sample: Sample) -> Sample:
    """The same row with nothing left to train."""
    return replace(sample, loss_mask=(False,) * len(sample.loss_mask))


@dataclass
class Descent:
    """What an objective makes of a step's rows."""

    value: float
    metrics: dict[str, float]
    gradients: dict[str, Tensor]
    """Row name → d value / d logprobs, one entry a token."""

    @property
    def gradient(self) -> Tensor:
        """All rows' gradients, in the rows' order."""
        return torch.cat(list(self.gradients.values()))


def descend(objective: Objective, rows: Sequence[Sample], *, max_tokens: int | None = None) -> Descent:
    """One optimizer step's value, metrics and gradients, summed over micro-batches of ``max_tokens`` (None: one)."""
    batch = collate(rows)
    pieces = [batch] if max_tokens is None else split(batch, max_tokens)
    totals: dict[str, float] = {}
    for piece in pieces:
        for name, count in objective.count(piece).items():
            totals[name] = totals.get(name, 0.0) + count
    result = Descent(0.0, {}, {})
    for piece in pieces:
        _add(result, objective, piece, totals)
    return replace(result, gradients={sample.name: result.gradients[sample.name] for sample in rows})


def _add(result: Descent, objective: Objective, piece: Batch, totals: dict[str, float]) -> None:
    leaves = {key: stream.double().requires_grad_() for key, stream in piece.streams.items()}
    entropy = leaves.get("entropy")
    outputs = Outputs(logprobs=leaves["logprobs"], entropy=entropy)
    loss = objective(outputs, replace(piece, streams=leaves), totals)
    result.value += loss.value.item()
    for name, value in loss.metrics.items():
        assert not value.requires_grad, name
        result.metrics[name] = result.metrics.get(name, 0.0) + value.item()
    gradients = torch.autograd.grad(loss.value, list(leaves.values()), allow_unused=True)
    for key, gradient in zip(leaves, gradients, strict=True):
        assert key == "logprobs" or gradient is None, f"{key} must be a constant"
    assert gradients[list(leaves).index("logprobs")] is not None
    by_token = gradients[list(leaves).index("logprobs")]
    for sequence, name in enumerate(piece.names):
        result.gradients[name] = by_token[piece.sequence_ids == sequence]
