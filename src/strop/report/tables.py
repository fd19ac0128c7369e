"""Tables whose headline numbers cannot stand without their n, their interval, and their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Direction = Literal["higher", "lower"]
Unit = Literal["percent", "points", "number"]
Tone = Literal["better", "worse", "unclear", "plain"]
_MARKDOWN_ESCAPES = str.maketrans({"|": "\\|", "\n": " "})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number with what makes it worth reading. Raises: ValueError without items or without a finite interval."""

    value: float
    n: int
    """Independent items, not samples."""
    low: float
    high: float
    unit: Unit = "percent"
    """``percent``: a rate in 0..1; ``points``: a difference of rates; ``number``: anything else."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"{self.value} was measured on {self.n} items: a number from nothing is no number")
        if not all(math.isfinite(bound) for bound in (self.value, self.low, self.high)) or self.low > self.high:
            raise ValueError(f"{self.value} needs a finite interval, not [{self.low}, {self.high}]")


Cell = Measured | str | int | None
"""A measurement, words, a count, or None for "undefined": there was no case to measure it on."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    label: str
    cells: tuple[Cell, ...]
    direction: Direction | None = None
    """Which way is better, for rates that have one."""
    change: Measured | None = None
    """The paired difference between the last and the first column."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A titled grid; made by ``table`` or ``progress``, which check it."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = ()
    note: str = ""

    @property
    def has_changes(self) -> bool:
        """Whether any row compares its last column with its first."""
        return any(row.change is not None for row in self.rows)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Row], *, seeds: Sequence[int] = (), note: str = ""
) -> Table:
    """A table of ``rows``, one cell a column.

    Raises: ValueError for a bare fraction, which must be a ``Measured``; for measurements without ``seeds``; for a row
    of another width.
    """
    for row in rows:
        if len(row.cells) != len(columns):
            raise ValueError(f"{title}: the row {row.label!r} has {len(row.cells)} cells for {len(columns)} columns")
        for cell in (*row.cells, row.change):
            _require_honest(cell, f"{title}: {row.label}")
    is_measured = any(isinstance(cell, Measured) for row in rows for cell in (*row.cells, row.change))
    if is_measured and not seeds:
        raise ValueError(f"{title}: measured numbers need the seeds that they come from")
    return Table(title=title, columns=tuple(columns), rows=tuple(rows), seeds=tuple(seeds), note=note)


def _require_honest(cell: object, where: str) -> None:
    if isinstance(cell, float):
        raise ValueError(f"{where}: {cell} stands without its n and interval; give a Measured")
    if not isinstance(cell, Measured | str | int | None):
        raise ValueError(f"{where}: {type(cell).__name__} is not a cell")


def progress(
    title: str,
    stages: Mapping[str, Mapping[str, Measured | None]],
    *,
    directions: Mapping[str, Direction],
    seeds: Sequence[int],
    changes: Mapping[str, Measured] | None = None,
    note: str = "",
) -> Table:
    """Metrics by stage, before to after: ``stages`` maps a stage to its metrics, in the order of training.

    ``changes`` holds the paired difference of the last stage and the first, by metric.
    """
    metrics = list(dict.fromkeys(metric for measured in stages.values() for metric in measured))
    rows = [
        Row(
            label=metric,
            cells=tuple(measured.get(metric) for measured in stages.values()),
            direction=directions.get(metric),
            change=(changes or {}).get(metric),
        )
        for metric in metrics
    ]
    return table(title, list(stages), rows, seeds=seeds, note=note)


def change_tone(change: Measured, direction: Direction | None) -> Tone:
    """``better`` or ``worse`` only where the whole interval lies on one side of 0."""
    if direction is None or change.low <= 0 <= change.high:
        return "unclear"
    return "better" if (change.low > 0) == (direction == "higher") else "worse"


def format_value(measured: Measured) -> str:
    """The number alone: ``97.2 %``, ``+3.1 pp``, ``0.4231``."""
    if measured.unit == "percent":
        return f"{100 * measured.value:.1f} %"
    if measured.unit == "points":
        return f"{100 * measured.value:+.1f} pp"
    return f"{measured.value:.4g}"


def format_interval(measured: Measured) -> str:
    """Its interval and n: ``95.4 to 98.4, n = 500``."""
    if measured.unit == "number":
        bounds = f"{measured.low:.4g} to {measured.high:.4g}"
    elif measured.unit == "points":
        bounds = f"{100 * measured.low:+.1f} to {100 * measured.high:+.1f}"
    else:
        bounds = f"{100 * measured.low:.1f} to {100 * measured.high:.1f}"
    return f"{bounds}, n = {measured.n}"


def to_markdown(shown: Table) -> str:
    """The same table as GitHub Markdown, for consoles, notes and cards."""
    headers = ["", *shown.columns, *(["change"] if shown.has_changes else [])]
    lines = [f"**{shown.title}**", "", _markdown_line(headers), _markdown_line(["---"] * len(headers))]
    for row in shown.rows:
        cells: list[Cell] = [*row.cells, *([row.change or ""] if shown.has_changes else [])]
        lines.append(_markdown_line([row.label, *(_plain(cell) for cell in cells)]))
    if shown.seeds:
        lines += ["", "Seeds: " + ", ".join(str(seed) for seed in shown.seeds)]
    return "\n".join(lines + (["", shown.note] if shown.note else []))


def _plain(cell: Cell) -> str:
    if isinstance(cell, Measured):
        return f"{format_value(cell)} ({format_interval(cell)})"
    return "undefined" if cell is None else str(cell)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.translate(_MARKDOWN_ESCAPES) for cell in cells) + " |"
