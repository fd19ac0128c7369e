"""The schema of everything that another schema rejects, where the grammar engine's keywords can say it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any] | bool
Resolve = Callable[[str], Schema]
"""The schema that a ``$ref`` names. Raises: Inexpressible where it is not in the document."""

TYPES = ("null", "boolean", "number", "string", "array", "object")
ANNOTATIONS = frozenset({"$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions", "$vocabulary"})
"""What asserts nothing though a validator may know it; other keywords that it does not know assert nothing either."""
_MAX_DEPTH = 12


class Inexpressible(Exception):
    """The negation needs a keyword that the engine has not; the argument names what stands in the way."""


def negate(schema: Schema, resolve: Resolve, *, known: frozenset[str], depth: int = 0) -> Schema:
    """A schema that accepts exactly what ``schema`` rejects (De Morgan, keyword by keyword).

    ``known`` are the keywords that assert something in the schema's draft; others are annotations.
    Raises: Inexpressible.
    """
    if isinstance(schema, bool):
        return not schema
    if depth > _MAX_DEPTH:
        raise Inexpressible("a recursive negation")
    alternatives: list[Schema] = []
    for key in schema:
        if key in ANNOTATIONS or key not in known or key in ("then", "else", "minContains", "maxContains"):
            continue
        alternatives += _negated(key, schema, lambda s: negate(s, resolve, known=known, depth=depth + 1), resolve)
    alternatives = [one for one in alternatives if one is not False]
    if not alternatives:
        return False
    return True if True in alternatives else alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


def _negated(
    key: str, schema: Mapping[str, Any], no: Callable[[Schema], Schema], resolve: Resolve
) -> Iterator[Schema] | Sequence[Schema]:
    """What breaks the keyword ``key`` of ``schema``, as alternatives."""
    value = schema[key]
    match key:
        case "type":
            return _other_types([value] if isinstance(value, str) else value)
        case "enum":
            return _other_values(value)
        case "const":
            return _other_values([value])
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return _other_side(key, schema)
        case "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties":
            return _other_size(key, int(value))
        case "required":
            return [{"type": "object", "properties": {name: False}} for name in value]
        case "properties":
            return [
                {"type": "object", "required": [name], "properties": {name: no(child)}} for name, child in value.items()
            ]
        case "not":
            return [value]
        case "anyOf":
            return [{"allOf": [no(child) for child in value]}]
        case "allOf":
            return [no(child) for child in value]
        case "oneOf":
            pairs = [{"allOf": [a, b]} for i, a in enumerate(value) for b in value[i + 1 :]]
            return [{"allOf": [no(child) for child in value]}, *pairs]
        case "$ref":
            return [no(resolve(value))]
        case "if":
            unless = [{"allOf": [value, no(schema["then"])]}] if "then" in schema else []
            return unless + ([{"allOf": [no(value), no(schema["else"])]}] if "else" in schema else [])
        case "dependentRequired" | "dependentSchemas" | "dependencies":
            return [{"allOf": [needs(name), no(consequence(then))]} for name, then in value.items()]
        case "uniqueItems" if value is False:
            return []
    if value is True or value == {}:
        return []
    raise Inexpressible(f"not {{{key}}}")


def needs(name: str) -> Schema:
    """An object that has the property."""
    return {"type": "object", "required": [name]}


def consequence(then: Any) -> Schema:
    """The schema that a dependency's right-hand side stands for."""
    if isinstance(then, str):
        return {"required": [then]}
    return {"required": list(then)} if isinstance(then, list) else then


def _other_types(types: Sequence[str]) -> list[Schema]:
    if "integer" in types and "number" not in types:
        raise Inexpressible("not {type: integer}, which leaves numbers with a fraction")
    rest = [name for name in TYPES if name not in types]
    return [{"type": rest}] if rest else []


def _other_values(values: Sequence[Any]) -> list[Schema]:
    if any(isinstance(value, (list, Mapping)) for value in values):
        raise Inexpressible("not {enum} of arrays or objects")
    texts = [value for value in values if isinstance(value, str)]
    flags = [value for value in values if isinstance(value, bool)]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    rest: list[Any] = [flag for flag in (True, False) if flag not in flags]
    rest += [None] if None not in values else []
    found: list[Schema] = [{"enum": rest}] if rest else []
    found += [{"type": ["array", "object"]}]
    found += [{"type": "string", "pattern": other_texts(texts)} if texts else {"type": "string"}]
    sides = [{"anyOf": [{"exclusiveMaximum": number}, {"exclusiveMinimum": number}]} for number in numbers]
    return [*found, {"type": "number", "allOf": sides} if sides else {"type": "number"}]


def _other_side(key: str, schema: Mapping[str, Any]) -> list[Schema]:
    bound = schema[key]
    if isinstance(bound, bool):  # draft 4: it makes the neighbouring bound exclusive
        return []
    exclusive = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(key)
    is_open = exclusive is None or schema.get(exclusive) is True
    upper = key in ("minimum", "exclusiveMinimum")
    name = "maximum" if upper else "minimum"
    return [{"type": "number", (name if is_open else f"exclusive{name.capitalize()}"): bound}]


def _other_size(key: str, bound: int) -> list[Schema]:
    kind = {"Length": "string", "Items": "array", "Properties": "object"}[key[3:]]
    if key.startswith("min"):
        return [{"type": kind, f"max{key[3:]}": bound - 1}] if bound else []
    return [{"type": kind, f"min{key[3:]}": bound + 1}]


def other_texts(texts: Sequence[str]) -> str:
    """An anchored regular expression for every string but these."""
    return f"^(?:{_outside(sorted(set(texts)))})$"


def _outside(texts: Sequence[str]) -> str:
    """The strings that are none of ``texts``: the trie's complement, first character by first character."""
    heads = sorted({text[0] for text in texts if text})
    forms = [] if "" in texts else [""]
    forms.append((f"[^{''.join(map(re.escape, heads))}]" if heads else r"[\s\S]") + r"[\s\S]*")
    for head in heads:
        rest = [text[1:] for text in texts if text.startswith(head)]
        forms.append(f"{re.escape(head)}(?:{_outside(rest)})")
    return "|".join(forms)
