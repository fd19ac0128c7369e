"""A full-text index over SQLite FTS5: what a caller may not read is gone before anything is ranked."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from strop.digests import digest_json
from strop.errors import ToolError
from strop.tools.contracts import Caller
from strop.tools.state import SHARED

Tokenizer = Literal["unicode61", "porter unicode61", "trigram"]
_TITLE_WEIGHT = 1.0
_WORD = re.compile(r"\w+")
_MAX_WORDS = 64


@dataclass(frozen=True, kw_only=True)
class IndexedDocument:
    """A document with its owner. Raises: ToolError for an id that cannot be cited."""

    id: str
    """What it is cited by; no white space, no brackets."""
    text: str
    title: str = ""
    tenant: str = SHARED
    """Whose it is; ``SHARED``: every tenant's."""
    permission: str = ""
    """What its readers must hold; empty: nothing."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s\[\]]{1,120}", self.id):
            raise ToolError(f"{self.id!r} cannot be cited", do="use an id without white space and brackets")

    def is_readable_by(self, caller: Caller) -> bool:
        """Whether the caller may read it."""
        is_permitted = not self.permission or self.permission in caller.permissions
        return is_permitted and self.tenant in (SHARED, caller.tenant)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A document that was found."""

    document: IndexedDocument
    score: float
    """BM25 by SQLite (k₁ 1.2, b 0.75), higher is better."""


class SearchIndex:
    """Documents, and a full-text index of its own for every set of them that some caller may read.

    BM25 weighs a word by how many documents have it and a document by the average length, so that filtering one common
    index, even before the rows come back, lets foreign documents move the scores of one's own. Here the ranking of a
    caller is a function of what it may read and of nothing else. Safe for several threads.
    """

    def __init__(self, documents: Iterable[IndexedDocument], *, tokenizer: Tokenizer = "porter unicode61") -> None:
        """Raises: ToolError if an id stands twice, whoever owns it."""
        self.documents = tuple(sorted(documents, key=lambda document: document.id))
        self.tokenizer: Tokenizer = tokenizer
        for one, other in zip(self.documents, self.documents[1:]):
            if one.id == other.id:
                raise ToolError(f"two documents have the id {one.id}", why="a citation names one", do="rename one")
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._lock = threading.Lock()
        self._tables: dict[tuple[int, ...], str] = {}
        self._visible: dict[tuple[str, frozenset[str]], tuple[int, ...]] = {}
        self._permissions = frozenset(document.permission for document in self.documents)
        fields = [[d.id, d.title, d.text, d.tenant, d.permission] for d in self.documents]
        self.index_digest: str = digest_json([fields, tokenizer, _TITLE_WEIGHT, sqlite3.sqlite_version])
        """Identity of the documents, their owners, the settings, and the engine that ranks."""

    def search(self, query: str, caller: Caller, *, k: int = 3) -> tuple[Hit, ...]:
        """The ``k`` best documents that ``caller`` may read and that share a word with the query, best first.

        Documents of equal score come in the order of their ids. The query is words, never FTS5's query language.
        """
        words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))[:_MAX_WORDS]
        if not words or k < 1:
            return ()
        match = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            table = self._table(self._readable(caller))
            rows = self._connection.execute(
                f"SELECT rowid, bm25({table}, {_TITLE_WEIGHT}, 1.0) AS cost FROM {table} WHERE {table} MATCH ? "
                "ORDER BY cost, rowid LIMIT ?",
                (match, k),
            ).fetchall()
        return tuple(Hit(document=self.documents[place], score=-cost) for place, cost in rows)

    def _readable(self, caller: Caller) -> tuple[int, ...]:
        """The places of what the caller may read."""
        key = caller.tenant, caller.permissions & self._permissions
        if key not in self._visible:
            readable = (place for place, document in enumerate(self.documents) if document.is_readable_by(caller))
            self._visible[key] = tuple(readable)
        return self._visible[key]

    def _table(self, key: tuple[int, ...]) -> str:
        """The full-text table of exactly these documents, made when it is first asked for."""
        if key not in self._tables:
            name = f"visible_{len(self._tables)}"
            self._connection.execute(
                f"CREATE VIRTUAL TABLE {name} USING fts5(title, text, tokenize='{self.tokenizer}')"
            )
            rows = [(place, self.documents[place].title, self.documents[place].text) for place in key]
            self._connection.executemany(f"INSERT INTO {name}(rowid, title, text) VALUES (?, ?, ?)", rows)
            self._tables[key] = name
        return self._tables[key]
