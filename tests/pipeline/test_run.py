"""A run goes from recipe to release, is cached by content, and survives being stopped anywhere."""

import json
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from small_run import digests, run, tables, write_files
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.run import RunResult
from strop.release import Registry


class Killed(BaseException):
    """As sudden as a signal: no ``except Exception`` sees it."""


@dataclass(frozen=True)
class Done:
    """A finished run and where everything lies."""

    result: RunResult
    root: Path
    home: Path
    output: Path
    model: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, chat_folder: Path) -> Done:
    folder = tmp_path_factory.mktemp("run")
    write_files(folder)
    result = run(tables(chat_folder), folder, folder / "home", output=folder / "out")
    return Done(result, folder, folder / "home", folder / "out", chat_folder)


@pytest.mark.capability("LC-01")
def test_each_stage_starts_from_the_one_before_and_the_last_is_released(done: Done) -> None:
    records = [stage.record for stage in done.result.stages]
    assert [record["name"] for record in records] == ["sft", "dpo", "grpo"]
    for before, after in pairwise(records):
        assert after["input"]["model_digest"] == before["output"]["model_digest"]
    assert len(set(digests(done.result))) == 3
    assert (done.result.decision.outcome, done.result.exit_code) == ("PASS", 0)
    release = Registry(done.home / "registry.sqlite").resolve("small@candidate")
    assert release.bundle.digests["model"] == records[-1]["output"]["model_digest"]


@pytest.mark.capability("LC-01")
def test_the_last_adapter_loads_in_plain_peft(done: Done) -> None:
    from peft import AutoPeftModelForCausalLM

    model = AutoPeftModelForCausalLM.from_pretrained(done.result.stages[-1].folder / "model")
    assert any("lora_B" in name and parameter.abs().sum() > 0 for name, parameter in model.named_parameters())


@pytest.mark.capability("IM-09")
def test_a_stage_traces_to_configuration_code_and_data(done: Done) -> None:
    record = json.loads((done.result.stages[0].folder / "stage.json").read_text())
    assert record["config"]["learning_rate"] == 0.01
    assert record["data"]["num_rows"] == 12
    assert len(record["data"]["digest"]) == len(record["lineage"]["recipe_digest"]) == 64
    assert len(record["lineage"]["code"]) == 64
    assert record["lineage"]["parent"] == record["input"]["model_digest"]


@pytest.mark.capability("LC-09")
def test_every_stage_says_its_lever_its_metric_and_how_to_go_back(done: Done) -> None:
    for stage in done.result.stages:
        assert all(stage.record["card"][part] for part in ("lever", "metric", "rollback"))
        assert stage.record["input"]["model_digest"][:16] in stage.record["card"]["rollback"]


def test_the_output_holds_report_gate_metrics_and_results(done: Done) -> None:
    page = (done.output / "report.html").read_text()
    assert "PASS" in page
    assert "<script" not in page
    assert json.loads((done.output / "gate_report.json").read_text())["outcome"] == "PASS"
    steps = [(record["stage"], record["step"]) for record in read_metrics(done.output / "metrics.jsonl")]
    assert steps == [
        (name, step) for name, count in (("sft", 4), ("dpo", 3), ("grpo", 3)) for step in range(1, count + 1)
    ]
    assert (done.output / "evaluations" / "grpo" / "results_eval.json").is_file()


