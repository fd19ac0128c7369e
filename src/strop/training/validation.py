"""Validation loss, and the best weights by it."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from strop import batches as flat
from strop import files
from strop.errors import CheckpointError
from strop.models import hardware
from strop.models.policy import Policy
from strop.training import checkpoint
from strop.training.loop import add_up
from strop.types import Batch, Objective

_NAME = re.compile(r"best_(\d{6,})")


@torch.no_grad()
def validate(
    policy: Policy, objective: Objective, batches: Iterable[Batch], *, micro_batch_tokens: int | None = None
) -> dict[str, float]:
    """``loss`` and the objective's metrics over all ``batches`` as one, with denominators counted over all of them."""
    limit = micro_batch_tokens or hardware.memory_plan(policy, optimizer=None).micro_batch_tokens
    pieces = [piece for batch in batches for piece in flat.split(batch, limit)]
    assert pieces, "validation needs at least one batch"
    totals = add_up(objective.count(piece) for piece in pieces)
    found: dict[str, float] = {}
    loss = 0.0
    with hardware.memory_advice(limit):
        for piece in pieces:
            on_device = flat.to_device(piece, policy.device)
            outputs = policy.forward(on_device, objective.needs, temperature=objective.temperature)
            share = objective(outputs, on_device, totals)
            loss += float(share.value)
            found = add_up((found, {name: float(value) for name, value in share.metrics.items()}))
    return {**found, "loss": loss}


@dataclass(frozen=True, kw_only=True)
class Best:
    """The lowest validation loss so far and where its weights lie."""

    step: int
    loss: float
    path: Path


def best(folder: Path | str) -> Best | None:
    """The whole record with the lowest loss below ``folder``, the earlier of equals; None if there is none."""
    found = []
    for path in Path(folder).glob("best_*"):
        if _NAME.fullmatch(path.name) and checkpoint.is_whole(path):
            state = json.loads((path / "state.json").read_text())
            found.append(Best(step=state["step"], loss=state["loss"], path=path))
    return min(found, key=lambda record: (record.loss, record.step), default=None)


def save_best(policy: Policy, folder: Path | str, *, step: int, loss: float) -> bool:
    """Keep the policy's trained tensors in ``folder`` if ``loss`` is the lowest so far; says whether it was.

    The new record is whole before the old one goes, so that a kill in between loses nothing. Raises: OutputError.
    """
    before = best(folder)
    if not math.isfinite(loss) or (before is not None and (before.loss, before.step) <= (loss, step)):
        return False
    path = Path(folder) / f"best_{step:06d}"
    with files.new_folder(path, replace=True) as temporary:
        state = {name: tensor.cpu().contiguous() for name, tensor in policy.state().items()}
        save_file(state, temporary / "policy.safetensors")
        files.write_json(temporary / "state.json", {"step": step, "loss": loss})
        files.write_json(temporary / "manifest.json", checkpoint.manifest(temporary))
    for old in Path(folder).glob("best_*"):
        if old != path and _NAME.fullmatch(old.name):
            shutil.rmtree(old, ignore_errors=True)
    return True


def load_best(policy: Policy, folder: Path | str) -> Best:
    """Give ``policy`` the best weights of ``folder`` and say which. Raises: CheckpointError if there are none."""
    record = best(folder)
    if record is None:
        raise CheckpointError(
            f"{folder} holds no best weights", where=str(folder), do="call save_best after each validation"
        )
    policy.load_state(load_file(record.path / "policy.safetensors"))
    return record
