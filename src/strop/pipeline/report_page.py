"""The report of a run: decision, before and after, curves, transcripts, phase cards, lineage, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import strop
from strop import files, report
from strop.data.lineage import told_lineage
from strop.digests import digest_json
from strop.pipeline.evaluation import Results
from strop.pipeline.metrics_log import split_abandoned
from strop.pipeline.prepare import Prepared
from strop.pipeline.stages import Finished, code_digest
from strop.pipeline.summary import questions, suite_names, transcripts
from strop.types import Decision

_MOST_LINES = 6
_INTRO = "Held-out items; every rate with its 95 % interval."
# what a reader looks for first, per stage; the rest is in metrics.jsonl
_CURVES = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "accuracy": "share of pairs ranked right",
    "margin": "reward margin (nats)",
    "pass_rate": "pass rate of rollouts",
    "entropy": "entropy (nats)",
}


def write_report(
    folder: Path,
    prepared: Prepared,
    stages: Sequence[Finished],
    results: Mapping[str, Results],
    tables: tuple[report.Table, ...],
    decision: Decision | None,
    metrics: Sequence[Mapping[str, Any]],
    release: str,
) -> Path:
    """Write ``report.html`` and return its path. Raises: OutputError."""
    recipe = prepared.recipe
    names = suite_names(results) if results else []
    sections = [
        report.Section(title="Before and after", items=tables, intro=_INTRO),
        _curves(stages, metrics),
        _samples(names, results),
        report.Section(title="Stages", items=(report.StageCards(cards=tuple(map(_card, stages))),)),
        report.Section(title="Lineage", items=(report.Lineage(digests=_lineage(prepared, stages)),)),
    ]
    html = report.page(
        recipe.name,
        [section for section in sections if section.items],
        decision=decision,
        subtitle=release,
        facts={"base": recipe.base, "seed": str(recipe.seed), "strop": strop.__version__},
    )
    path = folder / "report.html"
    files.write_text(path, html)
    return path


def _curves(stages: Sequence[Finished], metrics: Sequence[Mapping[str, Any]]) -> report.Section:
    plots = []
    for stage in stages:
        name = stage.record["name"]
        records, abandoned = split_abandoned([record for record in metrics if record["stage"] == name])
        plots += _guard_curves(name, records, abandoned)
        for key, label in _curves_of(stage.record["method"]).items():
            points = [(float(record["step"]), float(record[key])) for record in records if key in record]
            if points:
                plots.append(report.curve(f"{name}: {label}", {key: points}))
    return report.Section(title="Curves", items=tuple(plots))


def _guard_curves(
    name: str, kept: Sequence[Mapping[str, Any]], abandoned: Sequence[Mapping[str, Any]]
) -> list[report.Plot]:
    """What the guards saw: the way that led to the result, and what was taken back, each on one sheet."""
    plots = []
    for title, records in (("guards", kept), ("guards, taken back", abandoned)):
        series: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            for key in record:
                if key.startswith("guard_"):
                    points = series.setdefault(key.removeprefix("guard_"), [])
                    points.append((float(record["step"]), float(record[key])))
        labels = list(series)
        for first in range(0, len(labels), _MOST_LINES):
            shown = {label: series[label] for label in labels[first : first + _MOST_LINES]}
            plots.append(report.curve(f"{name}: {title}", shown))
    return plots


def _told_guard(told: Mapping[str, Any]) -> str:
    """What the guards of a stage did, in one line."""
    done = [f"{entry['course'].replace('_', ' ')} at step {entry['step']}" for entry in told["interventions"]]
    displeased = f", displeased at {told['num_displeased']}" if told["num_displeased"] else ", nothing dropped"
    return f"{told['num_looks']} looks{displeased}" + (f": {', '.join(done)}" if done else "")


def _curves_of(method: str) -> dict[str, str]:
    # with one update a batch the policy-gradient loss is 0 but for rounding: only its gradient says anything
    return {key: label for key, label in _CURVES.items() if key != "loss" or "grpo" not in method}


def _samples(names: Sequence[str], results: Mapping[str, Results]) -> report.Section:
    last = list(results.values())[-1] if results else {}
    found = [transcripts(name, results, questions(last[name])) for name in names]
    return report.Section(title="Transcripts", items=tuple(samples for samples in found if samples is not None))


def _card(stage: Finished) -> report.StageCard:
    record = stage.record
    facts = {
        "method": record["method"],
        "steps": f"{record['config']['steps']:,}",
        "rows": f"{record['data']['num_rows']:,}",
        "time": f"{record['seconds']:.0f} s on {record['machine']['device']}",
        "kept step": str(record["output"]["step"]),
        "model digest": record["output"]["model_digest"][:16],
    }
    if record.get("guard"):
        facts["guards"] = _told_guard(record["guard"])
    if record["audit"]:
        facts["verifier"] = record["audit"]
    return report.StageCard(name=record["name"], **record["card"], facts=facts)


def _lineage(prepared: Prepared, stages: Sequence[Finished]) -> dict[str, str]:
    """Every digest from recipe to result, in order."""
    digests = {
        "code": code_digest(),
        "recipe": digest_json(prepared.recipe.model_dump(mode="json")),
        "base": prepared.base.digest,
        "chat template": prepared.base.template_digest,
    }
    rows = {job.name: job.rows for job in prepared.jobs}
    for stage in stages:
        name = stage.record["name"]
        digests |= {f"{name}: {what}": told for what, told in told_lineage(rows.get(name, ())).items()}
        digests[f"{name}: data"] = stage.record["data"]["digest"]
        if stage.record["verifier"]:
            digests[f"{name}: verifier"] = stage.record["verifier"]["digest"]
        digests[f"{name}: model"] = stage.record["output"]["model_digest"]
    return digests
