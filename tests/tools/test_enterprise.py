"""The mock enterprise is deterministic, refuses what cannot be so, and what it tells can be cited and checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.chat import ChatTemplate
from strop.rollouts import converse
from strop.tools import Budget, Caller, ToolFirst, ToolResult, ToolSession, WorldState, evidence_of, ground
from strop.tools.enterprise import ENTERPRISE, ROLES, SERVICES, open_books
from strop.types import Completion, Message, SamplingParams, ToolCall

TODAY = date(2025, 9, 30)


def caller(role: str, tenant: str = "bank_A", name: str = "") -> Caller:
    return Caller(tenant=tenant, permissions=ROLES[role], name=name or role)


def opened(who: Caller, state: WorldState | None = None) -> ToolSession:
    return ToolSession(ENTERPRISE, SERVICES, state=state or open_books(), caller=who, budget=Budget(max_calls=100))


def call(session: ToolSession, name: str, **arguments: Any) -> ToolResult:
    return session.call(ToolCall(name=name, arguments=arguments))


def account_of(state: WorldState, tenant: str = "bank_A", **wanted: Any) -> str:
    rows = state.rows(tenant, "accounts").items()
    return next(name for name, row in rows if wanted.items() <= row.items() and (wanted or row["is_open"]))


def good_transfer(state: WorldState, amount: int = 1) -> dict[str, Any]:
    name = account_of(state, currency="EUR", is_open=True)
    vendor = next(name for name, row in state.rows("bank_A", "vendors").items() if not row["is_blocked"])
    return {"account": name, "vendor": vendor, "amount": amount, "currency": "EUR", "date": TODAY.isoformat()}


@pytest.mark.capability("IM-08")
def test_the_books_are_a_function_of_seed_day_and_tenant() -> None:
    assert open_books(3).digest == open_books(3).digest
    assert len({open_books(3).digest, open_books(4).digest, open_books(3, today=date(2025, 9, 29)).digest}) == 3
    alone, among = open_books(3, tenants=("saas_C",)), open_books(3)
    assert alone.rows("saas_C", "plans") == among.rows("saas_C", "plans")
    assert among.rows("bank_A", "accounts") != among.rows("retail_B", "accounts")


@pytest.mark.capability("IM-08")
@pytest.mark.parametrize("role", list(ROLES))
def test_a_role_may_do_what_its_permissions_say_and_nothing_else(role: str) -> None:
    state = open_books()
    session = opened(caller(role), state)
    name = account_of(state)
    arguments: dict[str, dict[str, Any]] = {
        "query_erp": {"department": "sales", "quarter": "2025-Q3"},
        "get_budget": {"department": "sales", "quarter": "2025-Q4"},
        "get_balance": {"account": name},
        "forecast_cash": {"account": name, "until": "2025-10-31"},
        "get_rate": {"base": "EUR", "quote": "USD"},
        "get_policy": {"topic": "meals"},
        "create_transfer": good_transfer(state),
        "approve_transfer": {"transfer": "tr-0001"},
    }
    may = {contract.name for contract in ENTERPRISE if contract.permission in ROLES[role]}
    states = {tool: call(session, tool, **arguments[tool]).state for tool in ENTERPRISE.names}
    assert {tool for tool, found in states.items() if found == "denied"} == set(ENTERPRISE.names) - may
    assert all(states[tool] in ("ok", "inconsistent") for tool in may)
    assert all(states[tool] == "ok" for tool in may - {"approve_transfer"})


WRONG_TRANSFERS: list[tuple[dict[str, Any], str]] = [
    ({"date": "2025-09-29"}, "lies in the past"),
    ({"account": "acc-0000"}, "no account"),
    ({"vendor": "Nobody"}, "no vendor"),
    ({"currency": "USD"}, "held in EUR"),
    ({"amount": 10_000_000}, "not covered"),
]


@pytest.mark.capability("TU-22")
@pytest.mark.parametrize(("change", "reason"), WRONG_TRANSFERS, ids=[reason for _, reason in WRONG_TRANSFERS])
def test_a_transfer_that_contradicts_the_world_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    state = open_books()
    before = state.digest
    result = call(opened(caller("treasurer"), state), "create_transfer", **{**good_transfer(state), **change})
    assert (result.state, state.digest) == ("inconsistent", before)
    assert reason in result.reason
    assert json.loads(result.content)["error"] == "inconsistent"


@pytest.mark.capability("TU-22")
def test_closed_blocked_and_foreign_are_refused() -> None:
    state = open_books()
    session, good = opened(caller("treasurer"), state), good_transfer(state)
    blocked = next(name for name, row in state.rows("bank_A", "vendors").items() if row["is_blocked"])
    foreign = account_of(state, "retail_B")
    for change, reason in (
        ({"account": account_of(state, is_open=False)}, "closed"),
        ({"vendor": blocked}, "blocked"),
        ({"account": foreign}, "no account"),
    ):
        result = call(session, "create_transfer", **{**good, **change})
        assert result.state == "inconsistent"
        assert reason in result.reason
    assert call(session, "get_balance", account=foreign).state == "inconsistent"
    assert call(opened(caller("treasurer", "retail_B"), state), "get_balance", account=foreign).is_ok


@pytest.mark.capability("TU-22")
def test_what_has_not_happened_yet_is_not_told() -> None:
    session = opened(caller("analyst"))
    tomorrow = (TODAY + timedelta(days=1)).isoformat()
    for name, arguments, reason in (
        ("get_rate", {"base": "EUR", "quote": "USD", "date": tomorrow}, "lies in the future"),
        ("query_erp", {"department": "sales", "quarter": "2025-Q4"}, "lies in the future"),
        ("forecast_cash", {"account": account_of(open_books()), "until": "2025-09-29"}, "lies in the past"),
    ):
        result = call(session, name, **arguments)
        assert result.state == "inconsistent"
        assert reason in result.reason
    assert call(session, "get_budget", department="sales", quarter="2025-Q4").is_ok
    assert call(session, "get_rate", base="EUR", quote="USD", date="2025-02-30").state == "invalid_arguments"


def test_a_transfer_above_the_limit_waits_for_a_second_person() -> None:
    state = open_books()
    limit = state.get("bank_A", "settings", "transfer_limit")
    assert limit is not None
    name = account_of(state, currency="EUR", is_open=True)
    state.put("bank_A", "accounts", name, {**(state.get("bank_A", "accounts", name) or {}), "balance": 50_000})

    def balance() -> int:
        return int((state.get("bank_A", "accounts", name) or {})["balance"])

    clerk = opened(caller("treasurer"), state)
    assert call(clerk, "create_transfer", **good_transfer(state, limit["amount"])).value["status"] == "prepared"
    assert balance() == 50_000 - limit["amount"]
    waiting = call(clerk, "create_transfer", **good_transfer(state, limit["amount"] + 1)).value
    assert (waiting["status"], balance()) == ("awaiting_approval", 50_000 - limit["amount"])
    both = replace(caller("treasurer"), permissions=ROLES["treasurer"] | ROLES["approver"])
    assert call(opened(both, state), "approve_transfer", transfer=waiting["transfer"]).state == "denied"
    other = opened(caller("approver"), state)
    assert call(other, "approve_transfer", transfer=waiting["transfer"]).value["status"] == "approved"
    assert balance() == 50_000 - 2 * limit["amount"] - 1
    assert call(other, "approve_transfer", transfer=waiting["transfer"]).state == "inconsistent"


def test_a_transfer_that_is_no_longer_covered_is_not_approved() -> None:
    state = open_books()
    name = account_of(state, currency="EUR", is_open=True)
    state.put("bank_A", "accounts", name, {**(state.get("bank_A", "accounts", name) or {}), "balance": 15_000})
    clerk, other = opened(caller("treasurer"), state), opened(caller("approver"), state)
    waiting = [call(clerk, "create_transfer", **good_transfer(state, 9000)).value["transfer"] for _ in range(2)]
    results = [call(other, "approve_transfer", transfer=transfer) for transfer in waiting]
    assert [result.state for result in results] == ["ok", "inconsistent"]
    assert (state.get("bank_A", "accounts", name) or {})["balance"] == 6000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40_000), max_size=6))
def test_money_leaves_an_account_only_by_transfers_that_were_prepared(amounts: list[int]) -> None:
    state = open_books()
    session, name = opened(caller("treasurer"), state), good_transfer(state)["account"]
    before = (state.get("bank_A", "accounts", name) or {})["balance"]
    results = [call(session, "create_transfer", **good_transfer(state, amount)) for amount in amounts]
    paid = sum(a for a, r in zip(amounts, results, strict=True) if r.is_ok and r.value["status"] == "prepared")
    after = (state.get("bank_A", "accounts", name) or {})["balance"]
    assert after == before - paid >= 0


def test_a_cross_rate_is_that_of_the_two_rates_to_the_euro() -> None:
    state = open_books()
    session = opened(caller("analyst"), state)
    usd, jpy = (state.get("", "rates", f"{c}/2025-09-12") or {} for c in ("USD", "JPY"))
    rate = call(session, "get_rate", base="USD", quote="JPY", date="2025-09-12").value["rate"]
    assert abs(Fraction(rate) - Fraction(jpy["per_euro"], usd["per_euro"])) <= Fraction(1, 20_000)
    assert call(session, "get_rate", base="EUR", quote="EUR").value["rate"] == "1.0000"


@pytest.mark.parametrize("seed", range(8))
def test_the_forecast_is_that_of_adding_up_day_by_day(seed: int) -> None:
    state = open_books(seed)
    session, until = opened(caller("analyst"), state), TODAY + timedelta(days=45)
    for name, row in state.rows("bank_A", "accounts").items():
        balance, lowest, lowest_on = row["balance"], row["balance"], TODAY
        for ahead in range(1, 46):
            day = TODAY + timedelta(days=ahead)
            for plan in state.rows("bank_A", "plans").values():
                if (plan["account"], plan["due"]) == (name, day.isoformat()):
                    balance += plan["amount"] if plan["kind"] == "receipt" else -plan["amount"]
            if balance < lowest:
                lowest, lowest_on = balance, day
        value = call(session, "forecast_cash", account=name, until=until.isoformat()).value
        assert (value["lowest"], value["lowest_on"]) == (lowest, lowest_on.isoformat())
        assert value["is_short"] is (lowest < row["minimum"])
        assert (
            value["balance"] + sum(p["amount"] for p in value["receipts"]) - sum(p["amount"] for p in value["payments"])
            == balance
        )


class Treasurer:
    """Asks for the forecast, reads it from the dialogue, and warns with citations, or claims what the test says."""

    def __init__(self, template: ChatTemplate, account: str, session: ToolSession, shift: int = 0) -> None:
        self.template, self.account, self.session, self.shift = template, account, session, shift

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        text = self.warning() if self.session.records else self.question()
        return [Completion(token_ids=(5, 2), sampler_logprobs=(0.0, 0.0), text=text, finish_reason="stop")]

    def question(self) -> str:
        call = {"name": "forecast_cash", "arguments": {"account": self.account, "until": "2025-11-14"}}
        return f"<tool_call>{json.dumps(call)}</tool_call>"

    def warning(self) -> str:
        value = json.loads(self.session.records[-1].result.content)
        largest = max(value["payments"], key=lambda row: row["amount"])
        return (
            f"{self.account} falls to {value['lowest'] + self.shift:,} on {value['lowest_on']}, below its minimum of "
            f"{value['minimum']:,} [{value['source']}]. The largest payment is {largest['amount']:,} to "
            f"{largest['party']} [{largest['source']}]."
        )


@pytest.mark.capability("TU-24")
@pytest.mark.parametrize("shift", [0, 1])
def test_a_cash_flow_warning_is_answered_from_the_books_with_citations(chat_folder: Path, shift: int) -> None:
    state = open_books(5)
    name = next(
        name
        for name, row in state.rows("bank_A", "accounts").items()
        if row["is_open"]
        and call(opened(caller("analyst"), state), "forecast_cash", account=name, until="2025-11-14").value["is_short"]
    )
    template, session = ChatTemplate.load(chat_folder), opened(caller("analyst"), state)
    question = [Message(role="user", content=f"Will {name} stay above its minimum until 2025-11-14?")]
    guard = ToolFirst(kinds=frozenset({"cash"}))
    turns = converse(
        Treasurer(template, name, session, shift),
        template,
        question,
        (),
        session,
        max_turns=4,
        guard=guard,
        kind="cash",
    )
    if shift:
        assert turns[-1].content == guard.withheld
        return
    grounding = ground(turns[-1].content, evidence_of(session.records))
    assert len(grounding.claims) == 2
    assert (grounding.grounded, grounding.coverage, grounding.precision) == (1.0, 1.0, 1.0)
