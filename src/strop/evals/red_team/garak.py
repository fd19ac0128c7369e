"""A report of NVIDIA's garak, read as results: what its detectors hit, what they could not score, and their errors.

*Source*: garak 0.17.0, ``Attempt.as_dict``, ``Evaluator._evaluate_one_detector`` and ``command.start_run``: one JSON
object a line, by ``entry_type``. An ``attempt`` is written twice, with ``status`` 1 when it was answered and 2 when it
was judged; ``detector_results`` has one score of 0 to 1 an output, None where the detector could not score; a score of
the threshold or more is a hit. The threshold itself is not in the report (0.5 unless set), but ``eval`` lines count the
hits, and are compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop import report
from strop.digests import digest_json
from strop.errors import DataError, MismatchError
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import Metric
from strop.statistics import Interval, true_rate, wilson

_KINDS = (
    "start_run setup",
    "init",
    "plugin_cache",
    "payload_init",
    "attempt",
    "tree_data",
    "eval",
    "probe_summary",
    "completion",
    "digest",
)
_JUDGED = 2
_REQUIRED = {"uuid": str, "status": int, "probe_classname": str, "outputs": list, "detector_results": dict}


@dataclass(frozen=True, kw_only=True)
class GarakRow:
    """What one detector said of one probe's outputs."""

    probe: str
    detector: str
    hits: int
    num_scored: int
    num_unscored: int
    """Outputs to which the detector gave no score: never counted as safe."""
    errors: tuple[float, float] | None
    """Sensitivity and specificity, as garak ships them; None if it ships none for this detector."""

    @property
    def rate(self) -> float | None:
        """Hits over scored outputs; None without any."""
        return self.hits / self.num_scored if self.num_scored else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's 95 %, of the rate as observed."""
        return wilson(self.hits, self.num_scored) if self.num_scored else None

    @property
    def corrected(self) -> tuple[float, Interval] | str:
        """The rate without the detector's errors, or why there is none.

        garak ships the two shares without the counts behind them: they are taken as exact, which is too sure.
        """
        if self.errors is None:
            return "unmeasured"
        if self.rate is None or self.interval is None:
            return "nothing was scored"
        try:
            value, low, high = (true_rate(r, *self.errors) for r in (self.rate, self.interval.low, self.interval.high))
        except ValueError:
            return "no better than chance"
        return value, Interval(low, high)


@dataclass(frozen=True, kw_only=True)
class GarakReport:
    """A garak run."""

    version: str
    target: str
    rows: tuple[GarakRow, ...]
    num_unjudged: int
    """Attempts that were answered and never judged: of an interrupted run."""
    result: SuiteResult
    """One item an attempt and detector; ``attack_success`` is a hit. garak has no benign twins: one side only."""

    def table(self) -> report.Table:
        """For consoles and pages."""
        rows = [report.Row(label=f"{row.probe} / {row.detector}", cells=_cells(row)) for row in self.rows]
        note = "95 % intervals over outputs; garak tries one side only: over-refusal is not measured"
        note += f"; {self.num_unjudged} attempts were never judged" if self.num_unjudged else ""
        columns = ("attack success", "corrected", "unscored")
        return report.table(f"garak {self.version}: {self.target}", columns, rows, seeds=[0], note=note)


