"""Reading a recipe: TOML, overrides, and errors that name the nearest known key and the line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from strop.errors import RecipeError
from strop.evals import GoLive, Threshold
from strop.evals.gating.config import remedy
from strop.pipeline.recipe import (
    STAGES,
    FailuresTable,
    GateTable,
    GuardTable,
    LoraTable,
    Recipe,
    ReleaseTable,
    SuiteTable,
)

_Place = tuple[str | int, ...]
_TABLES: dict[str, type[BaseModel]] = {"gate": GateTable, "failures": FailuresTable, "release": ReleaseTable}
_GATE_TABLES: dict[str, type[BaseModel]] = {"suites": SuiteTable, "thresholds": Threshold, "go_live": GoLive}
_MEANT = {"lr": "learning_rate", "num_epochs": "epochs", "num_train_epochs": "epochs", "max_steps": "steps"}
_MEANT |= {"num_steps": "steps", "num_generations": "group_size", "max_seq_length": "max_length", "dataset": "data"}
_MEANT |= {
    "per_device_train_batch_size": "batch_size",
    "model": "base",
    "r": "rank",
    "lora_r": "rank",
    "reward": "verifier",
}


def read_recipe(path: Path | str, *, overrides: Sequence[str] = (), seed: int | None = None) -> Recipe:
    """The recipe in a TOML file with ``--set key=value`` overrides applied. Raises: RecipeError."""
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read the recipe {path}",
            where=str(path),
            why=getattr(error, "strerror", None) or "it is not UTF-8 text",
            do="give the path of a TOML file; `strop init` writes one to start from",
        ) from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        raise RecipeError(f"{path} is not valid TOML", where=where, why=str(error), do="mend that line") from error
    for override in overrides:
        apply_override(tables, override)
    if seed is not None:
        tables["seed"] = seed
    return parse_recipe(tables, name=str(path), text=text)


def parse_recipe(tables: Mapping[str, Any], *, name: str = "the settings", text: str = "") -> Recipe:
    """The recipe that these tables say. ``name`` and ``text`` are for error messages. Raises: RecipeError."""
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        raise _told(error, tables, name, text) from None


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Set one ``stage.0.learning_rate=1e-4`` (or ``stage.NAME.…``) inside ``tables``. Raises: RecipeError."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            f"--set {override} cannot be read", why="it has no `key=value` form", do="write e.g. --set stage.0.epochs=2"
        )
    *parents, last = key.strip().split(".")
    table: Any = tables
    for depth, part in enumerate(parents):
        table = _descend(table, part, ".".join(parents[: depth + 1]), override)
    if not isinstance(table, dict):
        raise RecipeError(f"--set {override} cannot be applied", why=f"{'.'.join(parents)} is not a table")
    table[last] = _value(value.strip())


def _descend(table: Any, part: str, path: str, override: str) -> Any:
    if isinstance(table, list):
        names = [entry.get("name", entry.get("method")) if isinstance(entry, dict) else None for entry in table]
        index = int(part) if part.isdigit() else names.index(part) if part in names else len(table)
        if index < len(table):
            return table[index]
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        raise RecipeError(f"--set {override} names no entry of the recipe", why=f"{path} is none of: {known}")
    if isinstance(table, dict):
        return table.setdefault(part, {})
    raise RecipeError(f"--set {override} cannot be applied", why=f"{path} is not a table")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# ------------------------------------------------------------------------------------------------ telling what is wrong


def _told(error: ValidationError, tables: Mapping[str, Any], name: str, text: str) -> RecipeError:
    problems = [found for found in error.errors(include_url=False) if not _is_echo(found, error)]
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    # pydantic puts the chosen method, or the tried type, into the location of a union; only real keys are shown
    place = _real(first["loc"], tables, missing_ok=first["type"] == "missing")
    line = _line(place, text)
    where = f"{name}:{line}" if line else name
    others = len(problems) - 1 if len({p["loc"] for p in problems}) > 1 else 0
    more = f" ({others} more problem{'s follow' if others > 1 else ' follows'})" if others else ""
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        return _unknown_key(place, tables, where)
    if first["type"] == "missing":
        return RecipeError(
            f"{_owner(place, tables)} has no `{place[-1]}`{more}", where=where, do=f"add `{place[-1]} = …`"
        )
    if first["type"] == "union_tag_invalid":
        return _unknown_method(str(first["input"].get("method")), where)
    if first["type"] == "union_tag_not_found":
        return RecipeError(f"{key} has no `method`", where=where, do=f"add `method = …`: one of {', '.join(STAGES)}")
    shown = first["input"] if isinstance(first["input"], str | int | float | bool) else type(first["input"]).__name__
    why = first["msg"][0].lower() + first["msg"][1:]
    do = remedy(place[1:], first["input"]) if place[0] == "gate" and len(place) > 1 else ""
    return RecipeError(f"{key} = {shown!r} cannot be used{more}", where=where, why=why, do=do or "correct the value")


def _is_echo(found: Mapping[str, Any], error: ValidationError) -> bool:
    """Whether the problem only says that a list is too short, because an entry of it was refused."""
    place = found["loc"]
    others = [other["loc"] for other in error.errors(include_url=False) if other["loc"] != place]
    return found["type"] == "too_short" and any(other[: len(place)] == place for other in others)


def _unknown_method(method: str, where: str) -> RecipeError:
    near = nearest(method, STAGES)
    do = f"did you mean `{near}`? " if near else ""
    return RecipeError(f"unknown method `{method}`", where=where, do=f"{do}known: {', '.join(STAGES)}")


def _unknown_key(place: _Place, tables: Mapping[str, Any], where: str) -> RecipeError:
    key = str(place[-1])
    stage = _stage(place, tables)
    owner, known = _owner(place, tables), _known(place, tables)
    users = [method for method, table in STAGES.items() if key in table.model_fields]
    if stage is not None and len(place) == 3 and users:
        return RecipeError(
            f"`{key}` has no effect in {owner}",
            where=where,
            why=f"it belongs to {', '.join(users)}; method {stage['method']} does not use it",
            do="remove it, or move it to the stage that it is for",
        )
    near = nearest(key, known)
    return RecipeError(
        f"unknown key `{key}` in {owner}",
        where=where,
        do=(f"did you mean `{near}`? " if near else "") + f"known: {', '.join(sorted(known))}",
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that ``word`` probably meant, or None."""
    known = list(known)
    if _MEANT.get(word) in known:
        return _MEANT[word]
    close = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return close[0] if close else None


