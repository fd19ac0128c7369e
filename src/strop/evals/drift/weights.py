"""Identity of the weights in a model folder, whatever stands around them, read without loading the model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from strop.digests import digest_file, digest_json
from strop.errors import ModelError
from strop.models.folders import find_base
from strop.models.names import is_adapter

_VOLATILE = frozenset({"transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "architectures"})
_LORA = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern")
_WEIGHTS = ("*.safetensors", "*.bin", "*.pth")


def weights_digest(folder: Path) -> str:
    """The digest of the tensors and of the architecture; of an adapter with those of its base.

    The same however the tensors are split into files. Token ids, the tokenizer and the decoding do not count.
    Raises: ModelError without weights, for a torn file, or for an adapter without its base.
    """
    files = sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if not files:
        raise ModelError(f"{folder} holds no weights", where=str(folder), do="give a model or adapter folder")
    content = sorted(part for file in files for part in _tensors(file))
    if not is_adapter(folder):
        return digest_json([content, _architecture(read_object(folder / "config.json"))])
    adapter = read_object(folder / "adapter_config.json")
    settings = {key: adapter.get(key) for key in _LORA}
    if isinstance(settings["target_modules"], list):
        settings["target_modules"] = sorted(settings["target_modules"])
    base = find_base(folder, adapter).folder
    assert base is not None, "find_base answers with a folder or raises"
    return digest_json([content, settings, weights_digest(base)])


def _architecture(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _VOLATILE and not key.endswith("_token_id")}


def _tensors(file: Path) -> list[list[Any]]:
    """[name, dtype, shape, digest] of each tensor in a safetensors file; other formats count whole."""
    if file.suffix != ".safetensors":
        return [[file.name, "", [], digest_file(file)]]
    try:
        with open(file, "rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            header: dict[str, Any] = json.loads(opened.read(size))
            found = []
            for name, told in header.items():
                if name == "__metadata__":
                    continue
                start, end = told["data_offsets"]
                opened.seek(8 + size + start)
                raw = opened.read(end - start)
                if len(raw) != end - start:
                    raise ValueError(f"it ends within the tensor {name}")
                found.append([name, told["dtype"], told["shape"], hashlib.sha256(raw).hexdigest()])
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ModelError(
            f"{file} cannot be read", where=str(file), why=str(error), do="copy the model again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises: ModelError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read", where=str(path), why=str(error), do="copy the model again"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object", where=str(path), do="copy the model again")
    return found
