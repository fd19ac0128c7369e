"""The validator of record: what a finished text is judged by, apart from the grammar that produced it.

JSON is read strictly (no duplicate names, no ``NaN``, no number beyond a double) and judged by ``jsonschema`` in the
draft that ``$schema`` names, 2020-12 without one; formats assert, by ``formats.py``; patterns are read as ECMA-262
means them, where ``\\d`` and ``\\w`` are ASCII and ``$`` is only the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema
from jsonschema.exceptions import FormatError, SchemaError, ValidationError
from jsonschema.validators import extend, validator_for

from strop.constraints.formats import INEXACT, conforms, pattern_of
from strop.constraints.negation import Schema
from strop.constraints.patterns import python_pattern
from strop.errors import ConstraintError
from strop.types import Json, ToolCall

DRAFT_3 = "draft-03"


def read_json(text: str) -> Any:
    """The JSON value that ``text`` is, read strictly. Raises: ValueError with the reason."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
        )
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return value


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:24]} is beyond every double")
    return value


def _integer(text: str) -> int:
    if len(text) > 310:
        raise ValueError(f"the number {text[:24]}… is beyond every double")
    return int(text)


class SchemaValidator:
    """Judges instances and texts by one JSON Schema.

    Raises: ConstraintError for what is not a schema of its draft, or holds a pattern that cannot be read.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        base = _draft_of(schema)
        _check(schema, base)
        self.known = frozenset(base.VALIDATORS) | {"format", "then", "else", "dependencies"}
        """The keywords that assert something in this draft."""
        self.ref_hides_siblings = _is_legacy(base)
        self._validator = _extended(base)(_for_python(schema), format_checker=_FORMATS)

    def errors(self, instance: Any) -> tuple[str, ...]:
        """Why ``instance`` is not valid; empty if it is. Raises: ConstraintError where a reference leads nowhere."""
        try:
            found = sorted(self._validator.iter_errors(instance), key=lambda error: list(map(str, error.absolute_path)))
        except RecursionError:
            return ("the instance is nested too deeply to be judged",)
        except Exception as error:  # referencing raises several kinds for a reference that leads nowhere
            raise _unreadable(str(error)) from error
        return tuple(f"{_path(error.absolute_path)}: {error.message[:200]}" for error in found)

    def text_errors(self, text: str) -> tuple[str, ...]:
        """Why ``text`` is not the JSON of a valid instance; empty if it is."""
        try:
            return self.errors(read_json(text))
        except ValueError as error:
            return (str(error),)


def _path(steps: Sequence[Any]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _draft_of(schema: Schema) -> Any:
    named = schema.get("$schema") if isinstance(schema, Mapping) else None
    base: Any = validator_for(schema, default=None)  # type: ignore[arg-type]
    if named is not None and (base is None or DRAFT_3 in str(named)):
        raise ConstraintError(
            f"the schema is of the draft {named!r}",
            why="the validator of record knows drafts 4, 6, 7, 2019-09 and 2020-12",
            do="write it in draft 2020-12",
        )
    return base or jsonschema.Draft202012Validator


def _is_legacy(base: Any) -> bool:
    return base in (jsonschema.Draft4Validator, jsonschema.Draft6Validator, jsonschema.Draft7Validator)


def _check(schema: Schema, base: Any) -> None:
    try:
        base.check_schema(schema)
        for pattern in _patterns(schema):
            python_pattern(pattern)
    except SchemaError as error:
        raise ConstraintError(
            f"the schema is not valid: {error.message[:160]}",
            where=_path(error.absolute_path),
            why=f"it does not follow {base.META_SCHEMA.get('$id', base.META_SCHEMA.get('id', 'its draft'))}",
            do="correct it, or name the draft that it is written in with $schema",
        ) from error
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error


def _unreadable(why: str) -> ConstraintError:
    return ConstraintError("the schema cannot be judged by the validator of record", why=why[:300], do="simplify it")


def _patterns(schema: Any) -> Iterator[str]:
    """Every text that stands where a pattern stands; a few more than are patterns do no harm but a refusal."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), Mapping):
            yield from schema["patternProperties"]
        for key, child in schema.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _patterns(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _patterns(child)


def _for_python(schema: Any) -> Any:
    """The schema with its patterns spelt for Python's ``re``."""
    if isinstance(schema, list):
        return [_for_python(child) for child in schema]
    if not isinstance(schema, Mapping):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            out[key] = python_pattern(value).pattern
        elif key == "patternProperties" and isinstance(value, Mapping):
            out[key] = {python_pattern(name).pattern: _for_python(child) for name, child in value.items()}
        else:
            out[key] = value if key in ("enum", "const", "default", "examples") else _for_python(value)
    return out


def _dependencies(validator: Any, dependencies: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for name, then in dependencies.items():
        if name not in instance:
            continue
        if isinstance(then, (str, list)):
            for other in [then] if isinstance(then, str) else then:
                if other not in instance:
                    yield ValidationError(f"{other!r} is a dependency of {name!r}")
        else:
            yield from validator.descend(instance, then, schema_path=name)


@lru_cache(maxsize=8)
def _extended(base: Any) -> Any:
    return extend(base, {"dependencies": _dependencies, "multipleOf": _multiple_of})  # type: ignore[no-untyped-call]


def _multiple_of(validator: Any, divisor: float, instance: object, schema: Schema) -> Iterator[ValidationError]:
    """``multipleOf`` of the decimal numbers as they are written: 320069.85 is a multiple of 0.01, its double is not."""
    if not validator.is_type(instance, "number"):
        return
    if (Fraction(repr(instance)) / Fraction(repr(divisor))).denominator != 1:
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


class _Formats(jsonschema.FormatChecker):
    """The formats of ``formats.py``, as jsonschema asks for them."""

    def check(self, instance: object, format: str) -> None:
        if isinstance(instance, str) and not conforms(format, instance):
            raise FormatError(f"{instance!r} is not a {format}")


_FORMATS = _Formats(())
assert all(pattern_of(name) is None for name in INEXACT)


def parameters_of(tool: Json) -> Mapping[str, Any]:
    """The schema of a tool's arguments: an object, closed unless the tool says what else may stand in it."""
    schema = dict(tool["function"].get("parameters") or {})
    schema.setdefault("type", "object")
    if not {"additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"} & schema.keys():
        schema["additionalProperties"] = False
    return schema


def tool_name(tool: Json) -> str:
    """The tool's name. Raises: ConstraintError for what is not a function description."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ConstraintError(
            f"a tool description has no name: {str(tool)[:80]}",
            do='give {"type": "function", "function": {"name": ..., "parameters": {...}}}',
        )
    return name


def call_errors(tools: Sequence[Json], call: ToolCall) -> tuple[str, ...]:
    """Why ``call`` does not fit the signature of the tool that it names; empty if it does."""
    named = {tool_name(tool): tool for tool in tools}
    if call.name not in named:
        return (f"there is no tool {call.name!r}, only {', '.join(sorted(named)) or 'none'}",)
    errors = SchemaValidator(parameters_of(named[call.name])).errors(call.arguments)
    return tuple(f"{call.name}: {error}" for error in errors)
