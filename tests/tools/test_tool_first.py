"""Where the stakes are high, no figure is stated that no tool brought."""

from __future__ import annotations

from typing import Any

import pytest

from strop.tools import ToolFirst, ToolRecord, ToolResult
from strop.types import ToolCall

POLICY = ToolFirst(kinds=frozenset({"balance"}))
QUESTION = "What is on acc-1234 after the 500 for rent?"


def record(name: str, arguments: dict[str, Any], value: Any, state: str = "ok") -> ToolRecord:
    return ToolRecord(
        number=0,
        call=ToolCall(name=name, arguments=arguments),
        result=ToolResult(content="", state=state, value=value),  # type: ignore[arg-type]
        contract_digest=None,
        index_digest=None,
    )


BALANCE = record("get_balance", {"account": "acc-1234"}, {"balance": 4200, "source": "bank/acc-1234"})


def unfounded(answer: str, *records: ToolRecord, kind: str = "balance") -> int:
    return len(POLICY.unfounded(answer, records, kind=kind, question=QUESTION))


@pytest.mark.capability("TU-25")
@pytest.mark.parametrize(
    "answer",
    [
        "It is 4200.",
        "It is four thousand two hundred.",
        "It is EUR4,200.00 [get_balance].",
        "[4200]",
        "4.2k",
        "It is 500.",
        "On acc-9999 it is fine.",
        "４２００",
    ],
)
def test_a_direct_answer_is_impossible_without_evidence(answer: str) -> None:
    assert unfounded(answer) > 0


@pytest.mark.capability("TU-25")
@pytest.mark.parametrize(
    "answer",
    [
        "It is 4200 [bank/acc-1234].",
        "It is EUR 4,200.00 on acc-1234, before the 500.",
        "Four thousand two hundred [get_balance].",
        "I cannot say.",
        "Do you mean acc-1234?",
    ],
)
def test_what_a_tool_brought_may_be_said(answer: str) -> None:
    assert unfounded(answer, BALANCE) == 0


@pytest.mark.capability("TU-25")
@pytest.mark.parametrize("answer", ["It is 4201.", "It is 4200 and 17 more.", "It is 4200 on 2025-10-01."])
def test_a_figure_beside_the_evidence_is_refused(answer: str) -> None:
    assert unfounded(answer, BALANCE) == 1


def test_what_was_founded_with_less_evidence_is_founded_with_more() -> None:
    other = record("get_budget", {}, {"budget": 7})
    for answer in ("It is 4200.", "It is 7.", "4200 and 7", "500"):
        assert unfounded(answer, BALANCE, other) <= unfounded(answer, BALANCE) <= unfounded(answer)
        assert unfounded(answer, BALANCE, other) == unfounded(answer, other, BALANCE)


def test_a_guess_does_not_become_evidence_by_way_of_the_calculator() -> None:
    guess = record("calculate", {"expression": "3700"}, {"result": "3700"})
    right = record("calculate", {"expression": "4200-500"}, {"result": "3700"})
    assert unfounded("3700 are left.", guess) == 1
    assert unfounded("3700 are left.", right) == 1
    assert unfounded("3700 are left.", BALANCE, guess) == 1
    assert unfounded("3700 are left.", BALANCE, right) == 0


def test_what_a_call_held_itself_is_not_evidence_because_the_result_repeats_it() -> None:
    echo = record("search", {"query": "is it 9000"}, {"query": "is it 9000", "documents": []})
    assert unfounded("It is 9000.", echo) == 1


def test_a_failed_call_is_no_evidence() -> None:
    failed = record("get_balance", {}, {"balance": 4200}, "failed")
    assert unfounded("It is 4200.", failed) == 1


def test_other_kinds_are_free() -> None:
    assert unfounded("It is 4200.", kind="small_talk") == 0
