"""TRL's trainers without their machinery: padded tensors, and a stand-in on which their loss methods can be called."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from strop.types import Sample


def padded(rows: list[Sample], key: str, fill: float = 0.0) -> Tensor:
    """A stream, or the mask, as TRL lays it out: one row a sequence, padded on the right."""
    values = [sample.loss_mask if key == "loss_mask" else sample.streams[key] for sample in rows]
    width = max(len(row) for row in values)
    return torch.tensor([[*map(float, row), *[fill] * (width - len(row))] for row in values])


def unpadded(gradient: Tensor, rows: list[Sample]) -> Tensor:
    return torch.cat([row[: len(sample.token_ids)] for row, sample in zip(gradient, rows, strict=True)])


def stand_in(**settings: Any) -> SimpleNamespace:
    accelerator = SimpleNamespace(
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
        num_processes=1,
        device="cpu",
        parallelism_config=None,
    )
    return SimpleNamespace(
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        aux_loss_enabled=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )
