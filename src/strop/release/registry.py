"""The registry: releases and the history of what each name points to, append-only, in one SQLite file.

A release's content lies in ``releases/<digest>/`` beside the file, so that caches may be cleaned. Content is written
before the row that names it, and every row in one transaction: a kill at any moment leaves at most an unnamed folder.
"""

from __future__ import annotations

import difflib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from strop.digests import digest_folder
from strop.errors import ReleaseError
from strop.evals.gating.report import check_gate_report
from strop.files import new_folder
from strop.release.bundle import Bundle, Event, Release
from strop.release.pointing import EVENT, append_event, event_of, now, reports_of, stack_of
from strop.release.record import DecisionRecord, Results, keep_results, require_pass

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE releases (
    number INTEGER PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL,
    digests TEXT NOT NULL, metadata TEXT NOT NULL, report TEXT NOT NULL, report_digest TEXT NOT NULL,
    UNIQUE (digest, name, report_digest)
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('promote', 'rollback')),
    digest TEXT NOT NULL, previous TEXT, who TEXT NOT NULL, why TEXT NOT NULL,
    report_digest TEXT NOT NULL, strop_version TEXT NOT NULL
) STRICT;
"""
_GUARD = """
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'the registry is append-only'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'the registry is append-only'); END;
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
    WHEN EXISTS (SELECT 1 FROM {table} WHERE number = NEW.number)
    BEGIN SELECT RAISE(ABORT, 'the registry is append-only'); END;
