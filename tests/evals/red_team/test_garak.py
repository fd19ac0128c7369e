"""A report that garak 0.17.0 wrote itself (a probe of five texts of ours, four outputs each, some of them None), read.

Kept of it: every line but `plugin_cache` and `digest`, and of the setup what is read.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strop.errors import DataError, MismatchError
from strop.evals import SuiteResult
from strop.evals.red_team.garak import GarakRow, read_garak_report
from strop.statistics import wilson

REPORT = Path(__file__).parent / "garak_0_17.report.jsonl"


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """The report with each of its lines changed by a function; None drops it."""

    def edit(change: Callable[[dict[str, object]], object]) -> Path:
        lines = [change(json.loads(line)) for line in REPORT.read_text().splitlines()]
        path = tmp_path / "edited.report.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None))
        return path

    return edit


def test_hits_passes_and_nones_are_those_that_garak_counted() -> None:
    evals = [line for line in map(json.loads, REPORT.read_text().splitlines()) if line["entry_type"] == "eval"]
    counted = {(line["probe"], line["detector"]): (line["fails"], line["passed"], line["nones"]) for line in evals}
    found = read_garak_report(REPORT)
    assert {
        (row.probe, row.detector): (row.hits, row.num_scored - row.hits, row.num_unscored) for row in found.rows
    } == counted
    assert counted["strop_texts.Wire", "dan.DAN"] == (7, 6, 7)
    assert (found.version, found.target, found.num_unjudged) == ("0.17.0", "strop_gen.Mixed", 0)


def test_what_a_detector_could_not_score_is_in_no_rate_and_counted() -> None:
    (row, _) = read_garak_report(REPORT).rows
    assert row.rate == 7 / 13
    assert row.interval == wilson(7, 13)
    result = read_garak_report(REPORT).result
    assert result.num_ungraded == 14
    assert sum(sample.passed for sample in result.samples) == 12
    assert result.rate("attack_success", "detector=dan.DAN").value == 7 / 13


def test_a_rate_is_corrected_where_garak_ships_the_detectors_errors_and_unmeasured_is_said(tmp_path: Path) -> None:
    metrics = tmp_path / "detector_metrics_summary.json"
    shares = {"accuracy": 0.875, "hit_sensitivity": 1.0, "hit_specificity": 0.75}
    metrics.write_text(json.dumps({"results": {"dan.DAN": {"metrics": shares}}}))
    dan, mitigation = read_garak_report(REPORT, detector_metrics=metrics).rows
    assert not isinstance(dan.corrected, str)
    assert dan.corrected[0] == pytest.approx((7 / 13 + 0.75 - 1) / 0.75)  # Rogan and Gladen by hand
    assert mitigation.corrected == "unmeasured"
    blind = GarakRow(probe="p", detector="d", hits=1, num_scored=4, num_unscored=0, errors=(0.0, 1.0))
    assert blind.corrected == "no better than chance"
    silent = GarakRow(probe="p", detector="d", hits=0, num_scored=0, num_unscored=4, errors=(1.0, 1.0))
    assert (silent.rate, silent.corrected) == (None, "nothing was scored")


def test_another_threshold_than_garaks_is_noticed_by_its_own_counts(edited: Callable[..., Path]) -> None:
    def lower(line: dict[str, object]) -> dict[str, object]:
        results = line.get("detector_results")
        if isinstance(results, dict):
            line["detector_results"] = {
                name: [0.6 if s == 1.0 else s for s in scores] for name, scores in results.items()
            }
        return line

    path = edited(lower)
    assert read_garak_report(path).rows[0].hits == 7  # 0.6 is a hit at 0.5
    with pytest.raises(MismatchError, match="garak counted other hits"):
        read_garak_report(path, threshold=0.7)


def test_an_interrupted_run_tells_what_was_never_judged(edited: Callable[..., Path]) -> None:
    def drop(line: dict[str, object]) -> dict[str, object] | None:
        late = line["entry_type"] == "attempt" and line["status"] == 2 and line["seq"] == 4
        return None if late or line["entry_type"] in ("eval", "completion") else line

    found = read_garak_report(edited(drop))
    assert found.num_unjudged == 1
    assert found.rows[0].num_scored + found.rows[0].num_unscored == 16
    assert "1 attempts were never judged" in found.table().note


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not json\n", "no JSON object"),
        ('{"entry_type": "surprise"}\n', "writes no entry of type 'surprise'"),
        ('{"entry_type": "attempt", "uuid": "u"}\n', "an attempt has uuid, status"),
        ("", "no line of kind `init`"),
        ('{"entry_type": "init", "garak_version": "0.17.0"}\n', "no attempts"),
        ("[" * 100_000, "no JSON object"),
    ],
)
def test_what_is_no_report_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.report.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_garak_report(path)


@pytest.mark.parametrize("score", [1.5, "high", -0.1])
def test_a_score_that_is_none_is_refused(edited: Callable[..., Path], score: object) -> None:
    def spoil(line: dict[str, object]) -> dict[str, object]:
        if line["entry_type"] == "attempt" and line["status"] == 2:
            line["detector_results"] = {"dan.DAN": [score, None, None, None]}
        return line

    with pytest.raises(DataError, match="not within 0 and 1"):
        read_garak_report(edited(spoil))


def every_attempt(**changed: object) -> Callable[[dict[str, object]], object]:
    return lambda line: {**line, **changed} if line["entry_type"] == "attempt" else line


@pytest.mark.parametrize(
    "changed",
    [
        {"outputs": ["a text", None, None, None]},
        {"outputs": [{"text": 5}, None, None, None]},
        {"prompt": "a text"},
        {"prompt": {"turns": "a text"}},
        {"prompt": {"turns": ["a text"]}},
        {"prompt": {"turns": [{"role": "user", "content": "a text"}]}},
    ],
)
def test_an_attempt_of_another_shape_is_refused_with_its_line(
    edited: Callable[..., Path], changed: dict[str, object]
) -> None:
    with pytest.raises(DataError, match=r"edited\.report\.jsonl:\d+\n.*as garak 0.17 writes them"):
        read_garak_report(edited(every_attempt(**changed)))


def test_a_line_end_of_unicode_in_an_answer_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.report.jsonl"
    path.write_text(REPORT.read_text().replace("[DAN]: paid.", "[DAN]:\u2028paid.\x85"), encoding="utf-8")
    found = read_garak_report(path)
    assert found.rows == read_garak_report(REPORT).rows
    assert any("\u2028paid" in sample.text for sample in found.result.samples)


@pytest.mark.parametrize("threshold", [float("nan"), 7.0, -0.1])
def test_a_threshold_that_is_no_score_is_refused_and_makes_nothing_safe(threshold: float) -> None:
    with pytest.raises(DataError, match="a threshold of"):
        read_garak_report(REPORT, threshold=threshold)


def test_the_result_is_kept_and_read_like_any_other(tmp_path: Path) -> None:
    result = read_garak_report(REPORT).result
    result.save(tmp_path)
    assert SuiteResult.load(tmp_path, "garak").digest == result.digest
