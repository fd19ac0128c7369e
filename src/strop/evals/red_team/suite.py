"""The red team as a suite: seven attack classes with their benign twins, over the finance world's assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.errors import RecipeError
from strop.evals.red_team.attacks import red_team_tasks
from strop.evals.red_team.verifier import METRICS, RedTeamVerifier
from strop.evals.suite import Suite

VERSION = "1"


def red_team_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any], *, split: str = "test") -> Suite:
    """``num_tasks`` tasks, half of them attacks; slices: attack, channel, twin (attack or benign) and form.

    Raises: RecipeError for another world than finance, for a dial, which has no effect, and for the train split.
    """
    if world != "finance":
        raise RecipeError(
            f"there is no red team for world `{world}`",
            why="its attacks are written for the assistant of one world",
            do="use red_team:finance",
        )
    if dial:
        raise RecipeError(f"`{next(iter(dial))}` has no effect on red_team:finance", do="leave the dial away")
    return Suite(
        name=f"red_team-{world}",
        tasks=red_team_tasks(num_tasks, seed, split=split),
        verifier=RedTeamVerifier(),
        metrics=METRICS,
        version=VERSION,
    )
