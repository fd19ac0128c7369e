"""From the name of a model to the folder that holds it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from strop.errors import ModelError

EMBEDDED = "strop:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve(name: str | Path) -> Path | str:
    """The folder that ``name`` means, or the name itself if it can only be a model of the hub.

    ``strop:tiny`` is a folder inside the package; what exists on disk is that folder; ``owner/model`` is a hub id.
    Raises: ModelError for a folder that is missing or holds no model.
    """
    text = str(name)
    if text.startswith(EMBEDDED):
        return _embedded(text.removeprefix(EMBEDDED))
    path = Path(name).expanduser()
    if path.exists():
        return _model_folder(path)
    if isinstance(name, str) and _HUB_ID.fullmatch(name) and not name.startswith("."):
        return name
    raise ModelError(
        f"there is no model folder {text}",
        why="the path does not exist, and it is not a hub id of the form owner/model",
        do="check the path, or use strop:tiny, the embedded base",
    )


def _embedded(name: str) -> Path:
    shelf = Path(__file__).parent
    if (shelf / name / "config.json").is_file():
        return shelf / name
    known = sorted(f"{EMBEDDED}{config.parent.name}" for config in shelf.glob("*/config.json"))
    raise ModelError(
        f"there is no embedded model {EMBEDDED}{name}",
        why=f"this installation embeds {', '.join(known) or 'no model'}",
        do="use one of these names, a model folder, or a hub id",
    )


def _model_folder(path: Path) -> Path:
    if is_adapter(path) or (path / "config.json").is_file():
        return path
    raise ModelError(
        f"{path} is not a model folder",
        where=str(path),
        why="it holds neither config.json (a model) nor adapter_config.json (an adapter)",
        do="give the folder that save_pretrained or strop wrote",
    )


def is_adapter(folder: Path) -> bool:
    """Whether ``folder`` holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def local_folder(name: str | Path) -> Path:
    """The folder of ``name`` on this machine; a hub id is downloaded into the hub's cache. Raises: ModelError."""
    found = resolve(name)
    if isinstance(found, Path):
        return found
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(found, ignore_patterns=["*.bin", "*.pth", "*.gguf", "*.onnx", "original/*"]))
    except Exception as error:  # offline, unknown, gated: the hub's client has an error class for each
        is_offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        raise ModelError(
            f"the model {found} is neither a local folder nor obtainable from the hub",
            where=found,
            why=("HF_HUB_OFFLINE is set and the cache does not hold it: " if is_offline else "") + _first_line(error),
            do="give a local folder, check the name and the network, or download it first with `hf download`",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
