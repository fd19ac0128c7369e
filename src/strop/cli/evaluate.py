"""``strop eval`` and ``strop gate``: measure a model on suites, and decide from two measurements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from strop.cli import console, isolation
from strop.cli.train import read_pair
from strop.errors import RecipeError
from strop.pipeline.workspace import Workspace, require_writable

_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
"""What a suite's name cannot hold."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval", help="Measure a model on suites; per-item results, slices, intervals.")(evaluate)
    app.command("gate", help="Decide from results: exit 0 PASS, 1 BLOCK, 3 INSUFFICIENT.")(gate)


def evaluate(
    model: Annotated[str, typer.Argument(help="strop:tiny, a model or adapter folder, or a hub id.")],
    suite: Annotated[
        list[str],
        typer.Option(help="world:NAME, KIND:WORLD (fresh, red_team …), gsm8k:PATH or a file; repeatable."),
    ],
    verifier: Annotated[str | None, typer.Option(help="my_rewards.py:score, number, exact …, for a file.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, repeatable, for a file.")] = None,
    world: Annotated[
        list[str] | None, typer.Option(help="A world's difficulty dial: steps=3 …; SETTING=NUMBER, repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Items a suite.")] = 500,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy; above, greedy is measured too.")] = 0.0,
    samples_per_task: Annotated[int, typer.Option(min=1)] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    seed: Annotated[int, typer.Option(help="Of tasks and answers.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Where results_*.json and samples_*.jsonl go.")] = None,
) -> None:
    """Print a table a suite, and write per-item results with --output."""
    from strop.evals.probes.told import told
    from strop.pipeline.evaluation import evaluate_model, load_suites
    from strop.pipeline.prepare import base_model
    from strop.pipeline.recipe import SuiteTable
    from strop.pipeline.sources import parse_columns
    from strop.pipeline.summary import console_table, suite_table

    if output is not None:
        require_writable(output)
    dial = _dial(world or [], suite)
    tables = [
        SuiteTable(
            tasks=tasks,
            name=name,
            verifier=verifier,
            columns=parse_columns(columns or []),
            world=dial or None,
            limit=limit,
            temperature=temperature,
            samples_per_task=samples_per_task,
            max_new_tokens=max_new_tokens,
        )
        for tasks, name in zip(suite, _names(suite), strict=True)
    ]
    workspace = Workspace.here()
    suites = load_suites(tables, workspace, seed=seed)
    ref, template = base_model(model, workspace)
    with console.Bars() as bars:
        results = evaluate_model(ref, template, suites, workspace.evals, bars)
    for name, result in results.items():
        console.make_console().print(console_table(suite_table(name, {model: results}, seed=seed)))
        for line in told(result):
            console.say(line)
        if output is not None:
            console.say(f"wrote {result.save(output)}")
    isolation.say_weaker_tier()


def _dial(given: Sequence[str], suites: Sequence[str]) -> dict[str, Any]:
    """The settings of the worlds. Raises: RecipeError for what is no SETTING=NUMBER, or has no world to set."""
    from strop.evals.catalogue import kind_of

    files = [suite for suite in suites if not suite.startswith("world:") and kind_of(suite) is None]
    if given and files:
        raise RecipeError(
            f"--world has no effect on {files[0]}", why="it is no world", do="evaluate it in a command of its own"
        )
    return dict(read_pair("world", text) for text in given)


def _names(suites: Sequence[str]) -> list[str | None]:
    """For a benchmark that is measured on several files, ``gsm8k-FILE``; None leaves a suite its own name."""
    from strop.worlds.benchmarks import benchmark_of

    kinds = [found.name if (found := benchmark_of(suite)) else "" for suite in suites]
    return [
        f"{kind}-{_ODD.sub('-', Path(suite.partition(':')[2]).stem)}" if kind and kinds.count(kind) > 1 else None
        for kind, suite in zip(kinds, suites, strict=True)
    ]


def gate(
    candidate: Annotated[Path, typer.Argument(help="A folder of results, from `strop eval --output` or a run.")],
    baseline: Annotated[Path | None, typer.Option(help="The same of what is in production.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="gate.toml, or a recipe with a \\[gate]; defaults if absent.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where gate_report.json goes.")] = None,
) -> None:
    """Print the decision, and write gate_report.json with --output."""
    from strop.evals import GateConfig, read_gate_config, write_gate_report
    from strop.evals import gate as decide
    from strop.pipeline.run import told_decision

    settings = GateConfig() if config is None else _settings(config) or read_gate_config(config)
    found, before = _results(candidate), _results(baseline) if baseline else None
    decision = decide(found, before, settings)
    console.make_console().print(*told_decision(decision), sep="\n")
    if output is not None:
        console.say(f"wrote {write_gate_report(output, decision, found, before, settings)}")
    raise typer.Exit(decision.exit_code)


def _settings(path: Path) -> Any:
    """The gate of a recipe; None if the file is no recipe."""
    import tomllib

    from strop.pipeline.reading import read_recipe

    try:
        is_recipe = "stage" in tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not is_recipe:
        return None
    recipe = read_recipe(path)
    if recipe.gate is None:
        raise RecipeError(f"{path} has no [gate]", where=str(path), do="add one, or give a gate.toml")
    return recipe.gate.config


def _results(folder: Path) -> Mapping[str, Any]:
    from strop.evals import SuiteResult

    names = [path.name.removeprefix("results_").removesuffix(".json") for path in sorted(folder.glob("results_*.json"))]
    if not names:
        raise RecipeError(
            f"{folder} holds no results",
            where=str(folder),
            why="there is no results_*.json in it" if folder.is_dir() else "there is no such folder",
            do="write them with `strop eval MODEL --suite … --output FOLDER`",
        )
    return {name: SuiteResult.load(folder, name) for name in names}
