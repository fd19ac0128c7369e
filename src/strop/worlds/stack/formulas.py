"""Formulas over whole numbers: their text, their value, and the stack program that computes them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Operator = Literal["+", "-", "*"]
OPERATORS: tuple[Operator, ...] = ("+", "-", "*")
_WORDS: Mapping[str, str] = {"+": "add", "-": "sub", "*": "mul"}


@dataclass(frozen=True, kw_only=True)
class Binary:
    """``left + right``."""

    operator: Operator
    left: Formula
    right: Formula


@dataclass(frozen=True, kw_only=True)
class Doubled:
    """``square(e)`` or ``twice(e)``: what ``dup`` is for."""

    kind: Literal["square", "twice"]
    of: Formula


@dataclass(frozen=True, kw_only=True)
class Choice:
    """``then if left > right else other``."""

    left: Formula
    right: Formula
    then: Formula
    other: Formula


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """``sum of body for i from 1 to bound``, or the product; the bound is an input that is not negative."""

    kind: Literal["sum", "product"]
    bound: str
    body: Formula


Formula = int | str | Binary | Doubled | Choice | Repeated


def text_of(formula: Formula, *, inner: bool = False) -> str:
    """As it stands in a question; brackets wherever an operation stands inside another."""
    if isinstance(formula, int | str):
        return str(formula)
    if isinstance(formula, Doubled):
        return f"{formula.kind}({text_of(formula.of)})"
    if isinstance(formula, Binary):
        text = f"{text_of(formula.left, inner=True)} {formula.operator} {text_of(formula.right, inner=True)}"
        return f"({text})" if inner else text
    if isinstance(formula, Choice):
        test = f"{text_of(formula.left)} > {text_of(formula.right)}"
        return f"{text_of(formula.then)} if {test} else {text_of(formula.other)}"
    return f"{formula.kind} of {text_of(formula.body)} for i from 1 to {formula.bound}"


def value_of(formula: Formula, inputs: Mapping[str, int]) -> int:
    """What it is worth."""
    if isinstance(formula, int):
        return formula
    if isinstance(formula, str):
        return inputs[formula]
    if isinstance(formula, Doubled):
        value = value_of(formula.of, inputs)
        return value * value if formula.kind == "square" else 2 * value
    if isinstance(formula, Binary):
        left, right = value_of(formula.left, inputs), value_of(formula.right, inputs)
        return left + right if formula.operator == "+" else left - right if formula.operator == "-" else left * right
    if isinstance(formula, Choice):
        is_more = value_of(formula.left, inputs) > value_of(formula.right, inputs)
        return value_of(formula.then if is_more else formula.other, inputs)
    parts = [value_of(formula.body, {**inputs, "i": i}) for i in range(1, inputs[formula.bound] + 1)]
    return sum(parts) if formula.kind == "sum" else math.prod(parts)


def program_of(formula: Formula, *, start: int = 0) -> list[str]:
    """Its instructions, of which the first stands at index ``start`` of the whole program."""
    if isinstance(formula, int | str):
        return [f"push {formula}"]
    if isinstance(formula, Doubled):
        return [*program_of(formula.of, start=start), "dup", "mul" if formula.kind == "square" else "add"]
    if isinstance(formula, Binary):
        both = [*program_of(formula.left, start=start), *program_of(formula.right, start=start)]
        return [*both, _WORDS[formula.operator]]
    if isinstance(formula, Choice):
        test = [*program_of(formula.right), *program_of(formula.left), "sub"]
        other = program_of(formula.other, start=start + len(test) + 1)
        then = program_of(formula.then)
        at = start + len(test) + 1 + len(other) + 1
        return [*test, f"jneg {at}", *other, f"jump {at + len(then)}", *then]
    return _loop(formula, start)


def _loop(formula: Repeated, start: int) -> list[str]:
    """Counts the bound down to zero; the order of the parts does not matter."""
    body = program_of(_with_name(formula.body, "i", formula.bound))
    word = "add" if formula.kind == "sum" else "mul"
    count = [f"push {formula.bound}", "push 1", "sub", f"set {formula.bound}"]
    again = start + 2
    inside = ["push s", *body, word, "set s", *count, f"jump {again}"]
    first = [f"push {int(formula.kind == 'product')}", "set s", f"push {formula.bound}"]
    return [*first, f"jzero {start + len(first) + 1 + len(inside)}", *inside, "push s"]


def _with_name(formula: Formula, old: str, new: str) -> Formula:
    if isinstance(formula, str):
        return new if formula == old else formula
    if isinstance(formula, Binary):
        left, right = _with_name(formula.left, old, new), _with_name(formula.right, old, new)
        return Binary(operator=formula.operator, left=left, right=right)
    assert isinstance(formula, int), "the body of a loop is a plain formula"
    return formula


# ------------------------------------------------------------------------------------------------------------- drawing


def draw_plain(
    rng: random.Random, names: Sequence[str], ops: int, *, operators: Sequence[Operator], doubled: bool = False
) -> Formula:
    """A formula of ``ops`` operations over these names and constants of 1 to 99; every name may occur."""
    if ops == 0:
        return rng.choice(names) if rng.random() < 0.6 else rng.randint(1, 99)
    if doubled and rng.random() < 0.4:
        of = draw_plain(rng, names, ops - 1, operators=operators, doubled=True)
        return Doubled(kind=rng.choice(("square", "twice")), of=of)
    left = rng.randint(0, ops - 1)
    return Binary(
        operator=rng.choice(operators),
        left=draw_plain(rng, names, left, operators=operators, doubled=doubled),
        right=draw_plain(rng, names, ops - 1 - left, operators=operators, doubled=doubled),
    )


def draw_choice(rng: random.Random, names: Sequence[str], ops: int, *, operators: Sequence[Operator]) -> Choice:
    """A formula with one question, its ``ops`` operations shared between both answers."""
    share = rng.randint(0, ops)
    left = rng.choice(names)
    others: list[Formula] = [name for name in names if name != left]
    return Choice(
        left=left,
        right=rng.choice(others or [rng.randint(1, 20)]),
        then=draw_plain(rng, names, share, operators=operators),
        other=draw_plain(rng, names, ops - share, operators=operators),
    )


def draw_repeated(rng: random.Random, names: Sequence[str], ops: int) -> Repeated:
    """A sum or product over ``i`` up to the first name, of at most one-digit constants."""
    kind: Literal["sum", "product"] = rng.choice(("sum", "sum", "product"))
    body: Formula = "i"
    for _ in range(ops):
        others: list[Formula] = [*names[1:], rng.randint(1, 9), rng.randint(1, 9)]
        body = Binary(operator=rng.choice(OPERATORS), left=body, right=rng.choice(others))
    return Repeated(kind=kind, bound=names[0], body=body)
