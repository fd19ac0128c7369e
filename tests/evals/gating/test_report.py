"""The gate report holds everything that the decision rests on."""

import json
from pathlib import Path

import pytest

from strop.errors import MismatchError
from strop.evals import gate, gate_report, parse_gate_config, read_gate_report, write_gate_report
from suite_outcomes import ones, result

CONFIG = parse_gate_config({"thresholds": {"finance.accuracy": {"min": 0.9}}})
CANDIDATE = {"finance": result(ones(118, 120), model="new")}
BASELINE = {"finance": result(ones(110, 120), model="old")}


def test_the_report_names_decision_reasons_digests_and_configuration(tmp_path: Path) -> None:
    decision = gate(CANDIDATE, BASELINE, CONFIG)
    path = write_gate_report(tmp_path, decision, CANDIDATE, BASELINE, CONFIG)
    report = read_gate_report(path)
    assert (report["outcome"], report["exit_code"]) == ("PASS", 0)
    assert [check["name"] for check in report["checks"]] == [check.name for check in decision.checks]
    assert all(check["reason"] for check in report["checks"])
    assert (report["candidate"]["model"], report["baseline"]["model"]) == ("new", "old")
    assert report["candidate"]["suites"]["finance"]["result"] == CANDIDATE["finance"].digest
    assert report["config"]["thresholds"]["finance.accuracy"]["min"] == 0.9


def test_an_edited_report_is_refused(tmp_path: Path) -> None:
    path = write_gate_report(tmp_path, gate(CANDIDATE, BASELINE, CONFIG), CANDIDATE, BASELINE, CONFIG)
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "outcome": "BLOCK"}))
    with pytest.raises(MismatchError, match="does not match its digest"):
        read_gate_report(path)
    path.write_text("[]")
    with pytest.raises(MismatchError, match="cannot use the gate report"):
        read_gate_report(path)


def test_suites_of_different_models_do_not_make_one_report() -> None:
    mixed = {**CANDIDATE, "other": result(ones(118, 120), name="other", model="another")}
    with pytest.raises(MismatchError, match="2 different models"):
        gate_report(gate(mixed, None, CONFIG), mixed, None, CONFIG)
