"""Any stage can be undone: the release before is restored byte for byte, and its gate's numbers come out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_run import run, tables, write_files
from strop.chat import ChatTemplate
from strop.digests import digest_folder
from strop.evals import SuiteResult
from strop.pipeline.evaluation import evaluate_model, load_suites
from strop.pipeline.reading import parse_recipe
from strop.pipeline.stages import ModelRef
from strop.pipeline.workspace import Workspace
from strop.release import Registry, Release


def recipe(model: Path, stages: int) -> dict[str, Any]:
    """The first stages of the small run; each release is compared with the base, and everything passes."""
    settings = tables(model)
    (suite,) = settings["gate"]["suites"]
    gate = {**settings["gate"], "suites": [{**suite, "tasks": "asked.jsonl", "name": "eval"}]}
    return {**settings, "stage": settings["stage"][:stages], "gate": gate}


def evaluated_again(release: Release, settings: dict[str, Any], workspace: Workspace) -> dict[str, SuiteResult]:
    """The recipe's suites asked of the release's own folder, with no cache to answer for it."""
    folder = release.bundle.folder
    template = ChatTemplate.load(folder)
    model = ModelRef(
        name="again",
        source=str(folder),
        digest=release.bundle.digests["model"],
        template_digest=template.digest,
    )
    read = parse_recipe(settings)
    assert read.gate is not None
    return dict(evaluate_model(model, template, load_suites(read.gate.suites, workspace), None))


@pytest.mark.capability("LC-10")
def test_a_stage_that_is_rolled_back_leaves_the_release_before_it_and_its_gates_numbers(
    tmp_path: Path, chat_folder: Path
) -> None:
    write_files(tmp_path)
    asked = [
        f"Which colour has the {thing} over there?" for thing in ("boat", "lamp", "stone", "glove", "kettle", "owl")
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in asked))
    workspace = Workspace(home=tmp_path / "home", root=tmp_path)
    first, second = recipe(chat_folder, 1), recipe(chat_folder, 2)
    run(first, tmp_path, workspace.home, output=tmp_path / "out-1")
    registry = Registry(workspace.registry)
    before = registry.resolve("small@candidate")
    files = digest_folder(before.bundle.folder)
    gated = SuiteResult.load(tmp_path / "out-1" / "evaluations" / "sft", "eval")
    report = json.loads((tmp_path / "out-1" / "gate_report.json").read_text())

    run(second, tmp_path, workspace.home, output=tmp_path / "out-2")
    after = registry.resolve("small@candidate")
    assert after.digest != before.digest
    changed = evaluated_again(after, second, workspace)["eval"]
    assert changed.digest != gated.digest, "the second stage did change the model's answers"

    registry.rollback("small", "candidate", who="the test", why="the second stage is undone")
    restored = registry.resolve("small@candidate")
    assert restored.digest == before.digest
    assert digest_folder(restored.bundle.folder) == files
    again = evaluated_again(restored, first, workspace)["eval"]
    assert again.digest == gated.digest, "digests, parameters, answers and measures are the same"
    assert again.summary() == gated.summary()
    assert restored.report["outcome"] == report["outcome"] == "PASS"
