"""``strop label`` from the terminal: what it refuses, what it reports, what it writes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labelling import judge_as, results, two
from strop.data import read_preferences
from strop.evals.gating.evidence_folder import write_evidence_json
from strop.evals.judging import pair_anchors, read_anchors
from strop.evals.people import Plan, Session


def saved(folder: Path, num_items: int = 40) -> None:
    candidate, baseline = two(num_items)
    candidate.save(folder / "new")
    baseline.save(folder / "old")


def test_a_session_is_reported_exported_and_becomes_evidence(strop, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", *two(40), plan=Plan(num_pairs=40))
    judge_as(session, "ann", lambda place: place.pair.expected or "candidate")
    judge_as(session, "bob", lambda place: "tie")
    told = strop("label", "report", "s", "--output", "out")
    assert told.code == 0
    assert "bob does not count: 2 of 2 attention checks missed" in told.out
    assert f"session {session.digest}" in told.out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["overall"]["wins"] == 40
    assert json.loads((tmp_path / "out" / "evidence.json").read_text())["people"]["session"] == session.digest
    done = strop("label", "export", "s", "pairs.jsonl")
    assert "wrote 40 pairs" in done.out
    assert len(read_preferences(tmp_path / "pairs.jsonl")) == 40


def test_where_no_annotator_counts_there_is_no_win_rate_and_nothing_is_exported(strop, tmp_path: Path) -> None:
    new, old = results("c", ["same"] * 7 + [f"new {i}" for i in range(7)]), results("b", ["same"] * 7 + ["old"] * 7)
    session = Session.create(tmp_path / "s", new, old, plan=Plan(num_pairs=14))
    judge_as(session, "bob", lambda place: "tie")
    told = strop("label", "report", "s", "--output", "out")
    assert told.code == 3
    assert "no annotator counts" in told.out
    assert "there is no win rate" in told.out
    assert "candidate against baseline" not in told.out, "the table of win rates"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["overall"]["value"] is None
    assert (report["num_identical"], report["num_unjudged"], report["slices"]) == (7, 7, {})
    people = json.loads((tmp_path / "out" / "evidence.json").read_text())["people"]
    assert (people["wins"], people["ties"], people["num_identical"]) == (0, 0, 0)
    for form in ("pairs", "anchors"):
        done = strop("label", "export", "s", "x.jsonl", "--as", form)
        assert (done.code, "no annotator counts" in done.err) == (2, True)
        assert not (tmp_path / "x.jsonl").exists()


def test_a_session_becomes_anchors_that_hold_a_judge_of_pairs(strop, tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", *two(6), plan=Plan(num_pairs=6, repeat=0, attention=0))
    judge_as(session, "ann", lambda place: "candidate" if place.pair.number < 2 else "baseline")
    judge_as(session, "bob", lambda place: "baseline" if place.pair.number < 5 else "tie")
    done = strop("label", "export", "s", "anchors.jsonl", "--as", "anchors")
    assert done.code == 0, done.err
    assert "wrote 6 anchors of 3 pairs" in done.out  # the first two: one vote each; the last: 3/4
    held = read_anchors(tmp_path / "anchors.jsonl")
    assert {anchor.label for anchor in held if anchor.text.startswith("the baseline says")} == {True}
    assert len(pair_anchors(held)) == 3
    assert "of 4 pairs" in strop("label", "export", "s", "a.jsonl", "--as", "anchors", "--min-share", 0.7).out
    refused = strop("label", "export", "s", "b.jsonl", "--as", "anchors", "--min-annotators", 3)
    assert (refused.code, (tmp_path / "b.jsonl").exists()) == (2, False)


def test_evidence_of_another_kind_is_not_overwritten(strop, tmp_path: Path) -> None:
    Session.create(tmp_path / "s", *two(4))
    write_evidence_json(tmp_path / "out", "judge", {"suites": {}})
    before = (tmp_path / "out" / "evidence.json").read_bytes()
    told = strop("label", "report", "s", "--output", "out")
    assert (told.code, "out holds evidence of kind judge, not people" in told.err) == (2, True)
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()] == [("evidence.json", before)]


@pytest.mark.capability("EV-44")
def test_a_gate_that_demands_people_decides_with_their_session_and_names_it(strop, tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "gate.toml").write_text("min_items = 40\n[people]\nmin_pairs = 40\nmargin = 0.1\n")
    command = ("gate", "new", "--baseline", "old", "--config", "gate.toml", "--output", "decision")
    without = strop(*command)
    assert (without.code, "no session was given" in without.out) == (3, True)
    session = Session.create(tmp_path / "s", *two(40), plan=Plan(num_pairs=40))
    judge_as(session, "ann", lambda place: place.pair.expected or "candidate")
    strop("label", "report", "s", "--output", "out")
    assert strop(*command, "--evidence", "out").code == 0
    report = json.loads((tmp_path / "decision" / "gate_report.json").read_text())
    named = {check["numbers"]["session"] for check in report["checks"] if check["name"].startswith("people on ")}
    assert named == {session.digest}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["new"], "nothing to compare with"),
        (["--annotator", "ann"], "nothing to judge"),
        (["nowhere", "old"], "holds 0 suites"),
        (["new", "old", "--suite", "peopel"], "no results of suite 'peopel'"),
        (["--session", "nowhere"], "holds no session"),
        (["--session", "s", "--pairs", "200"], "--pairs has no effect on a session that is continued"),
        (["--session", "s", "--seed", "1"], "--seed has no effect"),
        (["report", "nowhere"], "holds no session"),
        (["new", "old", "--annotator", "<b>"], "cannot be called"),
        (["new", "old", "--rubric", "none.toml"], "cannot read the rubric"),
        (["new", "new"], "same answer to all"),
    ],
)
def test_bad_input_is_told_in_words(strop, tmp_path: Path, arguments: list[str], why: str) -> None:
    saved(tmp_path)
    Session.create(tmp_path / "s", *two(40), plan=Plan(num_pairs=40))
    answer = strop("label", *arguments)
    assert answer.code == 2
    assert why in answer.err


def test_results_of_two_suites_ask_for_the_name(strop, tmp_path: Path) -> None:
    saved(tmp_path)
    other = results("c", ["a"])
    replace(other, name="more").save(tmp_path / "new")
    answer = strop("label", "new", "old")
    assert (answer.code, "holds 2 suites" in answer.err, "more, people" in answer.err) == (2, True, True)


def test_without_the_extra_the_install_line_is_told(strop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    monkeypatch.delitem(sys.modules, "strop.evals.people.server", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delattr("strop.evals.people.server", raising=False)
    answer = strop("label", "new", "old")
    assert answer.code == 2
    assert 'pip install "strop[serve]"' in answer.err
    assert not (tmp_path / "runs").exists(), "refused before anything is made"