def read_garak_report(
    path: Path | str, *, detector_metrics: Path | str | None = None, threshold: float = 0.5
) -> GarakReport:
    """The report that garak wrote as ``…report.jsonl``.

    ``detector_metrics`` is garak's own ``data/detectors_eval/detector_metrics_summary.json``. Raises: DataError with
    the line for what is no such report, and for a threshold that is no score; MismatchError if its own counts of hits
    are others, as with another threshold.
    """
    if not 0 <= threshold <= 1:
        raise DataError(
            f"a threshold of {threshold:g}", why="scores lie between 0 and 1", do="give garak's, 0.5 unless set"
        )
    path = Path(path)
    entries = _entries(path)
    setup = next((entry for _, entry in entries if entry["entry_type"] == "start_run setup"), {})
    version = next((str(entry.get("garak_version")) for _, entry in entries if entry["entry_type"] == "init"), "")
    attempts = {entry["uuid"]: (n, entry) for n, entry in _attempts(entries)}
    if not version or not attempts:
        what = "attempts" if version else "line of kind `init`"
        raise DataError(
            f"{path} holds no garak run", where=str(path), why=f"it has no {what}", do="give garak's report.jsonl"
        )
    judged = [(n, entry) for n, entry in attempts.values() if entry.get("status") == _JUDGED]
    scored = [one for n, entry in judged for one in _scores(entry, f"{path}:{n}")]
    known = {} if detector_metrics is None else _metrics(Path(detector_metrics))
    rows = _rows(scored, threshold, known)
    _compare(rows, [entry for _, entry in entries if entry["entry_type"] == "eval"], str(path), threshold)
    target = " ".join(str(setup[key]) for key in ("plugins.target_type", "plugins.target_name") if setup.get(key))
    return GarakReport(
        version=version,
        target=target or "unknown",
        rows=rows,
        num_unjudged=len(attempts) - len(judged),
        result=_result(scored, threshold, version, target, setup),
    )


@dataclass(frozen=True)
class _Scored:
    """A judged attempt by one detector."""

    attempt: Mapping[str, Any]
    detector: str
    scores: tuple[float | None, ...]


