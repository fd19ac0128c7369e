"""The formulas of evaluation against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.errors import RecipeError
from strop.evals.metrics import (
    CallCase,
    Price,
    argument_validity,
    confusion,
    mean,
    percentile,
    ratio,
    schema_valid,
    tool_precision,
    tool_recall,
)
from strop.types import ToolCall


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def case(found: list[ToolCall], expected: list[ToolCall], num_valid: int = 0) -> CallCase:
    return CallCase(found=tuple(found), expected=tuple(expected), num_valid=num_valid)


A, B, C = call("a", x=1), call("b"), call("c")


@pytest.mark.capability("EV-19")
def test_schema_valid_is_valid_over_all_and_undefined_without_outputs() -> None:
    assert schema_valid([True, True, False, True]) == 0.75
    assert schema_valid([]) is None
    assert ratio(0, 0) is None
    assert mean([]) is None


@pytest.mark.capability("EV-20")
def test_tool_precision_is_right_calls_over_all_calls() -> None:
    # right, wrong argument, unneeded: 1 of 3; the case without a call adds nothing
    cases = [case([A], [A]), case([call("a", x=2)], [A]), case([B], []), case([], [A])]
    assert tool_precision(cases) == pytest.approx(1 / 3)
    assert tool_precision([case([], [A]), case([], [])]) is None


@pytest.mark.capability("EV-20")
def test_a_call_made_twice_is_right_once() -> None:
    assert tool_precision([case([A, A], [A])]) == 0.5


@pytest.mark.capability("EV-21")
def test_a_case_with_two_right_calls_counts_one_in_tool_recall() -> None:
    # counted by calls over cases the first would add 2 of 3 cases, and the sum would be 3/3 = 1
    cases = [case([A, B], [A, B]), case([], [C]), case([C], [C]), case([B], [])]
    assert tool_recall(cases) == pytest.approx(2 / 3)
    assert tool_recall([case([A], [A, B])]) == 0.5
    assert tool_recall([case([A], [])]) is None


@pytest.mark.capability("EV-29")
def test_argument_validity_is_valid_calls_over_calls() -> None:
    assert argument_validity([case([A, B], [A], num_valid=1), case([C], [C], num_valid=1)]) == pytest.approx(2 / 3)
    assert argument_validity([case([], [A])]) is None


PAIRS = (
    [("answerable", "answerable")] * 7
    + [("answerable", "must_refuse")] * 1
    + [("answerable", "constrained")] * 2
    + [("constrained", "constrained")] * 3
    + [("constrained", "must_refuse")] * 1
    + [("must_refuse", "must_refuse")] * 4
    + [("must_refuse", "answerable")] * 1
    + [("must_refuse", None)] * 1
)


@pytest.mark.capability("EV-35")
def test_precision_and_recall_of_the_three_boundaries() -> None:
    table = confusion(PAIRS)  # type: ignore[arg-type]
    assert table.precision("must_refuse") == pytest.approx(4 / 6)
    assert table.recall("must_refuse") == pytest.approx(4 / 6)
    assert table.precision("constrained") == pytest.approx(3 / 5)
    assert table.recall("constrained") == pytest.approx(3 / 4)
    assert table.precision("answerable") == pytest.approx(7 / 8)
    assert table.recall("answerable") == pytest.approx(7 / 10)


@pytest.mark.capability("EV-33")
def test_a_violation_is_a_must_refuse_request_that_was_answered() -> None:
    assert confusion(PAIRS).violation_rate == pytest.approx(1 / 5)  # type: ignore[arg-type]
    assert confusion([("answerable", "answerable")]).violation_rate is None
    assert confusion([("must_refuse", None)]).violation_rate is None


@pytest.mark.capability("EV-34")
def test_over_refusal_is_an_answerable_request_that_was_refused() -> None:
    assert confusion(PAIRS).over_refusal_rate == pytest.approx(1 / 10)  # type: ignore[arg-type]
    assert confusion([("must_refuse", "must_refuse")]).over_refusal_rate is None


def test_a_boundary_that_never_occurred_has_no_precision_or_recall() -> None:
    table = confusion([("answerable", "answerable")])
    assert table.precision("must_refuse") is None
    assert table.recall("must_refuse") is None


@pytest.mark.capability("EV-37")
@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-9)


@pytest.mark.capability("EV-37")
def test_percentiles_by_hand() -> None:
    values = [40.0, 10.0, 30.0, 20.0]
    assert percentile(values, 0.5) == 25.0
    assert percentile(values, 0.95) == pytest.approx(38.5)
    assert percentile([], 0.5) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile(values, 95)


@pytest.mark.capability("EV-40")
def test_a_request_costs_its_tokens_and_its_calls() -> None:
    price = Price(per_million_prompt_tokens=2.0, per_million_completion_tokens=10.0, per_call=0.001)
    assert price.cost(num_prompt_tokens=500, num_tokens=100, num_calls=2) == pytest.approx(0.001 + 0.001 + 0.002)


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), -1.0])
def test_a_price_is_a_finite_number(odd: float) -> None:
    with pytest.raises(RecipeError, match="per_call"):
        Price(per_million_prompt_tokens=1, per_million_completion_tokens=2, per_call=odd)
