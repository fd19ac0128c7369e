"""``strop failures`` and the record of a release, on the command line, from a model's own failures to the next run."""

import json
from pathlib import Path

import pytest

from small_run import write_files
from strop.evals import SuiteResult
from tiny_models import make_model_folder

EVAL = ("--suite", "world:arithmetic", "--world", "steps=1", "--limit", 12, "--max-new-tokens", 6)
SUITE = ("--suite", "world:arithmetic", "--world", "steps=1")


@pytest.mark.capability("EV-62")
def test_failures_of_a_model_become_the_data_of_its_next_run_whose_report_names_them(strop, tmp_path: Path) -> None:
    """A random model fails; its failures become train tasks; the next run's report says from which result they came."""
    make_model_folder(tmp_path / "model")
    assert strop("eval", "model", *EVAL, "--output", "before").code == 0
    result = SuiteResult.load(tmp_path / "before", "arithmetic")
    refused = strop("failures", "before", *SUITE, "--as", "tasks", "--output", "held_out.jsonl")
    assert (refused.code, "may not be trained on" in refused.err) == (2, True)
    assert not (tmp_path / "held_out.jsonl").exists()

    made = strop("failures", "before", *SUITE, "--as", "sft", "--more-like", 8, "--output", "next.jsonl")
    assert made.code == 0, made.err
    assert "12 of 12 items failed; wrote 8 rows" in made.out
    rows = [json.loads(line) for line in (tmp_path / "next.jsonl").read_text().splitlines()]
    assert {row["lineage"]["result"] for row in rows} == {result.digest}
    assert all(row["id"].startswith("arithmetic/train/") for row in rows)

    (tmp_path / "r.toml").write_text(
        f'name = "next"\nbase = "{tmp_path / "model"}"\n[[stage]]\nmethod = "sft"\ndata = "next.jsonl"\nsteps = 1\n'
    )
    ran = strop("run", "r.toml")
    assert ran.code == 0, ran.err
    html = (tmp_path / "runs" / "next" / "report.html").read_text()
    assert "failures on arithmetic of model" in html
    assert f"8 rows from 8 failed items of result {result.digest[:12]}" in html


def test_pairs_and_cases_are_written_too_and_what_has_no_effect_is_refused(strop, tmp_path: Path) -> None:
    make_model_folder(tmp_path / "model")
    assert strop("eval", "model", *EVAL, "--output", "before").code == 0
    pairs = strop("failures", "before", *SUITE, "--as", "pairs", "--more-like", 4, "--output", "pairs.jsonl")
    assert pairs.code == 0, pairs.err
    assert strop("check", "pairs.jsonl", "--model", "model", "--kind", "dpo").code == 0
    for arguments, told in (
        (("--as", "tasks", "--truth", "exact"), "--truth has no effect"),
        (("--as", "cases", "--more-like", 3), "have no effect on cases"),
        (("--as", "tasks", "--more-like", 3, "--not-held-out"), "exclude each other"),
        (("--as", "tasks", "--slice", "steps=9"), "no slice"),
        (("--as", "cases"), "nothing failed that could become data"),
        (("--as", "tasks", "--name", "other"), "no results of suite"),
    ):
        answer = strop("failures", "before", *SUITE, *arguments, "--output", "x.jsonl")
        assert (answer.code, told in " ".join(answer.err.split())) == (2, True), answer.err
        assert not (tmp_path / "x.jsonl").exists()
    other = strop("failures", "before", "--suite", "world:arithmetic", "--as", "tasks", "--output", "x.jsonl")
    assert (other.code, "is not the one that the results are of" in other.err) == (2, True)


