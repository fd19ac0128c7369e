"""Whether two mathematical answers are the same: True, False, or nothing where that is beyond exact arithmetic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from strop.verifiers.math_algebra import MalformedError, UndecidedError, number, same
from strop.verifiers.math_clean import CLOSE, OPEN, clean
from strop.verifiers.math_objects import (
    BASE,
    Collection,
    Equation,
    Infinity,
    Interval,
    Matrix,
    Object,
    Row,
    Scalar,
    Union,
    Words,
    as_union,
    place_of,
    read,
)
from strop.verifiers.math_units import read_unit

_T = TypeVar("_T")
_MAX_LENGTH = 2000
_CHOICE = re.compile(r"\(?([A-J])\)?")
_CHOSEN = re.compile(
    r"(?:option|choice)?\s*(?:([A-Ja-j])|\(([A-Ja-j])\)|\[([A-Ja-j])\]|([A-J])\s*[.):].*|\(([A-J])\).*)", re.I
)


def equivalent(reference: str, answer: str) -> bool:
    """Whether the answer is the reference, decided exactly. Raises: UndecidedError if it cannot be."""
    if max(len(reference), len(answer)) > _MAX_LENGTH:
        raise MalformedError("it is too long for an answer")
    expected, said = clean(reference), clean(answer)
    bare = expected.replace(OPEN, "").replace(CLOSE, "").strip()
    if _CHOICE.fullmatch(bare):
        return chosen(said) == bare.strip("()")
    if expected == said and expected:
        return True
    return _same(read(reference), read(answer))


def chosen(text: str) -> str | None:
    """The letter of the option that a cleaned answer names: ``B``, ``(B)``, ``B. 12``; None if none or several."""
    plain = text.replace(OPEN, " ").replace(CLOSE, " ").strip()
    match = _CHOSEN.fullmatch(plain)
    if match is None:
        return None
    letter = next(group for group in match.groups() if group).upper()
    others = set(re.findall(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])", plain)) - {letter}
    return None if others else letter


def _same(one: Object, other: Object) -> bool:
    one, other = _unnamed(one, other), _unnamed(other, one)
    match one, other:
        case Scalar(), Scalar():
            return _same_scalars(one, other)
        case Infinity(), Infinity():
            return one == other
        case Words(), Words():
            return one.text == other.text
        case Matrix(), Matrix():
            return _same_rows(one.rows, other.rows)
        case Matrix(), Row():
            return _is_matrix(other) and _same_rows(one.rows, _rows_of(other))
        case Row(), Matrix():
            return _same(other, one)
        case Equation(), Equation():
            return one.left == other.left and _same(one.right, other.right)
        case Row(), Row():
            has_brackets = one.brackets == other.brackets or len(one.items) > 2
            return has_brackets and _same_items(one.items, other.items)
        case Collection(), Collection():
            return _same_sets(one.items, other.items)
        case Collection(), Row():
            return not one.is_braced and other.brackets == "()" and _same_items(one.items, other.items)
        case Row(), Collection():
            return _same(other, one)
        case Collection(), _:
            return len(one.items) == 1 and _same(one.items[0], other)
        case _, Collection():
            return _same(other, one)
    return _same_unions(as_union(one), as_union(other))


def _unnamed(one: Object, other: Object) -> Object:
    """The right side of ``x = 3`` where the other says ``3``; both sides' names count where both have one."""
    if isinstance(one, Equation) and not isinstance(other, Equation | Collection):
        return one.right
    if isinstance(one, Collection) and isinstance(other, Collection | Row):
        others = other.items
        names = {item.left for item in one.items if isinstance(item, Equation)}
        if len(names) == 1 and not any(isinstance(item, Equation) for item in others):
            items = tuple(item.right if isinstance(item, Equation) else item for item in one.items)
            return Collection(items=items, is_braced=one.is_braced)
    return one


