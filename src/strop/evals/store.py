"""Answers kept one by one as they come, so that an evaluation that was killed goes on, and a larger one starts ahead.

One file of JSON lines for each (model, template, parameters, verifier, measure, code); a line is one sample of one
task, found by the digest of the task and the sample's number. What a run was not able to write whole is not there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from strop.digests import digest_bytes
from strop.errors import OutputError
from strop.evals.results import SampleResult
from strop.files import append_whole

NAME = "samples.jsonl"
_CHECK = 16
"""Characters of a line's digest at its start."""
Place = tuple[str, int]
"""A task's digest and the sample's number."""


class ItemStore:
    """Samples by task and number, in ``folder/samples.jsonl``; None keeps them in memory only.

    Lines are only ever appended, a chunk at a time under a lock, and synced. Of two processes that answered the same
    task at once the first line holds, for both. A line that is torn or was edited does not match its digest and counts
    as absent: its sample is drawn again. A line has no cost: that follows from its tokens and today's price.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NAME
        self._found: dict[Place, SampleResult] = {}
        self._offset = 0
        if self._path is not None and self._path.exists():
            with self._opened(os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
                self._read_on(descriptor)

    def __len__(self) -> int:
        return len(self._found)

    def get(self, place: Place) -> SampleResult | None:
        """The sample that stands there; None if it has to be drawn."""
        return self._found.get(place)

    def answer(self, place: Place) -> SampleResult:
        """The sample that has been kept there."""
        return self._found[place]

    def keep(self, answered: Sequence[tuple[Place, SampleResult]]) -> None:
        """Keep what is not there yet. Raises: OutputError.

        An ``infrastructure`` verdict is the machine's failure and not the answer's: it holds for this run only.
        """
        durable = [(place, sample) for place, sample in answered if sample.state != "infrastructure"]
        if self._path is not None and durable:
            self._append(durable)
        for place, sample in answered:
            self._found.setdefault(place, sample)

    def _append(self, answered: Sequence[tuple[Place, SampleResult]]) -> None:
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened(os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
                torn = self._read_on(descriptor)
                lines = [_line(place, sample) for place, sample in answered if place not in self._found]
                if lines:
                    append_whole(descriptor, (b"\n" if torn else b"") + b"".join(lines))
                    self._offset = os.fstat(descriptor).st_size
        except OSError as error:
            raise OutputError(
                f"could not keep the answers in {self._path}",
                where=str(self._path),
                why=(error.strerror or str(error)).lower(),
                do="free some space, or choose another STROP_HOME; what was kept before is whole, and is used again",
            ) from error

    @contextmanager
    def _opened(self, flags: int, lock: int) -> Iterator[int]:
        assert self._path is not None
        descriptor = os.open(self._path, flags, 0o644)
        try:
            fcntl.flock(descriptor, lock)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read_on(self, descriptor: int) -> int:
        """Take in what was appended since; the bytes of a torn last line, which is not waited for."""
        size = os.fstat(descriptor).st_size
        if size < self._offset:  # the cache was cleaned meanwhile
            self._offset = 0
        os.lseek(descriptor, self._offset, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read()
        torn = content.rpartition(b"\n")[2]
        for line in content.split(b"\n"):  # a last line that lacks only its end is whole: its digest says so
            found = _parsed(line)
            if found is not None:
                self._found.setdefault(*found)
        self._offset = size - len(torn)
        return len(torn)


def _line(place: Place, sample: SampleResult) -> bytes:
    content = {name: value for name, value in asdict(sample).items() if name != "cost"}
    text = json.dumps([*place, content], separators=(",", ":")).encode()
    return digest_bytes(text)[:_CHECK].encode() + b" " + text + b"\n"


def _parsed(line: bytes) -> tuple[Place, SampleResult] | None:
    check, _, text = line.partition(b" ")
    if digest_bytes(text)[:_CHECK].encode() != check:
        return None
    task, number, content = json.loads(text)
    return (task, number), sample_of(content)


def sample_of(content: dict[str, Any]) -> SampleResult:
    """The sample that these JSON values say."""
    return SampleResult(**{**content, "reasons": tuple(content["reasons"])})
