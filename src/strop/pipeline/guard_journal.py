"""What a stage's guards saw and did, one line a look, and where the stage stands after it: part of the run's state."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop import files
from strop.errors import OutputError

if TYPE_CHECKING:
    from strop.training import Finding, Order, Rule

Values = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One evaluation of a stage's guards, with what it led to."""

    leg: int
    """How many times the stage had been sent elsewhere before."""
    step: int
    findings: tuple[Finding | None, ...]
    """By guard; None for one that did not look."""
    values: Mapping[str, Values]
    """``suite.metric`` → item → value."""
    results: Mapping[str, str]
    """Suite → the digest of its result."""
    is_held: bool
    """Whether every guard looked and none was displeased: what a stage goes back to."""
    order: Order

    @property
    def is_displeasing(self) -> bool:
        """Whether any guard, watching or not, found a drop or lost values; one that never had any found nothing."""
        seen = [found for found in self.findings if found is not None]
        return any(found.outcome == "dropped" or (found.outcome == "ungraded" and found.num_missing) for found in seen)

    @property
    def place(self) -> tuple[int, int]:
        """Leg and step: which look of the run it is."""
        return self.leg, self.step


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What follows from the looks so far: from where the stage trains, and with what."""

    leg: int = 0
    origin: int = 0
    """The step that this leg starts from."""
    held: int = 0
    """The last step that held; 0 is the start."""
    learning_rate_factor: float = 1.0
    lowered: tuple[tuple[int, float], ...] = ()
    """(guard, factor) of every lowering of a share, in order."""
    times: Mapping[int, int] = field(default_factory=dict)
    """Guard → how often it has acted."""
    stopped: str = ""
    """Why the stage ended; empty while it goes on."""

    def after(self, look: Look) -> Standing:
        """The standing once ``look`` is committed."""
        held = look.step if look.is_held else self.held
        order = look.order
        times = dict(self.times) | {index: self.times.get(index, 0) + 1 for index in order.acted}
        if order.course == "go_on":
            return replace(self, held=held)
        if order.course == "stop":
            return replace(self, stopped=order.why, times=times)
        return replace(
            self,
            leg=self.leg + 1,
            origin=self.held if order.course == "roll_back" else look.step,
            learning_rate_factor=self.learning_rate_factor * order.learning_rate_factor,
            lowered=(*self.lowered, *order.share_factors.items()),
            times=times,
        )


class Journal:
    """The looks of a stage, on disk before anything follows from them. Raises: OutputError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.looks = list(read_looks(path))
        if path.exists():  # what a kill tore off must not stand before the next line
            files.write_text(path, "".join(map(_line, self.looks)))

    @property
    def standing(self) -> Standing:
        """Where the stage stands."""
        standing = Standing()
        for look in self.looks:
            standing = standing.after(look)
        return standing

    def find(self, leg: int, step: int) -> Look | None:
        """The look that was taken there; None if none was."""
        return next((look for look in self.looks if look.place == (leg, step)), None)

    def before(self, rule: Rule, label: str) -> Values:
        """The values that ``rule`` compares a look with: those of the start, or of the best look that held."""
        known = [look.values[label] for look in self.looks if label in look.values and (look.is_held or look.step == 0)]
        if rule.against == "start":
            return known[0]
        sign = 1.0 if rule.direction == "higher" else -1.0
        return max(known, key=lambda values: -math.inf if (found := mean(values)) is None else sign * found)

    def append(self, look: Look) -> None:
        """Write one look and return when it is on the disk; a look that is there already stays as it is."""
        if self.find(*look.place) is not None:
            return
        try:
            with open(self._path, "a") as file:
                file.write(_line(look))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise OutputError(f"could not write {self._path}", where=str(self._path), why=why) from error
        self.looks.append(look)


def mean(values: Values) -> float | None:
    """Of those that there are; None without any."""
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known else None


def read_looks(path: Path) -> Sequence[Look]:
    """The whole lines of a journal; a last line that a kill cut off does not count."""
    if not path.is_file():
        return []
    return [_look(json.loads(line)) for line in path.read_text().split("\n")[:-1] if line]


def _line(look: Look) -> str:
    return json.dumps(asdict(look), sort_keys=True) + "\n"


def _look(row: Mapping[str, Any]) -> Look:
    from strop.training import Finding, Order

    order = dict(row["order"])
    factors = sorted((int(guard), factor) for guard, factor in order["share_factors"].items())
    order["share_factors"] = dict(factors)  # the file sorts its keys as words, in which 10 stands before 9
    order["acted"] = tuple(order["acted"])
    findings = tuple(None if found is None else Finding(**found) for found in row["findings"])
    return Look(**{**row, "findings": findings, "order": Order(**order)})
