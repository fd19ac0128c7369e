"""The treasury world: what it refuses, warnings from mock data with their sources, calls judged by their effect."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from strop.errors import VerifierError
from strop.tools import citations
from strop.types import Completion, Task, ToolCall, Verdict
from strop.worlds import get_world
from strop.worlds.finance.treasury_cases import KINDS, TODAY, play, session
from strop.worlds.finance.treasury_rules import TreasuryAnswer, world_after
from strop.worlds.finance.world import call_text
from strop.worlds.splits import row_random

WORLD = get_world("treasury")
TENANT = "bank_A-7"
BOOKS = session(TENANT).state
OPEN = [name for name, row in BOOKS.rows(TENANT, "accounts").items() if row["is_open"]]
PAYABLE = [name for name, row in BOOKS.rows(TENANT, "vendors").items() if not row["is_blocked"]]


def judged(task: Task, text: str, finish_reason: str = "stop") -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]
    return TreasuryAnswer()(task, answer)


def payment(**changes: Any) -> ToolCall:
    currency = BOOKS.rows(TENANT, "accounts")[OPEN[0]]["currency"]
    right = {"account": OPEN[0], "vendor": PAYABLE[0], "amount": 100, "currency": currency, "date": TODAY.isoformat()}
    return ToolCall(name="create_transfer", arguments={**right, **changes})


@pytest.mark.capability("TU-22")
@pytest.mark.parametrize(
    ("call", "why"),
    [
        (payment(date="2025-09-29"), "2025-09-29 lies in the past"),
        (payment(account="acc-0001"), "there is no account acc-0001"),
        (payment(vendor="Nobody"), "there is no vendor Nobody"),
        (payment(amount=10_000_000), "10000000 is not covered"),
        (payment(currency="JPY"), "the account is held in"),
        (
            ToolCall(name="query_erp", arguments={"department": "sales", "quarter": "2026-Q1"}),
            "2026-Q1 lies in the future",
        ),
    ],
)
def test_the_world_refuses_what_cannot_be_and_stays_as_it_was(call: ToolCall, why: str) -> None:
    here = session(TENANT)
    before = here.state.digest
    result = here.call(call)
    assert not result.is_ok
    assert result.reason.startswith(why)
    assert here.state.digest == before
    assert json.loads(WORLD.execute(call, tenant=TENANT))["why"] == result.reason


@pytest.mark.capability("TU-22")
def test_a_payment_changes_the_tenants_own_world_only_in_its_copy() -> None:
    before, _ = world_after(TENANT, ())
    after, is_ok = world_after(TENANT, (payment(),))
    assert is_ok
    assert after != before
    assert world_after(TENANT, ()) == (before, False)


def drawn(n: int, **dial: int) -> list[Task]:
    return WORLD.tasks("train", n, 3, **dial)


@pytest.mark.capability("TU-22")
def test_every_refused_request_is_reported_with_the_worlds_reason_and_success_is_not_believed() -> None:
    tasks = drawn(90, kinds=3, traps=100, calls=0)
    assert {task.slices["expects"] for task in tasks} == {"report"}
    assert {task.slices["trap"] for task in tasks} >= {"future", "past", "account", "blocked", "currency", "cover"}
    for task in tasks:
        why = json.loads(task.prompt[-1].content)["why"]
        assert judged(task, f"Not done: {why}.").passed
        assert judged(task, f"Not done: {why}, sorry.").passed
        assert not judged(task, "Prepared: tr-0001 [treasury/tr-0001].").passed
        assert not judged(task, f"Not done: {why}. But tr-0002 is prepared.").passed
        assert not judged(task, f"Not done: {why}. The balance is 4711.").passed
        assert not judged(task, "Not done: I do not feel like it.").passed


@pytest.mark.capability("TU-22")
def test_a_report_that_names_every_reason_has_named_none() -> None:
    drawn = [task for seed in range(3) for task in WORLD.tasks("train", 60, seed, kinds=5, traps=90)]
    reports = [task for task in drawn if task.reference["expects"] == "report"]
    assert len({task.slices["trap"] for task in reports}) >= 5
    everything = (
        "Not done: there is no account and no vendor, the account is closed, held in another currency, the vendor is "
        "blocked, it lies in the past, in the future, and is not covered: today, the balance."
    )
    for task in reports:
        assert judged(task, f"Not done: {task.reference['reason']}.").passed
        assert "it gives a reason that was none" in judged(task, everything).reasons


def test_a_call_must_leave_the_world_as_it_must_be() -> None:
    task = next(
        one for one in drawn(60, kinds=3) if one.slices["expects"] == "call" and one.slices["kind"] == "transfer"
    )
    right = WORLD.reference_text(task)
    assert judged(task, right).passed
    elsewhere = Task(id="t", prompt=task.prompt, reference={**task.reference, "world": "another"}, tools=task.tools)
    assert judged(elsewhere, right).reasons == ("the world is not as it must be after the call",)


def lowest(result: dict[str, Any]) -> tuple[int, str]:
    """The lowest balance at a day's end, from the plans that the tool listed: worked out anew."""
    moves: dict[str, int] = {}
    for sign, side in ((1, "receipts"), (-1, "payments")):
        for row in result[side]:
            moves[row["due"]] = moves.get(row["due"], 0) + sign * row["amount"]
    balance, found = result["balance"], [(result["balance"], TODAY.isoformat())]
    for day in sorted(moves):
        balance += moves[day]
        found.append((balance, day))
    return min(found)


