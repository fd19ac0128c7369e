"""Planted regressions, one at a time: how often the gate finds and names each; and unchanged candidates, resampled.

    python benchmarks/planted_regressions.py [--only faults …] [--out benchmarks/results/planted_regressions.json]

A scripted assistant answers the catalogue's suites behind the template of ``strop:tiny``; tasks, verifiers, measures,
``evaluate`` and the gate are the real ones. Baseline and candidate are two runs of it with draws of their own.
``unchanged_base`` is the embedded base itself at temperature 1. About 40 minutes of one core; tables: docs/gate.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from planted_base import counted, unchanged_base
from rich.console import Console

from strop.evals import GateConfig, Suite, gate, world_suite
from strop.evals.catalogue import suite_of
from strop.files import write_json
from strop.models import Policy
from strop.types import Decision
from strop.worlds import get_world

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from planted_assistant import Lab, RememberedTemplate, remembered
from planted_evidence import (
    Mind,
    anchors,
    contamination,
    evidence_of,
    examined,
    judged,
    leaked_rows,
    training_rows,
)
from planted_faults import FAULTS

CONFIG = GateConfig(min_items=300, dimensions=("helpfulness", "harmlessness", "truthfulness", "reliability"))
SOURCES = ("assistant:finance", "boundaries:finance", "sycophancy:finance", "format_drift:finance", "red_team:finance")
RATES = (0.1, 0.2)
CONTRARY = (0.05, 0.15, 0.25, 0.4)
NUM_TRAINED = 3000


def suites(num_items: int) -> tuple[Suite, ...]:
    """The catalogue's, and a treasury in which many requests are of a quarter to come."""
    found = [suite_of(source, num_tasks=num_items) for source in SOURCES]
    found.append(world_suite(get_world("treasury"), num_tasks=300, kinds=1, calls=0, traps=60))
    return tuple(map(remembered, found))


def lab(num_items: int) -> Lab:
    """The suites and the template, with nothing answered yet."""
    return Lab(RememberedTemplate(Policy.load("strop:tiny").template), suites(num_items))


def faults(seeds: range, num_items: int) -> Iterator[list[dict[str, Any]]]:
    """Each fault at each rate: blocked, named, and with what else; the rows so far, after every seed."""
    room = lab(num_items)
    keys = [(name, rate) for name in FAULTS for rate in RATES]
    blocked, named, odd = Counter[Any](), Counter[Any](), Counter[Any]()
    for number, seed in enumerate(seeds, 1):
        runs = f"baseline {seed}", f"candidate {seed}"
        baseline = room.run(runs[0])
        for name, rate in keys:
            decision = gate(room.run(runs[1], FAULTS[name].at(rate)), baseline, CONFIG)
            blocked[name, rate] += decision.outcome == "BLOCK"
            named[name, rate] += FAULTS[name].is_named(decision.checks)
            odd[name, rate] += bool(FAULTS[name].unrelated(decision.checks))
        for run in runs:
            room.forget(run)
        yield [
            {
                "fault": name,
                "rate": rate,
                "items_affected": sum(FAULTS[name].affects(task) for suite in room.suites for task in suite.tasks),
                "seeds": number,
                "blocked": blocked[name, rate],
                "blocked_and_named": named[name, rate],
                "with_an_unrelated_block": odd[name, rate],
            }
            for name, rate in keys
        ]


def unchanged(numbers: range, num_items: int) -> Iterator[dict[str, Any]]:
    """Candidates that are the baseline with draws of their own, each against the run before; with all evidence."""
    room, held = lab(num_items), anchors()
    before, clean = examined(held), contamination(training_rows(NUM_TRAINED), room.suites)
    decisions: list[Decision] = []
    for number in numbers:
        last, now = f"unchanged {number}", f"unchanged {number + 1}"
        baseline, candidate = room.run(last), room.run(now)
        decisions.append(gate(candidate, baseline, CONFIG, evidence_of(candidate, baseline, clean, held, before)))
        room.forget(last)
        yield counted(decisions) | {"checks_that_were_insufficient": dict(Counter(
            check.name for decision in decisions for check in decision.checks if check.outcome == "INSUFFICIENT"
        ))}  # fmt: skip


def judge_drift(num_seeds: int, num_items: int) -> Iterator[list[dict[str, Any]]]:
    """A judge that thinks otherwise than people of a growing share of pairs, under the same digest."""
    template = RememberedTemplate(Policy.load("strop:tiny").template)
    room = Lab(template, (remembered(suite_of("assistant:finance", num_tasks=num_items)),))
    sides = room.run("judged"), room.run("judging")
    held, before, rows = anchors(), examined(anchors()), []
    for contrary in CONTRARY:
        found, named = Counter[str](), 0
        for seed in range(num_seeds):
            evidence = judged(*(side["assistant-finance"] for side in sides), Mind(contrary, f"{seed}"), held, before)
            decision = gate(*sides, GateConfig(min_items=200), [evidence])
            found[decision.outcome] += 1
            named += any("dimension helpfulness: judge of" in one.name for one in decision.checks)
        rows.append({"contrary": contrary, "anchors": len(held), "seeds": num_seeds, "named": named, **found})
        yield rows


def leaks(num_seeds: int, num_items: int) -> Iterator[list[dict[str, Any]]]:
    """Five items of each suite among 3,000 training rows, word for word or in other case and spacing."""
    asked, rows, trained = suites(num_items), [], training_rows(NUM_TRAINED)
    for is_retyped in (False, True):
        for suite in asked:
            found = 0
            for seed in range(num_seeds):
                leaked = leaked_rows(suite, 5, random.Random(seed), is_retyped=is_retyped)
                (check,) = contamination([*trained, *leaked], [suite]).findings()
                found += check.outcome == "BLOCK" and len(check.numbers["items"]) >= 5
            rows.append(
                {"suite": suite.name, "retyped": is_retyped, "seeds": num_seeds, "blocked_with_all_five": found}
            )
            yield rows


TABLES: dict[str, Callable[[int, int], Iterator[Any]]] = {
    "faults": lambda items, first: faults(range(first, first + 20), items),
    "unchanged": lambda items, first: unchanged(range(first, first + 100), items),
    "judge_drift": lambda items, first: judge_drift(20, items // 2),
    "leaks": lambda items, first: leaks(20, items),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*TABLES, "unchanged_base"], nargs="+", default=[*TABLES, "unchanged_base"])
    parser.add_argument("--items", type=int, default=600, help="of each suite but the treasury, which has 300")
    parser.add_argument("--first", type=int, default=0, help="number of the first seed or candidate")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "planted_regressions.json")
    options = parser.parse_args()
    console = Console(width=160)

    def keep(title: str, rows: Any) -> None:
        found = json.loads(options.out.read_text()) if options.out.is_file() else {}
        machine = {"machine": platform.machine(), "python": platform.python_version(), "items": options.items}
        write_json(options.out, found | {title: rows} | machine)

    for title in options.only:
        start = time.process_time()
        if title == "unchanged_base":
            unchanged_base(
                range(options.first + 1, options.first + 101), tell=lambda rows: keep("unchanged_base", rows)
            )
        else:
            for rows in TABLES[title](options.items, options.first):
                keep(title, rows)
        console.print(f"{title}: {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
