"""The Berkeley function-calling leaderboard: one question, some tools, and every call that is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.data.readers import Row, read_rows
from strop.errors import DataError
from strop.types import Json, Message, Task, Verifier
from strop.verifiers.tools import BFCL as LENIENCY
from strop.verifiers.tools import ToolCallAnswer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, spread
from strop.worlds.benchmarks.bfcl_cases import bfcl_cases

_COLUMNS = {"id": ("id",), "question": ("question",), "function": ("function",)}
_TYPES: Mapping[str, str | None] = {
    **{name: name for name in ("string", "integer", "number", "boolean", "array", "object", "null")},
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "any": None,
}
"""The leaderboard's type names → JSON Schema's; ``any`` leaves the type open."""
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf")


def load_bfcl(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a ``BFCL_v4_<category>.json``, or of all such files in a folder, with their tools as JSON Schema.

    The accepted calls are read from ``possible_answer/<the same name>`` or ``possible_answer__<the same name>`` beside
    it; where the category's name holds "irrelevance" no call is due and none is read. ``reference`` is
    ``{"accepted": [...]}`` or ``{"call": None}``. Single turns of the Python categories: simple, multiple, parallel,
    irrelevance and their live kin. ``limit`` takes one of each file in turn. Raises: DataError.
    """
    return identified("bfcl", list(spread([_tasks(file, split) for file in _files(Path(path))], limit)))


def _tasks(file: Path, split: str) -> Iterator[Task]:
    category = re.sub(r"^BFCL_v\d+_", "", file.stem)
    answers = {} if "irrelevance" in category else _answers(file, split)
    for row, found in read_columns(file, "bfcl", _COLUMNS, split=split, limit=None):
        tools = tuple(_tool(row, function) for function in _listed(row, found["function"], "function"))
        reference: dict[str, Any] = {"call": None}
        if "irrelevance" not in category:
            reference = {"accepted": _accepted(row, answers, str(found["id"]), tools)}
        prompt = _prompt(row, found["question"])
        slices = {"category": category}
        where, id = row.where, str(found["id"])
        yield Task(id=id, prompt=prompt, tools=tools, reference=reference, slices=slices, source=where)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("BFCL_v*_*.json"))
    if not files:
        raise DataError(f"{path} holds no BFCL file", why="there is no BFCL_v*_*.json", do="give one file")
    return files


def _answers(file: Path, split: str) -> dict[str, Row]:
    places = (file.with_name("possible_answer") / file.name, file.with_name(f"possible_answer__{file.name}"))
    place = next((one for one in places if one.is_file()), None)
    if place is None:
        raise DataError(
            f"{file.name} has no accepted calls",
            where=str(file),
            why=f"neither {places[0].parent.name}/{file.name} nor {places[1].name} is beside it",
            do="put the leaderboard's possible_answer file there",
        )
    return {str(row.values.get("id")): row for row in read_rows(place, split=split)}


def _listed(row: Row, value: Any, column: str) -> list[Any]:
    if not isinstance(value, list):
        raise _odd(row, f"`{column}` is not a list")
    return value


def _odd(row: Row, what: str) -> DataError:
    return DataError(what, where=row.where, why="the bfcl format has it otherwise", do="give a file in the bfcl format")


def _prompt(row: Row, question: Any) -> tuple[Message, ...]:
    turns = _listed(row, question, "question")
    if len(turns) != 1:
        raise _odd(row, f"the question has {len(turns)} turns: only single turns are read")
    try:
        return tuple(Message(role=message["role"], content=message["content"]) for message in turns[0])
    except (KeyError, TypeError):
        raise _odd(row, "`question` is not a list of messages") from None


def _tool(row: Row, function: Any) -> Json:
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _odd(row, "a function has no name")
    parameters = _schema(row, function.get("parameters") or {"type": "dict", "properties": {}})
    described = {"name": function["name"], "description": function.get("description", ""), "parameters": parameters}
    return {"type": "function", "function": described}


def _schema(row: Row, schema: Any) -> dict[str, Any]:
    """The leaderboard's description of a value as JSON Schema."""
    if not isinstance(schema, Mapping):
        raise _odd(row, f"{schema!r} describes no parameter")
    out = {key: value for key, value in schema.items() if key not in ("type", "optional")}
    named = schema.get("type", "any")
    if not isinstance(named, str) or named not in _TYPES:
        raise DataError(
            f"the type {named!r} is not one of {', '.join(_TYPES)}",
            where=row.where,
            why="only the Python categories are read",
            do="leave the Java and JavaScript categories out",
        )
    if isinstance(out.get("properties"), Mapping):
        out["properties"] = {name: _schema(row, child) for name, child in out["properties"].items()}
    if isinstance(out.get("items"), Mapping):
        out["items"] = _schema(row, out["items"])
    for key in _SCHEMA_LISTS:
        if isinstance(out.get(key), list):
            out[key] = [_schema(row, child) for child in out[key]]
    return ({} if _TYPES[named] is None else {"type": _TYPES[named]}) | out


def _accepted(row: Row, answers: Mapping[str, Row], id: str, tools: Sequence[Json]) -> list[Any]:
    """The accepted calls of the row, checked against its tools."""
    if id not in answers:
        raise _odd(row, f"{id} has no accepted calls")
    answer = answers[id]
    truth = _listed(answer, answer.values.get("ground_truth"), "ground_truth")
    properties = {tool["function"]["name"]: tool["function"]["parameters"].get("properties", {}) for tool in tools}
    for name, arguments in _calls(answer, truth):
        if name not in properties:
            raise _odd(answer, f"the accepted call is of {name}, which is none of the tools {', '.join(properties)}")
        for argument, values in arguments.items():
            if argument not in properties[name] or not isinstance(values, list):
                raise _odd(answer, f"{argument} is no parameter of {name}, or has no list of accepted values")
    return truth


def _calls(answer: Row, truth: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for call in truth:
        if not isinstance(call, Mapping) or len(call) != 1 or not isinstance(next(iter(call.values())), Mapping):
            raise _odd(answer, "an accepted call is not {function: {argument: [values]}}")
        yield next(iter(call.items()))


def bfcl_verifier() -> Verifier:
    """Tool calls under the leaderboard's own leniencies, so that rates can be compared with its."""
    return ToolCallAnswer(name="bfcl", leniency=LENIENCY)


BFCL = Benchmark(name="bfcl", load=load_bfcl, verifier=bfcl_verifier, cases=bfcl_cases)
