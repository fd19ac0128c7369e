"""A JSON Schema said in the keywords that the grammar engine enforces, without changing what it means.

``not``, ``if``, dependencies and, where the engine cannot see that its branches exclude each other, ``oneOf`` become
``anyOf`` and ``allOf`` of schemas that the engine knows; formats become patterns. What cannot be said so is left out
only when the caller relaxes the schema, and is named: then the grammar accepts more than the schema, never less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from strop.constraints.formats import INEXACT, pattern_of
from strop.constraints.negation import Inexpressible, Schema, consequence, needs, negate
from strop.constraints.patterns import has_few_names, listed_names, portable_pattern

IN_SCHEMA = ("additionalProperties", "additionalItems", "items", "contains", "propertyNames")
IN_LIST = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
IN_MAP = ("properties", "patternProperties", "definitions", "$defs")
UNENFORCED = (
    *("contains", "minContains", "maxContains", "uniqueItems", "propertyNames", "unevaluatedItems"),
    *("unevaluatedProperties", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"),
)
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_MAX_NODES = 20_000


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How far a rewriting goes."""

    expand_one_of: bool = False
    """Say ``oneOf`` with negations, where the engine does not see that its branches exclude each other."""
    relax: bool = False
    """Leave out, and name, what cannot be said."""
    drop_counts: bool = False
    """Also leave out minProperties and maxProperties, which the engine enforces only in simple objects."""


