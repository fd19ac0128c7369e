"""Names of data become rows: worlds, benchmarks, files, folders and hub ids, one or several, all through one door."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from strop.errors import DataError, RecipeError
from strop.pipeline.order import as_list
from strop.pipeline.recipe import Source
from strop.pipeline.workspace import Workspace
from strop.types import Conversation, Preference, Task, Verifier

if TYPE_CHECKING:
    from strop.worlds import World
    from strop.worlds.benchmarks import Benchmark

WORLD_ROWS, HELD_OUT_WORLD_ROWS = 1000, 200
"""How many rows a world generates where no ``limit`` says: to learn from, and to validate on."""
Row = Conversation | Preference | Task
_Row = TypeVar("_Row", Conversation, Preference, Task)


def read_rows(
    method: str,
    source: Source,
    workspace: Workspace,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    limit: int | None = None,
    seed: int = 0,
    dial: Mapping[str, Any] | None = None,
) -> list[Row]:
    """The rows that ``method`` learns from; ``limit`` holds for each source. Raises: DataError, RecipeError."""
    from strop import data

    rows: list[Row] = []
    for name in as_list(source):
        if name.startswith("world:"):
            num_rows = limit or (WORLD_ROWS if split == "train" else HELD_OUT_WORLD_ROWS)
            rows += _world_rows(method, name, split, num_rows, seed, dial or {})
            continue
        benchmark = benchmark_of(name)
        if benchmark is not None:
            place = _place(name.partition(":")[2], workspace)
            rows += _benchmark_rows(method, name, benchmark, place, columns, split, limit)
            continue
        check_benchmark_name(name, workspace)
        place = _place(name, workspace)
        readers: dict[str, Callable[..., Sequence[Row]]] = {
            "sft": data.read_conversations,
            "dpo": data.read_preferences,
        }
        rows += readers.get(method, data.read_tasks)(place, columns=columns, split=split, limit=limit)
    if not rows:
        raise DataError(
            f"{', '.join(as_list(source))} has no rows",
            why="there is nothing to learn from or to evaluate on",
            do="check the data",
        )
    return rows


def _place(name: str, workspace: Workspace) -> str:
    """A path made absolute, or the hub id as it is."""
    path = workspace.path(name)
    return str(path) if path.exists() or _looks_local(name) else name


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith((".jsonl", ".json", ".parquet", ".csv", ".gz"))


def _benchmark_rows(
    method: str,
    source: str,
    benchmark: Benchmark,
    place: str,
    columns: Mapping[str, str] | None,
    split: str,
    limit: int | None,
) -> list[Task]:
    if method in ("sft", "dpo"):
        raise RecipeError(
            f"method {method} cannot learn from `{source}`",
            why="a benchmark gives tasks, which have no answers to imitate",
            do=f'name the file itself, data = "{place}", or use it as tasks of a method that samples',
        )
    if columns:
        raise RecipeError(
            f"`columns` has no effect on `{source}`",
            why=f"the {benchmark.name} format has its own columns",
            do="remove it, or name the file without its benchmark and give a verifier",
        )
    return benchmark.load(place, split=split, limit=limit)


def _world_rows(
    method: str, source: str, split: str, num_rows: int, seed: int, dial: Mapping[str, Any]
) -> Sequence[Row]:
    world = world_of(source)
    if method == "sft":
        return world.demonstrations(split, num_rows, seed)
    if method == "dpo":
        return world.preferences(split, num_rows, seed)
    try:
        return world.tasks(split, num_rows, seed, **dial)
    except TypeError as error:
        raise RecipeError(
            f"the world of `{source}` cannot be set so",
            where=f"world = {dict(dial)}",
            why=str(error),
            do="see its settings",
        ) from error


def world_of(source: str) -> World:
    """The world that a source names. Raises: RecipeError naming the nearest."""
    from strop.worlds import get_world

    return get_world(source.removeprefix("world:").partition("/")[0])


def benchmark_of(source: str) -> Benchmark | None:
    """The benchmark that a source such as ``gsm8k:test.jsonl`` names; None if it names none."""
    from strop.worlds import benchmarks

    return benchmarks.benchmark_of(source)


def check_benchmark_name(source: str, workspace: Workspace) -> None:
    """Refuse ``gsm9k:test.jsonl``: no file here, and nearly a benchmark. Raises: RecipeError naming the nearest."""
    from strop.worlds.benchmarks import BENCHMARKS

    head, _, rest = source.partition(":")
    near = difflib.get_close_matches(head, BENCHMARKS, n=1, cutoff=0.75)
    if rest and near and near[0] != head and not workspace.path(head).exists():
        raise RecipeError(
            f"`{source}` names no benchmark",
            why=f"`{head}` is none, nor a file or folder here",
            do=f"did you mean `{near[0]}:{rest}`? known: {', '.join(BENCHMARKS)}",
        )


def load_grader(name: str | None, tasks: Source, workspace: Workspace) -> Verifier:
    """The verifier named in a recipe, or else that of the tasks' world or benchmark.

    Raises: RecipeError, VerifierError.
    """
    if name is None:
        benchmark = next((found for source in as_list(tasks) if (found := benchmark_of(source))), None)
        if benchmark is not None:
            return benchmark.verifier()
        source = next((source for source in as_list(tasks) if source.startswith("world:")), None)
        if source is None:
            raise RecipeError(
                f"tasks of {', '.join(as_list(tasks))} have no verifier",
                why="a file brings no judge of its answers",
                do='name one: "my_rewards.py:score", "number" or "exact"',
            )
        return world_of(source).verifier
    if name.startswith("world:"):
        return world_of(name).verifier
    from strop.verifiers import load_verifier

    file, colon, function = name.rpartition(":")
    return load_verifier(f"{workspace.path(file)}:{function}" if colon else name)


def parse_columns(pairs: Sequence[str]) -> dict[str, str] | None:
    """``["prompt=question"]`` as a mapping; None for nothing. Raises: RecipeError."""
    mapping = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if not equals:
            raise RecipeError(
                f"`{pair}` maps no column", why="it has no ROLE=COLUMN form", do="write e.g. prompt=question"
            )
        mapping[role] = column
    return mapping or None
