"""A guard on the command line is a recipe's guard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from guarded_run import guard, guarded_tables, teach, write_guarded_files
from small_run import run, write_files
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.run import told_guard


def test_sft_logs_its_guard_at_every_look(strop: Any, tmp_path: Path, chat_folder: Path) -> None:
    write_files(tmp_path)
    guards = ["--guard", "world:arithmetic", "--guard-every", 2, "--guard-limit", 4, "--guard-action", "watch"]
    answer = strop("sft", "sft.jsonl", "--model", chat_folder, "--steps", 3, *guards, "--output", "out")
    assert answer.code == 0, answer.err
    records = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [record["step"] for record in records if "guard_arithmetic.accuracy" in record] == [0, 2, 3]
    assert len((tmp_path / "out" / "guards.jsonl").read_text().splitlines()) == 3


def test_the_plan_names_the_guards(strop: Any, tmp_path: Path, chat_folder: Path) -> None:
    write_files(tmp_path)
    asked = ["--guard", "world:arithmetic", "--guard-limit", 8, "--dry-run"]
    answer = strop("sft", "sft.jsonl", "--model", chat_folder, *asked)
    told = " ".join(answer.out.split())
    assert "guard arithmetic.accuracy, 8 items every 50 steps: roll_back at a drop of more than 0.1" in told


def test_settings_of_no_guard_are_refused(strop: Any, tmp_path: Path) -> None:
    write_files(tmp_path)
    answer = strop("sft", "sft.jsonl", "--guard-every", 2)
    assert answer.code == 2
    assert "--guard-every has no effect" in answer.err


def test_two_sources_take_their_shares(strop: Any, tmp_path: Path, chat_folder: Path) -> None:
    write_files(tmp_path)
    mixed = ["--shares", 0.8, "--shares", 0.2, "--model", chat_folder, "--steps", 6, "--output", "out"]
    answer = strop("sft", "sft.jsonl", "held_out.jsonl", *mixed)
    assert answer.code == 0, answer.err
    assert abs(read_metrics(tmp_path / "out" / "metrics.jsonl")[-1]["share_0"] - 0.8) <= 0.02


def test_what_was_done_is_told_and_drawn(tmp_path: Path, chat_folder: Path) -> None:
    write_guarded_files(tmp_path)
    settings = guarded_tables(teach(chat_folder, tmp_path), guard("roll_back", max_times=1))
    result = run(settings, tmp_path, tmp_path / "home", output=tmp_path / "out")
    told = [str(line) for line in told_guard(result.stages[0])]
    assert told[0].startswith("  guard at step 4: roll back: fine.accuracy went from 1.000 to 0.000")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "sft: guards" in page
    assert "sft: guards, taken back" in page
    assert json.loads((result.stages[0].folder / "stage.json").read_text())["guard"]["num_looks"] >= 5
