"""Injected errors are the same for the same seed, change nothing in the world, and their recovery is counted."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import ToolError
from strop.tools import (
    FAULT_KINDS,
    Budget,
    Caller,
    Faults,
    StateView,
    ToolContract,
    ToolRegistry,
    ToolSession,
    WorldState,
    recovery_of,
)
from strop.types import Json, ToolCall

ADD = ToolContract(
    name="add",
    description="Add to the counter.",
    parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    effect="write",
)
LOOK = ToolContract(name="look", description="Look at the counter.", parameters={"type": "object"})


def add(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
    row = state.get("counters", "one") or {"value": 0}
    state.put("counters", "one", {"value": row["value"] + arguments["n"]})
    return {"value": row["value"] + arguments["n"]}


def look(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
    return state.get("counters", "one") or {"value": 0}


def opened(faults: Faults, budget: Budget | None = None) -> ToolSession:
    return ToolSession(
        ToolRegistry([ADD, LOOK]),
        {"add": add, "look": look},
        state=WorldState(today=date(2025, 9, 30)),
        caller=Caller(tenant="bank_A"),
        budget=budget or Budget(max_calls=200),
        faults=faults,
    )


ONE = ToolCall(name="add", arguments={"n": 1})


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_kind_of_fault_fails_once_and_changes_nothing(kind: Any) -> None:
    session = opened(Faults(plan={0: kind}))
    before = session.state.digest
    result = session.call(ONE)
    assert (result.state, json.loads(result.content)["error"]) == ("failed", "failed")
    assert (session.state.digest, session.records[0].faults) == (before, (kind,))
    assert session.call(ONE).value == {"value": 1}


@pytest.mark.capability("TU-03")
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_who_tries_again_recovers_from_every_injected_error_within_the_longest_row_of_them(seed: int, num: int) -> None:
    session = opened(Faults(rate=0.4, seed=seed))
    longest = row = 0
    for _ in range(num):
        while not session.call(ONE).is_ok:
            row += 1
        longest, row = max(longest, row), 0
    recovery = recovery_of(session.records, within=longest)
    assert (
        recovery.num_errors
        == recovery.num_recovered
        == sum(
            not a.result.is_ok and (n == 0 or session.records[n - 1].result.is_ok)
            for n, a in enumerate(session.records)
        )
    )
    if longest > 0:
        assert recovery_of(session.records, within=longest - 1).num_recovered < recovery.num_errors
    assert session.state.get("bank_A", "counters", "one") == {"value": num}


@pytest.mark.capability("TU-03")
def test_the_session_itself_tries_again_as_often_as_the_budget_says() -> None:
    faults = Faults(plan={0: "timeout", 1: "malformed", 3: "error", 4: "rate_limit", 5: "error"})
    session = opened(faults, Budget(retries=2))
    results = [session.call(ONE), session.call(ONE), session.call(ONE)]
    assert [result.state for result in results] == ["ok", "failed", "ok"]
    assert [record.attempts for record in session.records] == [3, 3, 1]
    assert session.state.get("bank_A", "counters", "one") == {"value": 2}
    recovery = recovery_of(session.records, within=3)
    assert (recovery.tries, recovery.rate) == ((2, 3), 1.0)
    assert recovery_of(session.records, within=2).rate == 0.5


def test_recovery_worked_by_hand() -> None:
    session = opened(Faults(plan={0: "error", 1: "error", 3: "timeout"}))
    look_at, wrong = ToolCall(name="look", arguments={}), ToolCall(name="lok", arguments={})
    for wanted in (ONE, ONE, ONE, look_at, wrong, ONE):  # error, error, ok, error of look, unknown, ok
        session.call(wanted)
    recovery = recovery_of(session.records, within=2)
    assert recovery.tries == (2, None, 1)
    assert (recovery.num_recovered, recovery.rate) == (2, 2 / 3)
    assert recovery_of(session.records[:0], within=2).rate is None


def test_a_wrong_call_is_not_tried_again_by_the_session() -> None:
    session = opened(Faults(), Budget(retries=3))
    session.call(ToolCall(name="add", arguments={}))
    assert session.records[0].attempts == 0


def test_a_service_that_times_out_by_itself_is_tried_again() -> None:
    failures = [TimeoutError(), ConnectionResetError()]

    def shaky(*_: Any) -> Any:
        if failures:
            raise failures.pop()
        return {}

    state, caller = WorldState(today=date(2025, 9, 30)), Caller(tenant="a")
    session = ToolSession(ToolRegistry([LOOK]), {"look": shaky}, state=state, caller=caller, budget=Budget(retries=2))
    assert session.call(ToolCall(name="look", arguments={})).is_ok
    assert session.records[0].attempts == 3


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_breaks_what_a_lower_one_broke(seed: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    for number in range(50):
        kind = Faults(rate=low, seed=seed).at(number, "add")
        assert kind is None or Faults(rate=high, seed=seed).at(number, "add") == kind


def test_the_share_of_broken_tries_is_the_rate_and_the_seed_chooses_them() -> None:
    broken = sum(Faults(rate=0.3, seed=7).at(number, "add") is not None for number in range(4000))
    assert abs(broken / 4000 - 0.3) < 0.03  # four standard deviations
    other = [Faults(rate=0.3, seed=8).at(number, "add") for number in range(100)]
    assert other != [Faults(rate=0.3, seed=7).at(number, "add") for number in range(100)]
    assert all(Faults(rate=1.0, tools=("add",)).at(number, "look") is None for number in range(10))


def test_a_rate_or_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ToolError, match="rate"):
        Faults(rate=1.5)
    with pytest.raises(ToolError, match="fire"):
        Faults(kinds=("fire",))  # type: ignore[arg-type]
