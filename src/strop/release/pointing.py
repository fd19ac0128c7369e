"""What the registry's rows say of pointers: which release an alias points to, and on which gate report."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from strop.errors import ReleaseError
from strop.release.bundle import Event, Release

EVENT = "number, time, name, alias, action, digest, previous, who, why, report_digest, strop_version"


def stack_of(database: sqlite3.Connection, name: str, alias: str) -> list[tuple[str, str]]:
    """The releases, with the reports that they were promoted on, that the alias can go back through, the present one
    last: a rollback takes one away."""
    stack: list[tuple[str, str]] = []
    query = "SELECT action, digest, report_digest FROM events WHERE name = ? AND alias = ? ORDER BY number"
    for action, digest, report in database.execute(query, (name, alias)):
        if action == "promote":
            stack.append((digest, report))
        else:
            stack.pop()
            assert stack[-1][0] == digest, "a rollback points to the release below"
            stack[-1] = (digest, report)
    return stack


def reports_of(database: sqlite3.Connection, name: str, digest: str) -> list[str]:
    """The digests of the reports that a release was added with, oldest first."""
    query = "SELECT report_digest FROM releases WHERE name = ? AND digest = ? ORDER BY number"
    return [row[0] for row in database.execute(query, (name, digest))]


def append_event(
    database: sqlite3.Connection,
    action: str,
    release: Release,
    alias: str,
    stack: Sequence[tuple[str, str]],
    who: str,
    why: str,
) -> Event:
    """Write one event. Raises: ReleaseError without who and why, or if nothing would change."""
    target = f"{release.bundle.name}@{alias}"
    if not who.strip() or not why.strip():
        raise ReleaseError(f"{action} of {target} needs a person and a reason", do="say who decides, and why")
    if not alias or "@" in alias:
        raise ReleaseError(f"{alias!r} cannot be an alias", do="use a word such as production")
    if action == "promote" and stack and stack[-1][0] == release.digest:
        raise ReleaseError(f"{target} points to release {release.digest[:12]} already", do="nothing is left to do")
    previous = stack[-1][0] if stack else None
    values = (
        now(),
        release.bundle.name,
        alias,
        action,
        release.digest,
        previous,
        who,
        why,
        release.report["digest"],
        version("strop"),
    )
    columns = EVENT.removeprefix("number, ")
    marks = ", ".join("?" * len(values))
    number = database.execute(f"INSERT INTO events ({columns}) VALUES ({marks})", values).lastrowid
    return event_of((number, *values))


def event_of(row: tuple[Any, ...]) -> Event:
    return Event(**dict(zip(EVENT.split(", "), row, strict=True)))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
