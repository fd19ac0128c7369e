"""Whether a change of a contract breaks those who rely on it, and which version it must bear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strop.digests import digest_json
from strop.types import Json

ChangeKind = Literal["breaking", "compatible", "wording"]
_ORDER: tuple[ChangeKind, ...] = ("breaking", "compatible", "wording")

_ANNOTATIONS = {"title", "description", "default", "examples", "$comment", "deprecated"}
_LOWER = {"minLength", "minItems", "minProperties"}
_UPPER = {"maxLength", "maxItems", "maxProperties"}
_ALONE = {"pattern", "format", "multipleOf", "uniqueItems"}
_BOUNDS = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", *_LOWER, *_UPPER, *_ALONE}
_KNOWN = {"type", "enum", "const", "properties", "required", "additionalProperties", "items", *_BOUNDS}
"""Keywords whose meaning does not hang on others that are not named here."""


@dataclass(frozen=True, kw_only=True)
class ContractChange:
    """How a tool's contract differs from the locked one."""

    tool: str
    kind: ChangeKind
    """``breaking``: a call that was right, or a reader of results, may fail now; ``wording``: only descriptions."""
    reasons: tuple[str, ...]
    before: str
    """The version; empty for a new tool."""
    after: str
    """The version; empty for a tool that is gone."""

    @property
    def is_announced(self) -> bool:
        """Whether the version rose as the change demands: major, minor or patch; a new or lost tool has none."""
        if not self.before or not self.after:
            return True
        before, after = (tuple(map(int, version.split("."))) for version in (self.before, self.after))
        kept = _ORDER.index(self.kind)  # 0: the major number must rise; 1: one of the first two; 2: any
        return after[: kept + 1] > before[: kept + 1]

    def __str__(self) -> str:
        place = ("major", "minor", "patch")[_ORDER.index(self.kind)]
        version = "" if self.is_announced else f"; the version {self.after or '-'} needs a higher {place} number"
        return f"{self.tool}: {self.kind}: {'; '.join(self.reasons)}{version}"


