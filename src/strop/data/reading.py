"""Whole data sets: read, recognised, identified."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

from strop.data.lineage import lineage_in, with_lineage
from strop.data.readers import read_rows
from strop.data.shapes import Kind, Read, Shape, recognise, rename, require
from strop.digests import digest_json
from strop.errors import DataError
from strop.types import Conversation, Document, Preference, Task

_R = TypeVar("_R", Conversation, Preference, Document, Task)


def read_conversations(
    source: str | Path, *, columns: Mapping[str, str] | None = None, split: str = "train", limit: int | None = None
) -> list[Conversation]:
    """Rows of ``messages`` (+ ``tools``), ShareGPT ``conversations``, ``prompt`` + ``completion``, ``instruction`` (+
    ``input``) + ``output``, or ``question`` + ``answer``. Raises: DataError, MissingDependencyError."""
    return cast(list[Conversation], _read(source, "conversations", columns, split, limit))


def read_preferences(
    source: str | Path, *, columns: Mapping[str, str] | None = None, split: str = "train", limit: int | None = None
) -> list[Preference]:
    """Rows of ``chosen`` + ``rejected``: answers to ``prompt``, or whole conversations with a common beginning.

    Raises: DataError, MissingDependencyError.
    """
    return cast(list[Preference], _read(source, "preferences", columns, split, limit))


def read_documents(
    source: str | Path, *, columns: Mapping[str, str] | None = None, split: str = "train", limit: int | None = None
) -> list[Document]:
    """Rows of ``text``. Raises: DataError, MissingDependencyError."""
    return cast(list[Document], _read(source, "documents", columns, split, limit))


def read_tasks(
    source: str | Path, *, columns: Mapping[str, str] | None = None, split: str = "train", limit: int | None = None
) -> list[Task]:
    """Rows of ``messages``, ``prompt`` or ``question``; every other column goes into ``reference``.

    ``messages`` that end with the assistant give their last content as ``reference["answer"]``, unless a column says
    it. Raises: DataError, MissingDependencyError.
    """
    return cast(list[Task], _read(source, "tasks", columns, split, limit))


def shape_of(
    source: str | Path, kind: Kind, *, columns: Mapping[str, str] | None = None, split: str = "train"
) -> Shape:
    """The shape that the first row of ``source`` has, to be shown before reading. Raises: DataError."""
    return _open(source, kind, columns, split, 1)[0]


def _open(
    source: str | Path, kind: Kind, columns: Mapping[str, str] | None, split: str, limit: int | None
) -> tuple[Shape, Iterator[Any]]:
    rows = (rename(row, columns) for row in read_rows(source, split=split, limit=limit))
    first = next(rows, None)
    if first is None:
        raise DataError(
            f"{source} has no rows",
            where=str(source),
            why="there is nothing to evaluate on or to learn from"
            if kind == "tasks"
            else "there is nothing to learn from",
            do="check the file, the split and the limit",
        )
    return recognise(first, kind, columns), chain([first], rows)


def _read(
    source: str | Path, kind: Kind, columns: Mapping[str, str] | None, split: str, limit: int | None
) -> list[Read]:
    shape, rows = _open(source, kind, columns, split, limit)
    found: list[Read] = []
    for row in rows:
        require(row, shape)
        read, lineage = shape.read(row.values, row.where), lineage_in(row.values)
        found.append(read if lineage is None or isinstance(read, Document) else with_lineage(read, lineage))
    return _identified(found)


def _identified(rows: list[Read]) -> list[Read]:
    """Every row with an id of its own: the row's, else 16 hex digits of its content; ``#2`` where one comes again."""
    seen: Counter[str] = Counter()
    identified = []
    for row in rows:
        name = row.id or _content_digest(row)[:16]
        seen[name] += 1
        identified.append(replace(row, id=name if seen[name] == 1 else f"{name}#{seen[name]}"))
    return identified


def _content_digest(row: Read) -> str:
    return digest_json(_plain(replace(row, id="", source="")))


def dataset_digest(rows: Iterable[_R] | Sequence[Read]) -> str:
    """The identity of rows by content and order: ids count, the place they were read from does not."""
    total = hashlib.sha256()
    for row in rows:
        total.update(f"{type(row).__name__} {digest_json(_plain(replace(row, source='')))}\n".encode())
    return total.hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
