"""The figures of a text are the same numbers however they are written."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from strop.tools.figures import figures, figures_of

SAME = [
    ("It is 1200.", {1200}),
    ("It is 1,200.00 now", {1200}),
    ("EUR1200, 1200EUR, €1200 and 1.2k", {1200}),
    ("1.2 thousand", {1200}),
    ("1 200 000", {1200000}),
    ("1.5 million and 2bn", {1500000, 2000000000}),
    ("short by -500", {500}),
    ("12% or 12 %", {12}),
    ("3.25", {Fraction(13, 4)}),
    ("twelve hundred", {1200}),
    ("two thousand three hundred and forty-five", {2345}),
    ("a hundred", {100}),
    ("two and three", {2, 3}),
    ("twenty thirty", {20, 30}),
    ("one of them", set()),
    ("twenty-one, one hundred", {21, 100}),
    ("by 2025-09-30 on acc-1234 in Q3's end", {"2025-09-30", "acc-1234", "q3"}),
    ("１２００", {1200}),
    ("no figures at all", set()),
    ("1e3", {1000}),
]


@pytest.mark.parametrize(("text", "expected"), SAME, ids=[text for text, _ in SAME])
def test_the_figures_of_a_text(text: str, expected: set[Any]) -> None:
    assert figures(text) == expected


def test_the_figures_of_a_json_value_are_those_of_its_leaves() -> None:
    value = {"2020": [1, -2.5, True, None], "b": {"c": "from 1,000 to Q4"}}
    assert figures_of(value) == {1, Fraction(5, 2), 1000, "q4"}


def test_a_run_of_digits_that_is_no_sensible_number_is_taken_as_a_name() -> None:
    assert figures("1" * 20_000) == {"1" * 20_000}
    assert figures("1" * 50) == {int("1" * 50)}
