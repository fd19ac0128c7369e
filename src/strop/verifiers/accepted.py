"""The calls that are due, as one call or as the accepted values of each argument, and a call held against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.types import Json, ToolCall

_LOOSE = str.maketrans({**dict.fromkeys(" ,./-_*^", ""), "'": '"'})


def is_same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0 but not true; objects without order, arrays with it."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(is_same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@dataclass(frozen=True, kw_only=True)
class Leniency:
    """What does not count when a value is compared; by default nothing but the spelling of a number, 5 or 5.0."""

    is_text_loose: bool = False
    """Case, blanks and ``,./-_*^`` do not count in texts, and ' is ": "New York, NY" is "new york ny". It is BFCL's
    rule, and it also takes "1.5" for "15" and "-3" for "3"; never for anything that is trained on."""
    is_number_typed: bool = False
    """A number with a fraction part, 5.0, is no value for an argument whose schema says ``integer``; 5 is one for
    ``number``. JSON Schema itself takes 5.0 for an integer."""

    def folded(self, value: Any) -> Any:
        """The value without what does not count."""
        if not self.is_text_loose:
            return value
        if isinstance(value, str):
            return value.translate(_LOOSE).lower()
        if isinstance(value, Mapping):
            return {key: self.folded(child) for key, child in value.items()}
        return [self.folded(child) for child in value] if isinstance(value, list | tuple) else value


EXACT = Leniency()
BFCL = Leniency(is_text_loose=True, is_number_typed=True)
"""The leniencies of the Berkeley leaderboard's own checker."""


@dataclass(frozen=True, kw_only=True)
class AcceptedCall:
    """A call that is due, with every accepted value of every argument, as the Berkeley leaderboard writes it.

    The empty text among the values says that the argument may be left out; it is a value itself only where the schema
    says ``string``. In an object among the values each member has a list of accepted values again.
    """

    name: str
    arguments: Mapping[str, Sequence[Any]]
    """Argument → accepted values; an argument that is not here is one too many."""
    parameters: Json = field(default_factory=dict)
    """The tool's JSON Schema, which says what is required and of which type; may be empty."""

    def may_lack(self, argument: str) -> bool:
        """Whether the argument may be left out: "" is among its values, and the schema does not require it."""
        return _may_lack(self.arguments[argument]) and argument not in self.parameters.get("required", ())


DueCall = ToolCall | AcceptedCall


@dataclass(frozen=True, kw_only=True)
class CallMatch:
    """A call beside the one that is due, argument by argument."""

    is_right_tool: bool
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Arguments with another value."""
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """The right tool with all arguments right and no others."""
        return self.is_right_tool and not (self.wrong or self.missing or self.extra)

    @property
    def share(self) -> float:
        """Right arguments over all arguments of either call; 0 for the wrong tool, 1 where neither has arguments."""
        total = len(self.right) + len(self.wrong) + len(self.missing) + len(self.extra)
        return float(self.is_right_tool) * (len(self.right) / total if total else 1.0)


def match_call(found: ToolCall, expected: DueCall, *, leniency: Leniency = EXACT) -> CallMatch:
    """How ``found`` differs from ``expected``; an argument that may be left out is never missing."""
    needed = [key for key in expected.arguments if not (isinstance(expected, AcceptedCall) and expected.may_lack(key))]
    if found.name != expected.name:
        return CallMatch(is_right_tool=False, missing=tuple(needed))
    both = [key for key in expected.arguments if key in found.arguments]
    right = tuple(key for key in both if _is_right(found.arguments[key], expected, key, leniency))
    return CallMatch(
        is_right_tool=True,
        right=right,
        wrong=tuple(key for key in both if key not in right),
        missing=tuple(key for key in needed if key not in found.arguments),
        extra=tuple(key for key in found.arguments if key not in expected.arguments),
    )


def _is_right(value: Any, expected: DueCall, key: str, leniency: Leniency) -> bool:
    if isinstance(expected, ToolCall):
        return is_same(leniency.folded(value), leniency.folded(expected.arguments[key]))
    schema = _under(expected.parameters, "properties", key)
    return _is_among(leniency.folded(value), leniency.folded(expected.arguments[key]), schema, leniency)


def _may_lack(accepted: Sequence[Any]) -> bool:
    return any(isinstance(one, str) and not one for one in accepted)


def _is_among(value: Any, accepted: Sequence[Any], schema: Json, leniency: Leniency) -> bool:
    if value == "" and _may_lack(accepted):
        return bool(schema.get("type", "string") == "string")
    return any(_is_one(value, one, schema, leniency) for one in accepted)


def _is_one(value: Any, one: Any, schema: Json, leniency: Leniency) -> bool:
    """Whether ``value`` is ``one`` of the accepted values, where objects hold lists of accepted values again."""
    if isinstance(one, Mapping):
        if not isinstance(value, Mapping) or not value.keys() <= one.keys():
            return False
        is_whole = all(key in value or _may_lack(_values(one[key])) for key in one)
        inner = (
            _is_among(child, _values(one[key]), _under(schema, "properties", key), leniency)
            for key, child in value.items()
        )
        return is_whole and all(inner)
    if isinstance(one, list):
        if not isinstance(value, list) or len(value) != len(one):
            return False
        items = _under(schema, "items")
        return all(_is_one(a, b, items, leniency) for a, b in zip(value, one, strict=True))
    is_fraction = isinstance(value, float) and isinstance(one, int) and not isinstance(one, bool)
    if leniency.is_number_typed and is_fraction and schema.get("type") == "integer":
        return False
    return is_same(value, one)


def _values(accepted: Any) -> Sequence[Any]:
    return accepted if isinstance(accepted, list) else [accepted]


def _under(schema: Any, *steps: str) -> Json:
    for step in steps:
        schema = schema.get(step) if isinstance(schema, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


# -------------------------------------------------------------------------------------------------------- several calls


def pair_calls(found: Sequence[ToolCall], expected: Sequence[DueCall], *, leniency: Leniency = EXACT) -> dict[int, int]:
    """Due call → the found call that answers it, for as many as can be: each call answers one, in any order.

    A maximum matching, since a call may be among the accepted ones of several that are due.
    *Source*: augmenting paths, Kuhn 1955.
    """
    fits = [
        [place for place, call in enumerate(found) if match_call(call, due, leniency=leniency).is_exact]
        for due in expected
    ]
    owner: dict[int, int] = {}

    def place(due: int, seen: set[int]) -> bool:
        for call in fits[due]:
            if call not in seen:
                seen.add(call)
                if call not in owner or place(owner[call], seen):
                    owner[call] = due
                    return True
        return False

    for due in range(len(expected)):
        place(due, set())
    return {due: call for call, due in owner.items()}


def count_exact(found: Sequence[ToolCall], expected: Sequence[DueCall], *, leniency: Leniency = EXACT) -> int:
    """How many calls are right, each expected call answered at most once, in any order."""
    return len(pair_calls(found, expected, leniency=leniency))
