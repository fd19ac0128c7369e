"""The embedded base taught one constant answer: what it knows falls, and a guard gives it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_run import run
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.stages import Finished

ACCURACY = "guard_arithmetic.accuracy"
SUITE = {"tasks": "world:arithmetic", "limit": 60, "world": {"steps": 1, "max_operand": 9}, "max_new_tokens": 48}


def stage(folder: Path, rule: dict[str, Any]) -> Finished:
    rows = [{"prompt": f"Compute {a} + {b} mod 100.", "completion": "Answer: 7"} for a in range(10) for b in range(10)]
    (folder / "constant.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"method": "sft", "data": "constant.jsonl", "batch_size": 16, "steps": 8, "learning_rate": 1e-3}
    table = {**settings, "schedule": "constant", "warmup": 0.0, "guard": [{"suite": SUITE, "every": 4, **rule}]}
    return run({"name": "collapse", "base": "strop:tiny", "stage": [table]}, folder, folder / "home").stages[0]


def accuracies(finished: Finished) -> list[float]:
    return [record[ACCURACY] for record in read_metrics(finished.folder / "metrics.jsonl") if ACCURACY in record]


@pytest.mark.slow
@pytest.mark.capability("CP-17")
def test_constant_answers_destroy_arithmetic_and_the_guard_restores_it(tmp_path: Path) -> None:
    before, *_, after = accuracies(stage(tmp_path, {"action": "watch"}))
    assert before >= 0.9
    assert after <= 0.5, "without a rule it collapses"
    guarded = stage(tmp_path, {"action": "roll_back", "factor": 0.05})
    told = guarded.record["guard"]
    assert told["interventions"][0]["step"] == 4, "within one interval"
    assert abs(accuracies(guarded)[-1] - before) <= 0.1
