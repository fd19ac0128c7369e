"""A session answers a call only after every check, leaves the world alone where it fails, and records all of it."""

from __future__ import annotations

import json
import threading
import time
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import ToolError, ToolRefusal
from strop.tools import Budget, Caller, StateView, ToolContract, ToolRegistry, ToolResult, ToolSession, WorldState
from strop.types import Json, ToolCall

READ = ToolContract(
    name="balance",
    description="Balance of an account.",
    parameters={
        "type": "object",
        "properties": {"account": {"type": "string"}, "tenant": {"type": "string"}},
        "required": ["account"],
        "additionalProperties": False,
    },
    returns={"type": "object", "required": ["balance"], "properties": {"balance": {"type": "integer"}}},
    permission="treasury.read",
    tenant_argument="tenant",
)
WRITE = ToolContract(
    name="pay",
    description="Pay from an account.",
    parameters={
        "type": "object",
        "properties": {"account": {"type": "string"}, "amount": {"type": "integer", "minimum": 1}},
        "required": ["account", "amount"],
    },
    effect="write",
    permission="treasury.write",
    tenants=("bank_A",),
)
REGISTRY = ToolRegistry([READ, WRITE])
CLERK = Caller(tenant="bank_A", permissions=frozenset({"treasury.read", "treasury.write"}))


