"""A stage's key is the content of what goes in: what matters changes it, what does not leaves it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.data import dataset_digest
from strop.errors import RecipeError
from strop.pipeline.cards import PhaseCard
from strop.pipeline.recipe import SFTStage
from strop.pipeline.stages import ModelRef, StageJob, find_finished, stage_key
from strop.pipeline.workspace import Workspace
from strop.types import Conversation, Message

PARENT = ModelRef(name="base", source="m", digest="d", template_digest="t")


def stage(**settings: Any) -> SFTStage:
    return SFTStage(**{"method": "sft", "data": "a.jsonl", **settings})


JOB = StageJob(name="sft", stage=stage(), rows=[], data_digest="x", num_steps=4, seed=0, recipe_digest="r")


@pytest.mark.parametrize(
    "changed",
    [
        {"data_digest": "y"},
        {"num_steps": 5},
        {"seed": 1},
        {"stage": stage(batch_size=4)},
        {"stage": stage(learning_rate=1e-3)},
        {"stage": stage(turns="last")},
    ],
)
def test_what_changes_the_result_changes_the_key(changed: dict[str, Any]) -> None:
    assert stage_key(replace(JOB, **changed), PARENT) != stage_key(JOB, PARENT)


def test_other_code_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage_key(JOB, PARENT)
    monkeypatch.setattr("strop.pipeline.stages.code_digest", lambda: "other")
    assert stage_key(JOB, PARENT) != before


def test_another_model_or_template_changes_the_key() -> None:
    for parent in (replace(PARENT, digest="e"), replace(PARENT, template_digest="u")):
        assert stage_key(JOB, parent) != stage_key(JOB, PARENT)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"recipe_digest": "s"},
        {"stage": stage(name="other")},
        {"stage": stage(data="moved/a.jsonl")},
        {"stage": stage(checkpoint_every=7)},
        {"stage": stage(micro_batch_tokens=99)},
    ],
)
def test_names_and_paths_and_cadence_do_not(changed: dict[str, Any]) -> None:
    assert stage_key(replace(JOB, **changed), PARENT) == stage_key(JOB, PARENT)


def test_rows_are_identified_by_content_not_by_where_they_were_read() -> None:
    row = Conversation(id="1", messages=(Message(role="user", content="a"),), source="a.jsonl:1")
    assert dataset_digest([row]) == dataset_digest([replace(row, source="elsewhere.jsonl:9")])
    assert dataset_digest([row]) != dataset_digest([replace(row, messages=(Message(role="user", content="b"),))])


def test_a_folder_without_a_whole_record_is_not_finished(tmp_path: Path) -> None:
    workspace = Workspace(home=tmp_path, root=tmp_path)
    folder = workspace.stages / stage_key(JOB, PARENT)
    folder.mkdir(parents=True)
    assert find_finished(JOB, PARENT, workspace) is None
    (folder / "stage.json").write_text('{"name": "sf')
    assert find_finished(JOB, PARENT, workspace) is None


@pytest.mark.capability("LC-09")
@pytest.mark.parametrize("missing", ["lever", "metric", "rollback"])
def test_no_phase_card_lacks_one_of_its_three_parts(missing: str) -> None:
    with pytest.raises(RecipeError, match=missing):
        PhaseCard(**{"lever": "a", "metric": "b", "rollback": "c", missing: " "})
