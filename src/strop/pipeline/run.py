"""A prepared recipe, run: stages, evaluation, gate, report, release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from strop import files
from strop.pipeline.evaluation import Results, SuiteRun, evaluate_model
from strop.pipeline.feedback import NextRound, write_next_round
from strop.pipeline.guarding import JOURNAL
from strop.pipeline.heard import hear
from strop.pipeline.held_out import find_leaks, held_out_evidence
from strop.pipeline.lock import locked
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.prepare import Prepared
from strop.pipeline.publish import Baseline, find_baseline, publish, who
from strop.pipeline.recipe import Recipe
from strop.pipeline.report_page import write_report
from strop.pipeline.stages import METRICS, RECORD, Finished, run_stage
from strop.pipeline.summary import console_table, suite_names, suite_table
from strop.pipeline.workspace import Workspace
from strop.report import Table
from strop.types import Decision, Progress

if TYPE_CHECKING:
    from strop.evals.contamination import Contamination


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to."""

    stages: tuple[Finished, ...]
    results: Mapping[str, Results]
    """Model (``base``, then the stages) → suite → result; empty without a gate."""
    decision: Decision | None
    release: str
    """What happened in the registry, in words; empty if nothing did."""
    report: Path | None
    tables: tuple[Table, ...] = ()
    """Before and after, a table a suite."""
    next_round: tuple[NextRound, ...] = ()
    """What failed items became, where the recipe has ``[failures]``."""

    @property
    def exit_code(self) -> int:
        """That of the decision; 0 without one."""
        return self.decision.exit_code if self.decision else 0

    def told(self) -> list[Any]:
        """What the terminal shows at the end."""
        lines: list[Any] = []
        lines += [console_table(table) for table in self.tables]
        for stage in self.stages:
            where = "from the cache" if stage.is_cached else f"in {stage.record['seconds']:.0f} s"
            lines.append(Text(f"{stage.record['name']}: {stage.folder / 'model'} ({where})", overflow="fold"))
            lines += told_guard(stage)
        if self.decision is not None:
            lines += told_decision(self.decision)
        if self.release:
            lines.append(Text(self.release))
        lines += [Text(left.told(), overflow="fold") for left in self.next_round]
        if self.report is not None:
            lines.append(Text(f"report: {self.report}", overflow="fold"))
        return lines


def told_guard(stage: Finished) -> list[Text]:
    """What the stage's guards did, where they did something."""
    guard = stage.record.get("guard") or {"interventions": ()}
    lines = [
        Text(f"  guard at step {entry['step']}: {entry['course'].replace('_', ' ')}: {entry['why']}", style="yellow")
        for entry in guard["interventions"]
    ]
    if lines and guard["stopped"]:
        lines.append(Text(f"  stopped by its guard; the model is that of step {guard['kept_step']}", style="yellow"))
    return lines


def told_decision(decision: Decision) -> list[Text]:
    """The decision and the checks that did not pass."""
    style = {"PASS": "bold green", "BLOCK": "bold red", "INSUFFICIENT": "bold yellow"}[decision.outcome]
    failed = [check for check in decision.checks if check.outcome != "PASS"]
    passed = len(decision.checks) - len(failed)
    lines = [Text(f"gate: {decision.outcome} ({passed} of {len(decision.checks)} checks passed)", style=style)]
    return lines + [Text(f"  {check.outcome}: {check.name}: {check.reason}") for check in failed]


def run_prepared(
    prepared: Prepared,
    workspace: Workspace,
    *,
    suites: tuple[SuiteRun, ...],
    output: Path | None,
    progress: Progress,
    contamination: Contamination | None = None,
) -> RunResult:
    """Train every stage, then evaluate, gate, report and release what the recipe asks for.

    ``output`` takes report, metrics and results; None writes nothing beside the cache. ``contamination`` is what
    ``find_leaks`` found before; without it, that is done here. Raises: UserError of every kind.
    """
    stages: list[Finished] = []
    model = prepared.base
    for job in prepared.jobs:
        stages.append(run_stage(job, model, workspace, progress))
        model = stages[-1].model
    if output is None:
        return RunResult(stages=tuple(stages), results={}, decision=None, release="", report=None)
    with locked(output / ".lock"):
        return _conclude(prepared, workspace, tuple(stages), suites, output, progress, contamination)


