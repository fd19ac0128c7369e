"""Month-end closes: the entry that explains the gap, the journal entry that removes it, and the steps in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict

SOP = ("bank", "ageing", "source", "entry")
"""The close procedure: reconcile the bank, then the aged lists, name the source, post the entry and check for zero."""
RUBRIC = {"solved": 1.0, "incomplete": 0.6, "suspicion": 0.2, "wrong": 0.0}
"""What ``LedgerAnswer`` gives for what was achieved."""
LISTS = ("receivables", "payables")
"""The accounts that have a list of open items of their own."""

_AMOUNT = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,15})(?:\.[0-9]{1,6})?"
_POSTING = re.compile(rf"(?P<side>dr|cr)\s+(?P<account>[a-z_]{{1,40}})\s+(?P<amount>{_AMOUNT})")
_ENTRY = re.compile(
    rf"(?P<postings>none|{_POSTING.pattern}(?:(?:,|\s+and)?\s+(?:dr|cr)\s+[a-z_]{{1,40}}\s+{_AMOUNT}){{0,20}})"
    rf"(?:,?\s+leaves\s+(?P<leaves>-?{_AMOUNT}))?"
)
_BANK = re.compile(rf"-?{_AMOUNT}")
_AGEING = re.compile(rf"(receivables|payables)\s+(-?{_AMOUNT}),?\s+(?:and\s+)?(receivables|payables)\s+(-?{_AMOUNT})")
_SOURCE = re.compile(r"(?:(?P<entry>[a-z]{1,3}[0-9]{1,4})\s+)?(?P<cause>[a-z_]{1,30})")


@dataclass(frozen=True, kw_only=True)
class Posting:
    """One line of a journal entry."""

    side: Literal["dr", "cr"]
    account: str
    amount: Decimal
    """At least 0."""

    @property
    def change(self) -> Decimal:
        """What it does to the account's balance, debits counted as plus and credits as minus."""
        return self.amount if self.side == "dr" else -self.amount


@dataclass(frozen=True, kw_only=True)
class Close:
    """One close to be made: what the books say, what the records prove, and where the difference comes from."""

    books: Mapping[str, Decimal]
    """Account → balance in the general ledger, debit plus, credit minus: the accounts that exist."""
    records: Mapping[str, Decimal]
    """The balances that bank statement, aged lists and vouchers prove; where ``books`` must be after posting."""
    statement: Decimal
    """The bank statement's balance, which items in transit keep from being that of ``records``."""
    sources: Mapping[str, str]
    """Entry → cause, in lower case: ``{"b3": "unrecorded"}``."""
    given: int = 0
    """How many of the first steps the question has already worked out; the answer has the others only."""

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that the answer must have, in order."""
        return SOP[self.given :]

    @property
    def bank_gap(self) -> Decimal:
        """Bank statement less cash in the books."""
        return self.statement - self.books["cash"]

    def list_gap(self, account: str) -> Decimal:
        """The aged list's total less the account in the books, as an amount owed: a payable counts as plus."""
        sign = -1 if account == "payables" else 1
        return sign * (self.records[account] - self.books[account])

    def open_after(self, postings: Sequence[Posting]) -> Decimal | None:
        """What is left unexplained when the entry is posted, over all accounts; None if it names an unknown one.

        Σ over accounts of |records − books − change|.
        """
        left = {account: self.records[account] - self.books[account] for account in self.books}
        for posting in postings:
            if posting.account not in left:
                return None
            left[posting.account] -= posting.change
        return sum((abs(value) for value in left.values()), Decimal(0))


def read_close(task: Task) -> Close:
    """The close of ``task.reference``. Raises: VerifierError if there is none."""
    reference = task.reference
    try:
        books, records = ({str(k): Decimal(str(v)) for k, v in reference[key].items()} for key in ("books", "records"))
        sources = {str(one["entry"]).lower(): str(one["cause"]).lower() for one in reference["sources"]}
        close = Close(
            books=books,
            records=records,
            statement=Decimal(str(reference["statement"])),
            sources=sources,
            given=int(reference.get("given", 0)),
        )
        is_whole = books.keys() == records.keys() >= {"cash", *LISTS} and bool(sources) and 0 <= close.given <= 2
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        is_whole = False
    if not is_whole:
        raise VerifierError(
            f"task {task.id} has no books to close",
            where=task.source or task.id,
            why='LedgerAnswer needs {"books": {"cash": "0", "receivables": ..., "payables": ...}, "records": the same '
            'accounts, "statement": "1200", "sources": [{"entry": "B3", "cause": "unrecorded"}]} and given 0 to 2',
            do="mend the reference",
        )
    return close


# ------------------------------------------------------------------------------------------------------ reading answers


@dataclass(frozen=True, kw_only=True)
class CloseAnswer:
    """What an answer says, step by step; what cannot be read or is not there is None or empty."""

    order: tuple[str, ...]
    """The steps as they stand in the text, ``?`` for a part that is none."""
    bank: Decimal | None = None
    ageing: Mapping[str, Decimal] | None = None
    source: tuple[tuple[str, str], ...] = ()
    """``(entry, cause)``, the entry empty where only a cause is named."""
    postings: tuple[Posting, ...] | None = None
    """Empty for "none"."""
    leaves: Decimal | None = None


def read_answer(text: str) -> CloseAnswer:
    """The steps of ``bank 120; ageing receivables -120, payables 0; source B3 unrecorded; entry Dr cash 120, ...``.

    Parted by semicolons or new lines, in any case of letters; a step that stands twice is read the first time only.
    """
    order: list[str] = []
    found: dict[str, Any] = {}
    for part in re.split(r"[;\n]+", text.lower()):
        word, _, body = part.strip().removesuffix(".").partition(" ")
        step = word.rstrip(":").replace("aging", "ageing")
        if not part.strip():
            continue
        order.append(step if step in SOP else "?")
        if step in SOP and order.count(step) == 1:
            found |= _read_step(step, " ".join(body.split()))
    return CloseAnswer(order=tuple(order), **found)


