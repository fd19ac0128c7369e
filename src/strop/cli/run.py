"""``strop run RECIPE``: plan, stages, evaluation, gate, report, release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strop.cli import console
from strop.errors import OutputError
from strop.pipeline.order import check_order
from strop.pipeline.reading import read_recipe
from strop.pipeline.recipe import Recipe
from strop.pipeline.workspace import Workspace, require_writable

if TYPE_CHECKING:
    from strop.evals.contamination import Contamination
    from strop.pipeline.evaluation import SuiteRun
    from strop.pipeline.prepare import Prepared


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", help="Run a recipe: plan, train each stage, evaluate, gate, report, release.")(run)


def run(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; relative paths in it start from its folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. stage.0.epochs=2; repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows and items everywhere.")] = None,
    output: Annotated[Path | None, typer.Option(help="Report, metrics and results; runs/NAME if absent.")] = None,
) -> None:
    """Run a recipe."""
    read = read_recipe(recipe, overrides=set_ or [], seed=seed)
    check_order(read, recipe.absolute().parent, where=str(recipe))
    run_with_bars(
        read,
        root=recipe.absolute().parent,
        output=output or Path("runs") / read.name,
        limit=limit,
        dry_run=dry_run,
        where=str(recipe),
    )


def run_with_bars(
    recipe: Recipe,
    *,
    root: Path,
    output: Path,
    limit: int | None = None,
    dry_run: bool = False,
    model_output: bool = False,
    where: str = "the command line",
) -> None:
    """Run a recipe with its plan and progress on the screen; ``model_output`` makes ``output`` the model's folder.

    Raises: typer.Exit with 1 or 3 where the gate does not pass, 130 when interrupted.
    """
    workspace = Workspace.here(root)
    check_order(recipe, workspace.root, where=where)
    if not dry_run:
        _check_output(output, model_output=model_output)
        require_writable(workspace.home)
    prepared, suites, contamination = _prepare(recipe, workspace, limit, where)
    if dry_run:
        return
    from strop.pipeline.run import run_prepared, save_model, told_guard

    try:
        with console.Bars() as bars:
            result = run_prepared(
                prepared,
                workspace,
                suites=suites,
                output=None if model_output else output,
                progress=bars,
                contamination=contamination,
            )
            if model_output:
                save_model(result.stages[-1], output)
    except KeyboardInterrupt:
        console.say_on_stderr("\nstopped; nothing half-written was kept. The same command goes on where it stood")
        raise typer.Exit(130) from None
    if model_output:
        for line in told_guard(result.stages[-1]):
            console.make_console().print(line)
        console.say(f"model: {output}")
        return
    console.make_console().print(*result.told(), sep="\n")
    raise typer.Exit(result.exit_code)


def _prepare(
    recipe: Recipe, workspace: Workspace, limit: int | None, where: str
) -> tuple[Prepared, tuple[SuiteRun, ...], Contamination]:
    """Read everything that the recipe names, and print the plan, with what the rows hold of the suites."""
    from strop.pipeline.evaluation import check_suite_names, load_suites
    from strop.pipeline.held_out import find_leaks
    from strop.pipeline.plan import make_plan
    from strop.pipeline.prepare import prepare

    prepared = prepare(recipe, workspace, limit=limit, where=where)
    suites: tuple[SuiteRun, ...] = ()
    if recipe.gate is not None:
        suites = load_suites(recipe.gate.suites, workspace, limit=limit, seed=recipe.seed)
        check_suite_names(recipe.gate.config, suites)
    contamination = find_leaks(prepared, suites)
    console.make_console().print(make_plan(prepared, workspace, contamination).table())
    return prepared, suites, contamination


def _check_output(output: Path, *, model_output: bool) -> None:
    """Refuse before any work an output folder that could not be written after it. Raises: OutputError."""
    if output.exists() and not output.is_dir():
        raise OutputError(
            f"{output} is a file", where=str(output), why="the output is a folder", do="choose another --output"
        )
    if model_output and output.is_dir() and any(output.iterdir()) and not (output / "strop.json").is_file():
        raise OutputError(
            f"{output} is not empty",
            where=str(output),
            why="it holds files that strop did not write, and a model folder replaces what is there",
            do="choose another --output",
        )
    require_writable(output.parent if model_output else output)
