"""An instance as the grammar writes it: compact, names in the schema's order, one spelling a number and string."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from strop.constraints.negation import Inexpressible, Schema

_MAX_PARTS = 200
_APPLICATORS = ("allOf", "anyOf", "oneOf")


def canonical_text(instance: Any, schema: Schema, resolve: Callable[[str], Schema]) -> str:
    """The compact text of ``instance`` in the schema's order of names; ``resolve`` follows references.

    Properties that the schema lists come first, in its order, then others that it requires, then the rest in the
    instance's. A number with an
    integral value is written without fraction, others without exponent; control characters are the only escapes.
    """
    return _value(instance, [schema], resolve)


def _value(instance: Any, schemas: list[Schema], resolve: Callable[[str], Schema]) -> str:
    if isinstance(instance, (Mapping, list)):
        for part in _parts(schemas, resolve):
            for constant in [part["const"]] if "const" in part else part.get("enum", ()):
                if _is_same(constant, instance):
                    instance = constant  # its own order of names is the one that is written
    if isinstance(instance, Mapping):
        parts = list(_parts(schemas, resolve))
        order = {name: None for part in parts for name in part.get("properties", ())}
        order |= {name: None for part in parts for name in _required(part)}
        names = [name for name in order if name in instance] + [name for name in instance if name not in order]
        inner = (f"{_text(name)}:{_value(instance[name], _under(parts, name), resolve)}" for name in names)
        return "{" + ",".join(inner) + "}"
    if isinstance(instance, list):
        parts = list(_parts(schemas, resolve))
        return "[" + ",".join(_value(item, _item(parts, i), resolve) for i, item in enumerate(instance)) + "]"
    if isinstance(instance, str):
        return _text(instance)
    if isinstance(instance, bool) or instance is None:
        return json.dumps(instance)
    return _number(instance)


def _is_same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1, and 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return str(value)
    if value == int(value):
        return str(int(value))
    return format(Decimal(repr(value)), "f")


def _parts(schemas: list[Schema], resolve: Callable[[str], Schema]) -> Iterator[Mapping[str, Any]]:
    """Every schema that speaks of the same instance, in the order in which the document does."""
    stack, seen = list(reversed(schemas)), 0
    while stack and seen < _MAX_PARTS:
        schema = stack.pop()
        if isinstance(schema, bool):
            continue
        seen += 1
        yield schema
        inner = [child for key in _APPLICATORS for child in schema.get(key, ())]
        inner += [schema[key] for key in ("if", "then", "else") if key in schema]
        if isinstance(reference := schema.get("$ref"), str):
            with suppress(Inexpressible):
                inner.append(resolve(reference))
        stack += reversed(inner)


def _required(part: Mapping[str, Any]) -> Iterator[str]:
    yield from part.get("required", ())
    for key in ("dependentRequired", "dependencies"):
        for names in part.get(key, {}).values():
            yield from names if isinstance(names, list) else ()


def _under(parts: list[Mapping[str, Any]], name: str) -> list[Schema]:
    found: list[Schema] = []
    for part in parts:
        if name in part.get("properties", {}):
            found.append(part["properties"][name])
        else:
            found += part.get("patternProperties", {}).values()
            found += [part["additionalProperties"]] if "additionalProperties" in part else []
    return found


def _item(parts: list[Mapping[str, Any]], index: int) -> list[Schema]:
    found: list[Schema] = []
    for part in parts:
        listed = part.get("prefixItems", part["items"] if isinstance(part.get("items"), list) else [])
        if index < len(listed):
            found.append(listed[index])
        elif isinstance(part.get("items"), (Mapping, bool)):
            found.append(part["items"])
        elif "additionalItems" in part:
            found.append(part["additionalItems"])
    return found
