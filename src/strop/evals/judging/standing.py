"""How a judge stands with people: whether what it says may count in a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.errors import VerifierError
from strop.types import Verifier
from strop.verifiers.anchors import Anchor, AnchorReport, drift_p_value, measure_anchors


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is asked of a judge before its word counts."""

    min_anchors: int = 30
    min_agreement: float = 0.8
    """With people, over all anchors; one without a verdict is no agreement."""
    min_kappa: float = 0.4
    """Agreement beyond chance: on anchors that are nearly all of one label, always saying the same agrees often."""
    alpha: float = 0.01
    """A fall of the agreement since people examined the judge, with a one-sided p below this, is a drift."""
    max_inconsistent: float = 0.3
    """The share of comparisons whose two orders contradict each other: such a judge sees places, not answers."""
    max_ungraded: float = 0.05
    """The share of items that the judge may leave without an outcome."""

    def __post_init__(self) -> None:
        shares = (self.min_agreement, self.min_kappa, self.alpha, self.max_inconsistent, self.max_ungraded)
        if self.min_anchors < 2 or not all(0 <= share <= 1 for share in shares):
            raise VerifierError(f"limits that no judge can be held to: {self}", do="give shares from 0 to 1, 2 anchors")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A judge, and how it judged what people have judged."""

    judge: str
    """The digest of the judge: its model, its rubric or criterion, its settings."""
    num_anchors: int
    """Answers with people's labels that were given to it."""
    now: AnchorReport | None
    """Measured with the judgements; None where the anchors are too few, or all of one label, to measure anything."""
    before: AnchorReport | None = None
    """Measured when people examined the judge; None if nobody did."""
    limits: Limits = field(default_factory=Limits)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the judge decides nothing; empty if its word counts."""
        now, before, found = self.now, self.before, []
        if now is not None and now.judge != self.judge:
            found.append(f"another judge or rubric judged the anchors ({now.judge[:12]}, not {self.judge[:12]})")
        if before is not None and before.judge != self.judge:
            found.append(f"people examined another judge or rubric ({before.judge[:12]}, not {self.judge[:12]})")
        if self.num_anchors < self.limits.min_anchors:
            asked = f"at least {self.limits.min_anchors} are asked for"
            found.append(f"{self.num_anchors} anchors with people's labels; {asked}")
        elif now is None:
            found.append(f"{self.num_anchors} anchors of one label only: a judge that always says the same would agree")
        if now is None or found:
            return tuple(found)
        return (*self._disagreements(now), *self._drift(now))

    def _disagreements(self, now: AnchorReport) -> list[str]:
        limits, told = self.limits, agreement_told(now)
        if now.agreement < limits.min_agreement:
            return [f"it {told}, less than {limits.min_agreement:.0%}"]
        kappa = kappa_of(now)
        if kappa is None or kappa < limits.min_kappa:
            return [f"it {told}: hardly more than chance would; a kappa of {limits.min_kappa:g} is asked for"]
        return []

    def _drift(self, now: AnchorReport) -> list[str]:
        before = self.before
        if before is None:
            return []
        if before.anchors != now.anchors:
            return [f"the anchors are not those that it was examined on ({before.anchors[:12]}, {now.anchors[:12]})"]
        p_value = drift_p_value(before, now)
        if p_value >= self.limits.alpha:
            return []
        fell = f"agreement with people fell from {before.agreement:.0%} to {now.agreement:.0%} of {len(now.labels)}"
        return [f"the judge has drifted: its {fell} anchors (p = {p_value:.2g}), under the same name"]

    @property
    def is_trusted(self) -> bool:
        """Whether its word counts."""
        return not self.problems

    def __str__(self) -> str:
        return "; ".join(self.problems) or (agreement_told(self.now) if self.now else "")


def kappa_of(report: AnchorReport) -> float | None:
    """Agreement beyond chance; None where no anchor has a verdict, or both sides gave one label only."""
    return report.kappa.kappa if any(found is not None for found in report.passed) else None


def agreement_told(report: AnchorReport) -> str:
    """The agreement in words, with its interval and kappa."""
    ends, kappa = report.interval, kappa_of(report)
    beyond = "undefined" if kappa is None else f"{kappa:.2f}"
    undecided = f", {report.num_undecided} without a verdict" if report.num_undecided else ""
    return (
        f"agrees with people on {report.agreement:.0%} [{ends.low:.0%}, {ends.high:.0%}] of {len(report.labels)} "
        f"anchors (kappa {beyond}{undecided})"
    )


def report_numbers(report: AnchorReport | None) -> dict[str, Any] | None:
    """The report's numbers as JSON; None without one."""
    if report is None:
        return None
    ends = report.interval
    return {
        "num_anchors": len(report.labels),
        "agreement": report.agreement,
        "low": ends.low,
        "high": ends.high,
        "kappa": kappa_of(report),
        "num_undecided": report.num_undecided,
    }


def hold_to_people(
    judge: Verifier,
    anchors: Sequence[Anchor],
    *,
    before: AnchorReport | None = None,
    limits: Limits | None = None,
) -> Standing:
    """How ``judge`` stands now: it judges the anchors again, which costs as much as so many answers.

    Anchors that are too few, or all of one label, measure nothing, and say so: the judge is then not asked.
    """
    limits = limits or Limits()
    is_enough = len(anchors) >= limits.min_anchors and {anchor.label for anchor in anchors} == {False, True}
    now = measure_anchors(judge, anchors) if is_enough else None
    return Standing(judge=judge.digest, num_anchors=len(anchors), now=now, before=before, limits=limits)
