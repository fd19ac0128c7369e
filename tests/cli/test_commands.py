"""The commands do what they say, from a stranger's first minute to a release."""

import io
import json
import sys
from pathlib import Path

import pytest

from small_run import tables, write_files
from strop.pipeline.metrics_log import read_metrics

TEXT = "What is tax 1?"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, chat_folder: Path) -> Path:
    """An adapter folder, made by ``strop sft``."""
    folder = tmp_path_factory.mktemp("trained")
    write_files(folder)
    patch = pytest.MonkeyPatch()
    with patch.context() as m:
        m.chdir(folder)
        m.setenv("STROP_HOME", str(folder / "home"))
        arguments = [
            "sft",
            "sft.jsonl",
            "--model",
            chat_folder,
            "--steps",
            3,
            "--lora-rank",
            2,
            "--lora-targets",
            "attention",
        ]
        m.setattr(sys, "argv", ["strop", *map(str, arguments), "--learning-rate", "0.01", "--output", "out"])
        from strop.cli import main

        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    return folder / "out"


@pytest.mark.capability("IM-14")
def test_sft_leaves_an_adapter_folder_with_its_metrics_and_record(trained: Path) -> None:
    config = json.loads((trained / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 4.0)
    assert not any("mlp" in name for name in config["target_modules"])
    assert [record["step"] for record in read_metrics(trained / "metrics.jsonl")] == [1, 2, 3]
    assert json.loads((trained / "stage.json").read_text())["config"]["learning_rate"] == 0.01


def test_an_adapter_is_continued_from_its_folder(strop, trained: Path, tmp_path: Path) -> None:
    write_files(tmp_path)
    answer = strop("dpo", "dpo.jsonl", "--model", trained, "--steps", 1, "--output", "out")
    assert answer.code == 0, answer.err
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 2


def test_a_merged_model_answers_as_the_adapter_does(strop, trained: Path, tmp_path: Path) -> None:
    assert strop("merge", trained, "--output", "merged").code == 0
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    said = [strop("sample", model, TEXT, "--max-new-tokens", 8, "--num", 2).out for model in (trained, "merged")]
    assert said[0] == said[1] != ""


def test_an_export_loads_again(strop, trained: Path, tmp_path: Path) -> None:
    assert strop("export", trained, "--output", "exported").code == 0
    assert (tmp_path / "exported" / "adapter_model.safetensors").is_file()


def test_a_base_cannot_be_merged(strop, chat_folder: Path, tmp_path: Path) -> None:
    assert strop("merge", chat_folder, "--output", "merged").code == 2
    assert not (tmp_path / "merged").exists()


def test_chat_reads_a_pipe_and_answers_every_line(strop, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\nwhat is tax?\n"))
    answer = strop("chat", trained, "--max-new-tokens", 4)
    assert answer.code == 0, answer.err
    assert [line for line in answer.out.splitlines() if line.startswith("> ")] == ["> hello", "> what is tax?"]


def test_eval_writes_results_that_the_gate_reads(strop, trained: Path, tmp_path: Path) -> None:
    write_files(tmp_path)
    arguments = ["--suite", "eval.jsonl", "--verifier", "reward.py:score", "--max-new-tokens", 6]
    assert strop("eval", trained, *arguments, "--output", "after").code == 0
    table = strop("eval", trained, *arguments).out
    assert "accuracy" in table
    assert table.split("│")[3].strip() == "6", table
    assert strop("gate", "after", "--output", "report").code == 3, "six items are too few for the default gate"
    (tmp_path / "gate.toml").write_text("min_items = 2\nmin_group_items = 2\n")
    decided = strop("gate", "after", "--baseline", "after", "--config", "gate.toml", "--output", "report")
    assert (decided.code, "PASS" in decided.out) == (0, True)
    assert json.loads((tmp_path / "report" / "gate_report.json").read_text())["outcome"] == "PASS"
    (tmp_path / "gate.toml").write_text(
        'min_items = 2\nmin_group_items = 2\n[thresholds]\n"eval.mean_tokens" = { max = 0.0 }\n'
    )
    assert strop("gate", "after", "--config", "gate.toml").code == 1


def test_a_gate_without_results_is_refused(strop) -> None:
    answer = strop("gate", "nowhere")
    assert (answer.code, "no results" in answer.err) == (2, True)


def test_check_shows_what_is_trained_and_refuses_what_training_refuses(
    strop, chat_folder: Path, tmp_path: Path
) -> None:
    write_files(tmp_path)
    answer = strop("check", "sft.jsonl", "--model", chat_folder, "--show", 1)
    assert answer.code == 0, answer.err
    assert "rows: 12, usable 12" in answer.out
    assert "⟦sales is 1.<|end|>⟧" in answer.out
    assert strop("check", "sft.jsonl", "--model", chat_folder, "--max-length", 4).code == 2
    report = json.loads(strop("check", "dpo.jsonl", "--model", chat_folder, "--kind", "dpo", "--json").out)
    assert report["num_accepted"] == 6


# ----------------------------------------------------------------------------------------------------------------- runs


def recipe(chat_folder: Path) -> str:
    """The small recipe's first stage with gate and release, as TOML."""
    stage = tables(chat_folder)["stage"][0]
    suite = '{ tasks = "eval.jsonl", verifier = "reward.py:score", max_new_tokens = 6 }'
    return (
        f'name = "small"\nbase = "{chat_folder}"\n[[stage]]\nmethod = "sft"\ndata = "{stage["data"]}"\nsteps = 2\n'
        f"lora = {{ rank = 2 }}\n[gate]\nsuites = [{suite}]\nmin_items = 2\nmin_group_items = 2\n"
        'max_drop = { "eval.accuracy" = 0.99 }\n[release]\nname = "small"\n'
    )


def test_a_dry_run_prints_the_plan_and_writes_nothing(strop, chat_folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "r.toml").write_text(recipe(chat_folder))
    before = sorted(tmp_path.rglob("*"))
    answer = strop("run", "r.toml", "--dry-run", "--set", "stage.0.epochs=2", "--set", "stage.0.batch_size=4")
    assert answer.code == 2, "steps and epochs"
    answer = strop("run", "r.toml", "--dry-run", "--limit", 5)
    assert answer.code == 0, answer.err
    assert "sft, LoRA 2" in answer.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.capability("LC-16")
def test_a_run_releases_and_the_registry_tells_its_history(strop, chat_folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "r.toml").write_text(recipe(chat_folder))
    first = strop("run", "r.toml")
    assert first.code == 0, first.err
    for part in ("accuracy", "gate: PASS", "small@candidate now points to", "report: runs/small/report.html"):
        assert part in first.out
    again = strop("run", "r.toml")
    assert again.code == 0
    assert "cached" in again.out
    assert "from the cache" in again.out
    assert strop("release", "promote", "small@production", "--why", "it is good", "--who", "ada").code == 0
    assert "ada" in strop("release", "history", "small").out
    listed = strop("release", "list").out  # each beside its own report: the second run's gate wrote another
    assert "candidate" in listed
    assert "production" in listed
    assert strop("release", "rollback", "small@production", "--why", "no").code == 2
    assert strop("release", "promote", "small", "--why", "x").code == 2
    assert strop("run", "r.toml", "--set", 'gate.thresholds={"eval.mean_tokens"={max=0.0}}').code == 1
    assert strop("run", "r.toml", "--set", "gate.min_items=99").code == 3
    listed = strop("cache", "list").out
    assert "stage" in listed
    assert "evaluation" in listed
    assert "removed" in strop("cache", "clean").out
    assert not list((tmp_path / "home" / "cache").rglob("stage.json"))
    assert "small" in strop("release", "list").out, "a release does not live in the cache"


def test_an_interrupt_exits_130_and_says_how_to_go_on(
    strop, chat_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    (tmp_path / "r.toml").write_text(recipe(chat_folder))

    def interrupted(*told: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("strop.training.train", interrupted)
        answer = strop("run", "r.toml")
    assert answer.code == 130
    assert "The same command goes on" in answer.err
    assert not list(tmp_path.rglob("stage.json"))
    assert strop("run", "r.toml").code == 0


def test_an_unexpected_error_exits_70_with_its_traceback(strop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*told: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("strop.pipeline.workspace.cache_entries", broken)
    monkeypatch.setattr("strop.cli.cache.cache_entries", broken)
    answer = strop("cache", "list")
    assert answer.code == 70
    assert "ZeroDivisionError" in answer.err


def test_doctor_tells_what_the_machine_has(strop) -> None:
    said = strop("doctor").out
    for part in ("torch", "device", "threads", "bubblewrap", "STROP_HOME"):
        assert part in said
