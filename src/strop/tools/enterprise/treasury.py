"""The mock treasury: balances, what is to come, and transfers that need a known vendor, cover and a second person."""

from __future__ import annotations

from datetime import date
from typing import Any

from strop.errors import ToolRefusal
from strop.tools.contracts import Caller, ToolContract
from strop.tools.enterprise.services import day_of
from strop.tools.state import StateView
from strop.types import Json


def get_balance(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """The balance today. Refuses an account that is not the tenant's."""
    name = arguments["account"]
    account = _account(state, name)
    return {"balance": account["balance"], "currency": account["currency"], "source": f"treasury/{name}"}


def forecast_cash(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """The planned receipts and payments after today up to ``until``, and the lowest balance at the end of any day.

    The first day of the lowest balance is told, today's included. Refuses a day that is past.
    """
    name, until = arguments["account"], day_of(arguments["until"])
    account = _account(state, name)
    if until < state.today:
        raise ToolRefusal(f"{until} lies in the past: today is {state.today}")
    plans = _plans(state, name, until)
    lowest, lowest_on = _lowest(account["balance"], state.today, plans)
    told = [
        {"due": plan["due"], "party": plan["party"], "amount": plan["amount"], "source": key} for key, plan in plans
    ]
    return {
        "balance": account["balance"],
        "receipts": [row for row in told if row["source"].startswith("rec-")],
        "payments": [row for row in told if row["source"].startswith("inv-")],
        "lowest": lowest,
        "lowest_on": lowest_on,
        "minimum": account["minimum"],
        "is_short": lowest < account["minimum"],
        "source": f"treasury/{name}/forecast",
    }


def _plans(state: StateView, account: str, until: date) -> list[tuple[str, dict[str, Any]]]:
    rows = state.rows("plans").items()
    found = [(k, p) for k, p in rows if p["account"] == account and state.today < date.fromisoformat(p["due"]) <= until]
    return sorted(found, key=lambda plan: (plan[1]["due"], plan[0]))


def _lowest(balance: int, today: date, plans: list[tuple[str, dict[str, Any]]]) -> tuple[int, str]:
    """The lowest balance at a day's end, and the first such day."""
    lowest, on = balance, today.isoformat()
    for place, (_, plan) in enumerate(plans):
        balance += plan["amount"] if plan["kind"] == "receipt" else -plan["amount"]
        is_days_end = place + 1 == len(plans) or plans[place + 1][1]["due"] != plan["due"]
        if is_days_end and balance < lowest:
            lowest, on = balance, plan["due"]
    return lowest, on


def create_transfer(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """Book the transfer out of the account; above the tenant's limit it waits for a second person and books nothing.

    Refuses a day that is past, an unknown, foreign or closed account, an unknown or blocked vendor, another currency
    than the account's, and an amount that is not covered.
    """
    account, day = _account(state, arguments["account"]), day_of(arguments["date"])
    vendor = state.get("vendors", arguments["vendor"])
    if day < state.today:
        raise ToolRefusal(f"{day} lies in the past: today is {state.today}")
    if not account["is_open"]:
        raise ToolRefusal(f"the account {arguments['account']} is closed")
    if vendor is None:
        raise ToolRefusal(f"there is no vendor {arguments['vendor']}")
    if vendor["is_blocked"]:
        raise ToolRefusal(f"the vendor {arguments['vendor']} is blocked")
    if arguments["currency"] != account["currency"]:
        raise ToolRefusal(f"the account is held in {account['currency']}")
    limit = state.get("settings", "transfer_limit")
    assert limit is not None, "open_books gives every tenant a limit"
    name = f"tr-{len(state.rows('transfers')) + 1:04}"
    waits = arguments["amount"] > limit["amount"]
    transfer = {**arguments, "status": "awaiting_approval" if waits else "prepared", "by": caller.name}
    _require_cover(account, transfer)
    if not waits:
        _book(state, transfer)
    state.put("transfers", name, transfer)
    return {"transfer": name, "status": transfer["status"], "source": f"treasury/{name}"}


def approve_transfer(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """Book a transfer that waits. Refuses its own author, and one that does not wait or is no longer covered."""
    name = arguments["transfer"]
    transfer = state.get("transfers", name)
    if transfer is None:
        raise ToolRefusal(f"there is no transfer {name}")
    if transfer["status"] != "awaiting_approval":
        raise ToolRefusal(f"the transfer {name} is {transfer['status']}")
    if transfer["by"] == caller.name:
        raise ToolRefusal("who prepared a transfer does not approve it", state="denied")
    _require_cover(_account(state, transfer["account"]), transfer)
    _book(state, transfer)
    state.put("transfers", name, {**transfer, "status": "approved", "approved_by": caller.name})
    return {"transfer": name, "status": "approved", "source": f"treasury/{name}"}


def _account(state: StateView, name: str) -> dict[str, Any]:
    account = state.get("accounts", name)
    if account is None:
        raise ToolRefusal(f"there is no account {name}")
    return account


def _require_cover(account: Json, transfer: Json) -> None:
    if account["balance"] < transfer["amount"]:
        raise ToolRefusal(f"{transfer['amount']} is not covered: the balance is {account['balance']}")


def _book(state: StateView, transfer: Json) -> None:
    account = _account(state, transfer["account"])
    state.put("accounts", transfer["account"], {**account, "balance": account["balance"] - transfer["amount"]})
