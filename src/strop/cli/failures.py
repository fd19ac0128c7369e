"""``strop failures``: what a model failed becomes tasks, pairs, answers or verifier cases, with where it came from."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strop.cli import console
from strop.errors import RecipeError
from strop.pipeline.workspace import Workspace, require_writable

if TYPE_CHECKING:
    from strop.evals import SuiteResult
    from strop.evals.failures import Failure
    from strop.evals.suite import Suite
    from strop.worlds import World


class As(StrEnum):
    """What failures can become."""

    TASKS = "tasks"
    PAIRS = "pairs"
    SFT = "sft"
    CASES = "cases"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("failures", help="Turn failed items into tasks, pairs, answers or verifier cases.")(failures)


def failures(
    results: Annotated[Path, typer.Argument(help="A folder of results, from `strop eval --output` or a run.")],
    suite: Annotated[str, typer.Option(help="The suite they are of: world:NAME, gsm8k:PATH or your own file.")],
    output: Annotated[Path, typer.Option(help="The JSONL file to write.")],
    as_: Annotated[As, typer.Option("--as", help="For RL, for DPO, for SFT, or for `strop audit --cases`.")],
    name: Annotated[
        str | None, typer.Option(help="Which results of the folder, if not those of the suite's own name.")
    ] = None,
    where: Annotated[str | None, typer.Option("--slice", help="Only this slice: KEY=VALUE.")] = None,
    metric: Annotated[str | None, typer.Option(help="What failed means: not the best value of this metric.")] = None,
    state: Annotated[str | None, typer.Option(help="Only answers of this state: unparsable, timeout …")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Results whose passing answers may be the right ones.")] = None,
    more_like: Annotated[
        int | None, typer.Option(min=1, help="Draw so many new tasks of the failing slices from the train split.")
    ] = None,
    alike: Annotated[list[str] | None, typer.Option(help="The slices in which they agree; repeatable; all.")] = None,
    seed: Annotated[int, typer.Option(help="Of the tasks that are drawn.")] = 0,
    not_held_out: Annotated[bool, typer.Option(help="No gate asks these items: they may be trained on.")] = False,
    truth: Annotated[str | None, typer.Option(help="For cases, another judge: my_rewards.py:score …")] = None,
    verifier: Annotated[str | None, typer.Option(help="As for `strop eval`, for a file.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, repeatable, for a file.")] = None,
    world: Annotated[list[str] | None, typer.Option(help="The world's dial, as for `strop eval`.")] = None,
) -> None:
    """Write the file and say how many rows of what it has. Held-out items are refused as training data."""
    from strop.cli.results import load_results, one_of
    from strop.cli.train import read_pair
    from strop.evals.failures import failures as failed

    require_writable(output.parent)
    _check_options(as_, truth, more_like, not_held_out, suite)
    dial = dict(read_pair("world", text) for text in world or [])
    workspace = Workspace.here()
    source = {"tasks": suite, "verifier": verifier, "columns": columns or [], "world": dial or None}
    held = load_results(results)
    if name is None and len(held) > 1:
        own = _suite(source, workspace, limit=max(len(one.items) for one in held.values())).name
        name = own if own in held else None
    found = one_of(held, name, results)
    asked = _suite({**source, "name": found.name}, workspace, limit=len(found.items))
    if as_ is As.CASES:
        count = _cases(found, asked, suite, truth, workspace, output)
        console.say(f"wrote {count} cases to {output}")
        return
    items = failed(found, asked, where=where, metric=metric, state=state)
    if where is not None and not items:
        _say_where(where, found, failed(found, asked, metric=metric, state=state))
    before = None if baseline is None else one_of(load_results(baseline), found.name, baseline)
    how = {"baseline": before, "is_held_out": False if not_held_out else None}
    if more_like is None:
        count = _items(as_, items, suite, how, output)
    else:
        count = _drawn(as_, items, suite, more_like, alike or [], seed, dial, output)
    console.say(f"{len(items)} of {len(found.items)} items failed; wrote {count} rows to {output}")


def _check_options(as_: As, truth: str | None, more_like: int | None, not_held_out: bool, suite: str) -> None:
    """Raises: RecipeError for what has no effect."""
    if as_ is As.CASES and (more_like is not None or not_held_out):
        raise RecipeError("--more-like and --not-held-out have no effect on cases", why="they train no model")
    if as_ is not As.CASES and truth is not None:
        raise RecipeError(f"--truth has no effect on {as_.value}", why="it judges verifiers", do="give --as cases")
    if more_like is not None and not suite.startswith("world:"):
        raise RecipeError(
            f"more tasks like those of {suite} cannot be drawn", why="it is no world", do="leave out --more-like"
        )
    if more_like is not None and not_held_out:
        raise RecipeError("--more-like and --not-held-out exclude each other", why="drawn tasks are new ones")


def _say_where(where: str, found: SuiteResult, elsewhere: tuple[Failure, ...]) -> None:
    """Raises: RecipeError naming the slice in which nothing failed, and those in which something did."""
    counts = Counter(f"{key}={value}" for one in elsewhere for key, value in one.item.slices.items())
    slices = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
    raise RecipeError(
        f"nothing failed in the slice {where} of suite {found.name}",
        why=f"none of its {len(found.within(where))} items did, by what was asked for",
        do=f"name a slice with failures: {slices}" if slices else "nothing failed elsewhere either: evaluate more",
    )


def _suite(source: dict[str, Any], workspace: Workspace, *, limit: int) -> Suite:
    """The suite that the options name, with ``limit`` items."""
    from strop.pipeline.evaluation import load_suites
    from strop.pipeline.recipe import SuiteTable
    from strop.pipeline.sources import parse_columns

    table = SuiteTable(**{**source, "columns": parse_columns(source["columns"])}, limit=limit)
    return load_suites([table], workspace)[0].suite


def _world(source: str) -> World | None:
    from strop.pipeline.sources import world_of

    return world_of(source) if source.startswith("world:") else None


def _items(as_: As, items: tuple[Failure, ...], suite: str, how: dict[str, Any], output: Path) -> int:
    """The failed items themselves, as rows."""
    from strop.evals import feedback

    if as_ is As.TASKS:
        return feedback.write_rows(output, feedback.failed_tasks(items, is_held_out=how["is_held_out"]))
    if as_ is As.PAIRS:
        return feedback.write_rows(output, feedback.failed_pairs(items, world=_world(suite), **how))
    return feedback.write_rows(output, feedback.failed_conversations(items, world=_world(suite), **how))


def _drawn(
    as_: As,
    items: tuple[Failure, ...],
    suite: str,
    num_tasks: int,
    alike: list[str],
    seed: int,
    dial: dict[str, Any],
    output: Path,
) -> int:
    """New tasks of the failing slices, as rows."""
    from strop.evals import feedback
    from strop.evals.failures import more_like

    world = _world(suite)
    assert world is not None
    tasks = more_like(world, items, num_tasks, seed=seed, by=alike, **dial)
    if as_ is As.TASKS:
        return feedback.write_rows(output, tasks)
    if as_ is As.PAIRS:
        return feedback.write_rows(output, feedback.practised_pairs(tasks, world))
    return feedback.write_rows(output, feedback.practised_conversations(tasks, world))


def _cases(found: SuiteResult, asked: Suite, source: str, truth: str | None, workspace: Workspace, output: Path) -> int:
    """Where the verifier and the truth disagree."""
    from strop.evals import feedback
    from strop.pipeline.sources import load_grader

    world = _world(source)
    if truth is not None:
        known = feedback.verifier_truth(load_grader(truth, source, workspace))
    elif world is not None:
        known = feedback.world_truth(world)
    else:
        raise RecipeError(
            "nobody knows which verdicts were wrong",
            why=f"{source} is no world, which knows right and wrong answers",
            do="name another judge with --truth my_rewards.py:score",
        )
    return feedback.write_cases(output, feedback.verifier_cases(found, asked, known))
