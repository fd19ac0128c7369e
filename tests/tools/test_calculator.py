"""The calculator is exact on every expression of its grammar, and refuses everything else in bounded time."""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.errors import ToolRefusal
from strop.tools import CALCULATOR, Caller, ToolRegistry, ToolSession, WorldState, calculate
from strop.tools.calculator import exact_text, serve_calculator
from strop.types import ToolCall
from strop.worlds import get_world


def said(expression: Any) -> Any:
    session = ToolSession(
        ToolRegistry([CALCULATOR]),
        {"calculate": serve_calculator},
        state=WorldState(today=date(2025, 9, 30)),
        caller=Caller(tenant="bank_A"),
    )
    return session.call(ToolCall(name="calculate", arguments={"expression": expression}))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1/3", "1/3"),
        ("1/3*3", "1"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2^-2", "0.25"),
        ("12 − 3 × 2", "6"),
        ("12% * 250", "30"),
        ("19.99*3", "59.97"),
        ("round(2.5)", "2"),
        ("round(1/3, 4)", "0.3333"),
        ("round(1250, -2)", "1200"),
        ("mod(-7, 3)", "2"),
        ("max(1, 2/3, sum(1, 2, 3))", "6"),
        ("-(3)", "-3"),
        ("9007199254740993 + 0", "9007199254740993"),
        ("-0.050", "-0.05"),
    ],
)
def test_known_values(expression: str, expected: str) -> None:
    result = said(expression)
    assert (result.state, result.value["result"]) == ("ok", expected)


def test_a_fraction_is_also_told_as_a_decimal() -> None:
    assert said("2/3").value == {"result": "2/3", "about": "0.666667"}


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "1 +",
        "(1",
        "1)",
        "1,200 + 1",
        "7 % 3",
        "1/0",
        "0^-1",
        "mod(1, 0)",
        "2^0.5",
        "2^65",
        "9^9^9",
        "((((99^64)^64)^64)^64)",
        "(" * 60 + "1" + ")" * 60,
        "-" * 60 + "1",
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "a.b",
        "1e400",
        "0x10",
        "nan",
        "round(1, 0.5)",
        "abs(1, 2)",
        "٣ + 1",
        "1;2",
        "lambda: 1",
    ],
)
def test_what_is_no_arithmetic_is_an_invalid_argument(expression: str) -> None:
    assert said(expression).state == "invalid_arguments"


NUMBERS = st.decimals(min_value=0, max_value=9999, places=2).map(lambda d: (str(d), Fraction(str(d))))


def joined(children: Any) -> Any:
    def pair(drawn: Any) -> Any:
        (left, a), sign, (right, b) = drawn
        if sign == "/" and b == 0:
            sign = "+"
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[sign]
        return f"({left}) {sign} ({right})", value

    return st.tuples(children, st.sampled_from("+-*/"), children).map(pair)


@pytest.mark.capability("TU-23")
@settings(max_examples=300)
@given(st.recursive(NUMBERS, joined, max_leaves=6))
def test_the_value_is_that_of_exact_fractions(pair: tuple[str, Fraction]) -> None:
    expression, expected = pair
    assert calculate(expression) == expected
    assert calculate(exact_text(expected)) == expected


@settings(max_examples=300)
@given(st.text(alphabet="0123456789.+-*/^%(), abmodsurn", max_size=40))
def test_any_text_is_answered_or_refused(text: str) -> None:
    states = []
    try:
        exact = exact_text(calculate(text))
        assert len(exact) > 400 or calculate(exact) == calculate(text)
    except ToolRefusal as refusal:
        states.append(refusal.state)
    assert states in ([], ["invalid_arguments"])


@pytest.mark.capability("TU-23")
def test_an_arithmetic_task_whose_sum_the_tool_computes_is_always_right() -> None:
    world = get_world("arithmetic")
    for task in world.tasks("test", 300):
        chain = re.fullmatch(r"Compute ([-+* 0-9]+) mod (\d+)\.", task.prompt[-1].content)
        assert chain is not None
        result = said(f"mod({chain[1]}, {chain[2]})")
        assert result.value == {"result": task.reference["answer"]}
