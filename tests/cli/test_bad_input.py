"""Bad input: one clear message, exit 2, no traceback, nothing half-written."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from small_run import tables, write_files

WORDS = " ".join(["word"] * 600)
ROW = {"prompt": "What is tax?", "completion": "Tax is tax."}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def refused(strop, tmp_path: Path, *arguments: object) -> str:
    """The message of a command that must be refused."""
    answer = strop(*arguments)
    assert answer.code == 2, answer.err + answer.out
    assert answer.err.count("error:") == 1
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("home/cache/stages/*"))
    return " ".join(answer.err.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "a.jsonl"),
        (lines(ROW) + '{"prompt": "x", \n', "a.jsonl:2"),
        (lines({"frage": "x", "antwort": "y"}), "frage"),
        ("", "no rows"),
        (lines({"messages": [{"role": "user", "content": "hello"}]}), "no assistant turn"),
        (lines(ROW, {"prompt": "x", "completion": WORDS}), "a.jsonl:2"),
    ],
    ids=["missing", "broken json", "wrong columns", "empty", "no assistant", "answer does not fit"],
)
def test_a_data_file_that_cannot_be_used(
    strop, tmp_path: Path, chat_folder: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "a.jsonl").write_text(content)
    arguments = ["sft", "a.jsonl", "--model", chat_folder, "--max-length", 256, "--output", "out"]
    assert said in refused(strop, tmp_path, *arguments)


def test_wrong_columns_come_with_the_mapping_to_write(strop, tmp_path: Path, chat_folder: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines({"frage": "x", "completion": "y"}))
    assert "columns" in refused(strop, tmp_path, "sft", "a.jsonl", "--model", chat_folder, "--output", "out")


def test_a_template_that_drops_a_role(strop, tmp_path: Path, chat_folder: Path) -> None:
    shutil.copytree(chat_folder, tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(
        "{%- for message in messages if message.role != 'system' -%}" + template.read_text().split("-%}", 1)[1]
    )
    row = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]}
    row["messages"].append({"role": "assistant", "content": "b"})
    (tmp_path / "a.jsonl").write_text(lines(row))
    assert "system" in refused(strop, tmp_path, "sft", "a.jsonl", "--model", "model", "--output", "out")


def test_a_model_folder_without_a_chat_template(strop, tmp_path: Path, chat_folder: Path) -> None:
    shutil.copytree(chat_folder, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    (tmp_path / "a.jsonl").write_text(lines(ROW))
    assert "no chat template" in refused(strop, tmp_path, "sft", "a.jsonl", "--model", "model", "--output", "out")


def test_a_model_that_is_not_there(strop, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROW))
    assert "./no" in refused(strop, tmp_path, "sft", "a.jsonl", "--model", "./no", "--output", "out")


def test_a_tokenizer_that_differs_from_the_lock(strop, tmp_path: Path, chat_folder: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROW, ROW))
    trained = strop("sft", "a.jsonl", "--model", chat_folder, "--steps", 1, "--output", "first")
    assert trained.code == 0, trained.err
    shutil.rmtree(tmp_path / "home")
    template = tmp_path / "first" / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|end|> "))
    assert "lock" in refused(strop, tmp_path, "sft", "a.jsonl", "--model", "first", "--output", "out")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('answer')", "KeyError"),
        ("return float('nan')", "nan"),
        ("import time; time.sleep(60)", "5"),
    ],
    ids=["raises", "NaN", "hangs"],
)
def test_a_reward_that_fails(strop, tmp_path: Path, chat_folder: Path, body: str, said: str) -> None:
    (tmp_path / "tasks.jsonl").write_text(lines({"prompt": "Say tax."}))
    (tmp_path / "mine.py").write_text(f"def score(completion):\n    {body}\n")
    arguments = ["grpo", "tasks.jsonl", "--verifier", "mine.py:score", "--model", chat_folder, "--output", "out"]
    said_all = refused(strop, tmp_path, *arguments)
    assert "mine.py" in said_all
    assert said in said_all


@pytest.mark.parametrize("verifier", ["nobody", "no.py:score", "mine.py:other"])
def test_a_reward_that_is_not_there(strop, tmp_path: Path, chat_folder: Path, verifier: str) -> None:
    (tmp_path / "tasks.jsonl").write_text(lines({"prompt": "Say tax."}))
    (tmp_path / "mine.py").write_text("def score(completion):\n    return 1\n")
    arguments = ["grpo", "tasks.jsonl", "--verifier", verifier, "--model", chat_folder, "--output", "out"]
    refused(strop, tmp_path, *arguments)


def test_an_unknown_world_names_the_nearest(strop, tmp_path: Path, chat_folder: Path) -> None:
    said = refused(strop, tmp_path, "grpo", "world:arithmetics", "--model", chat_folder, "--output", "out")
    assert "arithmetic" in said


def test_an_unknown_benchmark_names_the_nearest(strop, tmp_path: Path, chat_folder: Path) -> None:
    said = refused(strop, tmp_path, "eval", chat_folder, "--suite", "gsm9k:test.jsonl", "--verifier", "number")
    assert "did you mean `gsm8k:test.jsonl`" in said


def test_a_reward_that_accepts_everything_is_not_trained_on_where_the_tasks_have_answers(
    strop, tmp_path: Path, chat_folder: Path
) -> None:
    (tmp_path / "tasks.jsonl").write_text(lines(*({"prompt": f"Say {n}.", "answer": str(n)} for n in (31, 32, 33))))
    (tmp_path / "bad.py").write_text("def yes(completion, answer):\n    return 1.0\n")
    arguments = ["grpo", "tasks.jsonl", "--verifier", "bad.py:yes", "--model", chat_folder, "--output", "out"]
    said = refused(strop, tmp_path, *arguments)
    assert "was audited on the tasks' `answer` column" in said
    assert "--unaudited" in said
    assert "not audited: it rewards style" in strop(*arguments, "--dry-run", "--unaudited", "it rewards style").out


def test_an_output_folder_that_cannot_be_written(strop, tmp_path: Path, chat_folder: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROW))
    (tmp_path / "file").write_text("")
    said = refused(strop, tmp_path, "sft", "a.jsonl", "--model", chat_folder, "--output", "file/out")
    assert "cannot write" in said


def test_an_output_folder_with_foreign_files_is_left_alone(strop, tmp_path: Path, chat_folder: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROW))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(strop, tmp_path, "sft", "a.jsonl", "--model", chat_folder, "--output", "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def full(*told: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half_written(
    strop, tmp_path: Path, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text(lines(ROW, ROW))
    real, seen = os.fsync, []

    def filling(descriptor: int) -> None:
        seen.append(descriptor)
        if (
            len(seen) > 8
        ):  # the first files fit: the lock, the metrics; then the disk is full in the middle of a checkpoint
            full()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", filling)
    arguments = ["sft", "a.jsonl", "--model", chat_folder, "--steps", 1, "--output", "out"]
    said = refused(strop, tmp_path, *arguments)
    assert "no space left" in said
    assert "free some space" in said
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.setattr(os, "fsync", real)
    assert strop(*arguments).code == 0


def test_a_really_full_disk_is_told(strop, tmp_path: Path, chat_folder: Path, small_disk: Path, monkeypatch) -> None:
    monkeypatch.setenv("STROP_HOME", str(small_disk / "home"))
    (tmp_path / "a.jsonl").write_text(lines(ROW, ROW))
    said = refused(strop, tmp_path, "sft", "a.jsonl", "--model", chat_folder, "--steps", 1, "--output", "out")
    assert "no space left" in said
    assert not list(small_disk.rglob("stage.json"))


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 200 kB; skipped where mounting is not permitted."""
    import subprocess

    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


