"""The ledger: which rows were shortened or refused, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from strop.files import write_text


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """What happened to one row."""

    id: str
    source: str
    action: Literal["shortened", "refused"]
    reason: str
    """A short code: ``too_long``; ``answer_too_long``, ``nothing_supervised``, ``stop_untrained``, ``template`` ..."""
    message: str
    num_tokens: int = 0
    """Of the whole row, or of the answer where that alone is too long; 0 where the row could not be rendered."""
    dropped_turns: int = 0
    dropped_tokens: int = 0
    dropped_trained_tokens: int = 0
    """Supervised tokens of older answers among them."""


def write_ledger(path: Path | str, entries: Iterable[LedgerEntry]) -> None:
    """Write one JSON object a line, atomically. Raises: OutputError."""
    write_text(path, "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries))
