"""``strop check FILE``: what training would make of a data file, before it does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from strop.cli import console
from strop.errors import DataError, RecipeError
from strop.pipeline.workspace import Workspace

_METHODS = {"sft": "sft", "dpo": "dpo", "tasks": "grpo"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", help="Pre-flight a data file: what is trained, what is cut, what is refused.")(check)


def check(
    data: Annotated[str, typer.Argument(help="A file, folder, hub id or world:NAME/KIND.")],
    model: Annotated[str, typer.Option(help="Whose chat template and context count.")] = "strop:tiny",
    kind: Annotated[str, typer.Option(help="sft, dpo or tasks.")] = "sft",
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, repeatable, e.g. prompt=question.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Tokens; the model's context if absent.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Print this many rows with the trained tokens marked.")] = 0,
    against: Annotated[str | None, typer.Option(help="Evaluation data that the rows must not overlap.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Print the pre-flight report; exit 2 if training would refuse the data."""
    if kind not in _METHODS:
        raise RecipeError(f"unknown kind `{kind}`", do=f"choose one of: {', '.join(_METHODS)}")
    from strop import data as rows_
    from strop.pipeline.prepare import PREFLIGHT_KINDS, base_model, context_length
    from strop.pipeline.sources import parse_columns, read_rows

    workspace, method = Workspace.here(), _METHODS[kind]
    mapping = parse_columns(columns or [])
    rows: list[Any] = list(read_rows(method, data, workspace, columns=mapping, limit=limit))
    held_out: Sequence[Any] = read_rows(method, against, workspace, columns=mapping, split="test") if against else ()
    base, template = base_model(model, workspace)
    length = max_length or context_length(base.source)
    report = rows_.preflight(rows, template, max_length=length, kind=PREFLIGHT_KINDS[method], eval_rows=held_out)
    if as_json:
        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_report(report)
        for row in rows[:show]:
            _print_view(kind, row, template, length)
    report.require()


def _print_report(report: Any) -> None:
    screen = console.make_console()
    for line in report.lines():
        style = "red" if line.startswith("refused") else "yellow" if line.startswith("shortened") else ""
        screen.print(Text(line, style=style), soft_wrap=True)


def _print_view(kind: str, row: Any, template: Any, length: int) -> None:
    from strop import data

    screen = console.make_console()
    if kind == "tasks":
        screen.print(Text("\n".join(f"{message.role}: {message.content}" for message in row.prompt)), soft_wrap=True)
        return
    try:
        if kind == "sft":
            views = [data.view_conversation(template, row, max_length=length)]
        else:
            views = list(data.view_preference(template, row, max_length=length))
    except DataError as error:
        screen.print(Text(f"\n{row.id}: refused: {error.what}", style="red"), soft_wrap=True)
        return
    for view in views:
        screen.print(Text(f"\n{view.name}: {view.num_trained} tokens trained", style="bold"))
        screen.print(view.rich() if screen.is_terminal else Text(view.text), soft_wrap=True)