"""


class Registry:
    """Releases by content, and aliases (``finance@production``) that point to them. Raises: ReleaseError."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.folder = self.path.parent / "releases"
        self.decisions = self.path.parent / "decisions"

    # ----------------------------------------------------------------------------------------------------------- adding

    def add(
        self,
        bundle: Bundle,
        report: Mapping[str, Any],
        *,
        identify: Callable[[Path], str] = digest_folder,
        candidate: Results | None = None,
        baseline: Results | None = None,
    ) -> Release:
        """Copy the bundle into the registry with its gate report, whatever that says; the same again changes nothing.

        ``candidate`` and ``baseline`` are the results that the gate decided on: kept, so that the decision can be made
        again from its record. Raises: MismatchError if the report's decision does not come out of them.

        ``identify`` computes the model digest that the evaluation used from a folder; the copy must have it, so that
        what was evaluated is what is released. Raises: ReleaseError, OutputError.
        """
        try:
            check_gate_report(report)
        except ValueError as error:
            raise ReleaseError(f"the gate report of {bundle.name} cannot be used", why=str(error)) from error
        if not bundle.folder.is_dir():
            raise ReleaseError(f"{bundle.name} has no model folder", where=str(bundle.folder))
        digest = digest_folder(bundle.folder)
        found = identify(bundle.folder)
        if found != bundle.digests.get("model"):
            raise ReleaseError(
                f"the folder of {bundle.name} is not the model that was evaluated",
                where=str(bundle.folder),
                why=f"its digest is {found[:12]}, the bundle says {str(bundle.digests.get('model'))[:12]}",
                do="evaluate this folder, or release the one that was evaluated",
            )
        if candidate is not None:
            keep_results(self.decisions / report["digest"], report, candidate, baseline)
        self._copy(bundle.folder, digest)
        row = (
            digest,
            bundle.name,
            now(),
            json.dumps(dict(bundle.digests), sort_keys=True),
            json.dumps(dict(bundle.metadata), sort_keys=True),
            json.dumps(dict(report), sort_keys=True),
            report["digest"],
        )
        with self._write() as database:
            database.execute(
                "INSERT INTO releases (digest, name, created, digests, metadata, report, report_digest) "
                "SELECT ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS "
                "(SELECT 1 FROM releases WHERE digest = ? AND name = ? AND report_digest = ?)",
                (*row, digest, bundle.name, report["digest"]),
            )
            return self._release(bundle.name, digest, database, report["digest"])

    def _copy(self, folder: Path, digest: str) -> None:
        """Place the content under its digest; a copy that is there and whole stays."""
        place = self.folder / digest
        if place.is_dir() and digest_folder(place) == digest:
            return
        with new_folder(place, replace=True) as fresh:
            shutil.copytree(folder, fresh, dirs_exist_ok=True)
        if digest_folder(place) != digest:
            raise ReleaseError(f"{folder} changed while it was copied", where=str(place), do="add it again")

    # --------------------------------------------------------------------------------------------------------- pointing

    def promote(
        self, name: str, alias: str, *, who: str, why: str, digest: str | None = None, report: str | None = None
    ) -> Event:
        """Point ``name@alias`` to the release with this digest, or the one added last. Raises: ReleaseError.

        Refused unless a gate report of the release says PASS about the same model and template, and its folder on disk
        still has its digest. ``report`` (its digest, or the first digits) is the report that the promotion rests on; it
        has to be named where the release's reports do not all say PASS, so that none silently stands in for another.
        """
        with self._write() as database:
            full = self._full(name, digest, database)
            release = self._release(name, full, database, self._report(name, full, report, database))
            require_pass(release)
            self._require_whole(release)
            return append_event(database, "promote", release, alias, stack_of(database, name, alias), who, why)

    def rollback(self, name: str, alias: str, *, who: str, why: str) -> Event:
        """Point ``name@alias`` back to the release that it pointed to before the last promotion that still stands.

        It rests on the report of that release's own promotion, and is refused if a later report of it is no PASS. Every
        digest is verified again. Raises: ReleaseError, also when there is nothing to go back to.
        """
        with self._write() as database:
            stack = stack_of(database, name, alias)
            if len(stack) < 2:
                raise ReleaseError(
                    f"{name}@{alias} cannot be rolled back",
                    why="it points to its first release" if stack else "nothing was ever promoted to it",
                    do="see `strop release history`",
                )
            digest, report = stack[-2]
            require_pass(self._release(name, digest, database))
            release = self._release(name, digest, database, report)
            require_pass(release)
            self._require_whole(release)
            return append_event(database, "rollback", release, alias, stack, who, why)

    # ---------------------------------------------------------------------------------------------------------- reading

    def resolve(self, reference: str, *, verify: bool = True) -> Release:
        """The release that ``name@alias`` points to, or with this digest (or its first 8 or more digits).

        ``verify`` reads the whole folder and compares. Raises: ReleaseError.
        """
        with self._read() as database:
            name, at, alias = reference.partition("@")
            if at:
                stack = stack_of(database, name, alias)
                if not stack:
                    raise _unknown(reference, _references(database))
                release = self._release(name, stack[-1][0], database, stack[-1][1])
            else:
                rows = database.execute(
                    "SELECT DISTINCT digest FROM releases WHERE substr(digest, 1, ?) = ?", (len(reference), reference)
                ).fetchall()
                if len(reference) < 8 or len(rows) != 1:
                    raise _unknown(reference, _references(database))
                query = "SELECT name FROM releases WHERE digest = ? ORDER BY number DESC"
                release = self._release(database.execute(query, rows[0]).fetchone()[0], rows[0][0], database)
        if verify:
            self._require_whole(release)
        return release

    def list(self, name: str | None = None) -> tuple[Release, ...]:
        """Every release in the order of adding, with its newest report; only those of ``name`` if it is given."""
        query = "SELECT name, digest, MIN(number) FROM releases GROUP BY name, digest ORDER BY MIN(number)"
        with self._read() as database:
            rows = database.execute(query).fetchall()
            return tuple(self._release(row[0], row[1], database) for row in rows if name in (None, row[0]))

    def reports(self, name: str, digest: str) -> tuple[Release, ...]:
        """The release once for every gate report that it was added with, oldest first; empty if there is none."""
        with self._read() as database:
            return tuple(self._release(name, digest, database, one) for one in reports_of(database, name, digest))

    def aliases(self, name: str) -> dict[str, str]:
        """Alias → digest of the release that it points to now."""
        return {alias: digest for alias, (digest, _) in self.grounds(name).items()}

    def grounds(self, name: str) -> dict[str, tuple[str, str]]:
        """Alias → digests of the release that it points to now, and of the report that this rests on."""
        with self._read() as database:
            query = "SELECT DISTINCT alias FROM events WHERE name = ? ORDER BY alias"
            return {row[0]: stack_of(database, name, row[0])[-1] for row in database.execute(query, (name,))}

    def history(self, name: str, alias: str | None = None) -> tuple[Event, ...]:
        """Every promotion and rollback of the name, oldest first; only those of ``alias`` if it is given."""
        with self._read() as database:
            query = f"SELECT {EVENT} FROM events WHERE name = ? AND (? IS NULL OR alias = ?) ORDER BY number"
            return tuple(event_of(row) for row in database.execute(query, (name, alias, alias)))

    def records(self, name: str | None = None, alias: str | None = None) -> tuple[DecisionRecord, ...]:
        """Every promotion and rollback with its grounds, oldest first. Raises: ReleaseError."""
        with self._read() as database:
            names = [row[0] for row in database.execute("SELECT DISTINCT name FROM events ORDER BY name")]
            query = f"SELECT {EVENT} FROM events WHERE name = ? AND (? IS NULL OR alias = ?) ORDER BY number"
            return tuple(
                self._record(event_of(row), database)
                for known in names
                if name in (None, known)
                for row in database.execute(query, (known, alias, alias)).fetchall()
            )

    def _record(self, event: Event, database: sqlite3.Connection) -> DecisionRecord:
        """The event with the very report that allowed it, which need not be the release's last one."""
        query = "SELECT digests, metadata, report FROM releases WHERE name = ? AND digest = ? AND report_digest = ?"
        digests, metadata, report = database.execute(query, (event.name, event.digest, event.report_digest)).fetchone()
        folder = self.folder / event.digest
        bundle = Bundle(name=event.name, folder=folder, digests=json.loads(digests), metadata=json.loads(metadata))
        results = self.decisions / event.report_digest
        return DecisionRecord(event=event, bundle=bundle, report=json.loads(report), results=results)

    def _release(self, name: str, digest: str, database: sqlite3.Connection, report: str | None = None) -> Release:
        """The release with the report of this digest, or with its newest one."""
        query = "SELECT created, digests, metadata, report FROM releases WHERE name = ? AND digest = ?"
        query += " AND (? IS NULL OR report_digest = ?) ORDER BY number DESC"
        created, digests, metadata, content = database.execute(query, (name, digest, report, report)).fetchone()
        bundle = Bundle(
            name=name, folder=self.folder / digest, digests=json.loads(digests), metadata=json.loads(metadata)
        )
        return Release(bundle=bundle, digest=digest, report=json.loads(content), created=created)

    def _report(self, name: str, digest: str, asked: str | None, database: sqlite3.Connection) -> str:
        """The digest of the report that a promotion rests on. Raises: ReleaseError."""
        found = [self._release(name, digest, database, one) for one in reports_of(database, name, digest)]
        outcomes: dict[str, str] = {one.report["digest"]: one.report["outcome"] for one in found}
        meant = list(outcomes) if asked is None else [one for one in outcomes if one.startswith(asked)]
        told = ", ".join(f"{one[:12]} says {outcome}" for one, outcome in outcomes.items())
        if asked is not None and (len(meant) != 1 or not asked):
            raise ReleaseError(f"{name} ({digest[:12]}) has no report `{asked}`", do=f"name one: {told}")
        if len({outcomes[one] for one in meant}) > 1:
            raise ReleaseError(
                f"{name} ({digest[:12]}) has {len(meant)} gate reports that do not agree",
                why=told,
                do="say which one the promotion rests on: --report DIGEST",
            )
        return meant[-1]

    def _full(self, name: str, digest: str | None, database: sqlite3.Connection) -> str:
        """The digest that a prefix means, or that of the release added last."""
        query = "SELECT digest FROM releases WHERE name = ? ORDER BY number DESC"
        known: list[str] = list(dict.fromkeys(row[0] for row in database.execute(query, (name,))))
        if not known:
            names = [row[0] for row in database.execute("SELECT DISTINCT name FROM releases")]
            raise _unknown(name, names)
        meant = known[:1] if digest is None else [one for one in known if one.startswith(digest)]
        if len(meant) != 1:
            raise _unknown(f"{name} with digest {digest}", [one[:12] for one in known])
        return meant[0]

    def _require_whole(self, release: Release) -> None:
        folder = release.bundle.folder
        found = digest_folder(folder) if folder.is_dir() else None
        if found != release.digest:
            raise ReleaseError(
                f"release {release.digest[:12]} of {release.bundle.name} is not what was added",
                where=str(folder),
                why="its folder is gone" if found is None else f"its content now has the digest {found[:12]}",
                do="add it again from a good copy, or use another release",
            )

    # --------------------------------------------------------------------------------------------------------- database

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state. Raises: ReleaseError."""
        with self._connect() as database:
            database.execute("BEGIN")
            yield database
            database.execute("ROLLBACK")

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside, committed at the end. Raises: ReleaseError."""
        with self._connect() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                self._prepare(database)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise ReleaseError(
                "the release registry cannot be used",
                where=str(self.path),
                why=str(error),
                do="check the path, the disk and the rights; an intact registry is one SQLite file",
            ) from error

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Create the tables in a new file. Raises: ReleaseError for one that a newer strop wrote."""
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found == _SCHEMA_VERSION:
            return
        if found > _SCHEMA_VERSION:
            raise ReleaseError("the release registry is newer than this strop", where=str(self.path), do="update strop")
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone()[0] == 0:
            script = _SCHEMA + _GUARD.format(table="releases") + _GUARD.format(table="events")
            for statement in _statements(script):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        database.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """The statements one by one: ``executescript`` would commit the transaction that they must share."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _references(database: sqlite3.Connection) -> list[str]:
    aliases = [f"{row[0]}@{row[1]}" for row in database.execute("SELECT DISTINCT name, alias FROM events")]
    return aliases + [row[0][:12] for row in database.execute("SELECT DISTINCT digest FROM releases")]


def _unknown(asked: str, known: list[str]) -> ReleaseError:
    near = difflib.get_close_matches(asked, known, n=1, cutoff=0.5)
    do = f"did you mean `{near[0]}`? " if near else ""
    return ReleaseError(f"there is no release `{asked}`", do=f"{do}known: {', '.join(known) or 'none yet'}")
