"""Checkpoints: one atomic folder a step, verified before it is trusted, without pickle.

``step_000010/`` holds ``policy.safetensors`` (what is trained), ``optimizer.safetensors``, ``state.json`` (step,
cursor and everything a resumed run must have in common with the first) and ``manifest.json`` (size and SHA-256 of
each).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from strop import files
from strop.digests import digest_file
from strop.errors import CheckpointError, MismatchError

_NAME = re.compile(r"step_(\d{6,})")
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    step: int
    """Completed optimizer steps."""
    cursor: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    """The settings that the resumed run must share."""
    micro_batch_tokens: int
    policy: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def checkpoints(folder: Path | str) -> list[Path]:
    """The checkpoint folders below ``folder``, newest first, verified or not."""
    folder = Path(folder)
    found = [path for path in folder.glob("step_*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match[1])


def write(folder: Path | str, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write ``folder/step_N`` and keep only the newest ``keep`` up to it; returns its path. Raises: OutputError."""
    assert keep >= 1, "at least the checkpoint just written is kept"
    path = Path(folder) / f"step_{checkpoint.step:06d}"
    with files.new_folder(path, replace=True) as temporary:
        save_file(_storable(checkpoint.policy), temporary / "policy.safetensors")
        save_file(_storable(checkpoint.optimizer), temporary / "optimizer.safetensors")
        state = {
            "format": _FORMAT,
            "step": checkpoint.step,
            "cursor": checkpoint.cursor,
            "fingerprint": checkpoint.fingerprint,
            "micro_batch_tokens": checkpoint.micro_batch_tokens,
        }
        files.write_json(temporary / "state.json", state)
        files.write_json(temporary / "manifest.json", manifest(temporary))
    _prune(Path(folder), checkpoint.step, keep)
    return path


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file of ``folder``."""
    return {
        path.name: {"size_bytes": path.stat().st_size, "sha256": digest_file(path)} for path in sorted(folder.iterdir())
    }


def _prune(folder: Path, step: int, keep: int) -> None:
    # A later checkpoint belongs to a run that was abandoned: it must not be taken for the newest.
    known = checkpoints(folder)
    abandoned = [path for path in known if step_of(path) > step]
    past = [path for path in known if step_of(path) <= step]
    litter = [path for path in folder.glob(".step_*.tmp") if path.is_dir()]
    for path in [*abandoned, *past[keep:], *litter]:
        shutil.rmtree(path, ignore_errors=True)


def is_whole(path: Path) -> bool:
    """Whether every file that the manifest lists is there with its size and digest."""
    try:
        listed = json.loads((path / "manifest.json").read_text())
        present = manifest(path)
    except (OSError, ValueError):
        return False
    present.pop("manifest.json", None)
    return bool(listed == present)


def latest_checkpoint(folder: Path | str) -> Path | None:
    """The newest checkpoint below ``folder`` that verifies; torn ones are passed over. None if there is none."""
    return next((path for path in checkpoints(folder) if is_whole(path)), None)


def read(path: Path | str) -> Checkpoint:
    """The checkpoint in ``path``. Raises: CheckpointError if it is missing, torn or of another format."""
    path = Path(path)
    if not is_whole(path):
        raise CheckpointError(
            f"the checkpoint {path} is torn or changed",
            where=str(path),
            why="its files do not match its manifest" if path.exists() else "there is no such folder",
            do="resume from latest_checkpoint(folder), which passes over torn ones",
        )
    state = json.loads((path / "state.json").read_text())
    if state.get("format") != _FORMAT:
        raise CheckpointError(
            f"the checkpoint {path} has format {state.get('format')}",
            where=str(path),
            why=f"this version reads format {_FORMAT}",
            do="resume with the version that wrote it, or start again",
        )
    return Checkpoint(
        step=state["step"],
        cursor=state["cursor"],
        fingerprint=state["fingerprint"],
        micro_batch_tokens=state["micro_batch_tokens"],
        policy=load_file(path / "policy.safetensors"),
        optimizer=load_file(path / "optimizer.safetensors"),
    )


def require_same_run(
    saved: Mapping[str, Any], now: Mapping[str, Any], where: Path | str, *, may_change: Collection[str] = ()
) -> None:
    """Refuse to resume a run whose settings have changed, but for those in ``may_change``.

    Raises: MismatchError naming each change.
    """
    unknown = sorted(set(may_change) - now.keys())
    assert not unknown, f"a run has no {unknown[0]}; it has {', '.join(now)}"
    changed = [
        f"{name} was {_short(saved.get(name))}, now {_short(now.get(name))}"
        for name in sorted((saved.keys() | now.keys()) - set(may_change))
        if saved.get(name) != now.get(name)
    ]
    if changed:
        raise MismatchError(
            "the checkpoint belongs to another run",
            where=str(where),
            why="; ".join(changed),
            do="restore these settings, or start the run in a new folder",
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
