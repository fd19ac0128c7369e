"""Choosing hidden tests: as few as tell every mutant apart that some input of a pool can tell apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

Input = TypeVar("Input")
Function = Callable[[Input], object]


def is_told_apart(right: Function[Input], mutant: Function[Input], inputs: Sequence[Input]) -> bool:
    """Whether some input gives another value; a mutant that fails must return a value that ``right`` never does."""
    return any(right(one) != mutant(one) for one in inputs)


def choose_tests(
    right: Function[Input],
    mutants: Sequence[Function[Input]],
    pool: Sequence[Input],
    rng: random.Random,
    *,
    at_least: int,
) -> list[Input]:
    """``at_least`` drawn inputs, and for each mutant that they let pass the first of the pool that does not.

    A constant is a mutant too: the values of the chosen inputs are not all the same, unless the pool's are.
    """
    chosen = rng.sample(list(pool), min(at_least, len(pool)))
    value = right(chosen[0])

    def constant(_: Input) -> object:
        return value

    for mutant in (*mutants, constant):
        if not is_told_apart(right, mutant, chosen):
            chosen += [one for one in pool if right(one) != mutant(one)][:1]
    return chosen