def test_of_several_results_those_of_the_suites_own_name_are_taken(strop, tmp_path: Path) -> None:
    make_model_folder(tmp_path / "model")
    warm = ("--temperature", 1, "--output", "before")  # its greedy twin lies beside it
    assert strop("eval", "model", *EVAL, *warm).code == 0
    assert len(list((tmp_path / "before").glob("results_*.json"))) == 2
    made = strop("failures", "before", *SUITE, "--as", "sft", "--more-like", 3, "--output", "next.jsonl")
    assert made.code == 0, made.err
    rows = [json.loads(line) for line in (tmp_path / "next.jsonl").read_text().splitlines()]
    assert {row["lineage"]["suite"] for row in rows} == {"arithmetic"}
    twin = ("--name", "arithmetic-greedy", "--as", "sft", "--more-like", 3, "--output", "twin.jsonl")
    assert strop("failures", "before", *SUITE, *twin).code == 0
    assert "arithmetic-greedy" in (tmp_path / "twin.jsonl").read_text()
    (tmp_path / "my.jsonl").write_text('{"prompt": "Say 1."}\n')
    other = strop("failures", "before", "--suite", "my.jsonl", "--verifier", "exact", "--as", "sft", "--output", "x")
    assert (other.code, "say which with --name" in other.err) == (2, True), other.err


def test_wrong_verdicts_become_cases_that_an_audit_reads(strop, tmp_path: Path) -> None:
    """The reward passes everything; the truth says that nothing is right: whatever passed is a false accept."""
    write_files(tmp_path)
    (tmp_path / "truth.py").write_text("def score(completion):\n    return 0\n")
    (tmp_path / "reward.py").write_text("def score(completion):\n    return 1\n")
    asked = ("--limit", 6, "--max-new-tokens", 96, "--output", "before")
    assert strop("eval", "strop:tiny", *FILE_EVAL, *asked).code == 0
    passed = sum(item.samples[0].passed for item in SuiteResult.load(tmp_path / "before", "eval").items)
    assert passed, "some answers end by themselves"
    made = strop("failures", "before", *FILE_EVAL, "--as", "cases", "--truth", "truth.py:score", "--output", "c.jsonl")
    assert made.code == 0, made.err
    assert f"wrote {passed} cases" in made.out
    lax = strop("audit", "reward.py:score", "--cases", "c.jsonl")
    assert (lax.code, f"{passed}/{passed}" in lax.out) == (1, True), lax.err
    assert strop("audit", "truth.py:score", "--cases", "c.jsonl").code == 0


FILE_EVAL = ("--suite", "eval.jsonl", "--verifier", "reward.py:score")


@pytest.mark.capability("EV-63")
def test_a_release_of_a_gated_model_tells_why_and_repeats_its_decision(strop, tmp_path: Path) -> None:
    write_files(tmp_path)
    make_model_folder(tmp_path / "model")
    suite = '{ tasks = "eval.jsonl", verifier = "reward.py:score", max_new_tokens = 6 }'
    thresholds = '[thresholds]\n"eval.mean_tokens" = { max = 99.0 }\n'
    (tmp_path / "gate.toml").write_text(f"suites = [{suite}]\nmin_items = 2\nmin_group_items = 2\n{thresholds}")
    assert strop("gate", "model", "--config", "gate.toml", "--output", "gated", "--who", "ci").code == 0
    added = strop("release", "add", "small", "model", "--report", "gated")
    assert added.code == 0, added.err
    assert strop("release", "promote", "small@production", "--why", "it is good", "--who", "ada").code == 0
    why = strop("release", "why", "small@production").out
    report = json.loads((tmp_path / "gated" / "gate_report.json").read_text())
    for part in ("by ada: it is good", "decided by ci", report["digest"], report["config_digest"], "eval.mean_tokens"):
        assert part in "".join(why.split("\n")), part
    verified = strop("release", "verify", "small")
    assert (verified.code, "decides PASS again" in " ".join(verified.out.split())) == (0, True), verified.out
    kept = next((tmp_path / "home" / "decisions").rglob("samples_eval.jsonl"))
    kept.write_text(kept.read_text().replace('"num_tokens": 6', '"num_tokens": 5'))
    assert strop("release", "verify").code == 1
    assert strop("release", "verify", "nothing").code == 2
    assert strop("release", "why", "small@nowhere").code == 2
