"""What a published benchmark is here: how its file becomes tasks, and who judges the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Protocol, TypeVar

from strop.data.readers import Row, read_rows
from strop.digests import digest_json
from strop.errors import DataError
from strop.types import Message, Task, Verifier
from strop.verifiers import AuditCase, answer_cases

T = TypeVar("T")


class Loader(Protocol):
    """Reads a benchmark's file, folder or hub name."""

    def __call__(self, path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
        """Its tasks in their order, each with an id, slices and its place. Raises: DataError."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A format in which the field publishes tasks; the data itself is the user's."""

    name: str
    """As in ``NAME:path``."""
    load: Loader
    verifier: Callable[[], Verifier]
    cases: Callable[[Sequence[Task]], list[AuditCase]] = answer_cases
    """Answers of known worth, by which the verifier is audited before anything learns from it."""


def read_columns(
    path: str | Path, benchmark: str, columns: Mapping[str, Sequence[str]], *, split: str, limit: int | None
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row, and its values under the benchmark's own names.

    ``columns`` maps such a name to the columns that may hold it, in order of preference and in whatever case; one that
    allows the empty column may be missing, and is None then. Raises: DataError naming the row.
    """
    for row in read_rows(path, split=split, limit=limit):
        there = {column.lower(): value for column, value in row.values.items() if value is not None}
        found = {}
        for name, spellings in columns.items():
            column = next((spelling for spelling in spellings if spelling.lower() in there), "")
            if not column and "" not in spellings:
                raise DataError(
                    f"the row has no `{spellings[0]}`",
                    where=row.where,
                    why=f"the {benchmark} format needs it; this row has {', '.join(row.values)}",
                    do=f"give a file in the {benchmark} format, or name your own: --columns and --verifier",
                )
            found[name] = there.get(column.lower())
        yield row, found


def spread(parts: Sequence[Iterable[T]], limit: int | None) -> Iterator[T]:
    """All of the parts one after the other; with a limit, so many of them, one of each part in turn."""
    if limit is None:
        return chain.from_iterable(parts)
    turns = zip_longest(*(((one,) for one in part) for part in parts), fillvalue=())
    return islice((one for turn in turns for held in turn for one in held), limit)


def task_of(row: Row, question: str, *, reference: Mapping[str, Any], slices: Mapping[str, str], id: str = "") -> Task:
    """The task of a row, with its place; an id from the question's content where the row has none."""
    prompt = (Message(role="user", content=question),)
    return Task(
        id=id or digest_json(question)[:16], prompt=prompt, reference=reference, slices=slices, source=row.where
    )


def identified(benchmark: str, tasks: Sequence[Task]) -> list[Task]:
    """The tasks with ids of their own: ``#2`` where one comes again. Raises: DataError if there are none."""
    if not tasks:
        raise DataError(f"the {benchmark} data has no rows", why="there is nothing to answer", do="check the file")
    seen: Counter[str] = Counter()
    found = []
    for task in tasks:
        seen[task.id] += 1
        found.append(task if seen[task.id] == 1 else replace(task, id=f"{task.id}#{seen[task.id]}"))
    return found
