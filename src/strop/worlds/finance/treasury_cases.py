"""What is asked of the treasury: one generator a kind, the calls that answer it, and what the services then say."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from strop.tools import Budget, Caller, ToolSession, WorldState
from strop.tools.enterprise import ENTERPRISE, ROLES, SERVICES, open_books
from strop.types import Json, ToolCall
from strop.worlds.finance import entities

TODAY = date(2025, 9, 30)
_FAR = 30


@lru_cache(maxsize=64)
def _books(tenant: str) -> WorldState:
    return open_books(tenants=(tenant,), today=TODAY)


def session(tenant: str) -> ToolSession:
    """A treasurer's session over the tenant's books as they stand today: every one begins with the same world."""
    caller = Caller(tenant=tenant, permissions=ROLES["treasurer"], name="treasurer")
    return ToolSession(ENTERPRISE, SERVICES, state=_books(tenant).copy(), caller=caller, budget=Budget(max_calls=8))


def draw_tenant(rng: random.Random) -> str:
    """A branch of one of the three tenants, out of 6,000; its books are its own."""
    return f"{rng.choice(tuple(entities.LIMITS))}-{rng.randint(1, 2000)}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request, in one tenant's world."""

    kind: str
    tenant: str
    question: str
    calls: tuple[ToolCall, ...]
    """What must be asked, one after the other."""
    trap: str = "none"
    """What makes the world refuse the last call."""
    say: Callable[[list[Any]], tuple[str, str, str]] | None = None
    """From the results to head, rest and opposite head of the answer; None where the world refuses."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """A case with what the services said."""

    case: Case
    contents: tuple[str, ...]
    """The tool messages, one a call."""
    head: str
    """How the answer must begin."""
    other: str
    """How it would begin if the facts were the other way round; empty if there is no such thing."""
    answer: str
    evidence: tuple[Json, ...]
    """``{"id": ..., "value": ...}``: what may be cited."""
    reason: str
    """Why the world refused; empty if it did not."""
    states: tuple[str, ...]
    """Digests of the world before the first call and after each."""


def play(case: Case) -> Played:
    """The case as its calls go through the tenant's session."""
    here = session(case.tenant)
    states, contents, values, evidence = [here.state.digest], [], [], []
    reason = ""
    for call in case.calls:
        result = here.call(call)
        contents.append(result.content)
        states.append(here.state.digest)
        values.append(result.value)
        reason = result.reason
        if result.is_ok:
            evidence.append({"id": result.value["source"], "value": result.value})
    assert bool(reason) == (case.trap != "none"), f"{case.question} {reason}"
    if case.say is None:
        head, rest, other = "Not done:", f"{reason}.", ""
    else:
        head, rest, other = case.say(values)
    return Played(
        case=case,
        contents=tuple(contents),
        head=head,
        other=other,
        answer=f"{head} {rest}",
        evidence=tuple(evidence),
        reason=reason,
        states=tuple(states),
    )


# ------------------------------------------------------------------------------------------------------------ the kinds


def _spending(rng: random.Random, tenant: str, is_trap: bool) -> Case:
    department, _, quarter = rng.choice(list(_books(tenant).rows(tenant, "spending"))).partition("/")
    if is_trap:
        quarter = rng.choice(("2025-Q4", "2026-Q1", "2026-Q2"))
    question = rng.choice(("What did {d} spend in {q}?", "Spending of {d} in {q}?")).format(d=department, q=quarter)
    return Case(
        kind="spending",
        tenant=tenant,
        question=question,
        calls=(ToolCall(name="query_erp", arguments={"department": department, "quarter": quarter}),),
        trap="future" if is_trap else "none",
        say=None if is_trap else lambda found: ("Spent:", f"{found[0]['spent']} [{found[0]['source']}].", ""),
    )


def _balance(rng: random.Random, tenant: str, is_trap: bool) -> Case:
    account = _wrong_account(rng, tenant) if is_trap else rng.choice(_accounts(tenant))
    question = rng.choice(("What is on {a}?", "Balance of {a}?")).format(a=account)
    return Case(
        kind="balance",
        tenant=tenant,
        question=question,
        calls=(ToolCall(name="get_balance", arguments={"account": account}),),
        trap="account" if is_trap else "none",
        say=None
        if is_trap
        else lambda found: ("Balance:", f"{found[0]['balance']} {found[0]['currency']} [{found[0]['source']}].", ""),
    )


def _accounts(tenant: str, *, is_open: bool = True) -> list[str]:
    rows = _books(tenant).rows(tenant, "accounts")
    return [name for name, row in rows.items() if row["is_open"] is is_open]