def _conclude(
    prepared: Prepared,
    workspace: Workspace,
    stages: tuple[Finished, ...],
    suites: tuple[SuiteRun, ...],
    output: Path,
    progress: Progress,
    contamination: Contamination | None,
) -> RunResult:
    recipe = prepared.recipe
    metrics = [
        {**record, "stage": stage.record["name"]} for stage in stages for record in read_metrics(stage.folder / METRICS)
    ]
    files.write_text(output / METRICS, "".join(_line(record) for record in metrics))
    results: dict[str, Results] = {}
    decision, release = None, ""
    if recipe.gate is not None:
        baseline = find_baseline(prepared, workspace)
        results[prepared.base.name] = evaluate_model(
            prepared.base, prepared.template, suites, workspace.evals, progress
        )
        for model in dict.fromkeys([baseline.model, *(stage.model for stage in stages)]):
            template = baseline.template if model == baseline.model else prepared.template
            results[model.name] = evaluate_model(model, template, suites, workspace.evals, progress)
        found = contamination or find_leaks(prepared, suites)
        decision, release = _judge(prepared, workspace, stages, results, baseline, output, found)
    names = suite_names(results) if results else []
    tables = tuple(suite_table(name, results, seed=recipe.seed) for name in names)
    path = write_report(output, prepared, stages, results, tables, decision, metrics, release)
    return RunResult(
        stages=stages,
        results=results,
        decision=decision,
        release=release,
        report=path,
        tables=tables,
        next_round=_next_round(recipe, suites, results[stages[-1].model.name], output) if results else (),
    )


def _next_round(
    recipe: Recipe, suites: tuple[SuiteRun, ...], candidate: Results, output: Path
) -> tuple[NextRound, ...]:
    if recipe.gate is None or recipe.failures is None:
        return ()
    folder = output / "next_round"
    return write_next_round(recipe.gate.suites, suites, candidate, recipe.failures, folder, seed=recipe.seed)


def _judge(
    prepared: Prepared,
    workspace: Workspace,
    stages: tuple[Finished, ...],
    results: Mapping[str, Results],
    baseline: Baseline,
    output: Path,
    found_leaks: Contamination,
) -> tuple[Decision, str]:
    from strop.evals import gate, write_gate_report
    from strop.evals.looks import record_looks

    assert prepared.recipe.gate is not None
    config = prepared.recipe.gate.config
    for model, found in results.items():
        for result in found.values():
            result.save(output / "evaluations" / model)
    candidate, before = results[stages[-1].model.name], results[baseline.model.name]
    heard = hear(prepared.recipe.gate.evidence, candidate, workspace, before)
    evidence = [found_leaks, *held_out_evidence(candidate, before, config, workspace), *heard]
    decision = gate(candidate, before, config, evidence)
    # first: a kill in between leaves a look that nobody had, and never a decision whose look is not counted
    record_looks(workspace.looks, candidate, outcome=decision.outcome, who=who())
    path = write_gate_report(output, decision, candidate, before, config, evidence, who=who())
    return decision, publish(prepared, workspace, stages[-1], decision, path, candidate, before)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True) + "\n"


def save_model(stage: Finished, folder: Path) -> None:
    """Write a stage's model, metrics and record into a folder that plain ``transformers`` and ``peft`` load."""
    from strop.models import Policy
    from strop.models.exporting import export

    export(Policy.load(stage.folder / "model"), folder, merge=False)
    for name in (METRICS, RECORD, JOURNAL):
        if (stage.folder / name).exists():
            files.write_text(folder / name, (stage.folder / name).read_text())
