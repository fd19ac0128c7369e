"""Whether what was trained on holds what is asked: the same dialogue, a quotation, a shared cluster, a near copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from strop.digests import digest_json
from strop.evals.dialogues import Reading, read_row, read_suite
from strop.evals.spans import SpanIndex
from strop.evals.suite import Suite
from strop.types import Check, Outcome

LeakKind = Literal["exact", "quoted", "cluster", "similar"]
_TOLD: Mapping[LeakKind, str] = {
    "exact": "word for word as in a training row",
    "quoted": "quoted inside a training row",
    "cluster": "in one cluster with a training row",
    "similar": "nearly a training row",
}
_NUM_NAMED = 20
_NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One item of a suite, and a training row that holds it."""

    kind: LeakKind
    item: str
    row: str
    """``stage: id (place)``."""
    shared: float = 1.0
    """Of the words that set the item apart from the suite's others, the share in the row; 1 but for ``similar``."""


@dataclass(frozen=True, kw_only=True)
class SuiteLeaks:
    """What of one suite was found in the training rows: the strongest leak of each item."""

    suite: str
    suite_digest: str
    num_items: int
    leaks: tuple[Leak, ...]

    def of(self, *kinds: LeakKind) -> list[Leak]:
        """Those of these kinds."""
        return [leak for leak in self.leaks if leak.kind in kinds]


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Evidence for a gate: every suite against every training row.

    An item that was trained on word for word, quoted, or in a cluster with a training row blocks. One that is nearly a
    training row is INSUFFICIENT: a person has to look, for a near copy may be another question.
    """

    suites: tuple[SuiteLeaks, ...]
    num_rows: Mapping[str, int]
    """Stage → rows that were compared."""
    name: str = "contamination"

    @property
    def digest(self) -> str:
        """Identity of what was found, and of the suites."""
        return digest_json([[asdict(one) for one in self.suites], dict(self.num_rows)])

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(one.leaks for one in self.suites)

    def findings(self) -> list[Check]:
        """One check a suite."""
        return [self._check(one) for one in self.suites]

    def _check(self, found: SuiteLeaks) -> Check:
        sure, unsure = found.of("exact", "quoted", "cluster"), found.of("similar")
        outcome: Outcome = "BLOCK" if sure else "INSUFFICIENT" if unsure else "PASS"
        counts = {kind: len(leaks) for kind in _TOLD if (leaks := found.of(kind))}
        rows = f"{sum(self.num_rows.values()):,} training rows"
        if found.leaks:
            told = ", ".join(f"{count} {_TOLD[kind]}" for kind, count in counts.items())
            shown = "; ".join(f"{leak.item} in {leak.row}" for leak in [*sure, *unsure][:_NUM_SHOWN])
            reason = f"of {found.num_items} items: {told}: {shown}"
            reason += "" if sure else "; look at them: a near copy may be another question"
        else:
            reason = f"none of {found.num_items} items stands in {rows}"
        numbers = {
            "num_items": found.num_items,
            "num_rows": dict(self.num_rows),
            "found": counts,
            "items": [leak.item for leak in [*sure, *unsure]][:_NUM_NAMED],
            "leaks": [asdict(leak) for leak in [*sure, *unsure]][:_NUM_NAMED],
        }
        return Check(name=f"{found.suite}: not trained on", outcome=outcome, reason=reason, numbers=numbers)


def find_contamination(training: Mapping[str, Sequence[Any]], suites: Sequence[Suite]) -> Contamination:
    """Each suite's items that stand in the rows of ``training`` (stage → conversations, pairs, tasks, documents).

    *exact*: the item's turns are those of a row up to one of its answers, whatever case, Unicode form and spacing. The
    system message counts only where it differs between the suite's items: there it is part of what is asked.
    *quoted*: the item's question, of eight words or more, stands whole in a turn or document of a row. *cluster*: the
    row is a task of the same named cluster. *similar*: a question with twenty words of its own or more shares most of
    them, in long runs, see ``spans.SpanIndex``. Items with tool results in their prompt are found exactly or not at
    all, and those of rows are not searched.
    """
    rows = [read_row(stage, row) for stage, stage_rows in training.items() for row in stage_rows]
    known: dict[tuple[str, ...], tuple[Leak, ...]] = {}
    found = []
    for suite in suites:
        reading = read_suite(suite)
        if reading.task_digests not in known:  # a suite and its greedy twin ask the same
            known[reading.task_digests] = _leaks(reading, rows)
        leaks = known[reading.task_digests]
        found.append(SuiteLeaks(suite=suite.name, suite_digest=suite.digest, num_items=len(suite.tasks), leaks=leaks))
    return Contamination(suites=tuple(found), num_rows={stage: len(rows) for stage, rows in training.items()})


def _leaks(suite: Reading, rows: Sequence[Any]) -> tuple[Leak, ...]:
    index = SpanIndex([item.question for item in suite.items])
    found: dict[int, Leak] = {}
    order: tuple[LeakKind, ...] = ("exact", "quoted", "cluster", "similar")

    def note(number: int, kind: LeakKind, row: str, shared: float = 1.0) -> None:
        leak = Leak(kind=kind, item=suite.items[number].id, row=row, shared=round(shared, 4))
        if number not in found or order.index(kind) < order.index(found[number].kind):
            found[number] = leak

    for row in rows:
        for number in suite.asked_in(row):
            note(number, "exact", row.label)
        for number in suite.clusters.get(row.cluster, ()) if row.cluster else ():
            note(number, "cluster", row.label)
        for number, shared, is_whole in index.found_in(row.texts):
            note(number, "quoted" if is_whole else "similar", row.label, shared)
    return tuple(found[number] for number in sorted(found))
