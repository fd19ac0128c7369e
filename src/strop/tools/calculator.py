"""The calculator: exact rational arithmetic over a small grammar of its own; nothing is ever evaluated as code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any

from strop.errors import ToolRefusal
from strop.tools.contracts import Caller, ToolContract
from strop.tools.state import StateView
from strop.types import Json

_MAX_CHARS = 400
_MAX_DEPTH = 40
_MAX_EXPONENT = 64
_MAX_BITS = 2048
_MAX_DECIMALS = 30

CALCULATOR = ToolContract(
    name="calculate",
    description="Exact arithmetic: + - * / ^ % ( ), round, abs, min, max, sum, mod.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string", "minLength": 1, "maxLength": _MAX_CHARS}},
        "required": ["expression"],
        "additionalProperties": False,
    },
    returns={
        "type": "object",
        "properties": {"result": {"type": "string"}, "about": {"type": "string"}},
        "required": ["result"],
        "additionalProperties": False,
    },
)

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|([A-Za-z]+)|(\*\*|[-+*/^%(),]))", re.ASCII)
_SPELT = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


def _round(value: Fraction, places: Fraction = Fraction(0)) -> Fraction:
    if places.denominator != 1 or abs(places) > _MAX_DECIMALS:
        raise _wrong("round takes a whole number of places")
    return Fraction(round(value * 10 ** int(places))) / Fraction(10) ** int(places)


def _mod(left: Fraction, right: Fraction) -> Fraction:
    if right == 0:
        raise _wrong("division by zero")
    return left - right * floor(left / right)


_FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (abs, 1, 1),
    "ceil": (ceil, 1, 1),
    "floor": (floor, 1, 1),
    "max": (max, 2, 99),
    "min": (min, 2, 99),
    "mod": (_mod, 2, 2),
    "round": (_round, 1, 2),
    "sum": (lambda *values: sum(values, Fraction(0)), 1, 99),
}
"""Name → function, least and most arguments. ``round`` is half to even, as banks do."""


def calculate(expression: str) -> Fraction:
    """The exact value of ``expression``.

    Numbers are decimals without separators; ``%`` behind a value divides it by 100; ``^`` or ``**`` takes whole
    exponents up to 64 and binds to the right, before a sign. Raises: ToolRefusal (``invalid_arguments``) for anything
    else, a division by zero, or numbers beyond 2,048 bits.
    """
    return _Reader(expression).value()


def exact_text(value: Fraction) -> str:
    """The number as a decimal if that is exact within 30 places, else as a fraction: ``0.125``, ``1/3``."""
    for places in range(_MAX_DECIMALS + 1):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
            sign = "-" if value < 0 else ""
            return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
    return f"{value.numerator}/{value.denominator}"


def serve_calculator(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, str]:
    """The calculator as a service: ``result`` exact, and ``about`` with six places where that is a fraction."""
    value = calculate(arguments["expression"])
    text = exact_text(value)
    return {"result": text, "about": exact_text(_round(value, Fraction(6)))} if "/" in text else {"result": text}


def _wrong(reason: str) -> ToolRefusal:
    return ToolRefusal(reason, state="invalid_arguments")


class _Reader:
    """Reads by recursive descent and computes as it reads."""

    def __init__(self, expression: str) -> None:
        if len(expression) > _MAX_CHARS:
            raise _wrong(f"more than {_MAX_CHARS} characters")
        text = expression.translate(_SPELT).rstrip()
        self.tokens: list[str] = []
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise _wrong(f"cannot read {text[place:].strip()[:12]!r}")
            self.tokens.append(found[0].strip())
            place = found.end()
        self.place, self.depth = 0, 0

    def value(self) -> Fraction:
        total = self.sum()
        if self.place < len(self.tokens):
            raise _wrong(f"did not expect {self.tokens[self.place]!r}")
        return total

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token if it is one of ``wanted``, else nothing."""
        token = self.peek()
        if not token or token not in wanted:
            return ""
        self.place += 1
        return token

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise _wrong(f"expected {wanted!r} but found {self.peek() or 'the end'!r}")

    def sum(self) -> Fraction:
        total = self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            total = _bounded(total + term if sign == "+" else total - term)
        return total

    def product(self) -> Fraction:
        total = self.signed()
        while sign := self.take("*", "/"):
            factor = self.signed()
            if sign == "/" and factor == 0:
                raise _wrong("division by zero")
            total = _bounded(total * factor if sign == "*" else total / factor)
        return total

    def signed(self) -> Fraction:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _wrong("nested too deeply")
        sign = self.take("+", "-")
        value = self.signed() if sign else self.power()
        self.depth -= 1
        return -value if sign == "-" else value

    def power(self) -> Fraction:
        base = self.atom()
        while self.take("%"):
            base /= 100
        if not self.take("^", "**"):
            return base
        exponent = self.signed()
        if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT:
            raise _wrong(f"an exponent must be a whole number of at most {_MAX_EXPONENT}")
        if base == 0 and exponent < 0:
            raise _wrong("division by zero")
        return _bounded(base ** int(exponent))

    def atom(self) -> Fraction:
        token = self.peek()
        self.place += 1
        if token == "(":
            value = self.sum()
            self.need(")")
            return value
        if token.lower() in _FUNCTIONS:
            return self.applied(token.lower())
        if not token or not (token[0].isdigit() or token[0] == "."):
            raise _wrong(f"did not expect {token or 'the end'!r}")
        return _bounded(Fraction(token))

    def applied(self, name: str) -> Fraction:
        function, least, most = _FUNCTIONS[name]
        self.need("(")
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        self.need(")")
        if not least <= len(values) <= most:
            raise _wrong(f"{name} takes {least} to {most} values, not {len(values)}")
        return _bounded(Fraction(function(*values)))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise _wrong(f"a number is beyond {_MAX_BITS} bits")
    return value
