"""Hidden tests are chosen so that every mutant which some input tells apart fails one."""

from __future__ import annotations

import random

from strop.worlds.hidden_tests import choose_tests


def test_a_mutant_that_differs_on_one_input_only_is_caught_and_an_equal_one_costs_nothing() -> None:
    pool = list(range(100))

    def right(number: int) -> int:
        return number * 2

    mutants = [lambda number: number * 2 + (number == 77), lambda number: number + number]
    for seed in range(20):
        chosen = choose_tests(right, mutants, pool, random.Random(seed), at_least=3)
        assert 77 in chosen
        assert len(chosen) in (3, 4)


def test_no_constant_passes() -> None:
    pool = [0] * 50 + [1]
    chosen = choose_tests(lambda number: number, [], pool, random.Random(0), at_least=4)
    assert {0, 1} == set(chosen)
