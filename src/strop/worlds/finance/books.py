"""A month's books with something wrong in them: bank lines, ledger lines, open items, and the entry that mends it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from strop.worlds.finance import entities

ACCOUNTS = ("cash", "receivables", "payables", "fees", "interest", "fx")
CAUSES = ("unrecorded", "duplicate", "timing", "transposed", "fee", "interest", "fx", "reversed", "misposted")
"""What can be wrong, the easiest to find first."""
Changes = Mapping[str, Decimal]
"""Account → change of its balance, debits plus."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the bank statement (``B3``) or of the cash ledger (``L3``)."""

    party: str
    amount: Decimal
    """Received plus, paid minus."""
    note: str = ""
    """What else it says: a foreign amount, the wrong account."""

    @property
    def text(self) -> str:
        """``Norvik +420``."""
        return f"{self.party} {self.amount:+f}{self.note}"


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """One thing that is wrong, as the lines show it."""

    cause: str
    bank: tuple[Line, ...]
    ledger: tuple[Line, ...]
    repair: Changes
    """The adjusting entry, of which debits and credits are equal; empty for an item in transit."""
    key: str
    source: Line = field(compare=False)
    """Which of the lines is to be named: the last of the ledger's, or else the bank's."""


def effect(amount: Decimal) -> dict[str, Decimal]:
    """What a receipt (plus, clears a receivable) or a payment (minus, clears a payable) does when booked rightly."""
    return {"cash": amount, "receivables" if amount > 0 else "payables": -amount}


def scaled(changes: Changes, factor: int) -> dict[str, Decimal]:
    """The changes ``factor`` times."""
    return {account: factor * change for account, change in changes.items()}


def transposed(rng: random.Random, amount: Decimal) -> Decimal | None:
    """The amount with two neighbouring digits exchanged; None if all are equal or it would begin with 0."""
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int), "amounts are finite"
    places = [at for at in range(len(digits) - 1) if digits[at] != digits[at + 1] and (at or digits[1])]
    if not places:
        return None
    at = rng.choice(places)
    changed = (*digits[:at], digits[at + 1], digits[at], *digits[at + 2 :])
    return Decimal((sign, changed, exponent))


def draw_flaw(rng: random.Random, cause: str, party: str, amount: Decimal) -> Flaw | None:
    """The flaw of that cause in a movement of ``amount`` (signed); None where the amount does not allow it."""
    line, right = Line(party=party, amount=amount), effect(amount)
    if cause in ("fee", "interest"):
        amount = abs(amount) if cause == "interest" else -abs(amount)
        charged = Line(party=cause, amount=amount)
        return _flaw(cause, (charged,), (), {"cash": amount, "fees" if cause == "fee" else "interest": -amount})
    if cause == "unrecorded":
        return _flaw(cause, (line,), (), right)
    if cause == "timing":
        return _flaw(cause, (), (line,), {})
    if cause == "duplicate":
        return _flaw(cause, (line,), (line, line), scaled(right, -1))
    if cause == "reversed":
        return _flaw(cause, (line,), (Line(party=party, amount=-amount),), scaled(right, 2))
    if cause == "misposted":
        wrong = Line(party=party, amount=amount, note=f" ({'payables' if amount > 0 else 'receivables'})")
        return _flaw(cause, (line,), (wrong,), {"payables": abs(amount), "receivables": -abs(amount)})
    if cause == "fx":
        note = f" ({rng.randint(2, 9) * 100} USD)"
        booked = amount + rng.choice((-1, 1)) * rng.randint(1, int(abs(amount)) // 10)
        gained = amount - booked
        lines = (Line(party=party, amount=one, note=note) for one in (amount, booked))
        return _flaw(cause, (next(lines),), (next(lines),), {"cash": gained, "fx": -gained})
    changed = transposed(rng, amount)
    if changed is None:
        return None
    short = amount - changed
    repair = {"cash": short, "receivables" if amount > 0 else "payables": -short}
    return _flaw(cause, (line,), (Line(party=party, amount=changed),), repair)


def _flaw(cause: str, bank: tuple[Line, ...], ledger: tuple[Line, ...], repair: Changes) -> Flaw:
    source = (ledger or bank)[-1]
    about = (bank or ledger)[-1]
    key = f"{about.party}/{about.amount}"
    return Flaw(cause=cause, bank=bank, ledger=ledger, repair=repair, key=key, source=source)


@dataclass(frozen=True, kw_only=True)
class Month:
    """What there is to close."""

    bank: tuple[Line, ...]
    ledger: tuple[Line, ...]
    receivables: tuple[Line, ...]
    """Open items of customers, by the aged list."""
    payables: tuple[Line, ...]
    flaws: tuple[Flaw, ...]

    @property
    def records(self) -> dict[str, Decimal]:
        """Account → balance that the records prove: the statement with what is in transit, the lists, the vouchers."""
        proven = dict.fromkeys(ACCOUNTS, Decimal(0))
        in_transit = [line for flaw in self.flaws if flaw.cause == "timing" for line in flaw.ledger]
        proven["cash"] = _total(self.bank) + _total(in_transit)
        proven["receivables"], proven["payables"] = _total(self.receivables), -_total(self.payables)
        for flaw in self.flaws:
            for account in ("fees", "interest", "fx"):
                proven[account] += flaw.repair.get(account, Decimal(0))
        return proven

    @property
    def books(self) -> dict[str, Decimal]:
        """Account → balance in the general ledger, before anything is mended."""
        balances = self.records
        for flaw in self.flaws:
            for account, change in flaw.repair.items():
                balances[account] -= change
        return balances

    def name_of(self, flaw: Flaw) -> str:
        """``B3`` or ``L2``: the flaw's entry, the later one where two lines are alike."""
        lines, letter = (self.ledger, "L") if flaw.ledger else (self.bank, "B")
        return f"{letter}{max(at for at, line in enumerate(lines, 1) if line == flaw.source)}"


def _total(lines: Sequence[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))


def draw_month(rng: random.Random, flaws: Sequence[Flaw], sound: Sequence[Line], open_items: Sequence[Line]) -> Month:
    """The month of ``flaws`` among ``sound`` movements, each book in an order of its own."""
    bank = [line for flaw in flaws for line in flaw.bank] + list(sound)
    ledger = [line for flaw in flaws for line in flaw.ledger] + list(sound)
    rng.shuffle(bank)
    rng.shuffle(ledger)
    split = rng.randint(0, len(open_items))
    return Month(
        bank=tuple(bank),
        ledger=tuple(ledger),
        receivables=tuple(open_items[:split]),
        payables=tuple(open_items[split:]),
        flaws=tuple(flaws),
    )


def draw_amount(rng: random.Random, digits: int, cents: bool) -> Decimal:
    """A positive amount of so many digits, with cents or without."""
    whole = rng.randint(10 ** (digits - 1), 10**digits - 1)
    return Decimal(whole * 100 + rng.randint(1, 99)).scaleb(-2) if cents else Decimal(whole)


def draw_parties(rng: random.Random, count: int) -> list[str]:
    """Different invented companies."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[entities.vendor(rng)] = None
    return list(found)
