"""``strop sft | dpo | grpo | dr_grpo``: one stage from the command line, with the keys that a recipe has."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from strop.cli.run import run_with_bars
from strop.errors import RecipeError
from strop.pipeline.reading import parse_recipe
from strop.pipeline.recipe import STAGES, GuardTable, LoraTable, Recipe, StageTable

_LEFT_OUT = {"method", "name", "lora", "data", "tasks", "adapter", "guards"}
_GUARD = ("every", "limit", "metric", "max_drop", "action", "factor")


def register(app: typer.Typer) -> None:
    """Add a command for each method."""
    for method, table in STAGES.items():
        app.command(method, help=table.__doc__, no_args_is_help=True)(_command(method, table))


def _command(method: str, table: type[StageTable]) -> Callable[..., None]:
    fields = {name: field for name, field in table.model_fields.items() if name not in _LEFT_OUT}
    lora = {f"lora_{name}": field for name, field in LoraTable.model_fields.items()}
    lists = {name for name, field in {**fields, **lora}.items() if _kind(field) is list}
    tables = {name for name, field in fields.items() if _is_table(field)}

    def command(**given: Any) -> None:
        _train(method, given, tables=tables, lists=lists)

    source = "tasks" if "tasks" in table.model_fields else "data"
    parameters = [
        _argument(source, table.model_fields[source]),
        _option("model", str, "The model to start from.", "strop:tiny"),
        _option("output", Path | None, "The folder for the resulting model; runs/METHOD if absent.", None),
        *(_field_option(name, field) for name, field in {**fields, **lora}.items()),
        _option(
            "guard", list[str] | None, "A suite that must not drop meanwhile, e.g. world:arithmetic. Repeatable.", None
        ),
        *(_field_option(f"guard_{name}", GuardTable.model_fields[name]) for name in _GUARD),
        _option("adapter", str | None, "With an adapter folder: continue, merge or fresh.", None),
        _option("seed", int, "Of everything random.", 0),
        _option("dry_run", bool, "Print the plan and stop.", False),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _argument(name: str, field: FieldInfo) -> inspect.Parameter:
    said = "Files, folders, hub ids or worlds" + (f": {field.description}" if field.description else ".")
    annotation = Annotated[list[str], typer.Argument(metavar=name.upper(), help=said)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _option(name: str, kind: Any, said: str, default: Any) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    # one name only: no `--no-dry-run` beside a flag
    annotation = Annotated[kind, typer.Option(flag, help=said, show_default=default not in (None, False))]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _field_option(name: str, field: FieldInfo) -> inspect.Parameter:
    kind = _kind(field)
    said = field.description or ""
    choices = [arg for arg in typing.get_args(field.annotation) if isinstance(arg, str)]
    said = f"{said} One of: {', '.join(choices)}." if choices else said
    said = f"{said} KEY=VALUE, repeatable." if _is_table(field) else said
    said = f"{said} Any --lora option trains an adapter; else all weights train." if name == "lora_rank" else said
    if field.default is not None and not field.is_required():
        when = "default with LoRA" if name.startswith("lora_") else "default"
        said = f"{said} \\[{when}: {field.default}]"  # the help is markup: a bracket must be escaped
    several: Any = list[float] if name == "shares" else list[str]
    return _option(name, several | None if kind is list else kind | None, said.strip(), None)


def _is_table(field: FieldInfo) -> bool:
    return any(typing.get_origin(part) is dict for part in _parts(field.annotation))


def _kind(field: FieldInfo) -> type:
    """What typer parses: a number, a flag, a string, or several strings."""
    parts = _parts(field.annotation)
    if any(typing.get_origin(part) in (dict, tuple) for part in parts):
        return list
    return next((kind for kind in (bool, int, float) if kind in parts), str)


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of a type, without ``Annotated`` and ``None``."""
    if typing.get_origin(annotation) is Annotated:
        return _parts(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return [part for choice in typing.get_args(annotation) for part in _parts(choice)]
    return [] if annotation is NoneType else [annotation]


def _train(method: str, given: Mapping[str, Any], *, tables: set[str], lists: set[str]) -> None:
    set_ = {key: value for key, value in given.items() if value not in (None, [])}
    recipe = _recipe(method, set_, tables=tables, lists=lists)
    output = set_.get("output") or Path("runs") / method
    run_with_bars(recipe, root=Path(), output=output, dry_run=given["dry_run"], model_output=True)


def _recipe(method: str, given: Mapping[str, Any], *, tables: set[str], lists: set[str]) -> Recipe:
    stage: dict[str, Any] = {"method": method}
    lora: dict[str, Any] = {}
    if guards := _guards(given):
        stage["guard"] = guards
    for key, value in given.items():
        if key in ("model", "output", "seed", "dry_run") or key.startswith("guard"):
            continue
        if key in tables:
            value = dict(read_pair(key, item) for item in value)
        elif key in ("data", "tasks") or (key in lists and key != "shares"):
            value = value[0] if len(value) == 1 else tuple(value)
        if key.startswith("lora_"):
            lora[key.removeprefix("lora_")] = value
        else:
            stage[key] = value
    if lora:
        stage["lora"] = lora
    return parse_recipe(
        {"name": method, "base": given["model"], "seed": given.get("seed", 0), "stage": [stage]},
        name="the command line",
    )


def _guards(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One guard a suite, all with the same settings. Raises: RecipeError for settings of no guard."""
    settings = {key.removeprefix("guard_"): value for key, value in given.items() if key.startswith("guard_")}
    if settings and not given.get("guard"):
        flag = "--guard-" + next(iter(settings)).replace("_", "-")
        raise RecipeError(
            f"{flag} has no effect", why="no --guard names a suite", do="add e.g. --guard world:arithmetic"
        )
    return [{"suite": suite, **settings} for suite in given.get("guard") or []]


def read_pair(key: str, text: str) -> tuple[str, Any]:
    """The name and value of ``KEY=VALUE`` behind the option ``key``. Raises: RecipeError."""
    name, equals, value = text.partition("=")
    if not equals:
        flag = "--" + key.replace("_", "-")
        raise RecipeError(f"{flag} {text} cannot be read", why="it has no KEY=VALUE form", do=f"write {flag} KEY=VALUE")
    return name, int(value) if key == "world" and value.lstrip("-").isdigit() else value
