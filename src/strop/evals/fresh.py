"""Sets that no model can have met: the same world drawn with a seed that was never used, beside its fixed suite."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from strop.digests import digest_json
from strop.errors import DataError, RecipeError
from strop.evals.suite import Suite, world_suite
from strop.types import Task
from strop.worlds import get_world

_FIXED_ITEMS = 500
"""At least so many items of the fixed suite, and whatever more is asked for, are kept out of a fresh set."""
_MAX_ROUNDS = 6


def fresh_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``num_tasks`` held-out tasks of a world, drawn with a seed from the system's entropy, none of the fixed suite's.

    ``NAME@SEED`` draws again the set of that seed, which stands in the suite's version; ``seed`` names the fixed suite
    that is kept out. Raises: RecipeError for an unknown world or a seed that is no number; DataError if the world is
    so small that its fixed suite holds nearly all of it.
    """
    name, at, wanted = world.partition("@")
    if at and not wanted.isdecimal():
        raise RecipeError(f"`fresh:{world}` names no seed", why=f"{wanted!r} is no number", do=f"write fresh:{name}@7")
    drawn = int(wanted) if at else secrets.randbits(62)
    source = get_world(name)
    fixed = {prompt_digest(task) for task in source.tasks("test", max(num_tasks, _FIXED_ITEMS), seed, **dial)}
    tasks: list[Task] = []
    for doubled in range(_MAX_ROUNDS):
        drawn_tasks = source.tasks("test", num_tasks << doubled, drawn, **dial)
        tasks = [task for task in drawn_tasks if prompt_digest(task) not in fixed][:num_tasks]
        if len(tasks) == num_tasks:
            break
    else:
        raise DataError(
            f"world:{name} has no {num_tasks} fresh tasks",
            why=f"{num_tasks << (_MAX_ROUNDS - 1)} draws gave {len(tasks)} that are not in its fixed suite",
            do="ask for fewer, or set the world's dial where it has more to draw from",
        )
    suite = world_suite(source, num_tasks=1, seed=drawn, name=f"fresh-{source.name}", **dial)
    return Suite(
        name=suite.name,
        tasks=tuple(tasks),
        verifier=suite.verifier,
        metrics=suite.metrics,
        measure=suite.measure,
        version=f"fresh-{drawn}",
    )


def prompt_digest(task: Task) -> str:
    """Identity of what a task asks, whatever its id."""
    return digest_json([[turn.role, turn.content] for turn in task.prompt])
