"""From results to what people read: the before-and-after tables and sample transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table as ConsoleTable
from rich.text import Text

from strop import report
from strop.evals.gating.page import together
from strop.evals.pairing import paired_change
from strop.pipeline.evaluation import Results
from strop.report.tables import Cell, change_tone, format_interval, format_value

if TYPE_CHECKING:
    from strop.evals import SampleResult, SuiteResult

CONTROL = ("<tool_call>", "</tool_call>", "<think>", "</think>")
_STYLES = {"better": "green", "worse": "red", "unclear": "", "plain": ""}
_MAX_SHOWN = 4
_MAX_PART = 28
_MAX_PROMPT_CHARACTERS = 2000


def suite_table(name: str, results: Mapping[str, Results], *, seed: int) -> report.Table:
    """One suite's metrics by model, in the order of training, with the paired change from first to last."""
    by_model = {model: found[name] for model, found in results.items()}
    first, last = next(iter(by_model.values())), list(by_model.values())[-1]
    metrics = together(list(dict.fromkeys(["accuracy", *last.metrics])), last)
    changes = {metric: change for metric in metrics if (change := _change(first, last, metric)) is not None}
    params = last.params
    drawn = "greedy" if params["temperature"] == 0 else f"temperature {params['temperature']:g}"
    if params["samples_per_task"] > 1:
        drawn += f", {params['samples_per_task']} samples a task"
    ungraded = {model: str(result.num_ungraded) for model, result in by_model.items() if result.num_ungraded}
    cut = (
        {} if "truncated" in metrics else {model: told for model, result in by_model.items() if (told := _cut(result))}
    )
    note = f"{drawn}; 95 % intervals"
    note += "".join(
        f"; {what}: {_by_model(told, len(by_model))}"
        for what, told in (("not graded", ungraded), ("cut off", cut))
        if told
    )
    return report.progress(
        name,
        {model: {metric: _measured(result, metric) for metric in metrics} for model, result in by_model.items()},
        directions={metric: last.metrics[metric].direction for metric in last.metrics} | {"accuracy": "higher"},
        seeds=[seed],
        changes=changes if first is not last else None,
        note=note,
    )


def short_name(model: str) -> str:
    """A model's name for the head of a column: of a folder the last two parts, of a long digest its beginning."""
    parts = Path(model).parts[-2:]
    return "/".join(f"{part[:12]}…" if len(part) > _MAX_PART else part for part in parts if part != "/") or model


def _by_model(told: Mapping[str, str], num_models: int) -> str:
    """``base 3, sft 1``; the number alone where there is one model."""
    return ", ".join(f"{model} {what}" if num_models > 1 else what for model, what in told.items())


def _cut(result: SuiteResult) -> str:
    """``3 of 200``: the answers that did not end by themselves; empty if all did."""
    reasons = [sample.finish_reason for item in result.items for sample in item.samples]
    cut = sum(reason != "stop" for reason in reasons)
    return f"{cut} of {len(reasons)}" if cut else ""


def _measured(result: SuiteResult, metric: str) -> report.Measured | None:
    rate = result.rate(metric)
    if rate.value is None or rate.interval is None:
        return None
    return report.Measured(
        value=rate.value,
        n=rate.num_items,
        low=rate.interval.low,
        high=rate.interval.high,
        unit="percent" if _is_share(result, metric) else "number",
    )


def _is_share(result: SuiteResult, metric: str) -> bool:
    values = [value for item in result.items if (value := item.measures.get(metric)) is not None]
    return all(0 <= value <= 1 for value in values)


def _change(before: SuiteResult, after: SuiteResult, metric: str) -> report.Measured | None:
    change = paired_change(after, before, metric)
    if change is None:
        return None
    is_share = _is_share(after, metric) and _is_share(before, metric)
    return report.Measured(
        value=change.value,
        n=change.num_items,
        low=change.interval.low,
        high=change.interval.high,
        unit="points" if is_share else "number",
    )


def console_table(shown: report.Table) -> ConsoleTable:
    """The same table for the terminal."""
    table = ConsoleTable(title=shown.title, caption=shown.note, title_justify="left", caption_justify="left")
    for column in ("metric", *shown.columns, *(["change"] if shown.has_changes else []), "n"):
        table.add_column(column)
    for row in shown.rows:
        cells = [_console_cell(cell) for cell in row.cells]
        if shown.has_changes:
            tone = change_tone(row.change, row.direction) if row.change is not None else "plain"
            cells.append(_console_cell(row.change or "", _STYLES[tone]))
        counts = dict.fromkeys(cell.n for cell in row.cells if isinstance(cell, report.Measured))
        table.add_row(row.label, *cells, ", ".join(map(str, counts)))
    return table


def _console_cell(cell: Cell, style: str = "") -> Text:
    if isinstance(cell, report.Measured):
        interval = format_interval(cell).partition(", n = ")[0]
        return Text.assemble((format_value(cell), style), "\n", (interval, "dim"))
    return Text("undefined" if cell is None else str(cell))


def transcripts(name: str, results: Mapping[str, Results], prompts: Mapping[str, str]) -> report.Samples | None:
    """A few tasks of a suite with every model's answer: improved, worsened, still failing, always passing."""
    answers = {model: {item.id: item.samples[0] for item in found[name].items} for model, found in results.items()}
    shown = tuple(
        report.SideBySide(
            title=f"{name} · {task}",
            prompt=report.mark_control(prompts.get(task, "")[-_MAX_PROMPT_CHARACTERS:], CONTROL),
            transcripts=tuple(_transcript(model, found[task]) for model, found in answers.items() if task in found),
        )
        for task in _telling(list(answers.values()))
    )
    return report.Samples(samples=shown) if shown else None


def _telling(answers: Sequence[Mapping[str, SampleResult]]) -> list[str]:
    """Up to four tasks: one of each kind of change between first and last model, then more that improved."""
    kinds: dict[tuple[bool, bool], list[str]] = {
        (before, after): [
            task
            for task, answer in answers[-1].items()
            if task in answers[0] and (answers[0][task].passed, answer.passed) == (before, after)
        ]
        for before, after in ((False, True), (True, False), (False, False), (True, True))
    }
    first = [tasks[0] for tasks in kinds.values() if tasks]
    more = [task for tasks in kinds.values() for task in tasks[1:]]
    return [*first, *more][:_MAX_SHOWN]


def _transcript(model: str, answer: SampleResult) -> report.Transcript:
    reasons = ", ".join(answer.reasons) or ("" if answer.is_graded else f"not graded: {answer.state}")
    verdict = "passed" if answer.passed else "failed" + (f": {reasons}" if reasons else "")
    return report.Transcript(
        label=model,
        pieces=report.mark_control(answer.text, CONTROL),
        verdict=verdict,
        is_passed=answer.passed if answer.is_graded else None,
    )


def questions(result: SuiteResult) -> dict[str, str]:
    """Task id → the last turn of its prompt."""
    return {item.id: item.question for item in result.items}


def suite_names(results: Mapping[str, Results]) -> Sequence[str]:
    """The suites, in the order of the recipe."""
    return list(next(iter(results.values())))
