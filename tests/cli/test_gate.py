"""``strop gate`` as a CI job runs it: a process of its own, in a folder, judged by its exit code and what it leaves."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from small_run import write_files
from strop.evals import Metric, read_gate_report
from strop.evals.gating.evidence_folder import write_evidence_json
from strop.evals.gating.recorded import repeat
from strop.evals.people.evidence import PeopleEvidence, write_people_evidence
from strop.evals.results import SuiteResult
from strop.release.record import load_results
from suite_outcomes import DIGESTS, ones, result
from tiny_models import make_model_folder

PEOPLE = PeopleEvidence(
    session="s",
    candidate="m",
    baseline="old",
    suite="finance",
    wins=60,
    ties=20,
    losses=60,
    num_identical=0,
    annotators=("Ada",),
    excluded=(),
    last="",
)
GATE = 'min_group_items = 10\n[thresholds]\n"finance.accuracy" = { min = 0.9 }\n'


def job(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The installed program, with nothing of this process but the machine's paths."""
    kept = ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment |= {"CI": "true", "STROP_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", "from strop.cli import main; main()", "gate", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=280)


def save(folder: Path, num_right: int, **digests: str) -> SuiteResult:
    made = result(ones(num_right, 120), metrics={"accuracy": Metric(direction="higher")}, **digests)
    made = replace(made, digests={**DIGESTS, "tokenizer": "k", "index": "", **digests})
    made.save(folder)
    return made


@pytest.mark.capability("EV-06")
@pytest.mark.parametrize(
    ("num_right", "num_before", "code", "word"),
    [(118, 110, 0, "PASS"), (80, 110, 1, "BLOCK"), (109, 118, 1, "BLOCK")],
    ids=["good", "below the floor", "above the floor but worse than before"],
)
def test_a_ci_job_passes_or_fails_by_one_command(
    tmp_path: Path, num_right: int, num_before: int, code: int, word: str
) -> None:
    save(tmp_path / "new", num_right, model="new")
    save(tmp_path / "old", num_before, model="old")
    (tmp_path / "gate.toml").write_text('baseline = "old"\n' + GATE)
    done = job(tmp_path, "new", "--config", "gate.toml", "--output", "out", "--who", "ci")
    assert done.returncode == code, done.stderr
    assert f"gate: {word}" in done.stdout
    report = read_gate_report(tmp_path / "out" / "gate_report.json")
    assert (report["outcome"], report["who"]) == (word, "ci")
    assert (report["candidate"]["model"], report["baseline"]["model"]) == ("new", "old")
    assert word in (tmp_path / "out" / "gate_report.html").read_text()
    kept = [
        {"finance": SuiteResult.load(tmp_path / "out" / "gate_results" / side, "finance")}
        for side in ("candidate", "baseline")
    ]
    assert repeat(report, *kept).outcome == word, "the folder is all that it takes to decide again"


def test_what_lies_in_the_output_folder_stays(tmp_path: Path) -> None:
    """The candidate's own folder beside the report keeps what was in it, and a suite of an earlier gate goes."""
    save(tmp_path / "candidate", 118)
    (tmp_path / "candidate" / "model.safetensors").write_text("weights")
    result(ones(3, 3), name="older").save(tmp_path / "gate_results" / "candidate")
    (tmp_path / "gate.toml").write_text(GATE)
    assert job(tmp_path, "candidate", "--config", "gate.toml", "--output", ".").returncode == 0
    assert (tmp_path / "candidate" / "model.safetensors").read_text() == "weights"
    kept = sorted(path.name for path in (tmp_path / "gate_results" / "candidate").iterdir())
    assert kept == ["results_finance.json", "samples_finance.jsonl"]


def test_a_decision_without_a_baseline_keeps_none_of_an_earlier_one(tmp_path: Path) -> None:
    save(tmp_path / "new", 118, model="new")
    save(tmp_path / "old", 110, model="old")
    (tmp_path / "gate.toml").write_text(GATE)
    for baseline in (["--baseline", "old"], []):
        assert job(tmp_path, "new", *baseline, "--config", "gate.toml", "--output", "out").returncode == 0
    report = read_gate_report(tmp_path / "out" / "gate_report.json")
    assert repeat(report, *load_results(tmp_path / "out" / "gate_results")).outcome == "PASS"


def test_a_gate_that_asks_nothing_does_not_pass(tmp_path: Path) -> None:
    """That the items were not looked at too often says nothing of the candidate."""
    save(tmp_path / "new", 118)
    done = job(tmp_path, "new")
    assert (done.returncode, "nothing was tested" in done.stdout) == (3, True), done.stdout + done.stderr