# ------------------------------------------------------------------------------------------------------------- recipes


def test_a_recipe_with_an_unknown_key_names_the_nearest(strop, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\nbase = "m"\n[[stage]]\nmethod = "sft"\ndata = "a"\nepoch = 1.0\n')
    said = refused(strop, tmp_path, "run", "r.toml", "--output", "out")
    assert "r.toml:6" in said
    assert "did you mean `epochs`?" in said


def test_a_recipe_in_an_impossible_order_says_why(strop, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'name = "r"\nbase = "strop:tiny"\n[[stage]]\nmethod = "dpo"\ndata = "world:finance/demonstrations"\n'
    )
    said = refused(strop, tmp_path, "run", "r.toml", "--output", "out")
    assert "needs preferences" in said


def test_a_gate_that_names_an_unknown_metric_is_refused_before_training(
    strop, tmp_path: Path, chat_folder: Path
) -> None:
    write_files(tmp_path)
    settings = tables(chat_folder)
    stage = settings["stage"][0]
    (tmp_path / "r.toml").write_text(
        f'name = "r"\nbase = "{chat_folder}"\n[[stage]]\nmethod = "sft"\ndata = "{stage["data"]}"\n'
        '[gate]\nsuites = [{ tasks = "eval.jsonl", verifier = "reward.py:score" }]\n'
        'thresholds = { "evals.accuracy" = { min = 0.5 } }\n'
    )
    assert "did you mean `eval`?" in refused(strop, tmp_path, "run", "r.toml", "--output", "out")


def test_a_wrong_option_is_told_with_exit_2(strop) -> None:
    answer = strop("sft", "a.jsonl", "--learning-rat", 1)
    assert answer.code == 2
    assert "--learning-rate" in answer.err
