"""Anchors on disk: answers with people's labels, and how a judge judged them, bound to judge, rubric and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import DataError, MismatchError
from strop.evals.judging.standing import report_numbers
from strop.files import write_json, write_text
from strop.types import Message, Task, ToolCall
from strop.verifiers.anchors import Anchor, AnchorReport

ANCHORS_NAME = "anchors.jsonl"
REPORT_NAME = "anchor_report.json"
_KEYS = {"task", "text", "label", "prompt", "reference", "id"}


def write_anchors(path: Path | str, anchors: Sequence[Anchor]) -> None:
    """One JSON object a line: ``task``, ``text``, ``label``. Raises: OutputError."""
    rows = (json.dumps(asdict(anchor), ensure_ascii=False, sort_keys=True, default=dict) + "\n" for anchor in anchors)
    write_text(path, "".join(rows))


def read_anchors(path: Path | str) -> tuple[Anchor, ...]:
    """What ``write_anchors`` wrote, or by hand ``{"prompt": "…", "text": "…", "label": true, "reference": {…}}``.

    Raises: DataError, with the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the anchors {path}", where=str(path), why=str(error)) from error
    return tuple(_anchor(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())


def _anchor(line: str, where: str) -> Anchor:
    try:
        row: dict[str, Any] = json.loads(line)
        if not isinstance(row["text"], str) or not isinstance(row["label"], bool):
            raise ValueError("`text` is not a text, or `label` neither true nor false")
        return Anchor(task=_task(row, where), text=row["text"], label=row["label"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"there is no `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
        do = 'write {"task": {…} or "prompt": "…", "text": "…", "label": true}, one a line'
        raise DataError("a line is no anchor", where=where, why=why, do=do) from error


def _task(row: dict[str, Any], where: str) -> Task:
    odd = row.keys() - _KEYS
    if odd:
        raise ValueError(f"`{min(odd)}` is no key of an anchor")
    task = _own_task(row, where) if "task" not in row else _kept_task(row["task"])
    if not task.prompt or not all(isinstance(turn.content, str) for turn in task.prompt):
        raise ValueError("what was asked is no text")
    if not isinstance(task.reference, dict):
        raise ValueError("`reference` is no table")
    return task


def _own_task(row: dict[str, Any], where: str) -> Task:
    """Written by hand."""
    prompt = (Message(role="user", content=row["prompt"]),)
    name = str(row["id"]) if "id" in row else f"prompt {digest_json(row['prompt'])[:12]}"
    return Task(id=name, prompt=prompt, reference=row.get("reference", {}), source=where)


def _kept_task(record: dict[str, Any]) -> Task:
    """As ``asdict`` says it."""
    task = dict(record)
    messages = [
        Message(**{**turn, "tool_calls": tuple(ToolCall(**call) for call in turn.get("tool_calls", ()))})
        for turn in task["prompt"]
    ]
    return Task(**{**task, "prompt": tuple(messages), "tools": tuple(task.get("tools", ()))})


def write_anchor_report(path: Path | str, report: AnchorReport) -> None:
    """The report with its numbers, as JSON. Raises: OutputError."""
    write_json(path, report_record(report))


def report_record(report: AnchorReport) -> dict[str, Any]:
    """The report as JSON; the numbers are there to be read, and computed again when it is."""
    return {**asdict(report), "labels": list(report.labels), "passed": list(report.passed), **_numbers(report)}


def _numbers(report: AnchorReport) -> dict[str, Any]:
    return {"numbers": report_numbers(report)}


def report_of(record: dict[str, Any]) -> AnchorReport:
    """The report that ``report_record`` wrote. Raises: ValueError, KeyError, TypeError for anything else."""
    labels, passed = tuple(record["labels"]), tuple(record["passed"])
    report = AnchorReport(judge=record["judge"], anchors=record["anchors"], labels=labels, passed=passed)
    if len(labels) != len(passed) or not {*labels} <= {True, False} or not {*passed} <= {True, False, None}:
        raise ValueError("its labels and verdicts do not belong together")
    if record["numbers"] != json.loads(json.dumps(report_numbers(report))):
        raise ValueError("its numbers are not those of its labels and verdicts")
    return report


def read_anchor_report(path: Path | str) -> AnchorReport:
    """What ``write_anchor_report`` wrote. Raises: MismatchError if it is missing, or was edited."""
    try:
        return report_of(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MismatchError(
            f"cannot use the anchor report {path}", where=str(path), why=str(error), do="measure the anchors again"
        ) from error


def pair_anchors(anchors: Sequence[Anchor], *, against: str = "answer") -> tuple[Anchor, ...]:
    """Anchors for a judge of pairs: an answer with label true against one with label false, to the same task.

    People's order of two answers is one fact, so it is asked once; every other pair is turned round, so that both
    labels occur. ``anchors`` that already have the other answer in ``task.reference[against]`` are taken as they are.
    """
    ready = [anchor for anchor in anchors if _has_other(anchor, against)]
    by_task: dict[tuple[str, str], tuple[list[Anchor], list[Anchor]]] = {}
    for anchor in anchors:
        if not _has_other(anchor, against):
            asked = digest_json([asdict(turn) for turn in anchor.task.prompt])
            by_task.setdefault((anchor.task.id, asked), ([], []))[anchor.label].append(anchor)
    pairs = [(good, bad) for bads, goods in by_task.values() for good, bad in zip(goods, bads)]
    for number, (good, bad) in enumerate(pairs):
        mine, other = (good, bad) if number % 2 == 0 else (bad, good)
        reference = {**mine.task.reference, against: other.text}
        ready.append(replace(mine, task=replace(mine.task, reference=reference)))
    return tuple(ready)


def _has_other(anchor: Anchor, against: str) -> bool:
    other = anchor.task.reference.get(against)
    return isinstance(other, str) and bool(other.strip())