def contract_changes(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[ContractChange, ...]:
    """What differs between two sets of contracts (name → ``ToolContract.as_json``), sorted by tool."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            kind: ChangeKind = "compatible" if old is None else "breaking"
            reasons: tuple[str, ...] = ("the tool is new" if old is None else "the tool is gone",)
        elif digest_json(old) == digest_json(new):
            continue
        else:
            kind, reasons = _compared(old, new)
        versions = [str(contract["version"]) if contract is not None else "" for contract in (old, new)]
        changes.append(ContractChange(tool=name, kind=kind, reasons=reasons, before=versions[0], after=versions[1]))
    return tuple(changes)


def _compared(old: Json, new: Json) -> tuple[ChangeKind, tuple[str, ...]]:
    breaking = [f"parameters{why}" for why in narrower(old["parameters"], new["parameters"])]
    breaking += [f"returns{why}" for why in narrower(new["returns"], old["returns"])]
    breaking += [f"{key} changed" for key in ("permission", "effect", "tenant_argument") if old[key] != new[key]]
    lost = set(old["tenants"] or ()) - set(new["tenants"] or ())
    if new["tenants"] is not None and (old["tenants"] is None or lost):
        breaking.append("fewer tenants have it")
    if breaking:
        return "breaking", tuple(breaking)
    silent = {"description", "version"}
    same = all(_bare(old[key]) == _bare(new[key]) for key in old.keys() - silent)
    return ("wording", ("only words changed",)) if same else ("compatible", ("more is possible than before",))


def _bare(schema: Any) -> Any:
    """The schema without its annotations; a property of that name is kept."""
    if not isinstance(schema, Mapping):
        return _typed(schema)
    return {
        key: {name: _bare(child) for name, child in value.items()} if key == "properties" else _bare(value)
        for key, value in schema.items()
        if key not in _ANNOTATIONS
    }


def _typed(value: Any) -> str:
    """What distinguishes JSON values for us: 1 is not true; 1 and 1.0 count as two, which errs to breaking."""
    return digest_json(value)


def narrower(wide: Any, narrow: Any, where: str = "") -> list[str]:
    """Why some instance of the JSON Schema ``wide`` might not be one of ``narrow``; empty only if all are.

    Safe rather than complete: what is not understood counts as a reason. Source: containment keyword by keyword; a
    schema is the conjunction of its keywords, and ``properties`` and ``additionalProperties`` are read together.
    """
    if _is_all(narrow) or wide is False or _bare(wide) == _bare(narrow):
        return []
    if narrow is False or not isinstance(narrow, Mapping):
        return [f"{where}: nothing is allowed any more"]
    wide = {} if _is_all(wide) else wide
    strange = {*wide, *narrow} - _KNOWN - _ANNOTATIONS
    if strange:
        return [f"{where}: changed beside {sorted(strange)[0]}, whose reach is not followed"]
    reasons = [f"{where}: {why}" for why in _values(wide, narrow)]
    for key, child in narrow.get("properties", {}).items():
        reasons += narrower(_property(wide, key), child, f"{where}.{key}")
    reasons += narrower(wide.get("items", True), narrow.get("items", True), f"{where}[]")
    rest = narrow.get("additionalProperties", True)
    for key in wide.get("properties", {}).keys() - narrow.get("properties", {}).keys():
        reasons += narrower(_property(wide, key), rest, f"{where}.{key}")
    return reasons + narrower(wide.get("additionalProperties", True), rest, f"{where}.*")


def _is_all(schema: Any) -> bool:
    return schema is True or (isinstance(schema, Mapping) and not schema.keys() - _ANNOTATIONS)


def _property(schema: Json, key: str) -> Any:
    return schema.get("properties", {}).get(key, schema.get("additionalProperties", True))


def _values(wide: Json, narrow: Json) -> Iterator[str]:
    """What the keywords about the value itself forbid newly."""
    allowed = _listed(wide)
    for key in narrow.keys() - _ANNOTATIONS:
        value = narrow[key]
        if key == "type" and not _has_type(wide, allowed, value):
            yield f"type is {value} now"
        elif key in ("enum", "const"):
            options = {_typed(option) for option in (value if key == "enum" else [value])}
            if allowed is None or not {_typed(option) for option in allowed} <= options:
                yield f"{key} allows less"
        elif key == "required" and (missing := set(value) - set(wide.get("required", ()))):
            yield f"{sorted(missing)[0]} is required now"
        elif key in _BOUNDS and not _is_bounded(wide, key, value):
            yield f"{key} is {value} now"


def _listed(schema: Json) -> list[Any] | None:
    """Values beyond which the schema allows none; None if it lists none."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _has_type(wide: Json, allowed: list[Any] | None, value: Any) -> bool:
    wanted = {value} if isinstance(value, str) else set(value)
    wanted |= {"integer"} if "number" in wanted else set()
    if "type" in wide:
        found = {wide["type"]} if isinstance(wide["type"], str) else set(wide["type"])
    elif allowed is not None:
        found = {_type_of(option) for option in allowed}
    else:
        return False
    return found <= wanted


def _type_of(value: Any) -> str:
    names = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _is_bounded(wide: Json, key: str, value: Any) -> bool:
    """Whether ``wide`` implies the bound ``key`` at ``value``; numbers are compared as written."""
    if key in _ALONE:
        return _typed(wide.get(key)) == _typed(value)
    if key in _LOWER:
        return bool(wide.get(key, 0) >= value)
    if key in _UPPER:
        return key in wide and bool(wide[key] <= value)
    end = "minimum" if "inimum" in key else "maximum"
    sign = 1 if end == "minimum" else -1
    strict, loose = wide.get(f"exclusive{end.title()}"), wide.get(end)
    if strict is not None and sign * strict >= sign * value:
        return True
    return loose is not None and (sign * loose > sign * value or (key == end and loose == value))
