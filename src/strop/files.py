"""Atomic writing: a file or folder is either whole at its place or not there at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strop.errors import OutputError


def _told(path: Path, error: OSError) -> OutputError:
    hints = {
        errno.ENOSPC: "free some space, or choose another folder",
        errno.EDQUOT: "free some space, or choose another folder",
        errno.EACCES: "choose a folder that you may write to",
        errno.EPERM: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
        errno.ENOTDIR: "choose a path whose parents are folders",
        errno.EEXIST: "remove what stands there, or choose another folder",
    }
    return OutputError(
        f"could not write {path}",
        where=str(path),
        why=(error.strerror or str(error)).lower(),
        do=hints.get(error.errno or 0, "check the path and the disk"),
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path`` by way of a synced temporary file and a rename. Raises: OutputError."""
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _told(path, error) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically. Raises: OutputError."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically. Raises: OutputError."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def append_whole(descriptor: int, content: bytes) -> None:
    """Append all of it, synced; where the disk ends in between, take back what went through. Raises: OSError.

    The file is open for appending, and locked by the caller.
    """
    start = os.fstat(descriptor).st_size
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, start)
        raise


@contextmanager
def new_folder(path: Path | str, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error, and vanishes otherwise.

    Every file is synced before the rename. ``replace`` allows an existing folder to be swapped out.
    Raises: OutputError.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        if path.exists() and not replace:
            raise OSError(errno.EEXIST, "it already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
        os.chmod(temporary, 0o755)
        yield temporary
        for file in sorted(temporary.rglob("*"), reverse=True):
            _sync(file)
        _sync(temporary)
        _swap(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _told(path, error) from error
    except Exception as error:
        # safetensors and tokenizers raise types of their own, with the system's number in the text only
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise _told(path, OSError(int(number[1]), os.strerror(int(number[1])))) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    os.rename(path, old / "old")
    os.rename(new, path)
    shutil.rmtree(old, ignore_errors=True)
