"""Where a run keeps things: ``STROP_HOME`` for the cache and the registry, a recipe's folder for its relative paths."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The folders of one run."""

    home: Path
    """The cache and the registry."""
    root: Path
    """What relative paths of the recipe start from."""

    @classmethod
    def here(cls, root: Path | str = ".") -> Workspace:
        """The workspace of the current folder: ``STROP_HOME``, or ``.strop`` here."""
        return cls(home=Path(os.environ.get("STROP_HOME", ".strop")).absolute(), root=Path(root).absolute())

    @property
    def stages(self) -> Path:
        """Finished stages, a folder a key."""
        return self.home / "cache" / "stages"

    @property
    def work(self) -> Path:
        """Unfinished stages: their checkpoints and their lock."""
        return self.home / "cache" / "work"

    @property
    def evals(self) -> Path:
        """Finished evaluations, a folder a key."""
        return self.home / "cache" / "evals"

    @property
    def registry(self) -> Path:
        """The release registry."""
        return self.home / "registry.sqlite"

    @property
    def looks(self) -> Path:
        """Which held-out suites decided about which candidates; no cache, and never cleaned."""
        return self.home / "looks.jsonl"

    def path(self, name: str) -> Path:
        """A path of the recipe, made absolute."""
        return (self.root / Path(name).expanduser()).absolute()


def require_writable(folder: Path) -> None:
    """Refuse at once a folder that could not be made or written; makes nothing itself. Raises: OutputError."""
    folder = folder.absolute()
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".strop."):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}",
            where=str(folder),
            why=(error.strerror or str(error)).lower(),
            do="choose another folder with --output, or another STROP_HOME",
        ) from error


# ---------------------------------------------------------------------------------------------------------- the cache


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One thing in the cache."""

    kind: str
    """``stage``, ``evaluation``, ``unfinished`` or ``litter``."""
    key: str
    title: str
    folder: Path
    size_bytes: int


def cache_entries(workspace: Workspace) -> list[CacheEntry]:
    """Everything in the cache; interrupted writes count as litter."""
    entries: list[CacheEntry] = []
    for kind, parent in (("stage", workspace.stages), ("evaluation", workspace.evals), ("unfinished", workspace.work)):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else []:
            if not folder.is_dir():
                continue
            found = "litter" if folder.name.startswith(".") else kind
            entries.append(
                CacheEntry(kind=found, key=folder.name, title=_title(folder), folder=folder, size_bytes=_size(folder))
            )
    return entries


def clean_cache(workspace: Workspace, kinds: frozenset[str], key: str = "") -> list[CacheEntry]:
    """Remove the entries of these kinds whose key starts with ``key``; stages that a run is working on stay."""
    from strop.pipeline.lock import is_locked

    gone = []
    for entry in cache_entries(workspace):
        if entry.kind not in kinds or not entry.key.startswith(key) or is_locked(entry.folder):
            continue
        shutil.rmtree(entry.folder, ignore_errors=True)
        gone.append(entry)
    return gone


def _title(folder: Path) -> str:
    try:
        record: dict[str, Any] = json.loads((folder / "stage.json").read_text())
        return f"{record['name']} ({record['method']}) from {record['input']['name']}"
    except (OSError, ValueError, KeyError):
        return ""


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
