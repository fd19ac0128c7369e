"""How often the gate passes and blocks wrongly, what it finds, and where lm-eval's unpaired test decides otherwise.

    python benchmarks/gate_power.py [--trials 400] [--only unchanged …] [--out benchmarks/results/gate_power.json]

Outcomes are simulated item by item: an item has a difficulty that both runs share, so the runs are correlated as two
checkpoints of one model are. Every decision is ``strop.evals.gate``'s on whole suites of per-item results; the levels
of the margin tests are exact, from all possible outcomes. About five minutes of one core; its tables: docs/gate.md.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gate_outcomes import KINDS, METRICS, SLICED, Runs, draw_runs, suite_result
from gate_power_levels import betting_levels, exact_levels
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from strop.evals import gate, parse_gate_config
from strop.files import write_json
from strop.types import Decision

ALPHA = 0.05
Z = 1.96
"""Above which lm-eval's comparison of two runs calls a difference significant."""


def lm_eval_z(candidate: ArrayLike, baseline: ArrayLike) -> float:
    """lm-eval's z of two runs: (p1 - p2) / √(se1² + se2²), each se the sample's standard deviation over √n."""
    one, two = np.asarray(candidate), np.asarray(baseline)
    spread = math.sqrt(one.var(ddof=1) / len(one) + two.var(ddof=1) / len(two))
    difference = float(one.mean() - two.mean())
    return difference / spread if spread else math.copysign(math.inf, difference) if difference else 0.0


def decide(runs: Runs, **settings: Any) -> Decision:
    """The gate's decision on two simulated runs."""
    config = parse_gate_config({"min_items": 20, "alpha": ALPHA, **settings})
    return gate({"suite": suite_result(runs, 1)}, {"suite": suite_result(runs, 0)}, config)


def unpaired_worse(runs: Runs, metric: str, kind: str | None = None) -> bool:
    """Whether lm-eval's test calls the candidate significantly worse."""
    before, now = runs.values(metric, kind)
    return lm_eval_z(now, before) < -Z


def unchanged(num_items: int, trials: int, *, steadiness: float, seed: int) -> dict[str, Any]:
    """How often a candidate that is the baseline, sampled again, is blocked; all metrics, all slices."""
    blocked = whole = sliced = 0
    num_tests: list[int] = []
    generator = np.random.default_rng(seed)
    for _ in range(trials):
        runs = draw_runs(generator, num_items, steadiness=steadiness)
        decision = decide(runs)
        blocked += decision.outcome == "BLOCK"
        num_tests += [check.numbers["num_tests"] for check in decision.checks if "num_tests" in check.numbers][:1]
        is_whole = any(unpaired_worse(runs, metric) for metric in METRICS)
        whole += is_whole
        sliced += is_whole or any(unpaired_worse(runs, metric, kind) for metric in METRICS for kind in KINDS)
    return {
        "num_items": num_items,
        "steadiness": steadiness,
        "correlation": runs.correlation("m3"),
        "trials": trials,
        "comparisons": len(METRICS) * (1 + SLICED),
        "mean_tests_counted": float(np.mean(num_tests)),
        "blocked": blocked,
        "unpaired_any_metric_worse": whole,
        "unpaired_any_metric_or_kind_worse": sliced,
        "seed": seed,
    }


def planted(
    num_items: int, trials: int, *, drop: float, kind: str | None, seed: int, steadiness: float = 3.0
) -> dict[str, Any]:
    """How often a drop of one metric, over the suite or inside one kind of items, is blocked with the right name."""
    found = unpaired = only_gate = only_unpaired = 0
    generator = np.random.default_rng(seed)
    key = "suite.m3" + (f"[kind={kind}]" if kind else "")
    for _ in range(trials):
        runs = draw_runs(generator, num_items, steadiness=steadiness, drops={"m3": (drop, kind)})
        decision = decide(runs)
        blocked = {check.name for check in decision.checks if check.outcome == "BLOCK"}
        is_found, is_unpaired = f"{key} against the baseline" in blocked, unpaired_worse(runs, "m3", kind)
        found += is_found
        unpaired += is_unpaired
        only_gate += is_found and not is_unpaired
        only_unpaired += is_unpaired and not is_found
    return {
        "num_items": num_items,
        "steadiness": steadiness,
        "kind": kind,
        "drop": drop,
        "trials": trials,
        "blocked_and_named": found,
        "unpaired_worse": unpaired,
        "only_gate": only_gate,
        "only_unpaired": only_unpaired,
        "seed": seed,
    }


