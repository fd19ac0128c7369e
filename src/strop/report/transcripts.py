"""Sample transcripts, side by side, with the tokens that were trained and the control tokens visible."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PieceKind = Literal["plain", "trained", "control", "trained control"]


@dataclass(frozen=True)
class Piece:
    """A stretch of text of one kind."""

    text: str
    kind: PieceKind = "plain"


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What one model made of a prompt."""

    label: str
    """Which model or stage."""
    pieces: tuple[Piece, ...]
    verdict: str = ""
    """In words: ``passed``, ``failed: wrong account``, ``not graded: timeout``."""
    is_passed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One prompt and the answers to it."""

    title: str
    prompt: tuple[Piece, ...]
    transcripts: tuple[Transcript, ...]


def mark_control(text: str, control: Iterable[str], kind: Literal["plain", "trained"] = "plain") -> tuple[Piece, ...]:
    """``text`` cut at the ``control`` strings (``<tool_call>``, ``<|end|>`` ...); the longer of two wins."""
    names = sorted({name for name in control if name}, key=len, reverse=True)
    if not names:
        return (Piece(text, kind),) if text else ()
    parts = re.split("(" + "|".join(re.escape(name) for name in names) + ")", text)
    marked: PieceKind = "control" if kind == "plain" else "trained control"
    return tuple(Piece(part, marked if i % 2 else kind) for i, part in enumerate(parts) if part)
