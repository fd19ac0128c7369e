"""Robustness: the same question under changes that must not change the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from strop.evals.measures.table import metrics_of
from strop.evals.probes.perturbations import PERTURBATIONS
from strop.evals.probes.twins import TwinDifference, compare_twins
from strop.evals.results import SuiteResult
from strop.evals.suite import Suite, world_suite
from strop.types import Task
from strop.worlds import get_world
from strop.worlds.splits import row_random

AXIS, PLAIN = "perturbation", "none"
_USUAL_VARIANTS = 4
"""The question itself, and the three changes that hold for any."""


def perturbed(task: Task, seed: int = 0) -> list[Task]:
    """The task as it is and under every change that applies: one cluster, slice ``perturbation``."""
    found = [_variant(task, task, PLAIN)]
    for name, perturb in PERTURBATIONS.items():
        changed = perturb(task, row_random("perturbation", name, seed, task.id))
        if changed is not None:
            found.append(_variant(task, changed, name))
    return found


def _variant(task: Task, changed: Task, name: str) -> Task:
    return replace(changed, id=f"{task.id}#{name}", slices={AXIS: name}, cluster=task.cluster or task.id)


def robustness_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``robustness:NAME``: whole clusters of a world's held-out tasks and their variants, ``num_tasks`` items at most.

    At least one cluster. Only ``accuracy`` is rated, so that a gate's tests are not spread over what is beside the
    point; what the world measures is kept. ``accuracy_drop`` reads off its results what the changes cost. Raises:
    RecipeError for an unknown world or dial.
    """
    source = get_world(world)
    plain = world_suite(source, num_tasks=max(1, num_tasks // _USUAL_VARIANTS), seed=seed, **dial)
    tasks: list[Task] = []
    for task in plain.tasks:
        cluster = perturbed(task, seed)
        if tasks and len(tasks) + len(cluster) > num_tasks:
            break
        tasks += cluster
    return replace(plain, name=f"robustness-{world}", tasks=tuple(tasks), metrics=metrics_of(("accuracy",)))


def accuracy_drop(result: SuiteResult, metric: str = "accuracy") -> dict[str, TwinDifference | None]:
    """Change → what it does to the metric against the untouched twins (negative: it is lost); ``""``: all changes."""
    return compare_twins(result, axis=AXIS, plain=PLAIN, metric=metric)
