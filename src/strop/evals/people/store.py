"""A session on disk: one SQLite file to which judgements are only ever added, each in a transaction of its own.

The file is in write-ahead mode with full syncing: a judgement that was answered with "saved" survives a kill at any
moment, and several annotators, or several servers, may write at once.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from strop.errors import MismatchError, OutputError
from strop.evals.people.sample_set import Pair

FILE_NAME = "session.sqlite"
Choice = Literal["left", "right", "tie", "cannot"]
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE pairs (number INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT",
    """CREATE TABLE judgements (
        number INTEGER PRIMARY KEY, time TEXT NOT NULL, annotator TEXT NOT NULL,
        pair INTEGER NOT NULL REFERENCES pairs (number),
        candidate_is_left INTEGER NOT NULL CHECK (candidate_is_left IN (0, 1)),
        choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'cannot')),
        aspects TEXT NOT NULL, reason TEXT NOT NULL, comment TEXT NOT NULL, elapsed_s REAL NOT NULL
    ) STRICT""",
    *(
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are only ever added'); END"
        for table in ("pairs", "judgements")
        for verb in ("UPDATE", "DELETE")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one annotator said of one pair; a later one of the same pair takes its place."""

    annotator: str
    pair: int
    candidate_is_left: bool
    choice: Choice
    aspects: Mapping[str, str]
    """Aspect → ``left``, ``right``, ``tie`` or ``none`` (does not apply)."""
    reason: str = ""
    """Why it cannot be judged."""
    comment: str = ""
    elapsed_s: float = 0.0
    """How long the pair was on the screen, as the page measured it."""
    time: str = ""
    """When it was saved, in UTC."""


class Store:
    """The file of a session. Raises: MismatchError if it is none, OutputError where it cannot be written."""

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE_NAME

    def create(self, facts: Mapping[str, Any], pairs: Sequence[Pair]) -> None:
        """Write everything in one transaction: a kill leaves a whole session or none."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OutputError(f"could not write {self.path}", where=str(self.path), why=why) from error
        with self._writing() as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            rows = {"format": _FORMAT, **facts}.items()
            connection.executemany("INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in rows])
            contents = [(pair.number, json.dumps(asdict(pair), ensure_ascii=False)) for pair in pairs]
            connection.executemany("INSERT INTO pairs VALUES (?, ?)", contents)

    def exists(self) -> bool:
        """Whether a whole session stands there."""
        if not self.path.exists():
            return False
        with self._reading() as connection:
            return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone() is not None

    def facts(self) -> dict[str, Any]:
        """What the session is about and how it was drawn."""
        if not self.exists():
            raise MismatchError(
                f"{self.path.parent} holds no session",
                where=str(self.path),
                do="make one with `strop label CANDIDATE BASELINE --suite NAME --session FOLDER`",
            )
        with self._reading() as connection:
            facts = {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM facts")}
        if (found := facts.get("format")) != _FORMAT:
            raise MismatchError(f"the session has format {found}, not {_FORMAT}", where=str(self.path))
        return facts

    def remember(self, name: str, value: object) -> None:
        """Keep a fact that is no part of the session's identity, such as the port it was served at."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def pairs(self) -> tuple[Pair, ...]:
        """In the order of their numbers."""
        with self._reading() as connection:
            rows = connection.execute("SELECT content FROM pairs ORDER BY number").fetchall()
        return tuple(_pair(json.loads(content)) for (content,) in rows)

    def add(self, judgement: Judgement) -> None:
        """Save it, synced to the disk, before this returns."""
        row = (
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            judgement.annotator,
            judgement.pair,
            int(judgement.candidate_is_left),
            judgement.choice,
            json.dumps(dict(judgement.aspects), sort_keys=True),
            judgement.reason,
            judgement.comment,
            judgement.elapsed_s,
        )
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO judgements (time, annotator, pair, candidate_is_left, choice, aspects, reason, comment,"
                " elapsed_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def history(self, annotator: str | None = None) -> list[Judgement]:
        """Every judgement in the order of saving, those that were changed later included."""
        columns = "annotator, pair, candidate_is_left, choice, aspects, reason, comment, elapsed_s, time"
        where, values = ("", ()) if annotator is None else (" WHERE annotator = ?", (annotator,))
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {columns} FROM judgements{where} ORDER BY number", values).fetchall()
        return [
            Judgement(
                annotator=row[0],
                pair=row[1],
                candidate_is_left=bool(row[2]),
                choice=cast(Choice, row[3]),
                aspects=json.loads(row[4]),
                reason=row[5],
                comment=row[6],
                elapsed_s=row[7],
                time=row[8],
            )
            for row in rows
        ]

    # ------------------------------------------------------------------------------------------------------ connections

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction that is committed unless the block raises."""
        with self._reading() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                yield connection
        except sqlite3.OperationalError as error:
            raise OutputError(f"could not use {self.path}", where=str(self.path), why=str(error)) from error
        except sqlite3.DatabaseError as error:
            raise MismatchError(f"{self.path} is no session", where=str(self.path), why=str(error)) from error


def _pair(content: dict[str, Any]) -> Pair:
    return Pair(**{**content, "prompt": tuple(content["prompt"]), "tools": tuple(content["tools"])})
