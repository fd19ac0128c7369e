"""``strop release``: one model with several gate reports; which one a promotion rests on is said everywhere."""

import json
from pathlib import Path

from tiny_models import make_model_folder


def gated(strop, folder: Path, name: str, most: float) -> str:
    """The digest of a report that asks for at most that many tokens an answer; every answer has 6."""
    suite = '{ tasks = "eval.jsonl", verifier = "reward.py:score", max_new_tokens = 6 }'
    thresholds = f'[thresholds]\n"eval.mean_tokens" = {{ max = {most} }}\n'
    (folder / f"{name}.toml").write_text(f"suites = [{suite}]\nmin_items = 2\nmin_group_items = 2\n{thresholds}")
    answer = strop("gate", "model", "--config", f"{name}.toml", "--output", name)
    assert answer.code in (0, 1), answer.err
    return str(json.loads((folder / name / "gate_report.json").read_text())["digest"])[:12]


def rows(out: str, *digests: str) -> dict[str, str]:
    """Of a table: the first line that has the digest."""
    return {digest: next(line for line in out.splitlines() if digest in line) for digest in digests}


def test_a_model_with_several_reports_says_which_one_its_promotion_rests_on(strop, tmp_path: Path) -> None:
    make_model_folder(tmp_path / "model")
    items = [{"id": f"q{n}", "prompt": f"What is {n} and 1?"} for n in range(4)]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tmp_path / "reward.py").write_text("def score(prompt, completion):\n    return 1.0\n")
    strict, lax = gated(strop, tmp_path, "strict", 1.0), gated(strop, tmp_path, "lax", 99.0)
    assert "its gate says BLOCK" in strop("release", "add", "small", "model", "--report", "strict").out
    again = strop("release", "add", "small", "model", "--report", "lax").out
    assert f"is already there; added report {lax}: its gate says PASS" in again
    assert f"report {strict} says BLOCK" in again
    assert "so is report" in strop("release", "add", "small", "model", "--report", "lax").out
    promote = ("release", "promote", "small@production", "--why", "it is good", "--who", "ada")
    silent = strop(*promote)
    assert (silent.code, "--report DIGEST" in silent.err) == (2, True)
    assert f"on its gate report {lax}" in strop(*promote, "--report", lax).out
    listed = rows(strop("release", "list").out, strict, lax)
    assert ("BLOCK" in listed[strict], "production" in listed[strict]) == (True, False)
    assert ("PASS" in listed[lax], "production" in listed[lax]) == (True, True)
    for command in (("why", "small@production"), ("history", "small")):
        told = strop("release", *command).out
        assert f"report {strict} says BLOCK" in told
        assert f"report {lax} says PASS" in told
        assert "small@production rests on it" in told
