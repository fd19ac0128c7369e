"""A published benchmark is named where tasks are named: on the command line and in a recipe."""

import json
from pathlib import Path

import pytest

ROWS = [
    {"question": f"What is {a} plus {a}?", "answer": f"{a}+{a}=<<{a}+{a}={2 * a}>>{2 * a}\n#### {2 * a}"}
    for a in range(1, 5)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.capability("EV-43")
def test_eval_grades_a_benchmark_with_its_own_verifier_and_slices(strop, file: Path, tmp_path: Path) -> None:
    answer = strop("eval", "strop:tiny", "--suite", f"gsm8k:{file}", "--max-new-tokens", 4, "--output", "out")
    assert answer.code == 0, answer.err
    assert "cut off: 4 of 4" in " ".join(answer.out.split())
    result = json.loads((tmp_path / "out" / "results_gsm8k.json").read_text())
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples_gsm8k.jsonl").read_text().splitlines()]
    assert len(samples) == 4
    assert "gsm8k" in json.dumps(result)
    assert {sample["slices"]["steps"] for sample in samples} == {"1"}


def test_a_recipe_learns_from_a_benchmark_without_naming_a_verifier(strop, file: Path, tmp_path: Path) -> None:
    stage = f'[[stage]]\nmethod = "grpo"\ntasks = "gsm8k:{file}"\nsteps = 1\ngroup_size = 2\nmax_new_tokens = 4\n'
    (tmp_path / "sums.toml").write_text(f'name = "sums"\nbase = "strop:tiny"\n\n{stage}')
    answer = strop("run", "sums.toml", "--dry-run")
    assert answer.code == 0, answer.err
    mixed = stage.replace(f'"gsm8k:{file}"', f'["gsm8k:{file}", "world:arithmetic"]')
    (tmp_path / "mixed.toml").write_text(f'name = "mixed"\nbase = "strop:tiny"\n\n{mixed}')
    answer = strop("run", "mixed.toml", "--dry-run")
    assert answer.code == 2
    assert "several worlds in one stage" in answer.err


def test_a_benchmark_cannot_be_imitated_and_takes_no_columns(strop, file: Path) -> None:
    answer = strop("sft", f"gsm8k:{file}", "--output", "out")
    assert answer.code == 2
    assert "a benchmark gives tasks" in answer.err
    answer = strop("eval", "strop:tiny", "--suite", f"gsm8k:{file}", "--columns", "prompt=question")
    assert answer.code == 2
    assert "`columns` has no effect" in answer.err
    answer = strop("eval", "strop:tiny", "--suite", "gsm8k:absent.jsonl")
    assert answer.code == 2
    assert "absent.jsonl does not exist" in answer.err


def test_a_benchmark_on_two_files_is_two_suites_named_after_the_files(strop, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "some more.jsonl"
    other.write_text(file.read_text())
    suites = ("--suite", f"gsm8k:{file}", "--suite", f"gsm8k:{other}")
    answer = strop("eval", "strop:tiny", *suites, "--limit", 1, "--max-new-tokens", 2, "--output", "out")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "out").glob("results_*")) == [
        "results_gsm8k-some-more.json",
        "results_gsm8k-sums.json",
    ]
    answer = strop("eval", "strop:tiny", "--suite", f"gsm8k:{file}", "--suite", f"gsm8k:{file}")
    assert answer.code == 2
    assert "two commands" in " ".join(answer.err.split())


def test_eval_sets_a_worlds_dial_and_refuses_one_without_a_world(strop, file: Path, tmp_path: Path) -> None:
    drawn = ("--limit", 2, "--max-new-tokens", 2)
    answer = strop("eval", "strop:tiny", "--suite", "world:arithmetic", "--world", "steps=1", *drawn, "--output", "out")
    assert answer.code == 0, answer.err
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples_arithmetic.jsonl").read_text().splitlines()]
    assert {sample["slices"]["steps"] for sample in samples} == {"1"}
    answer = strop("eval", "strop:tiny", "--suite", "world:arithmetic", "--world", "num_steps=1", *drawn)
    assert answer.code == 2
    assert "did you mean `steps`?" in answer.err
    answer = strop("eval", "strop:tiny", "--suite", f"gsm8k:{file}", "--world", "steps=1", *drawn)
    assert answer.code == 2
    assert "--world has no effect on gsm8k:" in " ".join(answer.err.split())


def test_the_help_names_a_dial_that_there_is_and_a_rank_that_only_holds_with_an_adapter(strop) -> None:
    said = " ".join(strop("grpo", "--help").out.replace("│", " ").split())
    assert "--world steps=3" in said
    assert "all weights train. [default with LoRA: 16]" in said
