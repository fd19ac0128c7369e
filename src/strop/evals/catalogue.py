"""Suites that are made from a world, ``KIND:WORLD``: one literal table, one line a kind."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from strop.errors import RecipeError
from strop.evals.fresh import fresh_suite
from strop.evals.probes.adherence import adherence_suite
from strop.evals.probes.boundaries import boundaries_suite
from strop.evals.probes.format_drift import format_drift_suite
from strop.evals.probes.robustness import robustness_suite
from strop.evals.probes.sycophancy import sycophancy_suite
from strop.evals.probes.widened import assistant_suite, calibration_suite, speech_suite
from strop.evals.red_team.suite import red_team_suite
from strop.evals.suite import Suite

KINDS: Mapping[str, Callable[[str, int, int, Mapping[str, Any]], Suite]] = {
    "fresh": fresh_suite,
    "red_team": red_team_suite,
    "assistant": assistant_suite,
    "boundaries": boundaries_suite,
    "robustness": robustness_suite,
    "calibration": calibration_suite,
    "sycophancy": sycophancy_suite,
    "format_drift": format_drift_suite,
    "adherence": adherence_suite,
    "speech": speech_suite,
}
"""Kind → (world's name, num_tasks, seed, dial) → the suite; it is called ``KIND-WORLD`` unless the kind says more."""


def kind_of(source: str) -> str | None:
    """The kind that ``red_team:finance`` names; None if it names none."""
    kind, colon, _ = source.partition(":")
    return kind if colon and kind in KINDS else None


def suite_of(source: str, *, num_tasks: int, seed: int = 0, dial: Mapping[str, Any] | None = None) -> Suite:
    """The suite that ``KIND:WORLD`` names, with ``num_tasks`` tasks. Raises: RecipeError naming the nearest kind."""
    kind, _, world = source.partition(":")
    if kind not in KINDS or not world:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        raise RecipeError(
            f"`{source}` names no suite",
            why="it has no world behind the colon" if kind in KINDS else f"there is no kind `{kind}`",
            do=(f"did you mean `{near[0]}:{world or 'finance'}`? " if near else "") + f"kinds: {', '.join(KINDS)}",
        )
    return KINDS[kind](world, num_tasks, seed, dial or {})


def check_kind(source: str) -> None:
    """Refuse ``redteam:finance``: no file, and nearly a kind. Raises: RecipeError naming the nearest."""
    kind, _, world = source.partition(":")
    near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.75)
    if world and near and kind not in KINDS:
        raise RecipeError(
            f"`{source}` names no suite",
            why=f"there is no kind `{kind}`, nor a file or folder of that name",
            do=f"did you mean `{near[0]}:{world}`? kinds: {', '.join(KINDS)}",
        )
