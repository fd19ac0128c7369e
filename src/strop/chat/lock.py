"""The lock file ``strop.lock.json``: what a model's text looked like when it was trained, checked before it is used."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from strop.errors import MismatchError
from strop.files import write_json
from strop.types import Json

LOCK_NAME = "strop.lock.json"
_SUBJECTS = {
    "tokenizer": "the tokenizer",
    "template": "the chat template",
    "special_tokens": "the special tokens",
    "control_tokens": "the control tokens",
    "render_date": "the pinned date",
}


def write_lock(folder: Path | str, lock: Json) -> None:
    """Put ``lock`` into ``folder``. Raises: OutputError."""
    write_json(Path(folder) / LOCK_NAME, lock)


def read_lock(folder: Path | str) -> dict[str, Any]:
    """The lock of ``folder``. Raises: MismatchError if it is missing or cannot be read."""
    path = Path(folder) / LOCK_NAME
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MismatchError(
            "the lock file of this model cannot be read",
            where=str(path),
            why=str(error),
            do="load the model from the folder that strop saved, or save it again",
        ) from error
    if not isinstance(lock, dict) or not isinstance(lock.get("goldens"), dict):
        raise MismatchError("the lock file is not one of strop's", where=str(path), do="save the model again")
    return lock


def differences(locked: Json, found: Json) -> list[str]:
    """What differs from ``locked``, one readable line or diff each; empty if nothing does.

    Goldens that only ``found`` has do not count: a newer strop may pin more conversations.
    """
    told = [
        f"{name} differs: {_told(locked.get(key), found.get(key))}"
        for key, name in _SUBJECTS.items()
        if locked.get(key) != found.get(key)
    ]
    before, after = locked["goldens"], found["goldens"]
    return told + [
        f"golden conversation {name!r} differs:\n{_golden_diff(before.get(name), after.get(name))}"
        for name in before
        if before.get(name) != after.get(name)
    ]


def require_same(locked: Json, found: Json, *, where: str) -> None:
    """Raises: MismatchError with a readable diff, if the locks differ."""
    if told := differences(locked, found):
        raise MismatchError(
            f"the model was trained with another tokenizer or chat template ({len(told)} differences)",
            where=where,
            why="\n".join(told),
            do="restore the files that the lock was written with, or train again with the new ones",
        )


def _told(before: object, after: object) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return ", ".join(f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in keys[:8])
    return f"{_short(before)} -> {_short(after)}"


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else repr(value)


def _golden_diff(before: Json | None, after: Json | None) -> str:
    """A unified diff of the strings, with every character visible, or the first token that differs."""
    if before is None or after is None or "refused" in before or "refused" in after:
        return f"  {_state(before)} -> {_state(after)}"
    lines = difflib.unified_diff(_lines(before), _lines(after), "locked", "found", lineterm="", n=1)
    return "\n".join(f"  {line}" for line in lines) or "  " + _first_token(before["token_ids"], after["token_ids"])


def _lines(golden: Json) -> list[str]:
    return [json.dumps(line, ensure_ascii=False) for line in str(golden["text"]).splitlines(keepends=True)]


def _state(golden: Json | None) -> str:
    if golden is None:
        return "absent"
    return f"refused ({golden['refused']})" if "refused" in golden else "rendered"


def _first_token(before: list[int], after: list[int]) -> str:
    pairs: Iterator[tuple[int, tuple[int, int]]] = enumerate(zip(before, after))
    at = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
    return f"same string, other ids from token {at}: {before[at : at + 6]} -> {after[at : at + 6]}"
