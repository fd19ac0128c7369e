"""Exact quotients of polynomials whose coefficients are rational numbers and square roots: equality is decidable.

A term is ``c · √r · Π sᵢ^kᵢ``: c rational, r a square-free integer (negative for imaginary roots), sᵢ symbols, among
which π and e are counted, as nothing that an exercise asks for depends on a relation between them. Different terms are
linearly independent over the rationals, so two values are equal if and only if ``a.top · b.bottom`` and
``b.top · a.bottom`` have the same terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Term = tuple[int, tuple[tuple[str, int], ...]]
"""The radicand, and the symbols with their exponents in order of their names."""
Polynomial = Mapping[Term, Fraction]

_MAX_TERMS = 400
_MAX_BITS = 20_000
_MAX_EXPONENT = 4096
_MAX_RADICAND = 10**10
_ONE: Term = (1, ())
_CONSTANTS = {"\\pi": math.pi, "e": math.e}


class UndecidedError(Exception):
    """What was written is beyond this arithmetic, or too large for it; nothing is said about its worth."""


class MalformedError(UndecidedError):
    """What was written is no mathematics to anybody."""


@dataclass(frozen=True, kw_only=True)
class Exact:
    """``top / bottom``; the bottom is never zero."""

    top: Polynomial
    bottom: Polynomial

    def __add__(self, other: Exact) -> Exact:
        return Exact(
            top=_sum(_product(self.top, other.bottom), _product(other.top, self.bottom)),
            bottom=_product(self.bottom, other.bottom),
        )

    def __neg__(self) -> Exact:
        return Exact(top={term: -value for term, value in self.top.items()}, bottom=self.bottom)

    def __sub__(self, other: Exact) -> Exact:
        return self + -other

    def __mul__(self, other: Exact) -> Exact:
        return Exact(top=_product(self.top, other.top), bottom=_product(self.bottom, other.bottom))

    def __truediv__(self, other: Exact) -> Exact:
        """Raises: UndecidedError for a division by zero."""
        if not other.top:
            raise UndecidedError("division by zero")
        return Exact(top=_product(self.top, other.bottom), bottom=_product(self.bottom, other.top))

    @property
    def rational(self) -> Fraction | None:
        """The value if it is a rational number."""
        for term, value in self.bottom.items():
            ratio = self.top.get(term, Fraction(0)) / value
            scaled = {key: ratio * other for key, other in self.bottom.items() if ratio}
            return ratio if scaled == dict(self.top) else None
        return None

    @property
    def symbols(self) -> frozenset[str]:
        """The names in it, constants left out."""
        terms = [*self.top, *self.bottom]
        return frozenset(name for _, powers in terms for name, _ in powers if name not in _CONSTANTS)

    def approximate(self) -> float:
        """A real constant as a float, to order constants by. Raises: UndecidedError for anything else."""
        try:
            return _approximate(self.top) / _approximate(self.bottom)
        except (OverflowError, ZeroDivisionError) as error:
            raise UndecidedError("too large") from error


def number(value: Fraction | int) -> Exact:
    """A rational constant."""
    value = Fraction(value)
    return Exact(top={_ONE: value} if value else {}, bottom={_ONE: Fraction(1)})


def symbol(name: str) -> Exact:
    """A variable, or the constant π or e."""
    return Exact(top={(1, ((name, 1),)): Fraction(1)}, bottom={_ONE: Fraction(1)})


def same(one: Exact, other: Exact) -> bool:
    """Whether two values are identical, as formal expressions where they hold variables."""
    return _product(one.top, other.bottom) == _product(other.top, one.bottom)


def power(base: Exact, exponent: Exact) -> Exact:
    """``base ** exponent`` for an integer, or for a half of one over a rational base. Raises: UndecidedError."""
    value = exponent.rational
    if value is not None and value.denominator != 1:
        base, value = root(base, value.denominator), Fraction(value.numerator)
    if value is None or abs(value) > _MAX_EXPONENT or (value <= 0 and not base.top):
        raise UndecidedError("an exponent that is no small number")
    times, result = abs(int(value)), number(1)
    square = base if value > 0 else number(1) / base
    while times:
        if times & 1:
            result = result * square
        times >>= 1
        if times:
            square = square * square
    return result


def root(value: Exact, degree: int) -> Exact:
    """The square root of a rational constant, or another root that is itself rational. Raises: UndecidedError."""
    constant = value.rational
    if constant is None or degree < 1:
        raise UndecidedError("a root of more than a number")
    exact = _rational_root(constant, degree)
    if exact is not None:
        return number(exact)
    if degree != 2:
        raise UndecidedError("an irrational root that is not square")
    inside = abs(constant.numerator) * constant.denominator
    outer, inner = _square_free(inside)
    radicand = inner if constant > 0 else -inner
    top: Polynomial = {(radicand, ()): Fraction(outer, constant.denominator)}
    return Exact(top=top, bottom={_ONE: Fraction(1)})


def _rational_root(value: Fraction, degree: int) -> Fraction | None:
    if value < 0:
        positive = _rational_root(-value, degree) if degree % 2 else None
        return None if positive is None else -positive
    parts = [_integer_root(part, degree) for part in (value.numerator, value.denominator)]
    return None if None in parts else Fraction(parts[0] or 0, parts[1] or 1)


def _integer_root(value: int, degree: int) -> int | None:
    if value < 2:
        return value
    if degree > value.bit_length():
        return None
    if degree == 2:
        found = math.isqrt(value)
        return found if found * found == value else None
    if value.bit_length() > 1000:
        raise UndecidedError("a root of a large number")
    guess = round(value ** (1 / degree))
    return next((near for near in (guess - 1, guess, guess + 1) if near**degree == value), None)


def _square_free(value: int) -> tuple[int, int]:
    """``(outer, inner)`` with ``value == outer² · inner`` and a square-free inner one."""
    if value > _MAX_RADICAND:
        raise UndecidedError("a root of a large number")
    outer, inner, factor = 1, value, 2
    while factor * factor <= inner:
        while inner % (factor * factor) == 0:
            inner //= factor * factor
            outer *= factor
        factor += 1
    return outer, inner


def _sum(one: Polynomial, other: Polynomial) -> Polynomial:
    total = dict(one)
    for term, value in other.items():
        total[term] = total.get(term, Fraction(0)) + value
    return {term: value for term, value in total.items() if value}


def _product(one: Polynomial, other: Polynomial) -> Polynomial:
    if len(one) * len(other) > _MAX_TERMS**2:
        raise UndecidedError("too many terms")
    total: dict[Term, Fraction] = {}
    for (radicand, powers), value in one.items():
        for (other_radicand, other_powers), other_value in other.items():
            factor, inner = _multiplied_roots(radicand, other_radicand)
            term = (inner, _multiplied_symbols(powers, other_powers))
            total[term] = total.get(term, Fraction(0)) + factor * value * other_value
    kept = {term: value for term, value in total.items() if value}
    if len(kept) > _MAX_TERMS or any(_bits(value) > _MAX_BITS for value in kept.values()):
        raise UndecidedError("too large")
    return kept


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _multiplied_roots(one: int, other: int) -> tuple[int, int]:
    """``√one · √other`` as an integer times a square-free root; ``√-a`` is ``i√a``."""
    shared = math.gcd(one, other)
    inner = abs(one) // shared * (abs(other) // shared)
    if inner > _MAX_RADICAND:
        raise UndecidedError("a root of a large number")
    if one < 0 and other < 0:
        return -shared, inner
    return shared, -inner if one < 0 or other < 0 else inner


def _multiplied_symbols(
    one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    if not one or not other:
        return one or other
    total = dict(one)
    for name, exponent in other:
        total[name] = total.get(name, 0) + exponent
    return tuple(sorted((name, exponent) for name, exponent in total.items() if exponent))


def _approximate(polynomial: Polynomial) -> float:
    total = 0.0
    for (radicand, powers), value in polynomial.items():
        if radicand < 0 or any(name not in _CONSTANTS for name, _ in powers):
            raise UndecidedError("no real constant")
        total += float(value) * math.sqrt(radicand) * math.prod(_CONSTANTS[name] ** k for name, k in powers)
    return total
