"""The nouns of the finance world: tenants with their rules, departments, vendors, accounts, policies."""

from __future__ import annotations

import random

LIMITS = {"bank_A": 8000, "retail_B": 5000, "saas_C": 2000}
"""Tenant → the amount above which a transfer needs a second approval."""

DEPARTMENTS = (
    "sales", "marketing", "payroll", "logistics", "legal", "research", "support", "security",
    "facilities", "design", "quality", "training", "export", "audit", "catering", "fleet",
)  # fmt: skip
REGIONS = ("North", "South", "East", "West")
QUARTERS = ("Q1", "Q2", "Q3", "Q4")
POLICIES = {
    "travel": "book ten days ahead",
    "meals": "at most 40 a day",
    "hotel": "at most 150 a night",
    "laptop": "one every three years",
    "gifts": "at most 25 a person",
    "parking": "receipts only",
    "phone": "at most 30 a month",
    "overtime": "agreed in advance",
    "transfer": "large ones need a second approval",
}
_FIRST = ("Nor", "Tal", "Bel", "Kor", "Mar", "Sil", "Ven", "Dor", "Fal", "Gar", "Hel", "Jas", "Lun", "Por")
_MIDDLE = ("vi", "da", "ro", "ne", "lo", "ti", "ma", "su", "ke", "ba")
_LAST = ("k", "ra", "x", "n", "ta", "l", "sk", "mo", "rd", "za")


def vendor(rng: random.Random) -> str:
    """An invented company name out of 1,400."""
    return rng.choice(_FIRST) + rng.choice(_MIDDLE) + rng.choice(_LAST)


def account(rng: random.Random) -> str:
    """An account number out of 9,000."""
    return f"acc-{rng.randint(1000, 9999)}"


def amount(rng: random.Random) -> int:
    """A four-digit amount."""
    return rng.randint(1000, 9999)
