"""Units: what a name measures, and how many of the base unit it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_TABLE = """
length: mm 1/1000, millimeter 1/1000, millimetre 1/1000, cm 1/100, centimeter 1/100, centimetre 1/100, m 1, meter 1,
length: metre 1, km 1000, kilometer 1000, kilometre 1000, inch 127/5000, inche 127/5000, in 127/5000, ft 381/1250,
length: foot 381/1250, feet 381/1250, yd 1143/1250, yard 1143/1250, mi 201168/125, mile 201168/125
mass: mg 1/1000000, milligram 1/1000000, g 1/1000, gram 1/1000, kg 1, kilogram 1, lb 45359237/100000000,
mass: pound 45359237/100000000, ton 1000, tonne 1000, oz 45359237/1600000000, ounce 45359237/1600000000
time: ms 1/1000, s 1, sec 1, second 1, min 60, minute 60, h 3600, hr 3600, hour 3600, day 86400, week 604800
volume: ml 1/1000, milliliter 1/1000, millilitre 1/1000, l 1, liter 1, litre 1
money: dollar 1, $ 1, usd 1, cent 1/100, ¢ 1/100
euro: euro 1, € 1, eur 1
angle: degree 1, deg 1
radian: radian 1, rad 1
"""
_KNOWN = {
    entry.rpartition(" ")[0].strip(): (line.partition(":")[0], Fraction(entry.rpartition(" ")[2]))
    for line in _TABLE.strip().splitlines()
    for entry in line.partition(":")[2].strip(" ,").split(",")
}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A product of powers; a name that is not in the table measures nothing that is known."""

    dimensions: tuple[tuple[str, int], ...]
    factor: Fraction
    is_known: bool


def read_unit(text: str) -> Unit:
    """``cm``, ``square centimeters``, ``m/s``, ``miles per hour``, ``cm^2``, ``apples``."""
    top, *bottom = re.split(r"\s*/\s*|\s+per\s+|\s+an?\s+", text.strip().casefold())
    total: dict[str, int] = {}
    factor = Fraction(1)
    for part, sign in [(top, 1), *((part, -1) for part in bottom)]:
        found = _power(part)
        if found is None:
            return Unit(dimensions=(), factor=Fraction(1), is_known=False)
        dimension, worth, exponent = found
        total[dimension] = total.get(dimension, 0) + sign * exponent
        factor *= worth ** (sign * exponent)
    dimensions = tuple(sorted((name, exponent) for name, exponent in total.items() if exponent))
    return Unit(dimensions=dimensions, factor=factor, is_known=True)


def is_unit(name: str) -> bool:
    """Whether the table holds this name."""
    return _lookup(name.casefold()) is not None


def _power(text: str) -> tuple[str, Fraction, int] | None:
    exponent = 1
    words = text.split()
    if len(words) == 2 and words[0] in _POWERS:
        exponent, words = _POWERS[words[0]], words[1:]
    name, hat, raised = "".join(words).partition("^") if len(words) == 1 else (text, "", "")
    if hat and raised.strip("{}").isdigit():
        exponent = int(raised.strip("{}"))
    found = _lookup(name.strip(". "))
    return None if found is None or not 0 < exponent < 10 else (*found, exponent)


def _lookup(name: str) -> tuple[str, Fraction] | None:
    return _KNOWN.get(name) or (_KNOWN.get(name[:-1]) if name.endswith("s") and len(name) > 2 else None)