def _read_step(step: str, body: str) -> dict[str, Any]:
    if step == "bank":
        return {"bank": _amount(body)} if _BANK.fullmatch(body) else {}
    if step == "ageing":
        match = _AGEING.fullmatch(body)
        if match is None or match[1] == match[3]:
            return {}
        return {"ageing": {match[1]: _amount(match[2]), match[3]: _amount(match[4])}}
    if step == "source":
        named = [_SOURCE.fullmatch(one.strip()) for one in re.split(r",| and ", body)]
        return {"source": tuple((one["entry"] or "", one["cause"]) for one in named if one)} if all(named) else {}
    match = _ENTRY.fullmatch(body)
    if match is None:
        return {}
    postings = tuple(
        Posting(side="dr" if one["side"] == "dr" else "cr", account=one["account"], amount=_amount(one["amount"]))
        for one in _POSTING.finditer(match["postings"])
    )
    return {"postings": postings, "leaves": None if match["leaves"] is None else _amount(match["leaves"])}


def _amount(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


# -------------------------------------------------------------------------------------------------------------- judging


def step_problems(close: Close, answer: CloseAnswer) -> dict[str, str]:
    """Step → what is wrong with it, empty if it is right, for every step that the answer must have."""
    problems = dict.fromkeys(close.steps, "is missing or cannot be read")
    if answer.bank is not None:
        problems["bank"] = "" if answer.bank == close.bank_gap else f"the gap is {close.bank_gap}, not {answer.bank}"
    if answer.ageing is not None:
        gaps = {account: close.list_gap(account) for account in LISTS}
        wrong = [account for account in LISTS if answer.ageing[account] != gaps[account]]
        problems["ageing"] = "; ".join(f"the gap of {one} is {gaps[one]}, not {answer.ageing[one]}" for one in wrong)
    if answer.source:
        is_right = sorted(answer.source) == sorted(close.sources.items())
        problems["source"] = "" if is_right else "is not where the gap comes from"
    if answer.postings is not None:
        problems["entry"] = journal_problem(close, answer.postings, answer.leaves)
    return {step: problems[step] for step in close.steps}


def journal_problem(close: Close, postings: Sequence[Posting], leaves: Decimal | None) -> str:
    """Why the journal entry is not the one to post; empty if it balances, and leaves nothing and says so.

    An account that it does not move must not stand in it.
    """
    unknown = [one.account for one in postings if one.account not in close.books]
    if unknown:
        return f"there is no account {unknown[0]}"
    if not all(one.amount for one in postings):
        return "it posts nothing to an account"
    over = sum((one.change for one in postings), Decimal(0))
    if over:
        return f"debits and credits differ by {abs(over)}"
    left = close.open_after(postings)
    if left:
        return f"{left} is open after posting"
    moved = {account: sum(one.change for one in postings if one.account == account) for account in close.books}
    if any(not moved[one.account] for one in postings):
        return "it posts to and fro"
    return "" if leaves == 0 else "it is not checked that it leaves 0"


def grade(close: Close, answer: CloseAnswer, problems: Mapping[str, str]) -> str:
    """The rubric's word for the answer.

    ``solved``: every step right, each once and in order. ``wrong``: an entry is blamed that is not the source, the
    journal entry leaves more open than there was, or nothing is named. ``incomplete``: every source with its cause is
    named, but a step of the work or of the repair is missing, wrong or out of order. ``suspicion``: some source or the
    right cause is named, nothing more definite.
    """
    if not any(problems.values()) and answer.order == close.steps:
        return "solved"
    before, after = close.open_after(()), close.open_after(answer.postings or ())
    named = [entry for entry, _ in answer.source if entry]
    makes_worse = before is not None and after is not None and after > before
    if makes_worse or not answer.source or any(entry not in close.sources for entry in named):
        return "wrong"
    if sorted(answer.source) == sorted(close.sources.items()):
        return "incomplete"
    suspected = {cause for entry, cause in answer.source if not entry}
    return "suspicion" if named or (suspected and suspected <= set(close.sources.values())) else "wrong"


@dataclass(frozen=True, kw_only=True)
class LedgerAnswer:
    """Passes a close whose steps are right and in order, and whose journal entry balances and leaves nothing open.

    The entry is posted to the books of the reference, in exact decimals: whatever lines it has, every account must then
    stand where the records prove it. ``RUBRIC`` gives 1 for that, 0.6 where the source is found but the repair is not
    complete, 0.2 for a suspicion, 0 for a wrong direction; ``steps`` has 1 or 0 for each step that was asked for.
    An answer without a step is ``unparsable``; a truncated one fails. Raises: VerifierError without books.
    """

    name: str = "ledger"

    @property
    def digest(self) -> str:
        """Identity of this file and its settings."""
        return digest_json([digest_file(__file__), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        close = read_close(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        answer = read_answer(completion.text)
        problems = step_problems(close, answer)
        word = grade(close, answer, problems)
        reasons = [word, *(f"{step}: {problem}" for step, problem in problems.items() if problem)]
        if answer.order != close.steps:
            reasons.append(f"the steps are {', '.join(answer.order) or 'none'}, not {', '.join(close.steps)}")
        return Verdict(
            score=RUBRIC[word],
            passed=word == "solved",
            state="graded" if set(answer.order) & set(SOP) else "unparsable",
            reasons=tuple(reasons),
            steps=tuple(float(not problem) for problem in problems.values()),
        )
