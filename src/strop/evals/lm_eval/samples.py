"""Runs of lm-eval as suite results, so that the gate pairs them item by item."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import Metric

_DATE = re.compile(r"results_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.json")
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_SAME = ("output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "generation_kwargs", "filter_list", "repeats")
"""What a task's configuration decides of its numbers, beside its documents and metrics."""


def is_lm_eval(folder: Path | str) -> bool:
    """Whether the folder, or its only subfolder with results, holds a run that lm-eval wrote with ``--log_samples``."""
    return any(_DATE.fullmatch(path.name) for path in Path(folder).rglob("results_*.json"))


def read_lm_eval(
    source: Path | str,
    *,
    slices: Sequence[str] = (),
    directions: Mapping[str, str] | None = None,
) -> dict[str, SuiteResult]:
    """Task → result, of a ``results_DATE.json`` of lm-eval or the newest one in a folder, with its samples.

    An item's id is ``doc_id-doc_hash``; ``slices`` names fields of the documents. With several filters a metric is
    called ``METRIC@FILTER``. Directions are lm-eval's ``higher_is_better``; ``directions`` adds missing ones. What is
    no number of a single document (a perplexity's weighted sum) is left out, and told in ``surroundings["left_out"]``.
    The suite's digest is of documents, targets, version, and configuration of the task: two runs of different ones are
    refused by the gate. Raises: MismatchError for a run without samples, an item that stands twice, or a metric
    without a direction.
    """
    path = _results_file(Path(source))
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tasks = list(run["configs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MismatchError(f"{path} is no result of lm-eval", where=str(path), why=str(error)) from error
    found = _DATE.fullmatch(path.name)
    assert found is not None
    return {_name(task): _task(task, run, path, found["date"], slices, directions or {}) for task in tasks}


def _results_file(source: Path) -> Path:
    if source.is_file():
        if _DATE.fullmatch(source.name):
            return source
        raise MismatchError(f"{source} is no result of lm-eval", where=str(source), do="name its results_DATE.json")
    files = sorted(
        (path for path in source.rglob("results_*.json") if _DATE.fullmatch(path.name)), key=lambda p: p.name
    )
    if not files:
        raise MismatchError(
            f"{source} holds no run of lm-eval",
            where=str(source),
            why="there is no results_DATE.json in it",
            do="run lm-eval with --output_path and --log_samples",
        )
    if len({path.parent for path in files}) > 1:
        folders = ", ".join(sorted({str(path.parent) for path in files}))
        raise MismatchError(f"{source} holds runs of several models", where=folders, do="name the folder of one")
    return files[-1]


def _name(task: str) -> str:
    return _ODD.sub("-", task)


def _task(
    task: str, run: Mapping[str, Any], path: Path, date: str, slices: Sequence[str], directions: Mapping[str, str]
) -> SuiteResult:
    lines = _lines(path.with_name(f"samples_{_ODD.sub('_', task)}_{date}.jsonl"), task)
    filters = list(dict.fromkeys(line["filter"] for line in lines))
    metrics, left_out = _metrics(task, run, lines, filters, directions)
    by_doc: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_doc.setdefault(line["doc_id"], []).append(line)
    for doc_id, own in by_doc.items():
        twice = len(own) > len({line["filter"] for line in own})
        if twice or len({line["doc_hash"] for line in own}) > 1:
            what = "twice with one filter" if twice else "with two contents"
            raise MismatchError(f"document {doc_id} of task {task} stands {what}", where=str(path), do="run it again")
    first = [own[0] for own in by_doc.values()]
    config = run["config"]
    return SuiteResult(
        name=_name(task),
        digests={
            "model": digest_json([run.get("model_name"), config.get("model_args"), config.get("model_sha")]),
            "template": digest_json([run.get("chat_template_sha"), run.get("system_instruction_sha")]),
            "tokenizer": "",
            "tools": "",
            "index": "",
            "verifier": digest_json([run["configs"][task].get("metric_list"), filters]),
            "suite": _suite_digest(task, run, first),
        },
        params=_params(task, run, first),
        metrics=metrics,
        items=tuple(_item(own, filters, metrics, slices) for own in by_doc.values()),
        version=str(run["versions"].get(task)),
        surroundings={"imported": "lm-eval", "left_out": left_out},
    )


def _lines(path: Path, task: str) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        if not lines or any("doc_hash" not in line or "filter" not in line for line in lines):
            raise ValueError("its lines have no doc_hash and filter")
        return lines
    except (OSError, ValueError, TypeError) as error:
        raise MismatchError(
            f"the samples of task {task} cannot be read", where=str(path), why=str(error), do="use --log_samples"
        ) from error


def _suite_digest(task: str, run: Mapping[str, Any], first: Iterable[Mapping[str, Any]]) -> str:
    config = run["configs"][task]
    documents = [[line["doc_id"], line["doc_hash"], line["target_hash"]] for line in first]
    return digest_json([task, run["versions"].get(task), {key: config.get(key) for key in _SAME}, documents])


def _params(task: str, run: Mapping[str, Any], first: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the answers were drawn; prompts only where no chat template, which may be allowed to differ, frames them."""
    config, own = run["config"], run["configs"][task].get("generation_kwargs") or {}
    given = config.get("gen_kwargs") if isinstance(config.get("gen_kwargs"), dict) else {}
    params = {
        "temperature": float({**own, **given}.get("temperature") or 0.0),
        "gen_kwargs": config.get("gen_kwargs"),
        "seed": config.get("random_seed") or 0,
        "seeds": [config.get(key) for key in ("numpy_seed", "torch_seed", "fewshot_seed")],
        "samples_per_task": 1,
        "num_fewshot": run.get("n-shot", {}).get(task),
        "limit": config.get("limit"),
    }
    if run.get("chat_template_sha") is None:
        params["prompts"] = digest_json([line["prompt_hash"] for line in first])
    return params


def _key(metric: str, filter_: str, filters: Sequence[str]) -> str:
    return metric if len(filters) == 1 else f"{metric}@{filter_}"


def _metrics(
    task: str,
    run: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    filters: Sequence[str],
    directions: Mapping[str, str],
) -> tuple[dict[str, Metric], list[str]]:
    """The metrics with their directions, and those that are no number of one document."""
    higher = run["higher_is_better"].get(task, {})
    found: dict[str, Metric] = {}
    left_out: list[str] = []
    for metric in dict.fromkeys(name for line in lines for name in line["metrics"]):
        if not all(isinstance(line.get(metric), int | float) for line in lines):
            left_out.append(metric)
            continue
        odd = next((line["doc_id"] for line in lines if not math.isfinite(line[metric])), None)
        if odd is not None:
            raise MismatchError(
                f"metric {metric} of task {task} is not finite for document {odd}",
                why="no rate and no pair can be made of it",
                do="mend the metric, or leave the task out",
            )
        known = higher.get(metric)
        direction = directions.get(metric) or (None if known is None else "higher" if known else "lower")
        if direction not in ("higher", "lower"):
            raise MismatchError(
                f"metric {metric} of task {task} has no direction",
                why="without it nobody knows whether more is better",
                do="set higher_is_better in the task's metric_list, or give directions",
            )
        found |= {_key(metric, one, filters): Metric(direction=direction) for one in filters}  # type: ignore[arg-type]
    if not found:
        raise MismatchError(
            f"task {task} has no metric of single documents",
            why=f"{', '.join(left_out)} cannot be paired by item",
            do="leave the task out",
        )
    return found, left_out


def _item(
    own: Sequence[Mapping[str, Any]], filters: Sequence[str], metrics: Mapping[str, Metric], slices: Sequence[str]
) -> ItemResult:
    line = own[0]
    measures = {
        _key(metric, one["filter"], filters): float(one[metric])
        for one in own
        for metric in one["metrics"]
        if _key(metric, one["filter"], filters) in metrics
    }
    main, value = next(iter(measures.items()))
    passed = value == (1.0 if metrics[main].direction == "higher" else 0.0)
    doc = line["doc"] if isinstance(line["doc"], dict) else {}
    sample = SampleResult(
        text=_text(line),
        finish_reason="stop",
        state="graded",
        passed=passed,
        score=value,
        reasons=(),
        measures=measures,
        num_prompt_tokens=0,
        num_tokens=0,
        latency_s=0.0,
    )
    return ItemResult(
        id=f"{line['doc_id']}-{line['doc_hash'][:12]}",
        slices={key: str(doc[key]) for key in slices if key in doc},
        question=str(requests[0][0]) if (requests := _arguments(line)) else "",
        samples=(sample,),
    )


def _arguments(line: Mapping[str, Any]) -> list[list[Any]]:
    """What each request of the document said; on disk lm-eval names them ``gen_args_0`` and ``arg_0``."""
    given = line.get("arguments") or []
    requests = list(given.values()) if isinstance(given, dict) else given
    return [list(one.values()) if isinstance(one, dict) else list(one) for one in requests]


def _text(line: Mapping[str, Any]) -> str:
    """The answer: what was generated, or each continuation with its log-likelihood."""
    answers = [answer for response in line["resps"] for answer in response]
    if len(answers) == 1 and isinstance(answers[0], str):
        return answers[0]
    if answers and all(isinstance(answer, list) for answer in answers):
        pairs = zip(_arguments(line), answers, strict=False)
        return "\n".join(f"{request[-1]!r}: {float(answer[0]):.4f}" for request, answer in pairs)
    return json.dumps(line["resps"])
