"""Month-end closes: find the entry that the books and the records differ by, and post what mends it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal

from strop.types import Completion, Task, Verdict, Verifier
from strop.verifiers.ledger import LedgerAnswer
from strop.worlds.finance import entities
from strop.worlds.finance.books import (
    ACCOUNTS,
    CAUSES,
    Changes,
    Flaw,
    Line,
    Month,
    draw_amount,
    draw_flaw,
    draw_month,
    draw_parties,
)
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle


def entry_text(repairs: Sequence[Changes], leaves: str = "0") -> str:
    """``entry Dr cash 1200, Cr receivables 1200, leaves 0``; ``entry none, leaves 0`` where nothing is to be posted."""
    lines = []
    for repair in repairs:
        lines += [f"Dr {account} {change:f}" for account, change in repair.items() if change > 0]
        lines += [f"Cr {account} {-change:f}" for account, change in repair.items() if change < 0]
    return f"entry {', '.join(lines) or 'none'}, leaves {leaves}"


def work(month: Month) -> tuple[str, str, str, str]:
    """The four steps of the close, as they are answered."""
    books, records = month.books, month.records
    transit = sum((line.amount for flaw in month.flaws if flaw.cause == "timing" for line in flaw.ledger), Decimal(0))
    receivables = records["receivables"] - books["receivables"]
    payables = books["payables"] - records["payables"]
    named = ", ".join(f"{month.name_of(flaw)} {flaw.cause}" for flaw in month.flaws)
    return (
        f"bank {records['cash'] - transit - books['cash']:f}",
        f"ageing receivables {receivables:f}, payables {payables:f}",
        f"source {named}",
        entry_text([flaw.repair for flaw in month.flaws]),
    )


def _listed(letter: str, lines: Sequence[Line]) -> str:
    return ", ".join(f"{letter}{number} {line.text}" for number, line in enumerate(lines, 1)) or "none"


def _items(lines: Sequence[Line]) -> str:
    return ", ".join(f"{line.party} {line.amount:f}" for line in lines) or "none"


def question(month: Month, given: int) -> str:
    """The books as the user shows them; of what the ``given`` first steps found, only the findings."""
    shown = [f"Close. Bank: {_listed('B', month.bank)}.", f"Ledger: {_listed('L', month.ledger)}."]
    if given < 2:
        books = month.books
        shown.append(f"Books: receivables {books['receivables']:f}, payables {-books['payables']:f}.")
        shown.append(f"Open: receivables {_items(month.receivables)}; payables {_items(month.payables)}.")
    if given:
        shown.append(f"Known: {'; '.join(work(month)[:given])}.")
    return " ".join(shown)


@dataclass(frozen=True, kw_only=True)
class MonthEndWorld(GeneratedWorld):
    """Tasks ``Close. Bank: B1 Norvik +42, B2 Dorra +12. Ledger: L1 Norvik +42. Known: ...`` by the steps of ``SOP``.

    ``entries``: sound movements beside the flawed ones. ``kinds``: how many of the causes there may be, in the order of
    ``CAUSES``. ``flaws``: how many are planted. ``given``: how many of the first two steps are already worked out.
    ``digits``: of an amount. ``cents``: 1 for amounts with cents.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "entries": Dial(default=2, low=0, high=30),
        "kinds": Dial(default=4, low=1, high=len(CAUSES)),
        "flaws": Dial(default=1, low=1, high=3),
        "given": Dial(default=2, low=0, high=2),
        "digits": Dial(default=3, low=2, high=6),
        "cents": Dial(default=0, low=0, high=1),
    }
    name: str = "month_end"
    verifier: Verifier = field(default_factory=LedgerAnswer)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"entries": 0, "kinds": 1, "digits": 2},
            {"entries": 1, "kinds": 1, "digits": 2},
            {"entries": 1, "kinds": 3, "digits": 2},
            {"entries": 1, "kinds": 6, "digits": 2},
            {"entries": 2, "kinds": 9},
            {"entries": 2, "kinds": 9, "given": 1},
            {"entries": 3, "kinds": 9, "given": 0},
            {"entries": 4, "kinds": 9, "flaws": 2, "given": 0},
            {"entries": 8, "kinds": 9, "flaws": 3, "given": 0, "digits": 4, "cents": 1},
        )

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        """Those of every generated world, ``partial`` (the rubric's score) and ``steps`` (right steps over steps)."""
        return {**super().metrics, "partial": "higher", "steps": "higher"}

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """The metrics of one answer."""
        steps = [step or 0.0 for step in verdict.steps]
        return {
            **super().measure(task, completion, verdict),
            "partial": verdict.score,
            "steps": sum(steps) / len(steps) if steps else None,
        }

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One month; None where there are fewer causes than flaws, or two flaws cancel out."""
        digits, cents, num_open = settings["digits"], bool(settings["cents"]), rng.randint(1, 2)
        if settings["flaws"] > settings["kinds"]:
            return None

        def amount() -> Decimal:
            return draw_amount(rng, digits, cents) * rng.choice((-1, 1))

        flaws: list[Flaw] = []
        for cause in rng.sample(CAUSES[: settings["kinds"]], settings["flaws"]):
            flaw = None
            while flaw is None or not fits(flaw.key):
                flaw = draw_flaw(rng, cause, entities.vendor(rng), amount())
            flaws.append(flaw)
        flawed = {line.party for flaw in flaws for line in (*flaw.bank, *flaw.ledger)}
        others = draw_parties(rng, settings["entries"] + num_open)
        if flawed & set(others) or len(flawed) < len(flaws):
            return None
        sound = [Line(party=party, amount=amount()) for party in others[num_open:]]
        listed = [Line(party=party, amount=abs(amount())) for party in others[:num_open]]
        return _puzzle(draw_month(rng, flaws, sound, listed), settings["given"])

    def mutations(self, task: Task) -> list[str]:
        """Each step wrong, missing or misplaced; the entry reversed, halved, on a wrong account, posted in vain."""
        steps = list(self.reference_steps(task))
        *before, source, entry = steps
        entries = task.reference["entries"]
        right = {one["entry"] for one in task.reference["sources"]}
        others = [one for one in entries if one not in right]
        causes = {one["cause"] for one in task.reference["sources"]}
        wrong_cause = next(cause for cause in CAUSES if cause not in causes)
        name, cause = source.split(", ")[0].removeprefix("source ").split(" ")
        ways = [[*before, f"source {other} {cause}", entry] for other in others[:2]]
        ways += [[*before, source.replace(f"{name} {cause}", f"{name} {wrong_cause}"), entry]]
        ways += [[*before, f"source {cause}", entry], [*before, source], [*before, entry], [*before, entry, source]]
        ways += [[*before, source, other] for other in wrong_entries(entry)]
        ways += [
            [f"{step}1" if at == number else step for at, step in enumerate(steps)] for number in range(len(before))
        ]
        ways += [[step for at, step in enumerate(steps) if at != number] for number in range(len(before))]
        ways += [[*reversed(steps)]]
        return [*(f"{'; '.join(way)}." for way in ways), f"{name} {cause}.", ""]

    def cheats(self, task: Task) -> list[str]:
        """Every entry named, every account posted both ways, every gap zero, the question, the verifier's words."""
        *before, source, entry = self.reference_steps(task)
        every = ", ".join(f"{one} {cause}" for one in task.reference["entries"] for cause in CAUSES)
        both = ", ".join(f"Dr {account} 1, Cr {account} 1" for account in ACCOUNTS)
        plain = "; ".join([*before, source])
        return [
            f"{'; '.join([*before, f'source {every}'])}; {entry}.",
            f"{plain}; entry {both}, leaves 0.",
            f"{plain}; entry leaves 0.",
            "bank 0; ageing receivables 0, payables 0; source none; entry none, leaves 0.",
            f"{plain}; {entry}; {entry}.",
            f"solved; {plain}; {entry}.",
            task.prompt[0].content,
            "PASSED",
        ]


