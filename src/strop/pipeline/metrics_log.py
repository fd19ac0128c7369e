"""One JSON line a step, on disk before its checkpoint is: a resumed run neither repeats nor loses a line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from strop import files
from strop.errors import OutputError


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last line that a kill cut off does not count."""
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]


def split_abandoned(
    records: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """One stage's lines that led to its result, and those that a guard's roll-back took back, each in order."""
    kept: list[Mapping[str, Any]] = []
    abandoned: list[Mapping[str, Any]] = []
    first = math.inf  # of the steps that come later in the file
    for record in reversed(records):
        (kept if record["step"] < first else abandoned).append(record)
        first = min(first, record["step"])
    return kept[::-1], abandoned[::-1]


@contextmanager
def metrics_log(path: Path, *, after_step: int, leg: int = 0) -> Iterator[MetricsLog]:
    """A log that goes on after ``after_step``: what an interrupted run wrote beyond it is dropped first.

    What the stage's earlier legs wrote stays; see ``pipeline.guarding``.
    """
    kept = [record for record in read_metrics(path) if record.get("leg", 0) < leg or record["step"] <= after_step]
    files.write_text(path, "".join(_line(record) for record in kept))
    with open(path, "a") as file:
        yield MetricsLog(file)


class MetricsLog:
    """An open metrics file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system. Raises: OutputError."""
        try:
            self._file.write(_line(record))
            self._file.flush()
        except OSError as error:
            raise _told(error, self._file.name) from error

    def sync(self) -> None:
        """Return when the lines are on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _told(error, self._file.name) from error


def _told(error: OSError, name: str) -> OutputError:
    why = (error.strerror or str(error)).lower()
    return OutputError(
        f"could not write {name}", where=name, why=why, do="free some space; the run resumes where it stood"
    )


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True) + "\n"
