"""A recipe's guards with their suites, read and checked before anything is trained."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strop
from strop.digests import digest_file, digest_json
from strop.errors import RecipeError
from strop.pipeline.recipe import AnyStage, GuardTable, SuiteTable
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.pipeline.evaluation import SuiteRun
    from strop.training import Rule


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A suite that is asked every so many steps, and the rule on one of its metrics."""

    run: SuiteRun
    rule: Rule
    every: int
    domain: int = 0
    """Which source's share is lowered, where the rule lowers one."""

    @property
    def label(self) -> str:
        """``suite.metric``."""
        return f"{self.run.suite.name}.{self.rule.metric}"

    @property
    def told(self) -> str:
        """What it asks how often and does, in one line."""
        rule = self.rule
        asked = f"{self.label}, {len(self.run.suite.tasks)} items every {self.every} steps"
        return asked if rule.action == "watch" else f"{asked}: {rule.action} at a drop of more than {rule.max_drop:g}"

    @property
    def suite_key(self) -> str:
        """Guards of one key share an evaluation."""
        return digest_json([self.run.suite.digest, asdict(self.run.params)])

    @property
    def identity(self) -> list[Any]:
        """What of it decides what the stage learns."""
        return [self.suite_key, asdict(self.rule), self.every, self.domain]


def load_guards(
    stage: AnyStage, sources: Sequence[str], workspace: Workspace, *, limit: int | None = None, where: str
) -> tuple[Guard, ...]:
    """The guards of a stage that learns from ``sources``; ``limit`` lowers the number of their items.

    Raises: RecipeError, DataError, VerifierError.
    """
    places = [f"{where}, guard {index}" for index in range(len(stage.guards))]
    guards = tuple(
        _guard(table, sources, workspace, limit, place) for table, place in zip(stage.guards, places, strict=True)
    )
    known: dict[str, str] = {}
    for guard, place in zip(guards, places, strict=True):
        if known.setdefault(guard.run.suite.name, guard.suite_key) != guard.suite_key:
            raise RecipeError(
                f"two different suites of guards are called `{guard.run.suite.name}`",
                where=place,
                why="curves and comparisons tell suites by name",
                do='give one a name of its own: suite = { tasks = …, name = "…" }',
            )
    return guards


def _guard(table: GuardTable, sources: Sequence[str], workspace: Workspace, limit: int | None, where: str) -> Guard:
    from strop.pipeline.evaluation import load_suites
    from strop.pipeline.reading import nearest
    from strop.training import Rule

    wanted = SuiteTable(tasks=table.suite, limit=table.limit) if isinstance(table.suite, str) else table.suite
    (run,) = load_suites([wanted], workspace, limit=limit, world_split="dev")
    known = run.suite.metrics
    if table.metric not in known:
        near = nearest(table.metric, known)
        raise RecipeError(
            f"suite {run.suite.name} has no metric `{table.metric}` that says which way is better",
            where=where,
            do=(f"did you mean `{near}`? " if near else "") + f"known: {', '.join(known)}",
        )
    _require_enough(table, run, where)
    same = ("metric", "max_drop", "alpha", "action", "factor", "max_times", "max_ungraded", "against")
    rule = Rule(**{name: getattr(table, name) for name in same}, direction=known[table.metric].direction)
    return Guard(run=run, rule=rule, every=table.every, domain=sources.index(table.domain) if table.domain else 0)


def _require_enough(table: GuardTable, run: SuiteRun, where: str) -> None:
    num_clusters = len({task.cluster or task.id for task in run.suite.tasks})
    if table.action != "watch" and 0.5**num_clusters > table.alpha:
        raise RecipeError(
            f"a guard on {num_clusters} independent item{'s' * (num_clusters != 1)} could never trigger",
            where=where,
            why=f"were all of them lost, chance alone would show it with {0.5**num_clusters:.2g}, above its alpha",
            do=f"ask at least {math.ceil(-math.log2(table.alpha))} (`limit` and --limit bound them), raise alpha, or "
            'write action = "watch"',
        )


def check_guards(stage: AnyStage, sources: Sequence[str], place: str) -> None:
    """Refuse what cannot work or has no effect. Raises: RecipeError."""
    for index, table in enumerate(stage.guards):
        where = f"{place}, guard {index}"
        _check_suite(table, where)
        _check_settings(table, where)
        _check_domain(table, stage, sources, where)
    if stage.guards and getattr(stage, "validate_every", None) is not None:
        raise RecipeError(
            "`validate_every` has no effect beside guards",
            where=place,
            why="the validation loss is taken at every look, and of the steps that held the lowest is kept",
            do="remove it; the guard's `every` says how often",
        )


def _check_suite(table: GuardTable, where: str) -> None:
    if isinstance(table.suite, str):
        return
    if "limit" in table.model_fields_set:
        raise _without_effect("limit", where, "the suite is a table", "write the limit into the suite's table")
    if table.suite.price is not None:
        raise _without_effect("price", where, "a guard counts no money", "remove it from the suite")
    if table.suite.temperature > 0 or table.suite.samples_per_task > 1:
        raise RecipeError(
            "a guard's suite is sampled",
            where=where,
            why="two looks at an unchanged policy must agree, so a guard asks greedily, once an item",
            do="remove `temperature` and `samples_per_task` from the suite",
        )


def _check_settings(table: GuardTable, where: str) -> None:
    idle = {"watch": ("max_drop", "alpha", "factor", "max_times", "max_ungraded"), "stop": ("factor", "max_times")}
    for key in idle.get(table.action, ()):
        if key in table.model_fields_set:
            raise _without_effect(key, where, f'action = "{table.action}" does not use it', "remove it")


def _check_domain(table: GuardTable, stage: AnyStage, sources: Sequence[str], where: str) -> None:
    shares = getattr(stage, "shares", None)
    if table.action == "lower_share" and shares is None:
        raise RecipeError(
            'action = "lower_share" has nothing to lower',
            where=where,
            why="the stage's sources have no shares",
            do='give it several, data = ["domain.jsonl", "general.jsonl"] with shares = [0.8, 0.2], in an sft stage',
        )
    if table.domain is None:
        return
    if table.action != "lower_share":
        raise _without_effect("domain", where, f'action = "{table.action}" lowers no share', "remove it")
    if table.domain not in sources:
        raise RecipeError(
            f"domain = {table.domain!r} is none of the stage's sources",
            where=where,
            do=f"name one of: {', '.join(sources)}",
        )


def _without_effect(key: str, where: str, why: str, do: str) -> RecipeError:
    return RecipeError(f"`{key}` has no effect in this guard", where=where, why=why, do=do)


def guards_identity(guards: Sequence[Guard]) -> list[Any]:
    """What of the guards decides what a stage learns, with the code that evaluates them."""
    return [[guard.identity for guard in guards], _code_digest()]


@functools.cache
def _code_digest() -> str:
    package = Path(strop.__file__).parent
    places = ("evals", "worlds", "tools", "constraints", "statistics")
    code = [*(path for name in places for path in (package / name).rglob("*.py")), *package.glob("pipeline/guard*.py")]
    return digest_json([[path.relative_to(package).as_posix(), digest_file(path)] for path in sorted(code)])
