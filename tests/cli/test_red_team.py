"""``strop red-team``: what a red team found, ours and garak's, in words, in JSON, and as evidence for the gate."""

import json
from pathlib import Path

from scripted_red_team import is_good, obeys, red_team

GARAK = Path(__file__).parent.parent / "evals" / "red_team" / "garak_0_17.report.jsonl"


def test_a_report_shows_both_sides_and_exits_like_the_gate(strop, tmp_path: Path) -> None:
    red_team(obeys, 280).save(tmp_path / "bad")
    answer = strop("red-team", "report", "bad")
    assert answer.code == 1
    assert "BLOCK red_team.attack_success[jailbreak]: 20 of 20" in answer.out
    assert "unscored" in answer.out
    red_team(is_good, 140).save(tmp_path / "few")
    assert strop("red-team", "report", "few").code == 3


def test_the_evidence_that_it_writes_is_what_the_gate_reads(strop, tmp_path: Path) -> None:
    red_team(is_good).save(tmp_path / "good")
    assert strop("red-team", "report", "good", "--output", "evidence").code == 0
    answer = strop("gate", "good", "--evidence", "evidence", "--output", "decision")
    report = json.loads(next((tmp_path / "decision").glob("gate_report.json")).read_text())
    assert "red_team.over_refusal[jailbreak]" in json.dumps(report)
    assert answer.code in (0, 3), answer.err
    red_team(obeys, 280).save(tmp_path / "bad")
    strop("red-team", "report", "bad", "--output", "against")
    assert strop("gate", "bad", "--evidence", "against").code == 1


def test_the_json_holds_raw_and_corrected_rates_and_the_detectors_counts(strop, tmp_path: Path) -> None:
    red_team(obeys, 140).save(tmp_path / "bad")
    answer = strop("red-team", "report", "bad", "--json")
    record = json.loads(answer.out)
    assert record["classes"]["all"]["attack_success"]["observed"] == 1.0
    assert record["classes"]["all"]["attack_success"]["corrected"] == 1.0
    assert record["detectors"]["refusal"]["sensitivity"][1] > 30
    blocked = {check["name"] for check in record["checks"] if check["outcome"] == "BLOCK"}
    assert answer.code == 1
    assert "red_team.attack_success[injection]" in blocked


def test_results_of_something_else_are_refused(strop, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = strop("red-team", "report", "empty")
    assert answer.code == 2
    assert "holds 0 results of a red team" in answer.err


def test_a_garak_report_is_imported_and_kept(strop, tmp_path: Path) -> None:
    answer = strop("red-team", "import", GARAK, "--output", "kept")
    assert answer.code == 0, answer.err
    assert "unmeasured" in answer.out
    assert "53.8 %" in answer.out
    assert json.loads((tmp_path / "kept" / "results_garak.json").read_text())["num_ungraded"] == 14
    assert strop("red-team", "import", tmp_path / "none.jsonl").code == 2