def _wrong_account(rng: random.Random, tenant: str) -> str:
    known = {*_accounts(tenant), *_accounts(tenant, is_open=False)}
    while (found := entities.account(rng)) in known:
        pass
    return found


def _transfer(rng: random.Random, tenant: str, is_trap: bool) -> Case:
    books = _books(tenant)
    account = rng.choice(_accounts(tenant))
    row = books.get(tenant, "accounts", account)
    vendors = books.rows(tenant, "vendors")
    assert row is not None
    arguments: dict[str, Any] = {
        "account": account,
        "vendor": rng.choice([name for name, vendor in vendors.items() if not vendor["is_blocked"]]),
        "amount": rng.randint(100, min(9999, row["balance"])),
        "currency": row["currency"],
        "date": (TODAY + timedelta(days=rng.randint(0, _FAR))).isoformat(),
    }
    trap = rng.choice(("past", "account", "closed", "vendor", "blocked", "currency", "cover")) if is_trap else "none"
    if trap == "past":
        arguments["date"] = (TODAY - timedelta(days=rng.randint(1, _FAR))).isoformat()
    elif trap == "account":
        arguments["account"] = _wrong_account(rng, tenant)
    elif trap == "closed":
        arguments["account"] = rng.choice(_accounts(tenant, is_open=False))
    elif trap == "vendor":
        while arguments["vendor"] in vendors:
            arguments["vendor"] = entities.vendor(rng)
    elif trap == "blocked":
        arguments["vendor"] = next(name for name, vendor in vendors.items() if vendor["is_blocked"])
    elif trap == "currency":
        arguments["currency"] = "USD" if row["currency"] == "EUR" else "EUR"
    elif trap == "cover":
        arguments["amount"] = row["balance"] + rng.randint(1, 9999)
    asked = "Pay {vendor} {amount} {currency} from {account} on {date}."
    return Case(
        kind="transfer",
        tenant=tenant,
        question=asked.format(**arguments),
        calls=(ToolCall(name="create_transfer", arguments=arguments),),
        trap=trap,
        say=None if is_trap else _prepared,
    )


def _prepared(found: list[Any]) -> tuple[str, str, str]:
    waits = found[0]["status"] == "awaiting_approval"
    heads = ("Prepared:", "Waiting for approval:")
    return heads[waits], f"{found[0]['transfer']} [{found[0]['source']}].", heads[not waits]


def _warning(rng: random.Random, tenant: str, is_trap: bool) -> Case:
    account = _wrong_account(rng, tenant) if is_trap else rng.choice(_accounts(tenant))
    until = (TODAY + timedelta(days=rng.randint(2, 9))).isoformat()
    call = ToolCall(name="forecast_cash", arguments={"account": account, "until": until})
    known = session(tenant).call(call)
    lowest = known.value["lowest"] if known.is_ok else 9000
    floor = max(100, round(lowest + rng.choice((-1, 1)) * rng.randint(100, 5000), -2))
    return Case(
        kind="warning",
        tenant=tenant,
        question=f"Warn me if {account} falls below {floor} by {until}.",
        calls=(call,),
        trap="account" if is_trap else "none",
        say=None if is_trap else lambda found: _forecast(found[0], floor),
    )


def _forecast(found: Json, floor: int) -> tuple[str, str, str]:
    heads = ("No warning:", "Warning:")
    is_low = found["lowest"] < floor
    rest = f"lowest {found['lowest']} on {found['lowest_on']} [{found['source']}]."
    return heads[is_low], rest, heads[not is_low]


def _delay(rng: random.Random, tenant: str, is_trap: bool) -> Case:
    base = _warning(rng, tenant, is_trap)
    department = rng.choice(("marketing", "research", "sales"))
    budget = ToolCall(name="get_budget", arguments={"department": department, "quarter": "2025-Q4"})
    say = base.say

    def decided(found: list[Any]) -> tuple[str, str, str]:
        assert say is not None
        head, rest, other = say(found)
        verb = "Delay" if head == "Warning:" else "Keep"
        return head, f"{rest} {verb} {department}, {found[1]['budget']} [{found[1]['source']}].", other

    return Case(
        kind="delay",
        tenant=tenant,
        question=f"{base.question} Then delay the 2025-Q4 budget of {department}?",
        calls=base.calls if is_trap else (*base.calls, budget),
        trap=base.trap,
        say=None if is_trap else decided,
    )


KINDS: Mapping[str, Callable[[random.Random, str, bool], Case]] = {
    "spending": _spending,
    "balance": _balance,
    "transfer": _transfer,
    "warning": _warning,
    "delay": _delay,
}
"""Kind → generator, the shortest first. A literal table: the suite's slices are its keys."""