class Bank:
    """Serves both tools and notes what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def balance(self, contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
        self.reached.append(contract.name)
        row = state.get("accounts", arguments["account"])
        if row is None:
            raise ToolRefusal("no such account")
        return {"balance": row["balance"]}

    def pay(self, contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
        self.reached.append(contract.name)
        row = state.get("accounts", arguments["account"])
        if row is None:
            raise ToolRefusal("no such account")
        state.put("accounts", arguments["account"], {"balance": row["balance"] - arguments["amount"]})
        if row["balance"] < arguments["amount"]:
            raise ToolRefusal("not covered")
        return {"paid": arguments["amount"]}


def world() -> WorldState:
    return WorldState(
        today=date(2025, 9, 30),
        rows={"bank_A": {"accounts": {"a1": {"balance": 100}}}, "bank_B": {"accounts": {"b1": {"balance": 7}}}},
    )


def opened(
    caller: Caller = CLERK, bank: Bank | None = None, registry: ToolRegistry = REGISTRY, **settings: Any
) -> ToolSession:
    bank = bank or Bank()
    settings.setdefault("state", world())
    return ToolSession(registry, {"balance": bank.balance, "pay": bank.pay}, caller=caller, **settings)


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def told(result: ToolResult) -> str:
    return str(json.loads(result.content)["error"])


def test_a_right_call_is_answered_with_compact_json() -> None:
    result = opened().call(call("balance", account="a1"))
    assert (result.state, result.content, result.value) == ("ok", '{"balance":100}', {"balance": 100})


def test_a_tool_that_does_not_exist_is_told_to_the_model() -> None:
    result = opened().call(call("bank", account="a1"))
    assert (result.state, told(result)) == ("unknown_tool", "unknown_tool")
    assert "bank" in result.reason


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"account": 1},
        {"account": "a1", "extra": 1},
        {"account": float("nan")},
        {"account": "a1", "tenant": {"x": {1, 2}}},
    ],
)
def test_arguments_outside_the_schema_never_reach_the_service(arguments: dict[str, Any]) -> None:
    bank = Bank()
    assert opened(bank=bank).call(ToolCall(name="balance", arguments=arguments)).state == "invalid_arguments"
    assert bank.reached == []


@pytest.mark.capability("TU-18", "IM-08")
@pytest.mark.parametrize(
    ("caller", "wanted"),
    [
        (Caller(tenant="bank_A"), call("balance", account="a1")),
        (Caller(tenant="bank_A", permissions=frozenset({"treasury.read"})), call("pay", account="a1", amount=1)),
        (Caller(tenant="bank_B", permissions=CLERK.permissions), call("pay", account="b1", amount=1)),
        (CLERK, call("balance", account="b1", tenant="bank_B")),
    ],
    ids=["no permission", "read is not write", "not a tool of the tenant", "another tenant's name"],
)
def test_who_may_not_call_is_refused_before_anything_runs(caller: Caller, wanted: ToolCall) -> None:
    bank, state = Bank(), world()
    before = state.digest
    session = opened(caller, bank, state=state)
    assert session.call(wanted).state == "denied"
    assert (bank.reached, state.digest, session.records[0].attempts) == ([], before, 0)


@pytest.mark.capability("TU-18")
def test_a_service_cannot_reach_another_tenants_rows_whatever_the_arguments_say() -> None:
    result = opened().call(call("balance", account="b1"))
    assert (result.state, result.reason) == ("inconsistent", "no such account")
    assert opened(Caller(tenant="bank_B", permissions=CLERK.permissions)).call(call("balance", account="b1")).is_ok


@pytest.mark.capability("TU-18")
def test_a_tool_that_only_reads_cannot_write() -> None:
    reading = ToolContract(name="pay", description="", parameters=WRITE.parameters, effect="read")
    state = world()
    before = state.digest
    session = opened(registry=ToolRegistry([reading]), state=state)
    assert session.call(call("pay", account="a1", amount=1)).state == "failed"
    assert state.digest == before


def test_a_caller_is_shown_only_what_it_may_call() -> None:
    reader = Caller(tenant="bank_A", permissions=frozenset({"treasury.read"}))
    assert [tool["function"]["name"] for tool in opened(reader).described] == ["balance"]
    assert [tool["function"]["name"] for tool in opened().described] == ["balance", "pay"]


def test_a_write_that_is_refused_half_way_leaves_the_world_as_it_was() -> None:
    state = world()
    before = state.digest
    session = opened(state=state)
    assert session.call(call("pay", account="a1", amount=101)).state == "inconsistent"
    assert state.digest == before
    assert session.call(call("pay", account="a1", amount=100)).is_ok
    assert state.get("bank_A", "accounts", "a1") == {"balance": 0}


@pytest.mark.parametrize("answer", [{"balance": "100"}, {}, float("nan"), {1, 2}])
def test_a_service_that_breaks_its_contract_has_failed(answer: Any) -> None:
    session = ToolSession(ToolRegistry([READ]), {"balance": lambda *_: answer}, state=world(), caller=CLERK)
    assert session.call(call("balance", account="a1")).state == "failed"


def test_a_service_that_raises_has_failed_and_its_words_stay_inside() -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("password=hunter2")

    session = ToolSession(ToolRegistry([READ]), {"balance": broken}, state=world(), caller=CLERK)
    result = session.call(call("balance", account="a1"))
    assert (result.state, result.reason) == ("failed", "the service broke: RuntimeError")


def test_what_a_service_does_to_its_arguments_stays_with_it() -> None:
    def greedy(contract: ToolContract, arguments: Any, caller: Caller, state: StateView) -> Any:
        arguments["names"].append("b")
        return {}

    tool = ToolContract(name="list", description="", parameters={"type": "object"})
    session = ToolSession(ToolRegistry([tool]), {"list": greedy}, state=world(), caller=CLERK)
    session.call(call("list", names=["a"]))
    assert session.records[0].call.arguments == {"names": ["a"]}


@pytest.mark.capability("TU-19")
def test_the_call_after_the_last_one_is_answered_with_the_order_to_answer() -> None:
    bank = Bank()
    session = opened(bank=bank, budget=Budget(max_calls=2))
    states = [session.call(call("balance", account="a1")).state for _ in range(4)]
    assert states == ["ok", "ok", "exhausted", "exhausted"]
    assert len(bank.reached) == 2
    assert session.is_over
    assert "answer now" in session.records[-1].result.content


@pytest.mark.capability("TU-19")
def test_a_tools_own_bound_leaves_the_others_their_calls() -> None:
    session = opened(budget=Budget(max_calls=4, per_tool={"balance": 1}))
    calls = [call("balance", account="a1")] * 2 + [call("pay", account="a1", amount=1)]
    assert [session.call(c).state for c in calls] == ["ok", "exhausted", "ok"]
    assert not session.is_over


@pytest.mark.capability("TU-19")
def test_no_call_begins_after_the_deadline() -> None:
    now = [0.0]
    session = opened(budget=Budget(deadline_s=10.0), clock=lambda: now[0])
    assert session.call(call("balance", account="a1")).is_ok
    now[0] = 10.0
    assert session.call(call("balance", account="a1")).state == "exhausted"
    assert session.is_over


def test_a_result_that_is_too_long_fails_instead_of_being_cut() -> None:
    session = opened(budget=Budget(max_result_chars=14))
    assert session.call(call("balance", account="a1")).state == "failed"
    assert opened(budget=Budget(max_result_chars=15)).call(call("balance", account="a1")).is_ok


CALLS = st.lists(
    st.one_of(
        st.builds(lambda a: call("balance", account=a), st.sampled_from(["a1", "b1", "x"])),
        st.builds(lambda n: call("pay", account="a1", amount=n), st.integers(-5, 60)),
        st.just(call("nothing")),
    ),
    max_size=12,
)


@pytest.mark.capability("TU-19")
@given(CALLS, st.integers(0, 12), st.integers(0, 12))
def test_a_larger_budget_changes_nothing_that_a_smaller_one_allowed(
    calls: list[ToolCall], one: int, other: int
) -> None:
    small, large = sorted((one, other))
    results = []
    for bound in (small, large):
        session = opened(budget=Budget(max_calls=bound))
        results.append([session.call(c) for c in calls])
    assert results[0][:small] == results[1][:small]
    assert sum(r.is_ok for r in results[0]) <= sum(r.is_ok for r in results[1])
    assert all(result.state == "exhausted" for result in results[0][small:])


@pytest.mark.capability("IM-08")
@given(CALLS)
def test_the_same_calls_give_the_same_trace(calls: list[ToolCall]) -> None:
    traces = []
    for _ in range(2):
        session = opened(budget=Budget(max_calls=20))
        for wanted in calls:
            session.call(wanted)
        traces.append(session.trace)
    assert traces[0] == traces[1]


def test_a_record_says_which_contract_was_met() -> None:
    session = opened()
    session.call(call("balance", account="a1"))
    session.call(call("bank"))
    assert [record.contract_digest for record in session.records] == [READ.digest, None]
    assert session.trace["registry"] == REGISTRY.digest
    assert session.trace["records"][0]["contract"] == READ.digest


def test_a_tool_without_a_service_is_refused_at_once() -> None:
    with pytest.raises(ToolError, match="pay has no service"):
        ToolSession(REGISTRY, {"balance": Bank().balance}, state=world(), caller=CLERK)


def test_a_caller_without_a_tenant_is_none() -> None:
    with pytest.raises(ToolError, match="tenant"):
        Caller(tenant="")


def test_calls_from_several_threads_spend_one_budget() -> None:
    def slow(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
        time.sleep(0.02)
        return {"balance": 1}

    registry = ToolRegistry([READ])
    session = ToolSession(registry, {"balance": slow}, state=world(), caller=CLERK, budget=Budget(max_calls=2))
    call = ToolCall(name="balance", arguments={"account": "a1"})
    threads = [threading.Thread(target=session.call, args=(call,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.result.state for record in session.records] == ["ok"] * 2 + ["exhausted"] * 6
    assert [record.number for record in session.records] == list(range(8))
