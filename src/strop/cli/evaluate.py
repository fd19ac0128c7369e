"""``strop eval``: measure a model on suites."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strop.cli import console, isolation
from strop.cli.train import read_pair
from strop.errors import RecipeError
from strop.pipeline.workspace import Workspace, require_writable

if TYPE_CHECKING:
    from strop.pipeline.evaluation import Results, SuiteRun
    from strop.pipeline.recipe import SuiteTable

LONG_DRAW = 2000
"""From so many items on, drawing a world's tasks takes long enough to be told."""
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
"""What a suite's name cannot hold."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", help="Measure a model on suites; per-item results, slices, intervals.")(evaluate)


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
    seed: Annotated[int, typer.Option(help="Of the answers.")] = 0,
    price_prompt: Annotated[float | None, typer.Option(min=0, help="Of a million prompt tokens.")] = None,
    price_completion: Annotated[float | None, typer.Option(min=0, help="Of a million answer tokens.")] = None,
    server: Annotated[
        str | None, typer.Option(help="http://HOST/v1#NAME answers; MODEL gives tokenizer and template.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where results_*.json and samples_*.jsonl go; an answer's latency_s is "
            "the time of the batch in which it was answered, on this machine under its load."
        ),
    ] = None,
) -> None:
    """Print a table a suite, and write per-item results with --output."""
    from strop.pipeline.evaluation import evaluate_model, served_by
    from strop.pipeline.prepare import base_model
    from strop.pipeline.recipe import SuiteTable
    from strop.pipeline.sources import parse_columns

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
            price=_price(price_prompt, price_completion),
        )
        for tasks, name in zip(suite, _names(suite), strict=True)
    ]
    workspace = Workspace.here()
    suites = _load(tables, workspace, seed)
    ref, template = base_model(model, workspace)
    ref, sampler = (ref, None) if server is None else served_by(server, ref, template)
    with console.Bars() as bars:
        results = evaluate_model(ref, template, suites, workspace.evals, bars, sampler)
    written = [] if output is None else [result.save(output) for result in results.values()]
    for run in suites:
        _tell(run, model, results, seed)
    for path in written:
        console.say(f"wrote {path}")
    isolation.say_weaker_tier()


def _load(tables: Sequence[SuiteTable], workspace: Workspace, seed: int) -> tuple[SuiteRun, ...]:
    """The suites, with what there is to say of their items."""
    from strop.pipeline.evaluation import load_suites
    from strop.pipeline.suite_notes import MAX_DRAWN_ITEMS, is_drawn, suite_notes

    for table in tables:
        if LONG_DRAW <= table.limit <= MAX_DRAWN_ITEMS and is_drawn(table.tasks):
            console.say_on_stderr(f"drawing {table.limit:,} tasks of {table.tasks} …")
    suites = load_suites(tables, workspace, seed=seed)
    twins = 1 if tables[0].temperature == 0 else 2  # a drawn suite is followed by its greedy twin: the same tasks
    for table, run in zip(tables, suites[::twins], strict=True):
        for line in suite_notes(run.suite, table.tasks, table.limit):
            console.say_on_stderr(line)
    return suites


def _tell(run: SuiteRun, model: str, results: Results, seed: int) -> None:
    """A suite's table, what repeated answers are worth, what a probe says, and what it took."""
    from strop.evals.costs import spent
    from strop.evals.probes.told import told
    from strop.pipeline.repeats import repeats_table
    from strop.pipeline.suite_notes import score_notes
    from strop.pipeline.summary import console_table, short_name, suite_table

    name = run.suite.name
    result = results[name]
    for line in score_notes(result, run.suite):
        console.say_on_stderr(line)
    console.make_console().print(console_table(suite_table(name, {short_name(model): results}, seed=seed)))
    if (repeats := repeats_table(result, seed=seed)) is not None:
        console.make_console().print(console_table(repeats))
    for line in [*told(result), f"{name}: {spent(result).told()}"]:
        console.say(line)


def _dial(given: Sequence[str], suites: Sequence[str]) -> dict[str, Any]:
    """The settings of the worlds. Raises: RecipeError for what is no SETTING=NUMBER, or has no world to set."""
    from strop.evals.catalogue import kind_of

    files = [suite for suite in suites if not suite.startswith("world:") and kind_of(suite) is None]
    if given and files:
        raise RecipeError(
            f"--world has no effect on {files[0]}", why="it is no world", do="evaluate it in a command of its own"
        )
    return dict(read_pair("world", text) for text in given)


def _price(prompt: float | None, completion: float | None) -> Any:
    """The price's table; None without one. Raises: RecipeError for half of one."""
    from strop.pipeline.recipe import PriceTable

    if prompt is None and completion is None:
        return None
    if prompt is None or completion is None:
        raise RecipeError(
            "a price has two parts",
            why="prompt and answer tokens cost differently, and a part left out would be free",
            do="give both --price-prompt and --price-completion; 0 is a price",
        )
    return PriceTable(prompt=prompt, completion=completion)


def _names(suites: Sequence[str]) -> list[str | None]:
    """For a benchmark that is measured on several files, ``gsm8k-FILE``; None leaves a suite its own name."""
    from strop.worlds.benchmarks import benchmark_of

    kinds = [found.name if (found := benchmark_of(suite)) else "" for suite in suites]
    return [
        f"{kind}-{_ODD.sub('-', Path(suite.partition(':')[2]).stem)}" if kind and kinds.count(kind) > 1 else None
        for kind, suite in zip(kinds, suites, strict=True)
    ]
