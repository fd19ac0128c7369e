"""Write docs/statistics.md: how often each interval holds the truth and each test raises a false alarm.

    python benchmarks/coverage.py [--trials 1000] [--out docs/statistics.md]

Where all outcomes can be listed they are, weighed by their probabilities ("exact", ``coverage_counted.py``); the rest
is simulated from fixed seeds (``coverage_simulated.py``). About a minute on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import fill

import coverage_counted as counted
import coverage_simulated as simulated
from coverage_counted import Table
from rich.progress import track

from strop.files import write_text

OPENING = """# What the intervals cover and the tests reject

Made by `python benchmarks/coverage.py`; do not edit. Every number is a percentage and comes from the public
functions of `strop.statistics`, called as a user calls them. An interval at 95 % keeps its promise when it holds
the truth 95 times in 100; a test at 5 % when it raises at most 5 false alarms in 100. "Exact" tables weigh every
possible outcome by its probability; the others are simulated from fixed seeds, and their own error is about 0.7
points for 1000 trials at 95 % and 1 point for 500.

In short:

- **Exact at every n**: `mcnemar`, `compare_paired`, `sign_flip`, `holm`. They never raise more false alarms than
  asked for, and fewer with few items.
- **Near 95 % from moderate n on**: `wilson`, the two differences of rates, `over_seeds` (normal values),
  `true_rate_interval`, `bradley_terry`.
- **Too sure with few items**: `mean_interval` below 50 clusters, `cohen_kappa` below 100 items or with a rare
  label, `is_equivalent` and `is_non_inferior` of pass or fail where items times margin is below 6.
- **Too cautious**: `win_rate` and `bradley_terry` with many ties, differences of rates with hardly any change.
"""

SECTIONS: tuple[tuple[Callable[[int], Table] | Callable[[], Table], str], ...] = (
    (
        counted.wilson,
        "Counts are whole numbers, so coverage jumps up and down with n and p around 95 % whatever the formula. "
        "Within 93 to 97 % for n ≥ 100 and p from 0.1 to 0.9 (the table is the same for 1 - p). It dips for small "
        "n and for extreme p, to about 90 %: at p = 0.01 fewer than some 200 trials say little.",
    ),
    (
        counted.win_rate,
        "Without ties this is Wilson's interval. A tie counts as half a success and varies less than one, so ties "
        "make it wider than it need be: safe, and wasteful when most comparisons are ties.",
    ),
    (
        counted.paired_rates,
        "About 95 % at the least on this grid. Where hardly any item changes it is wider than needed, which is the "
        "price for keeping a width when none changed at all.",
    ),
    (counted.unpaired_rates, "Within 94 to 97 % from 20 trials a side on, more where both rates are near 0 or 1."),
    (
        simulated.bootstrap,
        "The percentile bootstrap knows no more spread than its clusters show. Five clusters hold the truth about "
        "four times in five, ten about nine in ten; from 50 clusters on it is near 94 %, give or take the table's "
        "own error of one to two points. For a handful of seeds use `over_seeds`, for pass or fail `wilson` and "
        "`rate_difference_interval`, for a decision `sign_flip`.",
    ),
    (
        simulated.seeds,
        "Exact for normal values even with two seeds, and near enough for pass rates. Skewed values (a run that "
        "collapses now and then) make it too sure, at any number of seeds that one can afford.",
    ),
    (
        simulated.true_rate,
        "Keeps its promise down to an audit of 20 good and 20 bad samples, also for a poor grader. Audits that by "
        "chance look no better than guessing are refused and left out here.",
    ),
    (
        simulated.kappa,
        "A large-sample formula: within two or three points from about 100 items on. Below that it is too sure, worst "
        "with a rare label or many labels: report the table of counts beside it.",
    ),
    (
        simulated.ratings,
        "Near 95 % from ten comparisons a pair on; more with few comparisons and with ties, which vary less than "
        "the wins they are counted as. Draws in which somebody wins or loses everything are refused and left out.",
    ),
    (
        counted.mcnemar,
        "At most α at every number of changed items, here given that number. Five changed items can never reach 5 "
        "%: even all one way they have p = 0.0625.",
    ),
    (
        simulated.sign_flips,
        "At most α: exactly so by enumeration up to 16 changed clusters, and on average over the draws of signs "
        "beyond. Several samples of one task do no harm when they are one cluster.",
    ),
    (
        counted.equivalence,
        "The truth lies exactly on a margin of 10 points, so every acceptance is a false alarm. Near 5 % for "
        "non-inferiority once items times margin reach 6. Below that, and when all changes go one way, both are "
        "too quick: of 20 items often none changes at all. Equivalence with many changes and few items is never "
        "claimed.",
    ),
    (
        simulated.seeds_equivalence,
        "Two one-sided t tests: at most 5 %, and less when the spread leaves no room for a claim.",
    ),
    (
        simulated.holm,
        "The chance of any false alarm among all tests: at most 5 %, and less when the tests go together.",
    ),
    (
        simulated.power,
        "What the power functions say beside what the tests do. `mcnemar_power` is exact; with equal gains and "
        "losses it is the test's size. `two_rate_power` is the normal approximation, within two points here.",
    ),
)


def markdown(table: Table, words: str) -> str:
    """One table as a section."""
    lines = [f"## {table.title}", "", fill(words, 116), "", f"*{table.how[0].upper()}{table.how[1:]}.*", ""]
    lines += ["| " + " | ".join(table.header) + " |", "| --- |" + " ---: |" * (len(table.header) - 1)]
    for name, cells in table.rows:
        lines.append("| " + " | ".join([name, *("–" if c is None else f"{c:.1f}" for c in cells)]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write how often intervals hold the truth and tests raise false alarms."
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "statistics.md")
    arguments = parser.parse_args()
    parts = [OPENING.strip()]
    for make, words in track(SECTIONS, description="coverage"):
        is_counted = make.__module__ == counted.__name__
        table = (make if is_counted else partial(make, arguments.trials))()  # type: ignore[call-arg]
        parts.append(markdown(table, words))
    write_text(arguments.out, "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
