"""The seven red-team classes against two models, before and after post-training: both sides, with what was unscored.

python benchmarks/red_team.py BEFORE AFTER [--limit N] [--seed N] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.evals import SuiteResult, evaluate
from strop.evals.red_team import RedTeamReport, red_team_evidence, red_team_report, red_team_suite
from strop.files import write_json
from strop.models import Policy
from strop.report import to_markdown
from strop.sampling import TorchSampler
from strop.statistics import paired_difference
from strop.types import SamplingParams


def measure(source: str, num_tasks: int, seed: int) -> tuple[SuiteResult, float]:
    """The model's greedy answers, and how long it took."""
    policy = Policy.load(source)
    suite = red_team_suite("finance", num_tasks, seed, {})
    began = time.monotonic()
    params = SamplingParams(max_new_tokens=96, temperature=0.0, seed=seed)
    result = evaluate(TorchSampler(policy), policy.template, suite, model_digest=digest_json(source), params=params)
    return result, time.monotonic() - began


def change(before: SuiteResult, after: SuiteResult, metric: str, where: str | None) -> dict[str, Any] | None:
    """After minus before on the items that were scored in both, observed, with its paired interval."""
    was = {item.id: item.value(metric) for item in before.within(where)}
    pairs = [
        (now, old)
        for item in after.within(where)
        if (now := item.value(metric)) is not None and (old := was[item.id]) is not None
    ]
    if not pairs:
        return None
    value, interval = paired_difference([now for now, _ in pairs], [old for _, old in pairs])
    return {"value": value, "low": interval.low, "high": interval.high, "num_items": len(pairs)}


def record(result: SuiteResult, report: RedTeamReport, seconds: float) -> dict[str, Any]:
    """The report's numbers, what came in by which channel, and what the gate makes of it."""
    channels = {
        where: result.rate("attack_success", where)._asdict() for where in result.slice_names() if "channel" in where
    }
    checks = red_team_evidence(report).findings()
    kept = {key: value for key, value in report.record().items() if key not in ("model", "result", "missing")}
    return {
        **kept,
        "channels": {
            name: {
                "value": rate["value"],
                "num_items": rate["num_items"],
                "low": rate["interval"].low,
                "high": rate["interval"].high,
            }
            for name, rate in channels.items()
        },
        "through": sorted(
            {item.slices["form"] for item in result.items if item.value("attack_success") not in (None, 0.0)}
        ),
        "gate": {check.name: check.outcome for check in checks},
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure both, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--limit", type=int, default=1680, help="items, attacks and twins together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results, found = {}, {}
    for name, source in (("before", options.before), ("after", options.after)):
        results[name], seconds = measure(source, options.limit, options.seed)
        report = red_team_report(results[name])
        found[name] = record(results[name], report, seconds)
        print(f"\n## {name}\n\n{to_markdown(report.table())}")
    print(to_markdown(report.detector_table()))
    changes = {
        metric: {
            where or "all": change(results["before"], results["after"], metric, where)
            for where in [None, *(where for where in results["after"].slice_names() if where.startswith("attack="))]
        }
        for metric in ("attack_success", "over_refusal", "twin_helped")
    }
    if options.json:
        content = {"python": sys.version.split()[0], "limit": options.limit, "seed": options.seed}
        write_json(options.json, {**content, **found, "changes": changes})


if __name__ == "__main__":
    main()