@pytest.mark.capability("TU-24")
def test_a_cash_flow_warning_follows_from_the_mock_data_and_cites_it() -> None:
    tasks = [task for task in drawn(80, kinds=4, calls=0) if task.slices["kind"] == "warning"]
    heads = set()
    for task in tasks:
        floor, until = re.findall(r"below (\d+) by (\S+)\.", task.prompt[1].content)[0]
        result = json.loads(task.prompt[-1].content)
        amount, day = lowest(result)
        assert day <= until
        head = "Warning:" if amount < int(floor) else "No warning:"
        answer = f"{head} lowest {amount} on {day} [{result['source']}]."
        assert answer == WORLD.reference_text(task)
        assert citations(answer) == (result["source"],)
        assert judged(task, answer).passed
        assert judged(task, answer.replace("lowest", "the balance falls to")).passed
        assert judged(task, answer.replace(" on ", f", beside {floor}, on ")).passed
        assert not judged(task, f"{head} {task.prompt[1].content} [{result['source']}]").passed
        assert not judged(task, answer.replace(f" [{result['source']}]", "")).passed
        assert not judged(task, answer.replace(result["source"], "treasury/acc-9999/forecast")).passed
        assert not judged(task, answer.replace(str(amount), str(amount + 1))).passed
        heads.add(head)
    assert heads == {"Warning:", "No warning:"}


@pytest.mark.capability("TU-24")
def test_whether_a_budget_is_delayed_follows_from_both_sources() -> None:
    tasks = [task for task in drawn(100, kinds=5, calls=0) if task.slices["kind"] == "delay"]
    said = set()
    for task in tasks:
        budget = json.loads(task.prompt[-1].content)
        right = WORLD.reference_text(task)
        word = "Delay" if right.startswith("Warning:") else "Keep"
        assert right.endswith(f" {budget['budget']} [{budget['source']}].")
        assert f" {word} " in right
        assert not judged(task, right.replace(word, "Keep" if word == "Delay" else "Delay")).passed
        assert not judged(task, right.replace(word, "Delay or keep")).passed
        assert not judged(task, right.rpartition(f" {word}")[0]).passed
        said.add(word)
    assert said == {"Delay", "Keep"}


def test_the_traps_are_as_many_as_the_dial_says_and_every_kind_has_some() -> None:
    shares = [
        sum(task.slices["trap"] != "none" for task in drawn(80, kinds=5, traps=traps)) / 80 for traps in (0, 50, 100)
    ]
    assert shares[0] == 0
    assert 0.3 < shares[1] < 0.7
    assert shares[2] == 1
    for kind, draft in KINDS.items():
        played = play(draft(row_random("trap", kind), TENANT, True))
        assert played.reason
        assert played.answer == f"Not done: {played.reason}."


def test_a_dialogue_goes_through_the_services_from_the_first_call_to_the_answer() -> None:
    for row in WORLD.demonstrations("train", 12, kinds=5, traps=30):
        tenant = row.messages[0].content.removeprefix("Treasury of ").removesuffix(".")
        here = session(tenant)
        for call, answer in zip(row.messages[2:-1:2], row.messages[3:-1:2], strict=True):
            assert here.call(call.tool_calls[0]).content == answer.content


def test_truncated_and_empty_answers_and_tasks_that_expect_nothing() -> None:
    task = drawn(1, kinds=1, calls=0)[0]
    assert judged(task, WORLD.reference_text(task), "length").reasons == ("truncated",)
    assert judged(task, "").state == "unparsable"
    assert judged(task, call_text(payment())).reasons == ("a call where an answer was due",)
    with pytest.raises(VerifierError, match="does not say what is expected"):
        judged(replace(task, reference={}), "x")
