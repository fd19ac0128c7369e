"""Random rows on the flat token axis, and what an objective makes of them, for property tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from strop.batches import collate, split
from strop.types import Batch, Objective, Outputs, Sample

OUTPUTS = ("logprobs", "entropy", "values", "scores", "logits")
VOCABULARY, TOP = 6, 3


def random_rows(seed: int, num_groups: int = 3, group_size: int = 2) -> list[Sample]:
    """Rows with every stream that an objective may read; masked-out tokens hold garbage that must not matter.

    What the policy computes (``OUTPUTS``) is carried as streams, so that it follows its tokens everywhere.
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
    values = generator.normal(0, 1, length)
    streams = {
        "logprobs": logprobs,
        "entropy": generator.exponential(1.0, length),
        "values": values,
        "scores": generator.normal(0, 1, length),
        "old_logprobs": logprobs + generator.normal(0, 0.4, length),
        "old_values": values + generator.normal(0, 0.4, length),
        "ref_logprobs": logprobs + generator.normal(0, 0.4, length),
        "sampler_logprobs": logprobs + generator.normal(0, 0.4, length),
        "advantages": np.full(length, generator.normal()),
        "returns": generator.normal(0, 1, length),
        "labels": generator.integers(0, 2, length),
        "weights": generator.random(length),
        "is_expert": np.full(length, generator.integers(0, 2)),
        "logits": generator.normal(0, 1, (length, VOCABULARY)),
        "teacher_top_ids": np.stack([generator.permutation(VOCABULARY)[:TOP] for _ in range(length)]),
        "teacher_top_logprobs": np.log(generator.dirichlet(np.ones(VOCABULARY), length)[:, :TOP]),
    }
    return Sample(
        name=name,
        token_ids=tuple(int(t) for t in generator.integers(0, 50, length)),
        loss_mask=tuple(bool(m) for m in mask),
        streams={key: tuple(values.tolist()) for key, values in streams.items()},
        facts={
            "group_ids": group,
            "preferred": preferred,
            "margins": float(generator.random()),
            "reference_kl": 0.1,
        },
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
    by_output: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Field of ``Outputs`` → row name → d value / d that field, one entry (for logits one row) a token."""

    @property
    def gradient(self) -> Tensor:
        """All rows' gradients with respect to the log-probabilities, in the rows' order."""
        return torch.cat(list(self.gradients.values()))

    def gradient_of(self, output: str) -> Tensor:
        """All rows' gradients with respect to another field of ``Outputs``, in the rows' order."""
        return torch.cat([self.by_output[output][name] for name in self.gradients])


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
    return replace(result, gradients={sample.name: result.by_output["logprobs"][sample.name] for sample in rows})


def _add(result: Descent, objective: Objective, piece: Batch, totals: dict[str, float]) -> None:
    leaves = {key: stream.double().requires_grad_() for key, stream in piece.streams.items()}
    fields = {name: leaves.get(name) for name in OUTPUTS}
    if fields["logits"] is not None:
        fields["logits"] = fields["logits"][piece.loss_mask]
    loss = objective(Outputs(**fields), replace(piece, streams=leaves), totals)
    result.value += loss.value.item()
    for name, value in loss.metrics.items():
        assert not value.requires_grad, name
        result.metrics[name] = result.metrics.get(name, 0.0) + value.item()
    gradients = torch.autograd.grad(loss.value, list(leaves.values()), allow_unused=True)
    for (key, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        assert key in OUTPUTS or gradient is None, f"{key} must be a constant"
        if key in OUTPUTS:
            by_token = torch.zeros_like(leaf) if gradient is None else gradient
            by_row = result.by_output.setdefault(key, {})
            by_row |= {name: by_token[piece.sequence_ids == number] for number, name in enumerate(piece.names)}