@pytest.mark.capability("LC-01")
def test_a_second_run_trains_and_samples_nothing(done: Done, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def forbidden(*told: object, **named: object) -> None:
        raise AssertionError("the cache should have answered")

    monkeypatch.setattr("strop.training.train", forbidden)
    monkeypatch.setattr("strop.sampling.torch_sampler.TorchSampler.sample", forbidden)
    again = run(tables(done.model), done.root, done.home, output=tmp_path / "out")
    assert all(stage.is_cached for stage in again.stages)
    assert digests(again) == digests(done.result)
    assert again.decision.outcome == "PASS"


@pytest.mark.capability("IM-02")
@pytest.mark.parametrize(("stage", "step"), [("sft", 1), ("sft", 3), ("dpo", 2), ("grpo", 1), ("grpo", 3)])
def test_a_stopped_run_goes_on_to_the_same_weights(done: Done, tmp_path: Path, stage: str, step: int) -> None:
    def stop(label: str, number: float, total: float, metrics: object) -> None:
        seen.append((label, number))
        if (label, number) == (stage, step):
            raise Killed

    seen: list[tuple[str, float]] = []
    settings = tables(done.model)
    del settings["gate"], settings["release"]
    with pytest.raises(Killed):
        run(settings, done.root, tmp_path / "home", progress=stop)
    again: list[tuple[str, float]] = []
    result = run(
        settings, done.root, tmp_path / "home", progress=lambda label, number, *rest: again.append((label, number))
    )
    assert digests(result) == digests(done.result)
    assert len(set(seen) & set(again)) < 2 + 1, "more than one checkpoint interval was done again"
    for finished, original in zip(result.stages, done.result.stages, strict=True):
        got, wanted = (read_metrics(f.folder / "metrics.jsonl") for f in (finished, original))
        assert [(line["step"], line["loss"]) for line in got] == [(line["step"], line["loss"]) for line in wanted]
    assert not any((tmp_path / "home" / "cache" / "work").iterdir())


def test_a_stage_folder_without_its_record_is_made_again(done: Done, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(done.home, home)
    (home / "cache" / "stages" / done.result.stages[0].folder.name / "stage.json").unlink()
    settings = {**tables(done.model), "stage": tables(done.model)["stage"][:1]}
    del settings["gate"], settings["release"]
    result = run(settings, done.root, home)
    assert not result.stages[0].is_cached
    assert digests(result) == digests(done.result)[:1]


def test_what_a_kill_after_the_last_write_left_behind_is_cleared_up(done: Done, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(done.home, home)
    left = home / "cache" / "work" / done.result.stages[1].folder.name
    (left / "checkpoints").mkdir(parents=True)
    run(tables(done.model), done.root, home, output=tmp_path / "out")
    assert not left.exists()


@pytest.mark.capability("LC-16")
def test_a_blocked_result_is_registered_and_not_promoted(done: Done, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(done.home / "cache", home / "cache")
    settings = tables(done.model)
    settings["gate"] |= {"thresholds": {"eval.mean_tokens": {"max": 0.0}}}
    result = run(settings, done.root, home, output=tmp_path / "out")
    assert (result.decision.outcome, result.exit_code) == ("BLOCK", 1)
    registry = Registry(home / "registry.sqlite")
    assert len(registry.list("small")) == 1
    assert registry.aliases("small") == {}


def test_a_released_baseline_takes_the_place_of_the_base(done: Done, tmp_path: Path) -> None:
    settings = tables(done.model)
    settings["gate"] |= {"baseline": "candidate"}
    settings["stage"] = settings["stage"][:2]
    home = tmp_path / "home"
    shutil.copytree(done.home, home)
    result = run(settings, done.root, home, output=tmp_path / "out")
    assert list(result.results) == ["base", "small@candidate", "sft", "dpo"]
    report = json.loads((tmp_path / "out" / "gate_report.json").read_text())
    assert report["baseline"]["model"] == digests(done.result)[-1]


def test_validation_keeps_the_weights_with_the_lowest_held_out_loss(done: Done, tmp_path: Path) -> None:
    stage = {
        **tables(done.model)["stage"][0],
        "validation": "held_out.jsonl",
        "validate_every": 1,
        "learning_rate": 0.3,
    }
    settings = {"name": "v", "base": str(done.model), "stage": [stage]}
    record = run(settings, done.root, tmp_path / "home").stages[0]
    losses = {line["step"]: line["validation_loss"] for line in read_metrics(record.folder / "metrics.jsonl")}
    assert sorted(losses) == [1, 2, 3, 4]
    assert record.record["output"]["step"] == min(losses, key=lambda step: losses[step])
