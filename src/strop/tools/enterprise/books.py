"""The books of the mock enterprise: accounts, plans, budgets, vendors, rates and rules, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from strop.tools.state import SHARED, WorldState

DEPARTMENTS = ("sales", "marketing", "logistics", "research", "support", "legal")
CURRENCIES = {"EUR": 10000, "USD": 10850, "GBP": 8440, "CHF": 9560, "JPY": 1612000}
"""Currency → ten-thousandths of it for one euro, about which the rates move."""
HISTORY_DAYS = 120
"""Days back from today for which there are rates."""
HORIZON_DAYS = 60
"""Days ahead for which payments and receipts are planned."""

_VENDORS = ("Norvik", "Talora", "Belmond", "Korven", "Silta", "Dorran", "Falmer", "Helsk")
_CUSTOMERS = ("Adler", "Brandt", "Castell", "Dunmore", "Erlach", "Finch")
_RULES = {
    "travel": "book ten days ahead",
    "meals": "at most 40 a day",
    "hotel": "at most 150 a night",
    "gifts": "at most 25 a person",
}

Tables = dict[str, dict[str, dict[str, Any]]]


def quarter_of(day: date) -> str:
    """``2025-Q3``; quarters compare as their texts do."""
    return f"{day.year}-Q{(day.month + 2) // 3}"


def open_books(
    seed: int = 0, *, tenants: Sequence[str] = ("bank_A", "retail_B", "saas_C"), today: date = date(2025, 9, 30)
) -> WorldState:
    """The world of ``tenants`` on ``today``: a tenant's books depend on seed, day and its own name only.

    Tables of a tenant: ``accounts`` (balance, currency, minimum, is_open), ``plans`` (account, kind, due, party,
    amount), ``vendors`` (is_blocked), ``spending`` and ``budgets`` (by ``department/quarter``), ``policies`` (rule),
    ``settings`` (the transfer limit), ``transfers`` (empty). Shared: ``rates`` (by ``currency/day``, to the euro).
    """
    rows: dict[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = {SHARED: {"rates": _rates(seed, today)}}
    for tenant in tenants:
        rows[tenant] = _books(random.Random(f"books/{seed}/{tenant}"), today)
    return WorldState(today=today, rows=rows)


def _books(rng: random.Random, today: date) -> Tables:
    numbers = sorted(rng.sample(range(1000, 10000), 4))
    accounts = {
        f"acc-{number}": {
            "balance": rng.randrange(5_000, 90_000),
            "currency": ("EUR", "EUR", "USD", "EUR")[place],
            "minimum": rng.randrange(1, 9) * 1000,
            "is_open": place < 3,
        }
        for place, number in enumerate(numbers)
    }
    vendors = rng.sample(_VENDORS, 5)
    limit = rng.choice((2000, 5000, 8000))
    spending, budgets = _departments(rng, today)
    return {
        "accounts": accounts,
        "plans": _plans(rng, today, [name for name, row in accounts.items() if row["is_open"]], vendors),
        "vendors": {name: {"is_blocked": place == 0} for place, name in enumerate(vendors)},
        "spending": spending,
        "budgets": budgets,
        "policies": {topic: {"rule": rule} for topic, rule in _RULES.items()}
        | {"transfer": {"rule": f"above {limit} a second person approves"}},
        "settings": {"transfer_limit": {"amount": limit}},
    }


def _departments(rng: random.Random, today: date) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Spending of the last four quarters, the running one included, and budgets for these and the next two."""
    quarters = sorted({quarter_of(today + timedelta(days=91 * step)) for step in range(-3, 3)})
    budgets = {f"{d}/{q}": {"budget": rng.randrange(10, 100) * 100} for d in DEPARTMENTS for q in quarters}
    spent = {
        f"{d}/{q}": {"spent": rng.randrange(800, 10_000)}
        for d in DEPARTMENTS
        for q in quarters
        if q <= quarter_of(today)
    }
    return spent, budgets


def _plans(
    rng: random.Random, today: date, accounts: Sequence[str], vendors: Sequence[str]
) -> dict[str, dict[str, Any]]:
    plans = {}
    for number in range(1, 41):
        is_payment = rng.random() < 0.6
        plans[f"{'inv' if is_payment else 'rec'}-{number:04}"] = {
            "account": rng.choice(accounts),
            "kind": "payment" if is_payment else "receipt",
            "due": (today + timedelta(days=rng.randint(1, HORIZON_DAYS))).isoformat(),
            "party": rng.choice(vendors if is_payment else _CUSTOMERS),
            "amount": rng.randrange(500, 20_000),
        }
    return plans


def _rates(seed: int, today: date) -> dict[str, dict[str, Any]]:
    rates = {}
    for currency, middle in CURRENCIES.items():
        rng = random.Random(f"rates/{seed}/{currency}")
        for back in range(HISTORY_DAYS):
            moved = middle if currency == "EUR" else middle + rng.randint(-middle // 50, middle // 50)
            rates[f"{currency}/{(today - timedelta(days=back)).isoformat()}"] = {"per_euro": moved}
    return rates
