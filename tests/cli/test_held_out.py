"""A recipe whose gate asks what was trained on, or asks too often: told before training, and decided after it."""

import json
from pathlib import Path

import pytest

from strop.evals.looks import read_looks
from suite_outcomes import ones, result
from tiny_models import make_model_folder

RECIPE = """
name = "small"
base = "model"
[[stage]]
method = "sft"
data = "sft.jsonl"
steps = 2
learning_rate = 0.01
[gate]
suites = [{ tasks = "eval.jsonl", verifier = "reward.py:score", max_new_tokens = 6 }]
min_items = 2
min_group_items = 2
thresholds = { "eval.accuracy" = { min = 0.0 } }
"""


def write(folder: Path, *asked: str, gate: str = "") -> None:
    """Rows, a reward, a suite that asks ``asked``."""
    make_model_folder(folder / "model")
    words = ["sales", "legal", "audit", "fleet"]
    rows = [{"prompt": f"What is {word}?", "completion": f"{word} is fine."} for word in words]
    (folder / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = [*asked, *(f"Name thing number {n}." for n in range(20))]
    (folder / "eval.jsonl").write_text("".join(json.dumps({"prompt": question}) + "\n" for question in questions))
    (folder / "reward.py").write_text("def score(completion):\n    return 1\n")
    (folder / "r.toml").write_text(RECIPE + gate)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.capability("EV-52")
@pytest.mark.capability("PI-65")
def test_a_recipe_that_trains_on_what_its_gate_asks_is_told_so_in_the_plan_and_blocked(strop, tmp_path: Path) -> None:
    write(tmp_path)
    assert strop("run", "r.toml").code == 0, "the suite without the leak passes"
    write(tmp_path, "what is LEGAL?")
    planned = strop("run", "r.toml", "--dry-run")
    assert planned.code == 0
    assert "eval: not trained on: the gate will say BLOCK: of 21 items: 1 word for word" in flat(planned.out)
    assert "sft.jsonl:2" in planned.out, "the row is named"
    ran = strop("run", "r.toml", "--output", "leaky")
    assert ran.code == 1
    assert flat(ran.out).index("the gate will say BLOCK") < flat(ran.out).index("gate: BLOCK")
    checks = json.loads((tmp_path / "leaky" / "gate_report.json").read_text())["checks"]
    assert [check["name"] for check in checks if check["outcome"] == "BLOCK"] == ["eval: not trained on"]


def test_a_plan_without_a_leak_says_nothing_of_it(strop, tmp_path: Path) -> None:
    write(tmp_path)
    assert "not trained on" not in flat(strop("run", "r.toml", "--dry-run").out)


def test_a_recipes_bound_on_looks_holds_over_its_candidates(strop, tmp_path: Path) -> None:
    write(tmp_path, gate="max_looks = 1\n")
    assert strop("run", "r.toml").code == 0
    assert strop("run", "r.toml", "--output", "again").code == 0, "the same candidate learns nothing new"
    other = strop("run", "r.toml", "--set", "stage.0.steps=3", "--output", "other")
    assert other.code == 3, other.err
    assert "this is look 2 of at most 1 at these held-out items" in flat(other.out)
    assert len(read_looks(tmp_path / "home" / "looks.jsonl")) == 3
    assert strop("run", "r.toml", "--set", "stage.0.steps=3", "--set", "gate.max_looks=2").code == 0


def test_the_gates_own_command_notes_its_look_before_it_says_anything(
    strop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(decision: object) -> None:
        raise KeyboardInterrupt

    result(ones(90, 100)).save(tmp_path / "candidate")
    monkeypatch.setattr("strop.pipeline.run.told_decision", killed)
    assert strop("gate", "candidate").code == 130
    assert len(read_looks(tmp_path / "home" / "looks.jsonl")) == 1


def test_a_look_is_noted_before_anybody_can_read_the_decision(
    strop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*told: object, **named: object) -> None:
        raise KeyboardInterrupt

    write(tmp_path)
    monkeypatch.setattr("strop.evals.gating.report.write_gate_report", killed)
    assert strop("run", "r.toml").code == 130
    assert [look.outcome for look in read_looks(tmp_path / "home" / "looks.jsonl")] == ["PASS"]
