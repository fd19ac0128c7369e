"""``strop show`` and ``strop explain``: what a recipe comes down to, and what a method does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from strop.cli import console
from strop.errors import RecipeError
from strop.pipeline.builders import learning_rate
from strop.pipeline.order import check_order, is_adapter, stage_names
from strop.pipeline.reading import nearest, read_recipe


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("show", help="Print a recipe with every default filled in.")(show)
    app.command("explain", help="Explain a method: formula, source, file, test.")(explain)


def show(
    recipe: Annotated[Path, typer.Argument(help="A TOML file.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, as in `strop run`.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
) -> None:
    """Print the resolved configuration as TOML."""
    read = read_recipe(recipe, overrides=set_ or [], seed=seed)
    check_order(read, recipe.absolute().parent, where=str(recipe))
    tables = read.model_dump(by_alias=True)
    low_rank = is_adapter(read.base, recipe.absolute().parent)
    for name, stage, shown in zip(stage_names(read), read.stages, tables["stage"], strict=True):
        low_rank = stage.lora is not None or (low_rank and stage.adapter != "merge")
        shown |= {"name": name, "learning_rate": learning_rate(stage, low_rank=low_rank)}
    console.say("\n".join(_toml(tables)))


def _toml(tables: dict[str, Any]) -> list[str]:
    ends = ("gate", "failures", "release")
    lines = [f"{key} = {_value(value)}" for key, value in tables.items() if key not in ("stage", *ends)]
    for stage in tables["stage"]:
        lines += ["", "[[stage]]", *_keys(stage)]
    for name in ends:
        if tables[name] is not None:
            lines += ["", f"[{name}]", *_keys(tables[name])]
    return lines


def _keys(table: dict[str, Any]) -> list[str]:
    first = [key for key in ("method", "name", "data", "tasks") if key in table]
    ordered = [*first, *(key for key in table if key not in first)]
    return [f"{key} = {_value(table[key])}" if table[key] is not None else f"# {key}: not set" for key in ordered]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def explain(method: Annotated[str, typer.Argument(help="sft, dpo, grpo, …; none: the list")] = "") -> None:
    """Print the method card, or the list of all."""
    from strop.methods.cards import CARDS, card_text, load_card

    if not method:
        console.say("\n".join(f"{name:24} {load_card(name).title}" for name in CARDS))
        return
    if method not in CARDS:
        near = nearest(method, CARDS)
        raise RecipeError(
            f"unknown method `{method}`", do=(f"did you mean `{near}`? " if near else "") + f"known: {', '.join(CARDS)}"
        )
    console.say(card_text(method))
