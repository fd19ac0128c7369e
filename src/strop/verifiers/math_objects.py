"""What a mathematical answer is: a value, a list or set, a tuple, an interval, a matrix, an equation, or words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from strop.verifiers.math_algebra import Exact, MalformedError, UndecidedError, number
from strop.verifiers.math_clean import CLOSE, OPEN, clean, split_outside
from strop.verifiers.math_expressions import evaluate
from strop.verifiers.math_units import is_unit
from strop.verifiers.numbers import SCALES


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A value, perhaps of a unit or a percentage."""

    value: Exact
    unit: str = ""
    is_percent: bool = False


@dataclass(frozen=True, kw_only=True)
class Infinity:
    """One of the two ends of the line."""

    sign: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """Things in an order, in the brackets that were written: ``()``, ``[]``, ``(]``, ``[)``."""

    brackets: str
    items: tuple[Object, ...]


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Things in no order; ``is_braced`` for a set in braces, otherwise a list as people write it."""

    items: tuple[Object, ...]
    is_braced: bool


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From ``low`` to ``high``; an end that is infinite is open."""

    low: Scalar | Infinity
    high: Scalar | Infinity
    is_low_closed: bool
    is_high_closed: bool


@dataclass(frozen=True, kw_only=True)
class Union:
    """Intervals, of which the order says nothing."""

    parts: tuple[Interval, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows of entries, all of one length."""

    rows: tuple[tuple[Object, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Equation:
    """``left = right``, where ``left`` is the text that names a variable, a function or a tuple of them."""

    left: str
    right: Object


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is no mathematics, without differences of case, articles and punctuation."""

    text: str


Object = Scalar | Infinity | Row | Collection | Union | Matrix | Equation | Words

_MATRIX = re.compile(
    r"\\begin\s*\{(?P<kind>[pbvBV]?matrix|array)\}\s*(?:\{[lcr| ]*\})?(?P<body>.*)\\end\s*\{(?P=kind)\}", re.DOTALL
)
_CUP = re.compile(r"\\cup(?![A-Za-z])|‹?\bor\b›?(?=\s*[^‹]*(?:<|>|\\le|\\ge))")
_ORDER = re.compile(r"<=|>=|<|>|\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])")
_LIST = re.compile(
    r",?\s*(?:‹\s*,?\s*(?:or|and)\s*›|(?<![A-Za-z])(?:or|and)(?![A-Za-z]))\s*|,(?!\d{3}(?!\d))|(?<!\d),|,(?=\s)|;"
)
_COMMA = re.compile(r",|;")
_EQUALS = re.compile(r"(?<![<>!:])=")
_NAME = re.compile(r"\s*(?:\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\([\w,\s\\]*\))?|\([A-Za-z]\w*(?:\s*,\s*[A-Za-z]\w*)*\))\s*")
_UNIT = re.compile(
    rf"(?P<value>.*?[\d)}}\]!A-Za-z.])\s*(?:{OPEN}(?P<marked>[^{OPEN}{CLOSE}]*){CLOSE}\s*(?P<raised>\^\s*\{{?\d\}}?)?"
    r"|(?<=[\d)}.\s])(?P<plain>[A-Za-z]{2,}[A-Za-z ]*(?:\s*/\s*[A-Za-z]+)?(?:\^\{?\d\}?)?)"
    r"|(?<=\s)(?P<letter>[A-Za-z](?:/[A-Za-z]+)?(?:\^\{?\d\}?)?))"
)
_SCALED = re.compile(
    rf"(?P<value>.*?\d[^A-Za-z\\{OPEN}]*){OPEN}?\s*(?P<scale>{'|'.join(SCALES)})\b(?P<unit>[^{CLOSE}]*){CLOSE}?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\d+\s*:\s*\d+(?:\s*:\s*\d+)*(?:\s*[ap]\.?m\.?)?", re.IGNORECASE)
BASE = "base "
"""Begins the unit of ``4343_6``: digits of another base are the same only in the same base, or where it is not said."""
_MONEY = re.compile(
    r"(?P<sign>[-+]?)\s*(?:\\\$|(?P<coin>[€£]))\s*(?P<value>.+)|(?P<after>.+?)\s*(?:\\\$|(?P<last>[€£¢]))"
)


def read(text: str) -> Object:
    """The object that an answer writes down. Raises: UndecidedError for mathematics beyond this reader."""
    return _read(clean(text))


def _read(text: str) -> Object:
    if not text:
        raise UndecidedError("nothing is written")
    for reader in (_matrix, _union, _membership, _relation, _list, _equation, _signs, _braces, _brackets, _infinite):
        found = reader(text)
        if found is not None:
            return found
    return _scalar(text)


def _matrix(text: str) -> Object | None:
    match = _MATRIX.fullmatch(_inside(text, "[]") or _inside(text, "()") or text)
    if match is None:
        return None
    rows = [row for row in re.split(r"\\\\|\\cr(?![A-Za-z])", match["body"]) if row.strip()]
    entries = tuple(tuple(_read(entry.strip()) for entry in row.split("&")) for row in rows)
    if len({len(row) for row in entries}) != 1:
        raise UndecidedError("a matrix of uneven rows")
    return Matrix(rows=entries)


def _union(text: str) -> Object | None:
    pieces = split_outside(text, _CUP)
    if len(pieces) < 2:
        return None
    parts: list[Interval] = []
    for piece in pieces:
        found = as_union(_read(piece))
        if found is None:
            raise UndecidedError("a union of more than intervals")
        parts += found.parts
    return Union(parts=tuple(parts))


def _membership(text: str) -> Object | None:
    match = re.fullmatch(rf"(?:{_NAME.pattern})\\in(?![A-Za-z])(.+)", text)
    return None if match is None else _read(match[1].strip())


def _relation(text: str) -> Object | None:
    """``1 < x <= 2``, ``x > 3`` and ``x ≠ 3`` as intervals of the variable."""
    signs = [match[0] for match in _ORDER.finditer(text)]
    pieces = [piece.strip() for piece in _ORDER.split(text)]
    if not signs or len(split_outside(text, _LIST)) > 1:
        return None
    names = [index for index, piece in enumerate(pieces) if re.fullmatch(r"\\?[A-Za-z]+(?:_\w)?", piece)]
    if len(names) != 1 or len(pieces) > 3 or (len(pieces) == 3 and names != [1]):
        return Words(text=_words(text)) if not names else _undecided("a relation between expressions")
    intervals = [
        _half_line(sign, _read(pieces[place + (place >= names[0])]), is_left=place < names[0])
        for place, sign in enumerate(signs)
    ]
    if len(intervals) == 1:
        return Union(parts=intervals[0])
    (low,), (high,) = sorted(intervals, key=lambda parts: parts[0].low == _DOWN)
    if (low.high, high.low) != (_UP, _DOWN):
        raise UndecidedError("two relations in one direction")
    ends = {"is_low_closed": low.is_low_closed, "is_high_closed": high.is_high_closed}
    return Union(parts=(Interval(low=low.low, high=high.high, **ends),))


_DOWN, _UP = Infinity(sign=-1), Infinity(sign=1)


def _half_line(sign: str, end: Object, *, is_left: bool) -> tuple[Interval, ...]:
    """Where the variable may be that stands right (``is_left``: the end is left) or left of the sign."""
    if not isinstance(end, Scalar | Infinity):
        raise UndecidedError("a relation to more than a number")
    if sign == "\\ne":
        below = Interval(low=_DOWN, high=end, is_low_closed=False, is_high_closed=False)
        return (below, Interval(low=end, high=_UP, is_low_closed=False, is_high_closed=False))
    is_closed = sign in ("<=", ">=", "\\le", "\\ge")
    if (sign in ("<", "<=", "\\le")) == is_left:
        return (Interval(low=end, high=_UP, is_low_closed=is_closed, is_high_closed=False),)
    return (Interval(low=_DOWN, high=end, is_low_closed=False, is_high_closed=is_closed),)


def _list(text: str) -> Object | None:
    pieces = [piece for piece in split_outside(text, _LIST) if piece]
    if len(pieces) < 2:
        return None
    items = [_read(piece) for piece in pieces]
    if all(isinstance(item, Words) for item in items):
        return Words(text=_words(text))
    return Collection(items=_flat(items), is_braced=False)


def _equation(text: str) -> Object | None:
    pieces = split_outside(text, _EQUALS)
    if len(pieces) < 2:
        return None
    right = _read(pieces[-1])
    name = pieces[0].strip()
    if not _NAME.fullmatch(name):
        left = _read(name)
        if isinstance(left, Scalar) and not left.value.symbols:
            return right  # a calculation: "5 + 3 = 8"
        raise UndecidedError("an equation between expressions")
    name = name.replace(" ", "")
    if isinstance(right, Collection) and not right.is_braced:
        return Collection(items=tuple(Equation(left=name, right=item) for item in right.items), is_braced=False)
    return Equation(left=name, right=right)


def _signs(text: str) -> Object | None:
    r"""``a \pm b`` as both."""
    if len(re.findall(r"\\pm(?![A-Za-z])", text)) != 1:
        return None
    both = [_read(re.sub(r"\\pm(?![A-Za-z])", sign, text).strip()) for sign in "+-"]
    return Collection(items=tuple(both), is_braced=False)


def _braces(text: str) -> Object | None:
    if re.fullmatch(r"\\emptyset|\\\{\s*\\\}", text):
        return Collection(items=(), is_braced=True)
    match = re.fullmatch(r"\\\{(.*)\\\}", text, re.DOTALL) or re.fullmatch(r"\{([^{}]*,[^{}]*)\}", text)
    if match is None or len(split_outside(text, re.compile(r"\\\}(?!$)"))) > 1:
        return None
    items = [_read(piece) for piece in split_outside(match[1], _COMMA)]
    return Collection(items=_flat(items), is_braced=True)


def _brackets(text: str) -> Object | None:
    inside = text[1:-1]
    if text[0] + text[-1] not in ("()", "[]", "(]", "[)", "][") or not _is_balanced(inside):
        return None
    pieces = split_outside(inside, _COMMA)
    if len(pieces) < 2:
        return None
    brackets = "()" if text[0] == "]" else text[0] + text[-1]
    return Row(brackets=brackets, items=tuple(_read(piece) for piece in pieces))


def _infinite(text: str) -> Object | None:
    match = re.fullmatch(r"([-+]?)\s*(?:\\infty|infinity|inf)", text)
    return None if match is None else Infinity(sign=-1 if match[1] == "-" else 1)


def _scalar(text: str) -> Object:
    if _CLOCK.fullmatch(_bare(text)):
        return Words(text=_words(text))
    based = re.fullmatch(r"(\d+)\s*_\s*(?:\{(\d+)\}|(\d))", text)
    if based is not None:
        return Scalar(value=number(int(based[1])), unit=f"{BASE}{based[2] or based[3]}")
    if text.endswith("\\%") or text.endswith(("percent", f"percent{CLOSE}")):
        value = re.sub(rf"\s*(?:\\%|{OPEN}?\s*percent\s*{CLOSE}?)$", "", text)
        return Scalar(value=evaluate(value), is_percent=True)
    money = _MONEY.fullmatch(text)
    if money is not None:
        unit = money["coin"] or money["last"] or "$"
        bare = _scalar(f"{money['sign'] or ''}{money['value'] or money['after']}")
        return Scalar(value=bare.value, unit=unit) if isinstance(bare, Scalar) else bare
    scaled = _SCALED.fullmatch(text)
    if scaled is not None:
        scale = number(SCALES[scaled["scale"].lower()])
        return Scalar(value=evaluate(scaled["value"]) * scale, unit=scaled["unit"].strip())
    match = _UNIT.fullmatch(text)
    if match is not None and not re.fullmatch(r"[A-Za-z ]+", text):
        unit = (match["marked"] or match["plain"] or match["letter"] or "") + (match["raised"] or "").replace(" ", "")
        if match["marked"] or _names_a_unit(unit):
            return Scalar(value=evaluate(match["value"]), unit=unit)
    if _is_wordy(text):
        return Words(text=_words(text))
    try:
        return Scalar(value=evaluate(text.replace(OPEN, "").replace(CLOSE, "")))
    except MalformedError:
        if re.fullmatch(r"[\w\s.,:'‹›-]*[A-Za-z]{2,}[\w\s.,:'‹›-]*", text):
            return Words(text=_words(text))  # "June 20"
        raise


def _names_a_unit(unit: str) -> bool:
    """A word of the table, or one too long to be a product of variables."""
    first = re.split(r"[\s/^]", unit)[0]
    return is_unit(first) or len(first) > 3


def _is_wordy(text: str) -> bool:
    plain = _bare(text)
    return re.fullmatch(r"[A-Za-z' .,\-]*[A-Za-z]{2,}[A-Za-z' .,\-]*", plain) is not None and plain.strip() not in (
        "pi",
        "sqrt",
    )


def _bare(text: str) -> str:
    return text.replace(OPEN, " ").replace(CLOSE, " ").strip()


def _words(text: str) -> str:
    plain = " ".join(re.sub(rf"[{OPEN}{CLOSE}.,]", " ", text).casefold().split())
    return re.sub(r"^(?:an?|the) ", "", plain)


def _flat(items: list[Object]) -> tuple[Object, ...]:
    """Lists within a list, as ``x = ±1, 2`` gives them, are part of it."""
    flat: list[Object] = []
    for item in items:
        flat += item.items if isinstance(item, Collection) and not item.is_braced else (item,)
    return tuple(flat)


def _inside(text: str, brackets: str) -> str:
    inside = text[1:-1]
    return inside.strip() if text[0] + text[-1] == brackets and _is_balanced(inside) else ""


def _is_balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if depth < 0:
            return False
    return depth == 0


def _undecided(why: str) -> Object:
    raise UndecidedError(why)


def as_union(found: Object) -> Union | None:
    """The object as intervals, if it can be taken so: ``(1, 2]`` is a row until it is compared with intervals."""
    if isinstance(found, Union):
        return found
    if not isinstance(found, Row) or len(found.items) != 2:
        return None
    low, high = found.items
    if not isinstance(low, Scalar | Infinity) or not isinstance(high, Scalar | Infinity):
        return None
    is_low_closed, is_high_closed = found.brackets[0] == "[", found.brackets[1] == "]"
    return Union(parts=(Interval(low=low, high=high, is_low_closed=is_low_closed, is_high_closed=is_high_closed),))


def place_of(end: Scalar | Infinity) -> float:
    """Where an end lies on the line. Raises: UndecidedError if it is no real constant."""
    return end.sign * float("inf") if isinstance(end, Infinity) else end.value.approximate()
