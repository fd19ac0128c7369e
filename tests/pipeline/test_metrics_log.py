"""A resumed run neither repeats nor loses a line of its metrics."""

import json
from pathlib import Path

from strop.pipeline.metrics_log import metrics_log, read_metrics, split_abandoned


def test_lines_beyond_the_checkpoint_are_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with metrics_log(path, after_step=0) as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": 1.0 / step})
    with metrics_log(path, after_step=2) as log:
        log.write({"step": 3, "loss": 9.0})
    assert [(record["step"], record["loss"]) for record in read_metrics(path)] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [record["step"] for record in read_metrics(path)] == [1, 2]


def test_a_line_is_on_the_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with metrics_log(path, after_step=0) as log:
        log.write({"step": 1})
        assert path.read_text() == '{"step": 1}\n'


def test_lines_of_an_earlier_leg_stay_where_a_later_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (1, 5)]
    path.write_text("".join(json.dumps({"leg": leg, "step": step}) + "\n" for leg, step in lines))
    with metrics_log(path, after_step=3, leg=1):
        pass
    assert [(record["leg"], record["step"]) for record in read_metrics(path)] == lines[:5]


def test_what_was_rolled_back_is_told_apart_from_what_led_to_the_result() -> None:
    order = [0, 1, 2, 3, 4, 3, 4, 5, 6, 5, 6]
    kept, abandoned = split_abandoned([{"step": step, "line": line} for line, step in enumerate(order)])
    assert [record["line"] for record in kept] == [0, 1, 2, 5, 6, 9, 10]
    assert [record["line"] for record in abandoned] == [3, 4, 7, 8]
