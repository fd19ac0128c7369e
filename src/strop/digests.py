"""Identity is content: SHA-256 digests of bytes, files, JSON values and tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def digest_bytes(content: bytes) -> str:
    """The SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: object) -> str:
    """The digest of a JSON value, independent of key order and spacing. Raises: TypeError if it is not JSON."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def digest_file(path: Path | str) -> str:
    """The digest of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path | str) -> str:
    """The digest of every file's relative name and content below ``folder``; hidden files do not count."""
    folder = Path(folder)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return digest_json([[name, digest_file(folder / name)] for name in names if not name.startswith(".")])


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The digest of named tensors: names, dtypes, shapes and raw bytes, in the order of the names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