@dataclass
class Rewriter:
    """One rewriting of one document; ``left_out`` and ``annotations`` fill while it runs."""

    document: Schema
    known: frozenset[str]
    """The keywords that assert something in the document's draft."""
    ref_hides_siblings: bool = False
    """Before draft 2019-09, what stands beside ``$ref`` does not count."""
    effort: Effort = Effort()
    left_out: dict[str, str] = field(default_factory=dict)
    """Keyword → why it is not enforced token by token."""
    annotations: set[str] = field(default_factory=set)
    """What asserts nothing: ``format: path`` ..."""
    unusable: list[str] = field(default_factory=list)
    """Why some definitions cannot be said; they are poisoned, so that the engine refuses the schema if it uses one."""
    num_nodes: int = 0

    def rewrite(self, schema: Schema) -> Schema:
        """The schema in the engine's keywords, subschemas included."""
        self.num_nodes += 1
        if self.num_nodes > _MAX_NODES:
            raise Inexpressible(f"a schema of more than {_MAX_NODES} parts after rewriting")
        if isinstance(schema, bool):
            return schema
        if self.ref_hides_siblings and "$ref" in schema:
            kept = ("$ref", "definitions", "$defs", "$schema")
            schema = {key: value for key, value in schema.items() if key in kept}
        out: dict[str, Any] = {}
        parts: list[Schema] = []
        for key, value in schema.items():
            self._keyword(key, value, schema, out, parts)
        if isinstance(named := out.get("patternProperties"), Mapping):
            _spell_out(named, out)
        if parts:
            out["allOf"] = [*out.get("allOf", ()), *parts]
        return out

    def _keyword(
        self, key: str, value: Any, schema: Mapping[str, Any], out: dict[str, Any], parts: list[Schema]
    ) -> None:
        if key == "x-guidance" or key in ("then", "else"):
            return
        if key in ("definitions", "$defs"):
            out[key] = {name: self._definition(child) for name, child in value.items()}
        elif key == "not":
            self._add(parts, "not", lambda: self._no(value))
        elif key == "if":
            self._conditional(schema, parts)
        elif key in ("dependencies", "dependentRequired", "dependentSchemas"):
            for name, then in value.items():
                self._add(parts, key, lambda n=name, t=then: {"anyOf": [self._no(needs(n)), consequence(t)]})
        elif key == "oneOf" and self.effort.expand_one_of and len(value) > 1:
            self._one_of(value, parts)
        elif key == "format":
            self._format(value, parts)
        elif key == "pattern":
            out[key] = portable_pattern(value)
        elif key == "patternProperties":
            out[key] = {portable_pattern(name): self.rewrite(child) for name, child in value.items()}
        elif key in UNENFORCED:
            self._unenforced(key, value, out)
        elif key in _COUNTS:
            if self.effort.drop_counts and key.endswith("Properties"):
                self.left_out[key] = "the engine counts only properties that are all required, or all free"
            else:
                out[key] = int(value) if isinstance(value, float) and value.is_integer() else value
        elif key not in self.known and isinstance(value, Mapping) and f"/{key}" in self._references:
            out[key] = self._definition(value)
        else:
            out[key] = self._children(key, value)

    @cached_property
    def _references(self) -> str:
        """Every reference of the document, to see which unknown keywords hold schemas."""
        return " ".join(re.findall(r'"\$ref": "(#[^"]*)', json.dumps(self.document)))

    def _children(self, key: str, value: Any) -> Any:
        if key in IN_LIST and isinstance(value, list):
            return [self.rewrite(child) for child in value]
        if key in IN_SCHEMA and isinstance(value, (bool, Mapping)):
            return self.rewrite(value)
        if key in IN_MAP and isinstance(value, Mapping):
            return {name: self.rewrite(child) for name, child in value.items()}
        return value

    def _definition(self, child: Any) -> Any:
        """The definition rewritten, or poison: one that nothing uses must not decide about the schema."""
        if not isinstance(child, (bool, Mapping)):
            return child
        try:
            return self.rewrite(child)
        except Inexpressible as obstacle:
            self.unusable.append(str(obstacle))
            return {"uniqueItems": True}

    def _no(self, schema: Schema) -> Schema:
        return negate(schema, self.resolve, known=self.known)

    def _add(self, parts: list[Schema], key: str, make: Any) -> None:
        try:
            parts.append(self.rewrite(make()))
        except Inexpressible as obstacle:
            if not self.effort.relax:
                raise
            self.left_out[key] = f"the grammar engine cannot say {obstacle}"

    def _conditional(self, schema: Mapping[str, Any], parts: list[Schema]) -> None:
        condition = schema["if"]
        if "then" in schema:
            self._add(parts, "if", lambda: {"anyOf": [self._no(condition), schema["then"]]})
        if "else" in schema:
            self._add(parts, "if", lambda: {"anyOf": [condition, schema["else"]]})

    def _one_of(self, branches: list[Schema], parts: list[Schema]) -> None:
        """Exactly one branch: each with the negations of the others; the plain union where that cannot be said."""

        def exclusive() -> Schema:
            noes = [self._no(branch) for branch in branches]
            return {
                "anyOf": [
                    {"allOf": [branch, *(no for j, no in enumerate(noes) if j != i)]}
                    for i, branch in enumerate(branches)
                ]
            }

        before = len(parts)
        self._add(parts, "oneOf", exclusive)
        if len(parts) == before:
            parts.append({"anyOf": [self.rewrite(branch) for branch in branches]})

    def _format(self, name: Any, parts: list[Schema]) -> None:
        pattern = pattern_of(name) if isinstance(name, str) else None
        if pattern is not None:
            parts.append({"pattern": pattern})
        elif name in INEXACT:
            self._unenforced("format", name, {})
        else:
            self.annotations.add(f"format: {name}")

    def _unenforced(self, key: str, value: Any, out: dict[str, Any]) -> None:
        asserts_nothing = (
            (key == "uniqueItems" and value is False)
            or key in ("minContains", "maxContains", "$dynamicAnchor", "$recursiveAnchor")
            or (key in ("propertyNames", "unevaluatedItems", "unevaluatedProperties") and value in (True, {}))
            or key not in self.known
        )
        if asserts_nothing and key != "format":
            return
        what = f"{key}: {value}" if key == "format" else key
        if not self.effort.relax:
            raise Inexpressible(what)
        self.left_out[what] = "no grammar of the engine enforces it"

    def resolve(self, reference: str) -> Schema:
        """The schema that a reference inside the document names. Raises: Inexpressible for any other."""
        if not reference.startswith("#"):
            raise Inexpressible(f"the negation of the reference {reference!r}")
        place: Any = self.document
        for step in filter(None, reference[1:].split("/")):
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                place = place[int(step)] if isinstance(place, list) else place[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise Inexpressible(f"the negation of the reference {reference!r}") from None
        if not isinstance(place, (bool, Mapping)):
            raise Inexpressible(f"the negation of the reference {reference!r}")
        return place


def _spell_out(named: Mapping[str, Schema], out: dict[str, Any]) -> None:
    """Turn patterns that are lists of names into properties: a name that stands once must not be offered again.

    Raises: Inexpressible for other patterns of a few names, which could leave a text without a name to go on with.
    """
    properties = dict(out.get("properties", {}))
    free: dict[str, Schema] = {}
    for pattern, child in named.items():
        names = listed_names(pattern)
        if names is None:
            if has_few_names(pattern):
                raise Inexpressible(f"the pattern of a few names {pattern!r} in patternProperties")
            free[pattern] = child
        for name in names or ():
            properties[name] = {"allOf": [properties[name], child]} if name in properties else child
    out.pop("patternProperties")
    out |= {"patternProperties": free} if free else {}
    out |= {"properties": properties} if properties else {}