def wrong_entries(entry: str) -> list[str]:
    """The journal entry with one mistake each: what must not be posted."""
    body = entry.removesuffix(", leaves 0")
    unchecked = [body, f"{body}, leaves 1"]
    if body == "entry none":
        return [*unchecked, "entry Dr cash 10, Cr receivables 10, leaves 0", "entry Dr cash 10, leaves 0"]
    lines = body.removeprefix("entry ").split(", ")
    side, account, amount = lines[0].split(" ")
    more = f"{side} {account} {Decimal(amount) + 1:f}"
    elsewhere = next(one for one in ACCOUNTS if one not in body)
    return [
        *unchecked,
        f"{body.replace('Dr ', 'dR ').replace('Cr ', 'Dr ').replace('dR ', 'Cr ')}, leaves 0",
        f"entry {', '.join([more, *lines[1:]])}, leaves 0",
        f"entry {', '.join(line.replace(amount, f'{Decimal(amount) + 1:f}') for line in lines)}, leaves 0",
        f"entry {', '.join(lines[1:])}, leaves 0",
        f"entry {', '.join([f'{side} {elsewhere} {amount}', *lines[1:]])}, leaves 0",
        f"entry {', '.join([f'{side} suspense {amount}', *lines[1:]])}, leaves 0",
        "entry none, leaves 0",
    ]


def _puzzle(month: Month, given: int) -> Puzzle | None:
    steps = work(month)
    books, records = month.books, month.records
    names = [month.name_of(flaw) for flaw in month.flaws]
    if any(f" {account} " in steps[3] and books[account] == records[account] for account in ACCOUNTS):
        return None  # two flaws that cancel out in an account leave no trace of the one in it
    causes = [flaw.cause for flaw in month.flaws]
    return Puzzle(
        question=question(month, given),
        answer=f"{'; '.join(steps[given:])}.",
        keys=tuple(flaw.key for flaw in month.flaws),
        kind=causes[0] if len(causes) == 1 else "several",
        reference={
            "books": {account: str(balance) for account, balance in books.items()},
            "records": {account: str(balance) for account, balance in records.items()},
            "statement": str(sum((line.amount for line in month.bank), Decimal(0))),
            "sources": [{"entry": name, "cause": cause} for name, cause in zip(names, causes, strict=True)],
            "entries": [
                f"{letter}{number}"
                for letter, lines in (("B", month.bank), ("L", month.ledger))
                for number in range(1, len(lines) + 1)
            ],
            "given": given,
        },
        steps=steps[given:],
        slices={"given": str(given)},
    )