def _same_scalars(one: Scalar, other: Scalar) -> bool:
    """Equal values; a unit or a percent sign may be missing on one side.

    A number without the sign equals a percentage of that worth, or, above 1, of that number of percents: ``0.5`` and
    ``50`` are 50 %, but ``0.5`` is not 0.5 %.
    """
    if one.is_percent != other.is_percent:
        percent, plain = (one, other) if one.is_percent else (other, one)
        if plain.unit:
            return False
        worth = plain.value.rational
        is_count = worth is None or abs(worth) > 1
        return same(percent.value, plain.value * number(100)) or (is_count and same(percent.value, plain.value))
    if one.unit.startswith(BASE) and other.unit.startswith(BASE) and one.unit != other.unit:
        return False
    if one.unit and other.unit:
        units = read_unit(one.unit), read_unit(other.unit)
        if all(unit.is_known for unit in units):
            if units[0].dimensions != units[1].dimensions:
                return False
            return same(one.value * number(units[0].factor), other.value * number(units[1].factor))
    return same(one.value, other.value)


def _same_items(one: Sequence[Object], other: Sequence[Object]) -> bool:
    return len(one) == len(other) and _all(zip(one, other, strict=True), _same)


def _all(pairs: Iterable[tuple[_T, _T]], check: Callable[[_T, _T], bool], *, decides: bool = False) -> bool:
    """Whether the check holds for all pairs; one for which it gives ``decides`` settles it, whatever the others are."""
    undecided = None
    for one, other in pairs:
        try:
            if check(one, other) is decides:
                return decides
        except UndecidedError as error:
            undecided = error
    if undecided is not None:
        raise undecided
    return not decides


def _same_sets(one: Sequence[Object], other: Sequence[Object]) -> bool:
    return _covers(one, other) and _covers(other, one)


def _covers(one: Sequence[Object], other: Sequence[Object]) -> bool:
    return all(_all(((item, candidate) for candidate in one), _same, decides=True) for item in other)


def _is_matrix(row: Row) -> bool:
    rows = [item for item in row.items if isinstance(item, Row)]
    return len(rows) == len(row.items) and len({len(item.items) for item in rows}) == 1


def _rows_of(row: Row) -> tuple[tuple[Object, ...], ...]:
    return tuple(item.items for item in row.items if isinstance(item, Row))


def _same_rows(one: tuple[tuple[Object, ...], ...], other: tuple[tuple[Object, ...], ...]) -> bool:
    return len(one) == len(other) and _all(zip(one, other, strict=True), _same_items)


def _same_unions(one: Union | None, other: Union | None) -> bool:
    if one is None or other is None:
        return False
    parts, others = _merged(one.parts), _merged(other.parts)
    return len(parts) == len(others) and all(_same_interval(a, b) for a, b in zip(parts, others, strict=True))


def _same_interval(one: Interval, other: Interval) -> bool:
    ends = (one.is_low_closed, one.is_high_closed) == (other.is_low_closed, other.is_high_closed)
    return ends and _same(one.low, other.low) and _same(one.high, other.high)


def _merged(parts: Sequence[Interval]) -> list[Interval]:
    """In order, with those that touch or overlap made one. Raises: UndecidedError for ends that are no constants."""
    ordered = sorted(parts, key=lambda part: (place_of(part.low), not part.is_low_closed))
    merged: list[Interval] = []
    for part in ordered:
        before = merged[-1] if merged else None
        if before is None or not _touch(before, part):
            merged.append(part)
            continue
        last = max(before, part, key=lambda one: (place_of(one.high), one.is_high_closed))
        merged[-1] = Interval(
            low=before.low, high=last.high, is_low_closed=before.is_low_closed, is_high_closed=last.is_high_closed
        )
    return merged


def _touch(before: Interval, part: Interval) -> bool:
    if _same(before.high, part.low):
        return before.is_high_closed or part.is_low_closed
    return place_of(part.low) < place_of(before.high)
