"""Month-end closes, judged: the four trajectories of the 120,000 case, posting by hand, golden answers either way."""

from __future__ import annotations

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import AuditCase, audit, reference_cases
from strop.verifiers.ledger import LedgerAnswer
from strop.worlds import get_world

# Worked by hand. The bank statement has a receipt of 120,000 (B7) that nobody booked. Cash stands at 830,000 in the
# books and at 950,000 on the statement; the customer still owes 120,000 in the books (receivables 310,000), the aged
# list has only 190,000; payables agree at 75,000. Posting Dr cash 120,000, Cr receivables 120,000 mends both accounts.
BOOKS = {"cash": "830000", "receivables": "310000", "payables": "-75000", "revenue": "-500000", "fees": "0"}
RECORDS = {**BOOKS, "cash": "950000", "receivables": "190000"}
CLOSE = {
    "books": BOOKS,
    "records": RECORDS,
    "statement": "950000",
    "sources": [{"entry": "B7", "cause": "unrecorded"}],
}
TASK = Task(id="close", prompt=(), reference=CLOSE)
WORK = "bank 120,000; ageing receivables -120,000, payables 0; source B7 unrecorded"
FULL = f"{WORK}; entry Dr cash 120,000, Cr receivables 120,000, leaves 0."


def judged(text: str, task: Task = TASK, finish_reason: str = "stop") -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]
    return LedgerAnswer()(task, answer)


@pytest.mark.capability("RS-12")
def test_the_four_trajectories_of_the_case_get_its_rewards_and_step_verdicts() -> None:
    trajectories = [
        FULL,
        f"{WORK}; entry Dr cash 120,000, leaves 0.",
        "bank 120,000; ageing receivables 0, payables 0; source unrecorded.",
        "bank -120,000; ageing receivables 0, payables 0; source L4 duplicate; "
        "entry Dr receivables 120,000, Cr cash 120,000, leaves 0.",
    ]
    verdicts = [judged(text) for text in trajectories]
    assert [verdict.score for verdict in verdicts] == [1.0, 0.6, 0.2, 0.0]
    assert [verdict.passed for verdict in verdicts] == [True, False, False, False]
    assert [verdict.steps for verdict in verdicts] == [
        (1.0, 1.0, 1.0, 1.0),
        (1.0, 1.0, 1.0, 0.0),
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
    ]
    assert [verdict.reasons[0] for verdict in verdicts] == ["solved", "incomplete", "suspicion", "wrong"]


@pytest.mark.capability("RL-35")
@pytest.mark.parametrize(
    "text",
    [
        FULL,
        FULL.replace("; ", "\n").replace(",000", "000"),
        FULL.upper(),
        FULL.replace("ageing receivables -120,000, payables 0", "aging payables 0 and receivables -120,000"),
        f"{WORK}; entry Cr receivables 120,000, Dr cash 120,000.00, leaves 0.00.",
        f"{WORK}; entry Dr cash 70,000.50, Dr cash 49,999.50, Cr receivables 120,000, leaves 0.",
    ],
)
def test_golden_answers_are_accepted_however_they_are_written(text: str) -> None:
    assert judged(text).passed


@pytest.mark.capability("RL-35")
@pytest.mark.parametrize(
    ("entry", "reason", "score"),
    [
        ("Dr cash 120,000, Cr receivables 119,999.99, leaves 0", "debits and credits differ by 0.01", 0.6),
        ("Dr cash 12,000, Cr receivables 12,000, leaves 0", "216000 is open after posting", 0.6),
        ("Dr cash 120,000, Cr revenue 120,000, leaves 0", "240000 is open after posting", 0.6),
        ("Dr cash 120,000, Cr debtors 120,000, leaves 0", "there is no account debtors", 0.6),
        ("Dr cash 120,000, Cr receivables 120,000", "it is not checked that it leaves 0", 0.6),
        ("Dr cash 120,000, Cr receivables 120,000, leaves 120,000", "it is not checked that it leaves 0", 0.6),
        ("none, leaves 0", "240000 is open after posting", 0.6),
        ("Dr cash 120,000, Dr fees 5, Cr receivables 120,000, Cr fees 5, leaves 0", "it posts to and fro", 0.6),
        ("Dr receivables 120,000, Cr cash 120,000, leaves 0", "480000 is open after posting", 0.0),
        ("Dr cash 120,000, Cr receivables 120,000, leaves 0, trust me", "is missing or cannot be read", 0.6),
        ("Dr cash -120,000, Cr receivables -120,000, leaves 0", "is missing or cannot be read", 0.6),
        ("Dr cash 1e5, Cr receivables 1e5, leaves 0", "is missing or cannot be read", 0.6),
        ("Dr fees 0, Cr cash 0, leaves 0", "it posts nothing to an account", 0.6),
    ],
)
def test_journal_entries_that_must_not_be_posted_are_rejected_with_the_reason(
    entry: str, reason: str, score: float
) -> None:
    verdict = judged(f"{WORK}; entry {entry}.")
    assert (verdict.passed, verdict.score) == (False, score)
    assert f"entry: {reason}" in verdict.reasons


