"""Coverage and false alarms where every outcome can be listed and weighed by its probability.

Each function answers one table; what it counts comes from ``strop.statistics`` as a user calls it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from strop import statistics as ours
from strop.statistics import Interval

Cells = tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """Percentages by case; None where nothing was to be counted."""

    title: str
    how: str
    header: tuple[str, ...]
    rows: list[tuple[str, Cells]]


def share(hits: Iterable[bool | None]) -> float | None:
    """Percent of hits among those that are not None."""
    told = [hit for hit in hits if hit is not None]
    return 100 * sum(told) / len(told) if told else None


def holds(interval: Interval | None, truth: float) -> bool | None:
    return None if interval is None else interval.low <= truth <= interval.high


def wilson() -> Table:
    rates, rows = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5), []
    for n in (5, 10, 20, 50, 100, 200, 500):
        intervals = [ours.wilson(k, n) for k in range(n + 1)]
        weights = [stats.binom.pmf(range(n + 1), n, p) for p in rates]
        rows.append(
            (f"n = {n}", tuple(100 * sum(w[[bool(holds(i, p)) for i in intervals]]) for w, p in zip(weights, rates)))
        )
    return Table("`wilson`", "exact", ("trials", *(f"p = {p}" for p in rates)), rows)


def _multinomial(n: int, shares: Sequence[float]) -> Iterable[tuple[float, tuple[int, ...]]]:
    """(Probability, counts) of every outcome whose probability matters."""
    outcomes = [c for c in itertools.product(range(n + 1), repeat=len(shares) - 1) if sum(c) <= n]
    counts = np.array([(*c, n - sum(c)) for c in outcomes])
    weights = stats.multinomial.pmf(counts, n, shares)
    return ((float(w), tuple(map(int, c))) for w, c in zip(weights, counts) if w > 1e-9)


def win_rate() -> Table:
    cases = {"no ties": (0.6, 0.0, 0.4), "30 % ties": (0.4, 0.3, 0.3), "80 % ties": (0.12, 0.8, 0.08)}
    rows = []
    for n in (10, 30, 100):
        found = [
            100 * sum(w for w, c in _multinomial(n, s) if holds(ours.win_rate(*c)[1], s[0] + s[1] / 2))
            for s in cases.values()
        ]
        rows.append((f"n = {n}", tuple(found)))
    return Table("`win_rate`", "exact", ("comparisons", *cases), rows)


PAIRED = {
    "1 %, 1 %": (0.6, 0.01, 0.01, 0.38),
    "10 %, 5 %": (0.5, 0.1, 0.05, 0.35),
    "15 %, 15 %": (0.6, 0.15, 0.15, 0.1),
    "30 %, 10 %": (0.3, 0.3, 0.1, 0.3),
}


def paired_rates() -> Table:
    rows = []
    for n in (10, 20, 40, 60):
        found = [
            100 * sum(w for w, c in _multinomial(n, s) if holds(ours.rate_difference_interval(*c), s[1] - s[2]))
            for s in PAIRED.values()
        ]
        rows.append((f"n = {n}", tuple(found)))
    header = ("items", *(f"gained, lost = {case}" for case in PAIRED))
    return Table("`rate_difference_interval`, `paired_difference` of pass or fail", "exact", header, rows)


def unpaired_rates() -> Table:
    pairs, rows = ((0.05, 0.05), (0.1, 0.3), (0.4, 0.4), (0.4, 0.6), (0.8, 0.95)), []
    for n in (10, 20, 50, 100):
        intervals = [[ours.unpaired_difference_interval(a, n, b, n) for b in range(n + 1)] for a in range(n + 1)]
        found = []
        for p, q in pairs:
            weights = np.outer(stats.binom.pmf(range(n + 1), n, p), stats.binom.pmf(range(n + 1), n, q))
            found.append(
                100 * float(weights[np.array([[bool(holds(i, p - q)) for i in row] for row in intervals])].sum())
            )
        rows.append((f"n = {n} a side", tuple(found)))
    return Table("`unpaired_difference_interval`", "exact", ("trials", *(f"{p}, {q}" for p, q in pairs)), rows)


def mcnemar() -> Table:
    rows = []
    for m in (5, 6, 10, 20, 50, 100, 500):
        p_values = np.array([ours.mcnemar(k, m - k) for k in range(m + 1)])
        weights = stats.binom.pmf(range(m + 1), m, 0.5)
        rows.append((f"{m} items changed", tuple(100 * float(weights[p_values <= a].sum()) for a in (0.01, 0.05, 0.1))))
    return Table("`mcnemar`, `compare_paired`: false alarms", "exact", ("", "α = 1 %", "α = 5 %", "α = 10 %"), rows)


def equivalence() -> Table:
    """Both tests where the truth lies exactly on the margin of 10 points."""
    rows = []
    for n in (20, 40, 60):
        found = []
        for gained, lost in ((0.1, 0.0), (0.15, 0.05), (0.25, 0.15)):
            called = [0.0, 0.0]
            for w, (both, up, down, neither) in _multinomial(n, (0.5, gained, lost, 0.5 - gained - lost)):
                one = [1] * both + [1] * up + [0] * down + [0] * neither
                other = [1] * both + [0] * up + [1] * down + [0] * neither
                called[0] += w * ours.is_equivalent(one, other, margin=0.1)
                called[1] += w * ours.is_non_inferior(other, one, margin=0.1)
            found += [100 * c for c in called]
        rows.append((f"n = {n}", tuple(found)))
    header = ("items", *(f"{test}, {c} % changed" for c in (10, 20, 40) for test in ("equivalent", "non-inferior")))
    return Table(
        "`is_equivalent`, `is_non_inferior` of pass or fail at the margin: false alarms at α = 5 %",
        "exact",
        header,
        rows,
    )