def with_margin(num_items: int, trials: int, *, drop: float, margin: float, seed: int) -> dict[str, Any]:
    """PASS, BLOCK and INSUFFICIENT of one metric with a margin, and how often the unpaired test sees no difference."""
    counts = {"PASS": 0, "BLOCK": 0, "INSUFFICIENT": 0}
    not_worse = passed_though_worse = refused_though_not_worse = 0
    generator = np.random.default_rng(seed)
    for _ in range(trials):
        runs = draw_runs(generator, num_items, drops={"m1": (drop, None)}, metrics=("m1",), sliced=False)
        decision = decide(runs, margins={"suite.m1": margin})
        counts[decision.outcome] += 1
        is_worse = unpaired_worse(runs, "m1")
        not_worse += not is_worse
        passed_though_worse += decision.outcome == "PASS" and is_worse
        refused_though_not_worse += decision.outcome != "PASS" and not is_worse
    return {
        "num_items": num_items,
        "drop": drop,
        "margin": margin,
        "trials": trials,
        **counts,
        "unpaired_not_worse": not_worse,
        "gate_passes_unpaired_worse": passed_though_worse,
        "gate_refuses_unpaired_not_worse": refused_though_not_worse,
        "seed": seed,
    }


def planted_table(trials: int) -> list[dict[str, Any]]:
    """Drops over the suite and inside one kind, for answers that vary from run to run and for steady ones."""
    drops = {(3.0, None): (0.02, 0.04, 0.06, 0.08), (3.0, "refusal"): (0.05, 0.1, 0.15, 0.2, 0.3)}
    drops |= {(20.0, None): (0.01, 0.02, 0.03, 0.04), (20.0, "refusal"): (0.05, 0.1, 0.15, 0.2)}
    return [
        planted(600, trials // 4, drop=drop, kind=kind, seed=round(1000 * drop), steadiness=steadiness)
        for (steadiness, kind), sizes in drops.items()
        for drop in sizes
    ]


def margin_table(trials: int) -> list[dict[str, Any]]:
    """No drop, half the margin, the margin (with more trials) and twice the margin."""
    return [
        with_margin(n, trials if drop == 0.05 else trials // 4, drop=drop, margin=0.05, seed=n + round(1e5 * drop))
        for drop in (0.0, 0.025, 0.05, 0.1)
        for n in (50, 100, 200, 400, 800)
    ]


def unchanged_table(trials: int) -> list[dict[str, Any]]:
    """Few and many items, answers that vary from run to run and steady ones."""
    cases = [(n, steadiness) for n in (200, 600) for steadiness in (3.0, 20.0)]
    return [unchanged(n, 2 * trials, steadiness=steadiness, seed=n) for n, steadiness in cases]


TABLES: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "unchanged": unchanged_table,
    "planted": planted_table,
    "with_margin": margin_table,
    "levels": lambda trials: exact_levels(ALPHA),
    "betting": lambda trials: betting_levels(5 * trials, ALPHA),
}


def show(title: str, rows: Sequence[dict[str, Any]], console: Console) -> None:
    """One table."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--only", choices=TABLES, nargs="+", default=list(TABLES), help="others stay as in the file")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gate_power.json")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {}
    console = Console(width=220)
    for title in options.only:
        start = time.process_time()
        found[title] = TABLES[title](options.trials)
        show(title, found[title], console)
        console.print(f"{time.process_time() - start:.0f} s of processor time")
    machine = {"machine": platform.machine(), "python": platform.python_version(), "threads": 1}
    write_json(options.out, found | {"alpha": ALPHA, **machine})
    console.print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
