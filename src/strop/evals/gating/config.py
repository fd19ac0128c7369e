"""What the gate asks: thresholds, tolerated drops, and how many items it wants to see."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from strop.errors import RecipeError
from strop.evals.gating.go_live import GoLive
from strop.evals.people.rule import PeopleRule
from strop.evals.suite import DIMENSIONS, Dimension

_SHARE = "write a share between 0 and 1: 0.95 for 95 %"
_REMEDIES = {
    "alpha": "write a chance between 0 and 0.5, such as 0.05, which is the default",
    "min_items": "write a whole number of items from 1 on; 100 is the default",
    "min_group_items": "write a whole number of items from 1 on; 20 is the default",
    "max_looks": "write a whole number from 1 on, or leave it out",
    "max_ungraded": "write a share between 0 and 1: 0.01 for 1 %, which is the default",
    "margins": "write a share between 0 and 1: 0.05 for five points",
    "max_drop": "write a number in the metric's own unit: 0.05 for five points of a share",
    "min": _SHARE,
    "floor": _SHARE,
    "floors": _SHARE,
}
"""Key → what may be written there."""


class Threshold(BaseModel):
    """How high or low a metric must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: float | None = None
    max: float | None = None
    on: Literal["value", "bound"] = "value"
    """``bound`` asks it of the 95 % interval's worse end instead of the measured value."""
    hard: bool = False
    """A value that fails blocks even when there are too few items to judge by."""

    @model_validator(mode="after")
    def _asks_something(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("a threshold needs `min` or `max`")
        if any(value is not None and not math.isfinite(value) for value in (self.min, self.max)):
            raise ValueError("a threshold is a finite number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"it cannot be met: nothing is at least {self.min:g} and at most {self.max:g}")
        return self


class GateConfig(BaseModel):
    """The gate's settings.

    Keys are ``suite.metric``, for a slice ``suite.metric[key=value]``, for every value ``suite.metric[key]``; margins
    may also say ``suite.*`` (every rated metric of the suite), with slices too, and ``dimension:harmlessness``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    margins: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """By less than this a metric must be shown to be worse than the baseline: neither that nor a regression shown is
    INSUFFICIENT."""
    max_drop: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """How far a metric may fall behind the baseline: decides by the drop alone, in place of every test."""
    dimensions: tuple[Dimension, ...] = ()
    """What must have been measured by some metric: helpfulness, harmlessness, truthfulness, reliability."""
    min_items: int = Field(default=100, ge=1)
    """A suite with fewer items is INSUFFICIENT."""
    min_group_items: int = Field(default=20, ge=1)
    """The same for the items that a single metric or slice applies to."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The chance of blocking a candidate that is no worse: of all regression tests together (Holm). And the chance of
    passing one that is worse by a margin, for each margin."""
    max_ungraded: float = Field(default=0.01, ge=0, le=1)
    """The share of answers that may have gone unjudged."""
    allow_template_change: bool = False
    """Whether the candidate may use another chat template or tokenizer than the baseline."""
    allow_tool_change: bool = False
    """Whether its tools' contracts may differ from those that the baseline was evaluated with."""
    allow_index_change: bool = False
    """Whether its retrieval index may differ, or answer a replayed query differently."""
    go_live: tuple[GoLive, ...] = ()
    max_looks: int | None = Field(default=None, ge=1)
    """On how many candidates a held-out suite may have decided before it is worn out and INSUFFICIENT; None only
    counts them. ``alpha`` stays each decision's own."""
    people: PeopleRule | None = None
    """What people must have said of these two models; without it nobody is asked."""


def parse_gate_config(tables: Mapping[str, Any], *, where: str = "[gate]") -> GateConfig:
    """The configuration that these tables say. Raises: RecipeError, naming the nearest known key."""
    try:
        return GateConfig.model_validate(tables)
    except ValidationError as error:
        raise _told(error, where) from None


def read_gate_config(path: Path | str) -> GateConfig:
    """The configuration in a ``gate.toml``, with its keys at the top or under ``[gate]``. Raises: RecipeError."""
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"cannot read the gate {path}", where=str(path), why=why, do="give a TOML file") from error
    return parse_gate_config(tables.get("gate", tables), where=str(path))


def _told(error: ValidationError, where: str) -> RecipeError:
    problem = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    place = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        model: type[BaseModel] = GateConfig
        if place[0] in ("thresholds", "go_live") and len(place) > 1:
            model = Threshold if place[0] == "thresholds" else GoLive
        if place[0] == "people" and len(place) > 1:
            model = PeopleRule
        near = difflib.get_close_matches(place[-1], model.model_fields, n=1, cutoff=0.5)
        do = (f"did you mean `{near[0]}`? " if near else "") + f"known: {', '.join(model.model_fields)}"
        return RecipeError(f"unknown key `{'.'.join(place)}` in the gate", where=where, do=do)
    why = problem["msg"].removeprefix("Value error, ")
    what = f"the gate's `{'.'.join(place)}` cannot be used"
    return RecipeError(what, where=where, why=why[0].lower() + why[1:], do=remedy(place, problem.get("input")))


def remedy(place: Sequence[str | int], given: object) -> str:
    """What to write where a value of the gate's tables was refused; empty if nothing is known of it."""
    if place[0] == "thresholds" and len(place) == 2:
        example = f"{{ min = {given} }}" if _is_number(given) else "{ min = 0.9 }"
        return f'write "{place[1]}" = {example}, or with `max` where less is better'
    if place[0] == "dimensions":
        near = difflib.get_close_matches(str(given), DIMENSIONS, n=1, cutoff=0.5)
        return (f"did you mean `{near[0]}`? " if near else "") + f"known: {', '.join(DIMENSIONS)}"
    return _REMEDIES.get(str(place[0]), "") or _REMEDIES.get(str(place[-1]), "")


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