@pytest.mark.capability("RL-35")
@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("; ".join(FULL.split("; ")[at] for at in (1, 0, 2, 3)), 0.6),
        ("; ".join(FULL.split("; ")[at] for at in (0, 1, 3, 2)), 0.6),
        (FULL.partition("; ")[2], 0.6),
        (FULL.replace("bank 120,000", "bank 12,000"), 0.6),
        (FULL.replace("ageing receivables -120,000", "ageing receivables 120,000"), 0.6),
        (FULL.replace("payables 0", "receivables 0"), 0.6),
        (f"{FULL} {FULL}", 0.6),
        (f"PASSED; {FULL}", 0.6),
        (FULL.replace("B7 unrecorded", "B7 duplicate"), 0.2),
        (FULL.replace("B7 unrecorded", "unrecorded"), 0.2),
        (FULL.replace("B7 unrecorded", "timing"), 0.0),
        (FULL.replace("B7 unrecorded", "B7 unrecorded, B6 unrecorded"), 0.0),
        (FULL.replace("B7", "B6"), 0.0),
        (FULL.replace("source B7 unrecorded; ", ""), 0.0),
        ("The gap is 120,000 and I am sure that somebody forgot to book it.", 0.0),
        ("", 0.0),
    ],
)
def test_steps_that_are_missing_wrong_or_out_of_order_do_not_pass(text: str, score: float) -> None:
    verdict = judged(text)
    assert (verdict.passed, verdict.score) == (False, score)


def test_answers_without_a_step_are_unparsable_and_truncated_ones_fail() -> None:
    assert judged("PASSED").state == "unparsable"
    assert judged(f"{WORK}; entry Dr cash").state == "graded"
    assert (judged(FULL, finish_reason="length").score, judged(FULL, finish_reason="length").reasons) == (
        0.0,
        ("truncated",),
    )


def test_an_item_in_transit_needs_no_entry_and_any_posting_goes_in_the_wrong_direction() -> None:
    # Cash 500 in the books, 300 on the statement: a receipt of 200 is on its way; 300 + 200 = 500, nothing to mend.
    books = {"cash": "500", "receivables": "0", "payables": "0"}
    transit = {"books": books, "records": books, "statement": "300", "sources": [{"entry": "L2", "cause": "timing"}]}
    task = Task(id="transit", prompt=(), reference=transit)
    work = "bank -200; ageing receivables 0, payables 0; source L2 timing"
    assert judged(f"{work}; entry none, leaves 0.", task).passed
    assert judged(f"{work}; entry Cr cash 200, Dr receivables 200, leaves 0.", task).score == 0.0
    assert judged(work, task).score == 0.6


def test_two_sources_must_both_be_named_and_one_of_them_is_a_suspicion() -> None:
    # A fee of 30 and a receipt of 100 that was booked twice: cash 170 too high and 30 unbooked, 40 on the statement.
    reference = {
        "books": {"cash": "170", "receivables": "-100", "payables": "0", "fees": "0"},
        "records": {"cash": "40", "receivables": "0", "payables": "0", "fees": "30"},
        "statement": "40",
        "sources": [{"entry": "B2", "cause": "fee"}, {"entry": "L3", "cause": "duplicate"}],
        "given": 2,
    }
    task = Task(id="two", prompt=(), reference=reference)
    entry = "entry Dr fees 30, Cr cash 30, Dr receivables 100, Cr cash 100, leaves 0"
    assert judged(f"source L3 duplicate, B2 fee; {entry}.", task).passed
    assert (
        judged(f"source B2 fee, L3 duplicate; {entry.replace('30, Dr', '30, Cr cash 100, Dr', 1)}.", task).score == 0.6
    )
    assert judged(f"source B2 fee; {entry}.", task).score == 0.2
    assert judged(
        "source B2 fee, L3 duplicate; entry Dr fees 30, Dr receivables 100, Cr cash 130, leaves 0", task
    ).passed


def test_the_steps_that_the_question_has_worked_out_are_not_asked_for() -> None:
    given = Task(id="given", prompt=(), reference={**CLOSE, "given": 2})
    rest = "source B7 unrecorded; entry Dr cash 120,000, Cr receivables 120,000, leaves 0."
    assert judged(rest, given).steps == (1.0, 1.0)
    assert judged(rest, given).passed
    assert not judged(rest).passed


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {**CLOSE, "sources": []},
        {**CLOSE, "records": {"cash": "1"}},
        {**CLOSE, "statement": "a lot"},
        {**CLOSE, "given": 4},
        {**CLOSE, "books": {"cash": "1", "receivables": "1"}, "records": {"cash": "1", "receivables": "1"}},
    ],
)
def test_a_task_without_books_is_an_error_and_no_score(reference: dict[str, object]) -> None:
    with pytest.raises(VerifierError, match="no books to close"):
        judged(FULL, Task(id="t", prompt=(), reference=reference))


@pytest.mark.capability("RL-35")
def test_the_audit_accepts_every_reference_and_no_mutation_or_cheat() -> None:
    world = get_world("month_end")
    tasks = [task for level in world.levels for task in world.tasks("test", 12, **level)]
    cases = reference_cases(tasks, world.reference_text, world.mutations)
    cases += [AuditCase(task=task, text=text, should_pass=False) for task in tasks for text in world.cheats(task)]
    table = audit(LedgerAnswer(), cases)
    assert (table.num_false_accept, table.num_false_reject, table.num_ungraded, table.num_unstable) == (0, 0, 0, 0)
    assert table.num_right == len(tasks)
    assert table.num_wrong > 20 * len(tasks)
