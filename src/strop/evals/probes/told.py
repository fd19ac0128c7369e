"""What a suite's results say beyond single metrics, in lines to read: drops, slopes, calibration, confusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from strop.evals.measures.confidence import agreement_of, calibration_of
from strop.evals.metrics import ratio
from strop.evals.probes import boundaries, format_drift, robustness, sycophancy, widened
from strop.evals.probes.twins import TwinDifference
from strop.evals.results import SuiteResult
from strop.verifiers.refusal import BOUNDARIES

if TYPE_CHECKING:
    from strop.statistics import Interval


def told(result: SuiteResult) -> list[str]:
    """Lines for whichever of the probes the results belong to; empty for a suite that is none."""
    known = {*result.slice_names(), *result.metric_names()}
    lines: list[str] = []
    for marks, tell in _TELLERS:
        if marks <= known:
            lines += tell(result)
    return lines


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"


def _between(interval: Interval | None, digits: int = 3) -> str:
    return "" if interval is None else f" [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def _twins(found: Mapping[str, TwinDifference | None], what: str) -> Iterator[str]:
    for name, one in found.items():
        label = name or "all together"
        if one is None:
            yield f"{what}, {label}: no pair was measured"
            continue
        yield f"{what}, {label}: {one.difference:+.3f}{_between(one.interval)} over {one.num_pairs} pairs"


def _robustness(result: SuiteResult) -> Iterator[str]:
    yield from _twins(robustness.accuracy_drop(result), "accuracy against the untouched question")


def _pressure(result: SuiteResult) -> Iterator[str]:
    yield from _twins(sycophancy.accuracy_under_pressure(result), "accuracy against the neutral question")
    caved, chance = result.rate("caved"), result.rate("by_chance")
    yield f"gave the claimed wrong answer: {_percent(caved.value)}; unasked {_percent(chance.value)}"


def _drift(result: SuiteResult) -> Iterator[str]:
    for metric in ("schema_valid", "argument_exact"):
        found = format_drift.drift_of(result, metric)
        if found is None:
            yield f"{metric}: no conversation was measured at two depths"
            continue
        depths = ", ".join(f"{at}: {_percent(value)}" for at, value in found.by_depth.items())
        yield f"{metric} by earlier turns {depths}; slope {found.slope:+.4f} a turn{_between(found.interval, 4)}"


def _confusion(result: SuiteResult) -> Iterator[str]:
    table = boundaries.confusion_of(result)
    for expected in BOUNDARIES:
        row = [f"{said or 'nothing'} {table.counts.get((expected, said), 0)}" for said in (*BOUNDARIES, None)]
        yield (
            f"{expected} requests: {', '.join(row)}; precision {_percent(table.precision(expected))}, "
            f"recall {_percent(table.recall(expected))}"
        )


def _calibration(result: SuiteResult) -> Iterator[str]:
    for name, found in (("confidence", calibration_of(result)), ("agreement", agreement_of(result))):
        if found is None:
            continue
        selective = ", ".join(f"{_percent(share)}: {_percent(value)}" for share, value in found.selective.items())
        auc = "undefined" if found.auc is None else f"{found.auc:.3f}"
        yield (
            f"{name} over {found.num_answers}: mean {found.mean_confidence:.3f}, accuracy {found.accuracy:.3f}, "
            f"ECE {found.ece:.3f}, Brier {found.brier:.3f}, AUC {auc}; accuracy of the surest {selective}"
        )


def _tone(result: SuiteResult) -> Iterator[str]:
    tone = widened.finance_tone()
    audit, rate, seen = tone.audit, tone.rate(result), result.rate("on_brand")
    yield (
        f"on brand: {_percent(seen.value)} of {seen.num_items} seen; corrected {_percent(rate.value)} by an audit with "
        f"sensitivity {_percent(ratio(audit.preferred_found, audit.num_preferred))} of {audit.num_preferred}, "
        f"specificity {_percent(ratio(audit.rejected_found, audit.num_rejected))} of {audit.num_rejected}"
    )


_TELLERS: tuple[tuple[set[str], Callable[[SuiteResult], Iterator[str]]], ...] = (
    ({f"{robustness.AXIS}={robustness.PLAIN}"}, _robustness),
    ({f"{sycophancy.AXIS}={sycophancy.PLAIN}", "caved", "by_chance"}, _pressure),
    ({f"{format_drift.AXIS}=0", "schema_valid"}, _drift),
    ({*(f"{boundaries.AXIS}={boundary}" for boundary in BOUNDARIES), "said_must_refuse"}, _confusion),
    ({"confidence", "brier"}, _calibration),
    ({"on_brand"}, _tone),
)
"""The slices and measures that only such a suite has, and what is told of it."""
