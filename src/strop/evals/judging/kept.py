"""A judgement that is under way, kept so that a killed run goes on where it stood."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from strop.digests import digest_json
from strop.errors import MismatchError, OutputError
from strop.evals.judging.items import JudgedItem, item_of
from strop.evals.judging.result import JudgeResult, line_of


class Kept:
    """The items of a judgement that is under way, so that a run that was killed goes on; None keeps nothing.

    The first line says what the items are of. A torn line is left out; of an item that stands twice the last holds.
    """

    def __init__(self, folder: Path | str | None, suite: str, key: str) -> None:
        self._path = None if folder is None else Path(folder) / f".judging_{suite}.jsonl"
        self._folder, self._suite, self._key = folder, suite, key

    def read(self) -> list[JudgedItem]:
        """What is kept of this judgement, finished before or under way; what is of another one does not count."""
        if self._path is None or self._folder is None:
            return []
        items = self._finished()
        lines = self._path.read_bytes().split(b"\n") if self._is_begun() else []
        for line in lines[1:]:
            try:
                items.append(item_of(json.loads(line)))
            except (ValueError, TypeError, KeyError):
                continue
        return items

    def _finished(self) -> list[JudgedItem]:
        assert self._folder is not None
        try:
            found = JudgeResult.load(self._folder, self._suite)
        except MismatchError:
            return []
        is_same = digest_json([found.candidate, found.baseline, found.judge]) == self._key
        return list(found.items) if is_same else []

    def append(self, items: Sequence[JudgedItem]) -> None:
        """Keep these too, synced. Raises: OutputError."""
        if self._path is None:
            return
        try:
            first = "" if self._is_begun() else json.dumps(self._key) + "\n"
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a" if not first else "w", encoding="utf-8") as file:
                file.write(first + "\n" * (not first) + "".join(map(line_of, items)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"could not keep the judgements in {self._path}", why=str(error)) from error

    def _is_begun(self) -> bool:
        assert self._path is not None
        try:
            with open(self._path, "rb") as file:  # bytes: a torn line may end within a character
                return file.readline().rstrip(b"\n") == json.dumps(self._key).encode()
        except OSError:
            return False

    def remove(self) -> None:
        """Forget it: the result is saved."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
