"""Folders that an untrusted program has filled: measured and removed without following where it leads.

It may nest them deeper than recursion or a path can go, and forbid to look into them.
"""

from __future__ import annotations

import contextlib
import os

MAX_ENTRIES = 4096


def sizes(folder: str) -> list[int]:
    """The sizes in bytes of all entries below the folder; more than ``MAX_ENTRIES`` are not looked at.

    Raises: OSError if a folder cannot be looked into.
    """
    found: list[int] = []
    waiting = [folder]
    while waiting and len(found) <= MAX_ENTRIES:
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    found.append(0 if is_folder else entry.stat(follow_symlinks=False).st_size)
                    if is_folder:
                        waiting.append(entry.path)
                if len(found) > MAX_ENTRIES:
                    break
    return found


def remove(folder: str) -> None:
    """Remove the folder and all below it: what is nested is first moved up, so that every path stays short."""
    prefix, number = os.urandom(8).hex(), 0
    for top in iter(lambda: _subfolder(folder), None):
        with contextlib.suppress(OSError):
            os.chmod(top, 0o700)
        with os.scandir(top) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    number += 1
                    with contextlib.suppress(OSError):
                        os.chmod(entry.path, 0o700)
                    os.rename(entry.path, os.path.join(folder, f"{prefix}-{number}"))
                else:
                    os.unlink(entry.path)
        os.rmdir(top)
    os.rmdir(folder)


def _subfolder(folder: str) -> str | None:
    """One folder in the folder, whose files are gone then."""
    os.chmod(folder, 0o700)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                return entry.path
            os.unlink(entry.path)
    return None
