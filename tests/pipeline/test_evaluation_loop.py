"""What is executed of the evaluation loop: slices first, guards while training, the gate, failures as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guarded_run import guard, guarded_tables, teach, write_guarded_files
from small_run import run
from strop.cli.failures import As, failures
from strop.pipeline.guard_journal import read_looks

SUITE = {"tasks": "eval.jsonl", "verifier": "fine.py:score", "max_new_tokens": 6, "name": "fine"}
GATE: dict[str, Any] = {
    "suites": [SUITE],
    "min_items": 20,
    "min_group_items": 2,
    "thresholds": {"fine.accuracy": {"min": 0.9}},
}


def test_what_a_gate_blocked_becomes_the_next_runs_data_and_passes(
    tmp_path: Path, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_guarded_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    taught = teach(chat_folder, tmp_path)
    spoilt = run(
        {**guarded_tables(taught, guard("watch")), "gate": GATE}, tmp_path, tmp_path / "home", output=tmp_path / "first"
    )
    looks = read_looks(spoilt.stages[0].folder / "guards.jsonl")
    assert looks[0].step == 0, "the start is measured before the first step"
    assert looks[-1].findings[0] is not None
    assert looks[-1].findings[0].outcome == "dropped"
    assert spoilt.decision is not None
    assert (spoilt.decision.outcome, spoilt.exit_code) == ("BLOCK", 1)

    results = tmp_path / "first" / "evaluations"
    failures(
        results / "sft",
        suite="eval.jsonl",
        output=tmp_path / "failed.jsonl",
        as_=As.SFT,
        name=None,
        baseline=results / "base",
        verifier="fine.py:score",
        not_held_out=True,
    )
    rows = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    assert all("fine" in json.dumps(row) for row in rows)

    # what has been trained on can no longer be asked by a gate: the next one asks items that nobody has seen
    fresh = [f"Which colour has the {thing} over there, {n}?" for thing in ("boat", "lamp", "stone") for n in range(8)]
    (tmp_path / "fresh.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in fresh))
    gate_again = {**GATE, "suites": [{**SUITE, "tasks": "fresh.jsonl"}]}
    model = spoilt.stages[0].folder / "model"
    settings = guarded_tables(model, guard("watch"), data="failed.jsonl", steps=20)
    mended = run({**settings, "gate": gate_again}, tmp_path, tmp_path / "home", output=tmp_path / "second")
    assert mended.decision is not None
    assert mended.decision.outcome == "PASS"
