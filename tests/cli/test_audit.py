"""``strop audit``: a table, a file, and an exit code that a script can act on."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from strop.pipeline.audits import audit_table, every_subject
from strop.verifiers import VERIFIERS, Audit, NumberAnswer, read_audit
from strop.verifiers import audit as run_audit
from strop.worlds import world_names

ROWS = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(6)]


def write(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return name


def rows(folder: Path) -> str:
    return write(folder, "tasks.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))


@pytest.mark.capability("RL-25")
def test_a_sound_verifier_passes_and_its_file_says_so(strop, tmp_path: Path) -> None:
    answer = strop("audit", "number", "world:stack", "--limit", 8, "--output", "out/audit.json", "--accuracy", 0.2)
    assert answer.code == 0, answer.err
    assert "right 20%" in answer.out
    assert answer.out.count("passed") == 2
    assert "wrote out/audit.json" in answer.out
    found = read_audit(tmp_path / "out" / "audit.json", NumberAnswer())
    assert found.num_cheats > 10
    purity = json.loads((tmp_path / "out" / "audit.json").read_text())["audits"]["number"]["purity"]
    pure = found.purity(0.2)
    assert pure is not None
    assert purity == {"policy_accuracy": 0.2, "value": 1.0, "interval": [pure[1].low, 1.0]}


@pytest.mark.capability("RL-25", "RL-26")
def test_a_verifier_with_a_hole_fails_with_the_answers_that_went_through(strop, tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "def score(completion, answer):\n    return answer in completion or not completion\n")
    answer = strop("audit", "mine.py:score", "--tasks", rows(tmp_path), "--columns", "prompt=question", "--json")
    assert answer.code == 1
    found = json.loads(answer.out)["audits"]["mine.py:score"]
    # of every task the holes let through: the empty text, the answer with another below it, with a digit before it and
    # behind it, and all answers listed; "What is 0 + 1?" holds its answer and is not tried
    assert (found["num_right"], found["num_wrong"], found["num_false_accept"]) == (6, 65, 30)
    assert found["num_cheats_accepted"] == 6
    assert found["passed"] is False
    told = strop("audit", "mine.py:score", "--tasks", "tasks.jsonl", "--columns", "prompt=question")
    assert told.code == 1
    assert "FAILED" in told.out
    assert "false accept of '' for task" in told.out
    assert "tasks.jsonl:1 'What is 0 + 1?'" in told.out
    allowed = ("--max-false-accept", 0.7)
    assert strop("audit", "mine.py:score", "--tasks", "tasks.jsonl", "--columns", "prompt=question", *allowed).code == 1
    write(tmp_path, "mine.py", "def score(completion, answer):\n    return completion in ('', answer)\n")
    assert strop("audit", "mine.py:score", "--tasks", "tasks.jsonl", "--columns", "prompt=question", *allowed).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no verifier was named"),
        (("gsm8k",), "write gsm8k:test.jsonl"),
        (("gsm8",), "write gsm8k:test.jsonl"),
        (("gsm9k:test.jsonl",), "did you mean `gsm8k:test.jsonl`"),
        (("two.py",), "write two.py:first"),
        (("absent.py",), "write absent.py:score"),
        (("number", "--tasks", "empty.jsonl"), "no answer to audit the verifier on"),
        (("number", "--output", "."), "is a folder"),
        (("numbre",), "did you mean `number`"),
        (("world:nowhere",), "there is no world"),
        (("mine.py:score",), "mine.py"),
        (("gsm8k:absent.jsonl",), "absent.jsonl"),
        (("world:stack", "--tasks", "tasks.jsonl"), "brings its own tasks"),
        (("number", "--tasks", "absent.jsonl"), "absent.jsonl"),
    ],
)
def test_bad_input_is_told_and_exits_with_2(strop, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write(tmp_path, "two.py", "def _own():\n    pass\n\n\ndef first(completion):\n    return 1.0\n")
    write(tmp_path, "empty.jsonl", "")
    answer = strop("audit", *arguments)
    assert answer.code == 2
    assert said in answer.err


def test_a_users_function_without_known_answers_cannot_be_audited(strop, tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "def score(completion):\n    return 1.0\n")
    answer = strop("audit", "mine.py:score")
    assert answer.code == 2
    assert "nobody knows right and wrong answers" in answer.err


def test_milliseconds_are_plain_numbers() -> None:
    seconds = (0.00000004, 0.0000359, 0.00214, 0.0126, 0.2749, 1.2001)
    found = [audit_of(NumberAnswer(), latency_s=(one, one)) for one in seconds]
    written = io.StringIO()
    screen = Console(width=200, file=written)
    screen.print(audit_table(dict(zip("abcdef", found, strict=True)), policy_accuracy=0.5, failed=[]))
    shown = written.getvalue()
    for text in ("<0.001/<0.001", "0.036/0.036", "2.1/2.1", "13/13", "270/270", "1200/1200", "none tried"):
        assert f" {text} " in shown


def audit_of(verifier: NumberAnswer, *, latency_s: tuple[float, float]) -> Audit:
    return replace(run_audit(verifier, []), latency_s=latency_s)


def test_all_means_every_named_verifier_and_every_world() -> None:
    subjects = set(every_subject())
    assert subjects | {"proof"} == {*VERIFIERS, *(f"world:{name}" for name in world_names())}
    assert ("proof" in subjects) == (shutil.which("coqc") is not None)


def test_what_this_machine_lacks_is_told_and_left_out_of_all_but_not_when_it_is_named(
    strop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strop.pipeline.audits.every_subject", lambda: ("proof", "number"))
    monkeypatch.setenv("PATH", "/nowhere")  # no coqc
    answer = strop("audit", "--all")
    assert answer.code == 0
    assert "proof was not audited: Coq is not installed; apt-get install" in answer.err
    assert "number" in answer.out
    assert strop("audit", "proof").code == 2


RECIPE = """
name = "small"
base = "strop:tiny"
[[stage]]
method = "grpo"
tasks = "tasks.jsonl"
columns = {{ prompt = "question" }}
verifier = "{verifier}"
steps = 1
{extra}
"""


@pytest.mark.capability("RL-25")
@pytest.mark.parametrize(
    ("verifier", "extra", "code", "said"),
    [
        ("number", 'audit = "audit.json"', 0, "right answers rejected 0 of"),
        ("exact", 'audit = "audit.json"', 2, "no audit of the verifier exact"),
        ("holed.py:score", 'unaudited = "a toy"', 0, "holed.py:score: not audited: a toy"),
        ("holed.py:score", 'audit = "failed.json"', 2, "fails its audit"),
        ("number", 'audit = "audit.json"\nunaudited = "a toy"', 2, "an audit and a reason for having none"),
        ("number", 'audit = "absent.json"', 2, "cannot read the audit"),
    ],
)
def test_a_recipe_names_its_audit_or_says_why_there_is_none(
    strop, tmp_path: Path, verifier: str, extra: str, code: int, said: str
) -> None:
    write(tmp_path, "holed.py", "def score(completion, answer):\n    return answer in completion or not completion\n")
    rows(tmp_path)
    assert strop("audit", "number", "--output", "audit.json").code == 0
    asked = ("--tasks", "tasks.jsonl", "--columns", "prompt=question")
    assert strop("audit", "holed.py:score", *asked, "--output", "failed.json").code == 1
    write(tmp_path, "recipe.toml", RECIPE.format(verifier=verifier, extra=extra))
    answer = strop("run", "recipe.toml", "--dry-run")
    assert answer.code == code, answer.err
    assert said in (answer.out if code == 0 else answer.err)


def test_the_same_can_be_said_on_the_command_line(strop, tmp_path: Path) -> None:
    rows(tmp_path)
    given = ("grpo", "tasks.jsonl", "--columns", "prompt=question", "--verifier", "number", "--steps", 1, "--dry-run")
    assert "not audited: only a look" in strop(*given, "--unaudited", "only a look").out
