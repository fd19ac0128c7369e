"""One self-contained HTML page: it loads nothing, runs nothing, and can be mailed, printed, and read in the dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import ClassVar

import jinja2
from markupsafe import Markup

from strop.report.plots import Plot
from strop.report.tables import Cell, Measured, Row, Table, Tone, change_tone, format_interval, format_value
from strop.report.transcripts import SideBySide
from strop.types import Decision

OUTCOME_WORDS = {
    "PASS": "May be released: every check passed.",
    "BLOCK": "Must not be released: at least one check failed.",
    "INSUFFICIENT": "Not decided: there is not enough evidence to release.",
}


_WORST_FIRST = ("BLOCK", "INSUFFICIENT", "PASS")


@dataclass(frozen=True, kw_only=True)
class Text:
    """Paragraphs of plain words."""

    kind: ClassVar[str] = "text"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Transcripts of several models for the same prompts."""

    kind: ClassVar[str] = "samples"
    samples: tuple[SideBySide, ...]

    @property
    def has_trained(self) -> bool:
        """Whether any piece is marked as trained, so that the legend must say what that means."""
        return any("trained" in piece.kind for s in self.samples for t in s.transcripts for piece in t.pieces)


@dataclass(frozen=True, kw_only=True)
class StageCard:
    """Why a stage exists and how to undo it. Raises: ValueError if one of the three answers is empty."""

    name: str
    lever: str
    metric: str
    """The number that proves that the stage did what it is for."""
    rollback: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Steps, tokens, time, digest ..., in words."""

    def __post_init__(self) -> None:
        for name in ("lever", "metric", "rollback"):
            if not getattr(self, name).strip():
                raise ValueError(f"the card of stage {self.name!r} has no {name}")


@dataclass(frozen=True, kw_only=True)
class StageCards:
    """The stages of a run in their order."""

    kind: ClassVar[str] = "stages"
    cards: tuple[StageCard, ...]


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What went into the result: name → digest, in order."""

    kind: ClassVar[str] = "lineage"
    digests: Mapping[str, str]


Item = Text | Table | Plot | Samples | StageCards | Lineage


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    title: str
    items: tuple[Item, ...]
    intro: str = ""


def page(
    title: str,
    sections: Sequence[Section],
    *,
    decision: Decision | None = None,
    subtitle: str = "",
    facts: Mapping[str, str] | None = None,
) -> str:
    """The whole document. Every word in it is escaped; only the drawings of ``curve`` are taken as markup.

    ``facts`` stand under the title (base, seed, date ...); ``decision`` is the banner with its checks, what failed
    first.
    """
    rendered: str = _template().render(
        title=title,
        subtitle=subtitle,
        facts=dict(facts or {}),
        sections=list(sections),
        decision=decision,
        checks=sorted(decision.checks, key=lambda check: _WORST_FIRST.index(check.outcome)) if decision else (),
        outcome_words=OUTCOME_WORDS,
    )
    return rendered


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = show
    environment.filters["changed"] = show_change
    environment.filters["groupby_run"] = lambda items: [
        (kind, list(run)) for kind, run in groupby(items, key=lambda item: item.kind)
    ]
    environment.filters["drawing"] = lambda plot: Markup(plot.svg)
    return environment.from_string((files("strop.report") / "page.html.jinja").read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class ShownCell:
    """A cell as the page prints it; ``bar`` is (low, value, high) in percent for rates."""

    text: str
    detail: str = ""
    bar: tuple[float, float, float] | None = None
    tone: Tone = "plain"


def show(cell: Cell) -> ShownCell:
    """What the page prints for a cell."""
    if cell is None:
        return ShownCell(text="undefined", detail="no case to measure it on")
    if not isinstance(cell, Measured):
        return ShownCell(text=str(cell))
    bar = None
    if cell.unit == "percent":
        low, value, high = (min(100.0, max(0.0, 100 * x)) for x in (cell.low, cell.value, cell.high))
        bar = (round(low, 1), round(value, 1), round(high, 1))
    return ShownCell(text=format_value(cell), detail=format_interval(cell), bar=bar)


def show_change(row: Row) -> ShownCell:
    """What the page prints for the difference between a row's last and first column."""
    if row.change is None:
        return ShownCell(text="")
    tone = change_tone(row.change, row.direction)
    return ShownCell(text=format_value(row.change), detail=format_interval(row.change), tone=tone)