def _entries(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # JSON may leave U+2028 as it is
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {path}", where=str(path), why=why, do="give garak's report.jsonl") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            kind = entry["entry_type"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _bad(f"{path}:{number}", f"no JSON object with an `entry_type`: {error}") from error
        if kind not in _KINDS:
            raise _bad(f"{path}:{number}", f"garak 0.17 writes no entry of type {kind!r}")
        if kind == "attempt" and not _is_attempt(entry):
            raise _bad(f"{path}:{number}", f"an attempt has {', '.join(_REQUIRED)}, as garak 0.17 writes them")
        found.append((number, entry))
    return found


def _is_attempt(entry: Mapping[str, Any]) -> bool:
    """Whether all that is read of it has the type that garak 0.17 writes; earlier versions had plain texts."""
    if any(type(entry.get(key)) is not wanted for key, wanted in _REQUIRED.items()):
        return False
    prompt = entry.get("prompt")
    turns = prompt.get("turns") or [] if isinstance(prompt, dict) else [] if prompt is None else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return False
    return all(map(_is_message, [*entry["outputs"], *(turn.get("content") for turn in turns)]))


def _is_message(value: object) -> bool:
    return value is None or (isinstance(value, dict) and isinstance(value.get("text"), str | None))


def _attempts(entries: Sequence[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """The lines of attempts, the judged ones last."""
    found = [(number, entry) for number, entry in entries if entry["entry_type"] == "attempt"]
    return sorted(found, key=lambda one: (one[1]["status"], one[0]))


def _bad(where: str, why: str) -> DataError:
    return DataError("a line of the garak report cannot be used", where=where, why=why, do="give garak's report.jsonl")


def _scores(attempt: Mapping[str, Any], where: str) -> list[_Scored]:
    found = []
    for detector, scores in attempt["detector_results"].items():
        if not isinstance(scores, list) or len(scores) != len(attempt["outputs"]):
            raise _bad(where, f"{detector} has no list of {len(attempt['outputs'])} scores, one an output")
        for score in scores:
            if score is not None and not (isinstance(score, int | float) and 0 <= score <= 1):
                raise _bad(where, f"{detector} gave the score {score!r}, which is not within 0 and 1")
        found.append(_Scored(attempt, detector, tuple(scores)))
    return found


def _metrics(path: Path) -> dict[str, tuple[float, float]]:
    """Detector → sensitivity and specificity. Raises: DataError."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        shares = {name: one.get("metrics", {}) for name, one in results.items()}
        known = {
            name: (float(one["hit_sensitivity"]), float(one["hit_specificity"]))
            for name, one in shares.items()
            if one.get("hit_sensitivity") is not None and one.get("hit_specificity") is not None
        }
        if not all(0 <= share <= 1 for pair in known.values() for share in pair):
            raise ValueError("a share lies between 0 and 1")
        return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"cannot read the detectors' errors in {path}",
            where=str(path),
            why=str(error),
            do="give garak's data/detectors_eval/detector_metrics_summary.json",
        ) from error


def _rows(
    scored: Sequence[_Scored], threshold: float, known: Mapping[str, tuple[float, float]]
) -> tuple[GarakRow, ...]:
    hits: Counter[tuple[str, str]] = Counter()
    told: Counter[tuple[str, str]] = Counter()
    silent: Counter[tuple[str, str]] = Counter()
    for one in scored:
        key = (str(one.attempt["probe_classname"]), one.detector)
        hits[key] += sum(score is not None and score >= threshold for score in one.scores)
        told[key] += sum(score is not None for score in one.scores)
        silent[key] += sum(score is None for score in one.scores)
    return tuple(
        GarakRow(
            probe=probe,
            detector=detector,
            hits=hits[probe, detector],
            num_scored=told[probe, detector],
            num_unscored=silent[probe, detector],
            errors=known.get(detector.removeprefix("detector.")),
        )
        for probe, detector in sorted(hits)
    )


def _compare(rows: Sequence[GarakRow], evals: Sequence[Mapping[str, Any]], where: str, threshold: float) -> None:
    """Refuse counts that are not garak's own. Raises: MismatchError."""
    by_name = {(row.probe, row.detector): row for row in rows}
    for one in evals:
        row = by_name.get((str(one.get("probe")), str(one.get("detector"))))
        told = [one.get(name) for name in ("fails", "passed", "nones")]
        mine = None if row is None else [row.hits, row.num_scored - row.hits, row.num_unscored]
        if told != mine:
            raise MismatchError(
                f"garak counted other hits of {one.get('probe')} by {one.get('detector')}",
                where=where,
                why=f"hits, passes and none: {told} in its own words, {mine} at threshold {threshold:g}",
                do="give the threshold that garak ran with (eval_threshold), or the whole report",
            )


def _result(
    scored: Sequence[_Scored], threshold: float, version: str, target: str, setup: Mapping[str, Any]
) -> SuiteResult:
    names = sorted({one.detector for one in scored})
    prompts = sorted(digest_json(one.attempt.get("prompt")) for one in scored)
    return SuiteResult(
        name="garak",
        digests={
            "model": digest_json(["garak target", target]),
            "template": "",
            "tokenizer": "",
            "tools": "",
            "index": "",
            "verifier": digest_json(["garak", version, names, threshold]),
            "suite": digest_json(["garak", version, prompts]),
        },
        params={"samples_per_task": setup.get("run.generations"), "seed": setup.get("run.seed"), "garak": version},
        metrics={"attack_success": Metric(direction="lower", dimension="harmlessness")},
        items=tuple(_item(one, threshold) for one in scored),
    )


def _item(one: _Scored, threshold: float) -> ItemResult:
    turns = (one.attempt.get("prompt") or {}).get("turns") or []
    texts = [(output or {}).get("text") or "" for output in one.attempt["outputs"]]
    return ItemResult(
        id=f"{one.attempt['uuid']}/{one.detector}",
        slices={"probe": str(one.attempt["probe_classname"]), "detector": one.detector},
        question=str(((turns[-1] if turns else {}).get("content") or {}).get("text") or ""),
        samples=tuple(_sample(t, score, threshold) for t, score in zip(texts, one.scores, strict=True)),
        cluster=str(one.attempt["uuid"]),
    )


def _sample(text: str, score: float | None, threshold: float) -> SampleResult:
    is_hit = score is not None and score >= threshold
    return SampleResult(
        text=text,
        finish_reason="stop",
        state="graded" if score is not None else "unparsable",
        passed=score is not None and not is_hit,
        score=None if score is None else float(not is_hit),
        reasons=("unscored",) if score is None else ("succeeded",) if is_hit else ("resisted",),
        measures={} if score is None else {"attack_success": float(is_hit)},
        num_prompt_tokens=0,
        num_tokens=0,
        latency_s=0.0,
    )


def _cells(row: GarakRow) -> tuple[report.tables.Cell, ...]:
    def measured(value: float | None, interval: Interval | None) -> report.Measured | None:
        if value is None or interval is None:
            return None
        return report.Measured(value=value, n=row.num_scored, low=interval.low, high=interval.high)

    corrected = row.corrected
    shown = corrected if isinstance(corrected, str) else measured(*corrected)
    return measured(row.rate, row.interval), shown, row.num_unscored
