"""Stages that cannot follow each other are refused with the reason, before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from strop.errors import RecipeError
from strop.pipeline.order import check_order
from strop.pipeline.reading import parse_recipe
from strop.pipeline.recipe import Recipe

SFT = {"method": "sft", "data": "world:finance/demonstrations"}
LORA_SFT = {**SFT, "lora": {"rank": 4}}
DPO = {"method": "dpo", "data": "world:finance/preferences"}
GRPO = {"method": "grpo", "tasks": "world:arithmetic"}


def recipe(*stages: dict[str, Any], **tables: Any) -> Recipe:
    return parse_recipe({"name": "r", "base": "strop:tiny", "stage": list(stages), **tables})


def refused(tmp_path: Path, *stages: dict[str, Any], **tables: Any) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        check_order(recipe(*stages, **tables), tmp_path)
    return caught.value


@pytest.mark.capability("LC-02")
@pytest.mark.parametrize(
    "stages",
    [
        (SFT,),
        (GRPO,),
        (DPO, LORA_SFT),
        (LORA_SFT, DPO, GRPO),
        (LORA_SFT, GRPO, DPO),
        (LORA_SFT, {**DPO, "adapter": "merge"}),
        (LORA_SFT, {**DPO, "adapter": "merge", "lora": {"rank": 8}}),
        (LORA_SFT, {**DPO, "adapter": "fresh"}),
        (LORA_SFT, {**DPO, "lora": {"rank": 4}}),
        (SFT, {**SFT, "name": "again"}),
    ],
)
def test_every_legal_subset_and_order_is_accepted(tmp_path: Path, stages: tuple[dict[str, Any], ...]) -> None:
    check_order(recipe(*stages), tmp_path)


@pytest.mark.capability("LC-02")
@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"method": "dpo", "data": "world:finance/demonstrations"}, "it needs preferences"),
        ({"method": "dpo", "data": "world:finance"}, "it needs preferences"),
        ({"method": "sft", "data": "world:finance/preferences"}, "it needs demonstrations"),
        ({"method": "sft", "data": ["a.jsonl", "world:arithmetic"]}, "it needs demonstrations"),
        ({"method": "grpo", "tasks": "world:finance/demonstrations"}, "needs tasks"),
        ({"method": "grpo", "tasks": "mine.jsonl"}, "bring no verifier"),
        ({"method": "grpo", "tasks": ["world:arithmetic", "world:finance"]}, "its own verifier"),
        (
            {**GRPO, "tasks": "mine.jsonl", "verifier": "number", "world": {"num_steps": 2}},
            "no task comes from a world",
        ),
        ({**SFT, "epochs": 1.0, "steps": 3}, "how long to train"),
        ({**SFT, "adapter": "continue"}, "leaves an adapter"),
    ],
)
def test_a_stage_that_cannot_run_is_refused_with_the_reason(tmp_path: Path, stage: dict[str, Any], said: str) -> None:
    error = refused(tmp_path, stage)
    assert said in error.why
    assert "stage 0" in error.where
    assert error.do


def test_an_adapter_that_goes_on_keeps_its_shape(tmp_path: Path) -> None:
    assert "shape is fixed" in refused(tmp_path, LORA_SFT, {**DPO, "lora": {"rank": 8}}).why


def test_an_adapter_that_was_merged_is_gone(tmp_path: Path) -> None:
    merged = {**DPO, "adapter": "merge"}
    assert "leaves an adapter" in refused(tmp_path, LORA_SFT, merged, {**GRPO, "adapter": "continue"}).why


def test_two_stages_need_two_names(tmp_path: Path) -> None:
    assert refused(tmp_path, SFT, SFT).what == "2 stages are called `sft`"


def test_validation_settings_without_validation_are_refused(tmp_path: Path) -> None:
    assert "no effect" in refused(tmp_path, {**SFT, "validate_every": 5}).what


def test_a_release_needs_a_gate(tmp_path: Path) -> None:
    assert refused(tmp_path, SFT, release={"name": "r"}).what == "[release] without [gate]"


def test_a_base_without_a_chat_template_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<s>"}))
    assert "has no chat template" in refused(tmp_path, GRPO, base="bare").what


def test_an_adapter_folder_as_base_may_be_continued(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    check_order(recipe({**SFT, "adapter": "merge"}, base="adapter"), tmp_path)