def _known(place: _Place, tables: Mapping[str, Any]) -> list[str]:
    """The keys of the table that holds ``place``."""
    stage = _stage(place, tables)
    if stage is not None:
        model: type[BaseModel] = STAGES[stage["method"]] if len(place) == 3 else _inside_stage(place)
    elif place[0] == "gate" and len(place) > 2:
        model = _GATE_TABLES[str(place[1])]
    else:
        model = _TABLES[str(place[0])] if len(place) > 1 else Recipe
    return [field.alias or name for name, field in model.model_fields.items()]


def _inside_stage(place: _Place) -> type[BaseModel]:
    """The table within a stage that holds ``place``: ``("stage", 0, "guard", 1, "suite", "limit")`` is a suite's."""
    if place[2] == "lora":
        return LoraTable
    return SuiteTable if "suite" in place[4:-1] else GuardTable


def _stage(place: _Place, tables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if len(place) >= 2 and place[0] == "stage":
        stage: Mapping[str, Any] = tables["stage"][place[1]]
        return stage
    return None


def _owner(place: _Place, tables: Mapping[str, Any]) -> str:
    stage = _stage(place, tables)
    if stage is not None and len(place) > 2:
        name = stage.get("name", stage.get("method"))
        return f"stage {place[1]} ({name})" + ("" if len(place) == 3 else f", table {place[2]}")
    return f"[{'.'.join(str(part) for part in place[:-1])}]" if len(place) > 1 else "the recipe"


def _real(loc: _Place, tables: Any, *, missing_ok: bool) -> _Place:
    """``loc`` without the parts that pydantic invented: only steps that the tables really have."""
    place: list[str | int] = []
    for index, part in enumerate(loc):
        inside = isinstance(tables, dict) and part in tables
        inside = inside or (isinstance(tables, list | tuple) and isinstance(part, int) and part < len(tables))
        if inside:
            place.append(part)
            tables = tables[part]
        elif missing_ok and index == len(loc) - 1:
            place.append(part)
    return tuple(place) or ("recipe",)


def _line(place: _Place, text: str) -> int | None:
    """The line of the TOML text where ``place`` is written; None if it is nowhere (an override, a missing key)."""
    header: list[str] = []
    counts: dict[str, int] = {}
    found: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        table = re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line)
        if table:
            header = [part.strip().strip("\"'") for part in table[2].split(".")]
            if table[1] == "[[":
                counts[table[2]] = counts.get(table[2], -1) + 1
                inner = {name: -1 for name in counts if name.startswith(f"{table[2]}.")}
                counts |= inner  # [[stage.guard]] counts anew in every [[stage]]
                outer = [str(counts[header[0]])] if len(header) > 1 and header[0] in counts else []
                header = [header[0], *outer, *header[1:], str(counts[table[2]])]
            elif header[0] in counts:
                header = [header[0], str(counts[header[0]]), *header[1:]]
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        here = [*header, *([key[1].strip("\"'")] if key and not table else [])]
        wanted = [str(part) for part in place]
        if here == wanted or (table and table[1] == "[[" and here[:-1] == wanted):
            return number
        if (table or key) and here == wanted[: len(here)]:
            found = number
    return found
