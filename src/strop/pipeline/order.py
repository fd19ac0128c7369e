"""What must hold between stages: whether a recipe's order is possible, told before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from strop.errors import RecipeError
from strop.pipeline.guards import check_guards
from strop.pipeline.recipe import AnyStage, DPOStage, DrGRPOStage, GRPOStage, LoraTable, Recipe, SFTStage, Source

_WANTED = {"sft": "demonstrations", "dpo": "preferences"}


def stage_names(recipe: Recipe) -> list[str]:
    """The stages' names, in order."""
    return [stage.name or stage.method for stage in recipe.stages]


def as_list(source: Source) -> list[str]:
    """One source or several, as a list."""
    return [source] if isinstance(source, str) else list(source)


def sources_of(stage: AnyStage) -> list[str]:
    """What a stage learns from."""
    return as_list(stage.tasks if isinstance(stage, GRPOStage | DrGRPOStage) else stage.data)


def check_order(recipe: Recipe, root: Path, *, where: str = "the recipe") -> None:
    """Refuse stages that cannot follow each other; relative paths start from ``root``. Raises: RecipeError."""
    names = stage_names(recipe)
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f"{names.count(name)} stages are called `{name}`",
                where=where,
                why="tables and the report tell stages by name",
                do='give each its own, e.g. name = "sft-2"',
            )
    if "base" in names:
        raise RecipeError(
            "a stage cannot be called `base`",
            where=where,
            why="that is what the starting model is called",
            do="rename it",
        )
    held: LoraTable | bool = is_adapter(recipe.base, root)
    for index, stage in enumerate(recipe.stages):
        place = f"{where}, stage {index} ({names[index]})"
        _check_length(stage, place)
        _check_sources(stage, place)
        _check_shares(stage, place)
        check_guards(stage, sources_of(stage), place)
        held = _check_adapter(stage, held, place)
    _check_base(recipe, root, where)
    _check_needs_gate(recipe, where)


def is_adapter(base: str, root: Path) -> bool:
    """Whether the base is a folder that holds a low-rank adapter."""
    return (root / base / "adapter_config.json").is_file()


def _check_length(stage: AnyStage, place: str) -> None:
    if stage.epochs is not None and stage.steps is not None:
        raise RecipeError(
            "both `epochs` and `steps` are given", where=place, why="each says how long to train", do="keep one"
        )
    if isinstance(stage, SFTStage | DPOStage) and stage.validate_every is not None and stage.validation is None:
        raise RecipeError(
            "`validate_every` has no effect without `validation`", where=place, do="name held-out rows, or remove it"
        )


def _check_sources(stage: AnyStage, place: str) -> None:
    if isinstance(stage, GRPOStage | DrGRPOStage):
        _check_tasks(stage, place)
        return
    for source in [*as_list(stage.data), *(as_list(stage.validation) if stage.validation else [])]:
        if not source.startswith("world:"):
            continue
        name, _, kind = source.removeprefix("world:").partition("/")
        if kind != _WANTED[stage.method]:
            raise RecipeError(
                f"method {stage.method} cannot learn from `{source}`",
                where=place,
                why=f"it needs {_WANTED[stage.method]}, and that source gives {kind or 'tasks without answers'}",
                do=f'write "world:{name}/{_WANTED[stage.method]}"',
            )


def _check_shares(stage: AnyStage, place: str) -> None:
    if isinstance(stage, SFTStage) and stage.shares is not None:
        from strop.data.mixture import require_shares

        require_shares(stage.shares, len(as_list(stage.data)), where=place)


def _check_tasks(stage: GRPOStage | DrGRPOStage, place: str) -> None:
    sources = as_list(stage.tasks)
    worlds = [source for source in sources if source.startswith("world:")]
    for source in worlds:
        name, _, kind = source.removeprefix("world:").partition("/")
        if kind not in ("", "tasks"):
            raise RecipeError(
                f"method {stage.method} cannot learn from `{source}`",
                where=place,
                why=f"it samples its own answers, so it needs tasks; that source gives {kind}",
                do=f'write "world:{name}"',
            )
    if stage.world is not None and not worlds:
        raise RecipeError("`world` has no effect here", where=place, why="no task comes from a world", do="remove it")
    judges = {name for source in sources if (name := _judge_of(source))}
    if stage.verifier is None and not all(_judge_of(source) for source in sources):
        raise RecipeError(
            "there is nobody to grade the samples",
            where=place,
            why=f"tasks from a file bring no verifier, and {stage.method} learns from verdicts",
            do='name one: verifier = "my_rewards.py:score", "number" or "exact"',
        )
    if stage.verifier is None and len(judges) > 1:
        raise RecipeError(
            "several worlds in one stage", where=place, why="each brings its own verifier", do="use a stage each"
        )


def _judge_of(source: str) -> str:
    """The world or benchmark whose verifier comes with a source; empty for a file, which brings none."""
    from strop.worlds.benchmarks import benchmark_of

    benchmark = benchmark_of(source)
    return benchmark.name if benchmark else source * source.startswith("world:")


def _check_adapter(stage: AnyStage, held: LoraTable | bool, place: str) -> LoraTable | bool:
    """The adapter after the stage, ``held`` being the one before: its shape, True if unknown, False for none."""
    if stage.adapter is not None and not held:
        raise RecipeError(
            f'adapter = "{stage.adapter}" has no effect',
            where=place,
            why="no stage before it, and not the base either, leaves an adapter",
            do="remove it, or give an earlier stage `lora = { rank = 16 }`",
        )
    goes_on = stage.adapter in (None, "continue")
    if isinstance(held, LoraTable) and stage.lora is not None and goes_on and stage.lora != held:
        raise RecipeError(
            "`lora` has no effect here",
            where=place,
            why="the stage goes on training the adapter that it is given, whose shape is fixed",
            do='remove `lora`, or write adapter = "merge" to fold the old adapter in and start a new one',
        )
    if stage.lora is not None:
        return stage.lora
    return False if stage.adapter == "merge" else held


def _check_base(recipe: Recipe, root: Path, where: str) -> None:
    folder = root / recipe.base
    if recipe.base.startswith("strop:") or not folder.is_dir():
        return
    config = folder / "tokenizer_config.json"
    has_template = (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file()
    if not has_template and config.is_file():
        has_template = bool(json.loads(config.read_text()).get("chat_template"))
    if not has_template and not is_adapter(recipe.base, root):
        raise RecipeError(
            f"the base {recipe.base} has no chat template",
            where=f"{where}, stage 0 ({stage_names(recipe)[0]})",
            why="conversations and tasks become tokens through the model's own template only",
            do="put a chat_template.jinja into the folder, or take the instruction-tuned variant",
        )


def _check_needs_gate(recipe: Recipe, where: str) -> None:
    if recipe.release is not None and recipe.gate is None:
        raise RecipeError(
            "[release] without [gate]",
            where=where,
            why="a release enters the registry with the report of the gate that it passed",
            do="add a [gate] with suites, or remove [release]",
        )
    if recipe.failures is not None and recipe.gate is None:
        raise RecipeError(
            "[failures] without [gate]",
            where=where,
            why="what failed is known from the gate's suites",
            do="add a [gate] with suites, or remove [failures]",
        )
