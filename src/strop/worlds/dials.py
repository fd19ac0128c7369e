"""A world's settings: their bounds, and what is said of one that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from strop.errors import RecipeError


def check_dial(world: str, dial: Mapping[str, int], bounds: Mapping[str, tuple[int, int | None]]) -> None:
    """Refuse what cannot be dialled; ``bounds`` is setting → lowest and highest value, None for no highest.

    Raises: RecipeError for an unknown name, with the nearest known one, or for a number out of its bounds.
    """
    allowed = ", ".join(f"{name} {_span(*span)}" for name, span in bounds.items())
    for name, value in dial.items():
        what = f"world:{world} cannot be dialled with {name} = {value}"
        if name not in bounds:
            near = difflib.get_close_matches(name, bounds, n=1)
            meant = f"did you mean `{near[0]}`? " if near else ""
            raise RecipeError(what, why=f"it has no setting `{name}`", do=f"{meant}its settings are {allowed}")
        low, high = bounds[name]
        if not isinstance(value, int) or value < low or (high is not None and value > high):
            raise RecipeError(what, why=f"`{name}` is a whole number, {_span(low, high)}", do=f"use {allowed}")


def _span(low: int, high: int | None) -> str:
    return f"{low} or more" if high is None else f"{low} to {high}"