def test_too_few_items_exit_with_three(tmp_path: Path) -> None:
    save(tmp_path / "new", 118)
    (tmp_path / "gate.toml").write_text("[gate]\nmin_items = 500\n" + GATE.replace("[thresholds]", "[gate.thresholds]"))
    done = job(tmp_path, "new", "--config", "gate.toml")
    assert (done.returncode, "INSUFFICIENT" in done.stdout) == (3, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "holds no results"),
        (["new", "--baseline", "nowhere"], "holds no results"),
        (["new", "--config", "absent.toml"], "cannot read the gate"),
        (["new", "--config", "odd.toml"], "did you mean `min_items`"),
        (["new", "--config", "beside.toml"], "stands beside [gate]"),
        (["new", "--config", "suite.toml"], "did you mean `limit`"),
        (["new", "--config", "metric.toml"], "names no metric"),
        (["strop:tiny", "--config", "unasked.toml"], "did you mean `schema_valid`"),
        (["new", "--config", "number.toml"], "is no table: 3"),
        (["new", "--evidence", "weighed", "--evidence", "weighed"], "is given twice"),
        (["torn"], "cannot use the results"),
        (["new", "--evidence", "new"], "holds no evidence.json"),
        (["new", "--baseline", "fewer"], "are on one side only"),
        (
            ["new", "--baseline", "strop:tiny", "--config", "more.toml"],
            "candidate has 120 items, the configuration asks 150",
        ),
        (["new", "--baseline", "release@production"], "no release"),
    ],
)
def test_bad_input_exits_with_two_says_why_and_writes_nothing(tmp_path: Path, arguments: list[str], told: str) -> None:
    save(tmp_path / "new", 118)
    save(tmp_path / "torn", 118)
    with (tmp_path / "torn" / "samples_finance.jsonl").open("a") as file:
        file.write("{}\n")
    fewer = result(ones(110, 119))
    replace(fewer, digests={**DIGESTS, "tokenizer": "k", "index": ""}).save(tmp_path / "fewer")
    (tmp_path / "number.toml").write_text("gate = 3\n")
    write_people_evidence(tmp_path / "weighed", PEOPLE)
    (tmp_path / "odd.toml").write_text("min_item = 3\n")
    (tmp_path / "beside.toml").write_text("min_items = 3\n[gate]\nalpha = 0.01\n")
    (tmp_path / "suite.toml").write_text('suites = [{ tasks = "world:finance", limits = 3 }]\n')
    (tmp_path / "metric.toml").write_text('[thresholds]\n"finance.acuracy" = { min = 0.5 }\n')
    (tmp_path / "more.toml").write_text('suites = [{ tasks = "world:finance", limit = 150 }]\n')
    (tmp_path / "unasked.toml").write_text(
        'suites = ["world:finance"]\n[thresholds]\n"finance.schema_vald" = { min = 0.5 }\n'
    )
    if arguments[-1] == "release@production":
        (tmp_path / "ask.toml").write_text('suites = ["world:arithmetic"]\n')
        arguments = [*arguments, "--config", "ask.toml"]
    done = job(tmp_path, *arguments, "--output", "out")
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_models_are_evaluated_on_the_gates_suites_and_taken_from_the_cache_the_second_time(tmp_path: Path) -> None:
    write_files(tmp_path)
    make_model_folder(tmp_path / "model")
    make_model_folder(tmp_path / "before", seed=1)
    suite = '{ tasks = "eval.jsonl", verifier = "reward.py:score", max_new_tokens = 6 }'
    (tmp_path / "gate.toml").write_text(
        f'suites = [{suite}]\nmin_items = 2\nmin_group_items = 2\nbaseline = "before"\n'
    )
    done = job(tmp_path, "model", "--config", "gate.toml", "--output", "out")
    assert done.returncode in (0, 1, 3), done.stderr
    report = read_gate_report(tmp_path / "out" / "gate_report.json")
    assert report["candidate"]["suites"]["eval"]["num_items"] == 6
    assert report["candidate"]["model"] != report["baseline"]["model"]
    kept = sorted(path.name for path in (tmp_path / "home" / "cache" / "evals").iterdir())
    assert len(kept) == 2
    again = job(tmp_path, "model", "--config", "gate.toml", "--output", "again")
    assert again.returncode == done.returncode
    assert sorted(path.name for path in (tmp_path / "home" / "cache" / "evals").iterdir()) == kept
    second = json.loads((tmp_path / "again" / "gate_report.json").read_text())
    assert second["checks"] == report["checks"]


def test_evidence_about_another_candidate_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "new", 118)
    write_evidence_json(tmp_path / "evidence", "people", {}, about={"finance": "0" * 64})
    done = job(tmp_path, "new", "--evidence", "evidence")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
