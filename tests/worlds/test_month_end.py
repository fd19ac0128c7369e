"""The month-end world: what the question shows leads an independent reader to the source and to the entry."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

import pytest

from strop.errors import RecipeError
from strop.types import Completion, Task
from strop.worlds import get_world
from strop.worlds.finance.books import ACCOUNTS, CAUSES, draw_flaw, transposed
from strop.worlds.splits import row_random

WORLD = get_world("month_end")
Found = tuple[str, str, Counter[str]]


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


# ---------------------------------------------------------------------------- an auditor who only reads the question


def lines(question: str, book: str) -> list[tuple[str, str, Decimal, str]]:
    """Name, party, amount and note of every line of ``Bank`` or ``Ledger``."""
    found = re.search(rf"{book}: (.*?)\.(?: [A-Z]|$)", question)
    assert found is not None
    pattern = r"([BL]\d+) (\w+) ([+-][\d.]*\d)( \([^)]*\))?"
    return [(name, party, Decimal(amount), note) for name, party, amount, note in re.findall(pattern, found[1])]


def entry(**changes: Decimal) -> Counter[str]:
    return Counter({account: change for account, change in changes.items() if change})  # type: ignore[misc]


def other_side(amount: Decimal) -> str:
    return "receivables" if amount > 0 else "payables"


def unmatched(bank: list[tuple[str, str, Decimal, str]], ledger: list[tuple[str, str, Decimal, str]]) -> list[Found]:
    """Lines that stand in one book only, or twice in the ledger."""
    found: list[Found] = []
    for name, party, amount, _ in bank:
        if party in {line[1] for line in ledger}:
            continue
        if party in ("fee", "interest"):
            account = "fees" if party == "fee" else "interest"
            found.append((name, party, entry(**{"cash": amount, account: -amount})))
        else:
            found.append((name, "unrecorded", entry(**{"cash": amount, other_side(amount): -amount})))
    for at, (name, party, amount, _) in enumerate(ledger):
        if party not in {line[1] for line in bank}:
            found.append((name, "timing", entry()))
        elif party in {line[1] for line in ledger[:at]}:
            found.append((name, "duplicate", entry(**{"cash": -amount, other_side(amount): amount})))
    return found


def differing(bank: list[tuple[str, str, Decimal, str]], ledger: list[tuple[str, str, Decimal, str]]) -> list[Found]:
    """Lines that stand in both books with another amount, sign or account."""
    found: list[Found] = []
    paid = {party: amount for _, party, amount, _ in bank}
    for name, party, booked, note in ledger:
        amount = paid.get(party, booked)
        short = amount - booked
        if note in (" (payables)", " (receivables)"):
            found.append((name, "misposted", entry(payables=abs(amount), receivables=-abs(amount))))
        elif note and short:
            found.append((name, "fx", entry(cash=short, fx=-short)))
        elif short and booked == -amount:
            found.append((name, "reversed", entry(**{"cash": short, other_side(amount): -short})))
        elif short:
            found.append((name, "transposed", entry(**{"cash": short, other_side(amount): -short})))
    return found


def audited(question: str) -> list[Found]:
    bank, ledger = lines(question, "Bank"), lines(question, "Ledger")
    return sorted(unmatched(bank, ledger) + differing(bank, ledger), key=lambda one: one[0])


@pytest.mark.parametrize("level", range(len(WORLD.levels)))
def test_an_auditor_who_only_reads_the_question_comes_to_the_same_answer(level: int) -> None:
    for task in WORLD.tasks("train", 40, 5, **WORLD.levels[level]):
        found = audited(task.prompt[0].content)
        sources = {one["entry"]: one["cause"] for one in task.reference["sources"]}
        assert {name: cause for name, cause, _ in found} == sources, task.prompt
        posted: Counter[str] = Counter()
        for _, _, changes in found:
            posted.update(changes)
        books, records = task.reference["books"], task.reference["records"]
        gaps = {account: Decimal(records[account]) - Decimal(books[account]) for account in ACCOUNTS}
        assert {k: v for k, v in posted.items() if v} == {k: v for k, v in gaps.items() if v}


def test_the_gaps_that_are_answered_are_those_that_the_question_adds_up_to() -> None:
    for task in WORLD.tasks("train", 60, 6, entries=3, kinds=9, given=0):
        question = task.prompt[0].content
        bank = sum(line[2] for line in lines(question, "Bank"))
        ledger = sum(line[2] for line in lines(question, "Ledger"))
        booked = re.search(r"Books: receivables (-?\d+), payables (-?\d+)\.", question)
        items = re.search(r"Open: receivables (.*?); payables (.*?)\.", question)
        assert booked is not None
        assert items is not None
        listed = [sum(map(int, re.findall(r" (\d+)", f" {side}"))) for side in items.groups()]
        gaps = [listed[at] - int(booked[at + 1]) for at in (0, 1)]
        steps = WORLD.reference_steps(task)
        assert steps[0] == f"bank {bank - ledger}"
        assert steps[1] == f"ageing receivables {gaps[0]}, payables {gaps[1]}"


def test_every_cause_is_planted_and_its_repair_balances() -> None:
    causes = {task.slices["kind"] for task in WORLD.tasks("train", 150, kinds=9)}
    assert causes == set(CAUSES)
    for cause in CAUSES:
        for amount in (Decimal("4200"), Decimal("-4213.50")):
            flaw = draw_flaw(row_random(cause), cause, "Norvik", amount)
            assert flaw is not None
            assert sum(flaw.repair.values()) == 0


def test_transposed_digits_keep_their_number_and_their_sum() -> None:
    for seed in range(50):
        wrong = transposed(row_random("digits", seed), Decimal("-4530.10"))
        assert wrong is not None
        assert wrong != Decimal("-4530.10")
        assert sorted(str(wrong)) == sorted("-4530.10")
        assert (wrong + Decimal("4530.10")) * 100 % 9 == 0  # exchanged neighbours differ by a multiple of nine
    assert transposed(row_random("digits"), Decimal(777)) is None
    assert transposed(row_random("digits"), Decimal(40)) is None


@pytest.mark.capability("RS-12")
def test_partial_credit_is_measured_beside_accuracy() -> None:
    task: Task = WORLD.tasks("dev", 1, given=0)[0]
    steps = WORLD.reference_steps(task)
    answers = ["; ".join(steps), "; ".join(steps[:3]), f"source {steps[2].split()[-1]}", "source B99 fee"]
    measured = [WORLD.measure(task, said(text), WORLD.verifier(task, said(text))) for text in answers]
    assert [one["partial"] for one in measured] == [1.0, 0.6, 0.2, 0.0]
    assert [one["accuracy"] for one in measured] == [1.0, 0.0, 0.0, 0.0]
    assert [one["steps"] for one in measured] == [1.0, 0.75, 0.0, 0.0]


def test_more_flaws_than_causes_are_refused() -> None:
    with pytest.raises(RecipeError, match="has no task"):
        WORLD.tasks("dev", 1, flaws=2, kinds=1)
