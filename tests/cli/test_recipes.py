"""The shipped recipes are legal, and what ``strop init`` writes is what ``recipes/own_data.toml`` shows."""

from pathlib import Path

import pytest

from strop.cli.init import starter_files
from strop.methods.cards import CARDS
from strop.pipeline.order import check_order
from strop.pipeline.reading import read_recipe

RECIPES = Path(__file__).parent.parent.parent / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_is_legal(path: Path) -> None:
    check_order(read_recipe(path), RECIPES)


def test_init_writes_the_shipped_files() -> None:
    for name, content in starter_files().items():
        shipped = RECIPES / ("own_data.toml" if name == "recipe.toml" else name)
        assert shipped.read_text() == content, name


def test_init_writes_its_files_and_refuses_to_overwrite_one(strop, tmp_path: Path) -> None:
    assert strop("init").code == 0
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(
        starter_files()
    )
    (tmp_path / "recipe.toml").unlink()
    (tmp_path / "my_rewards.py").write_text("mine")
    again = strop("init")
    assert again.code == 2
    assert "never overwrites" in again.err
    assert (tmp_path / "my_rewards.py").read_text() == "mine"
    assert not (tmp_path / "recipe.toml").exists()


def test_train_validation_tasks_and_evaluation_of_the_starter_share_no_question() -> None:
    prompts = [
        {line.split('"')[3] for line in content.splitlines()}
        for name, content in starter_files().items()
        if "jsonl" in name
    ]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == 254


def test_show_prints_toml_that_reads_back_the_same(strop, tmp_path: Path) -> None:
    shown = strop("show", RECIPES / "finance_assistant.toml", "--set", "stage.0.epochs=2.5", "--seed", 3)
    assert shown.code == 0
    (tmp_path / "shown.toml").write_text(shown.out)
    again, first = read_recipe(tmp_path / "shown.toml"), read_recipe(RECIPES / "finance_assistant.toml")
    assert again.seed == 3
    assert again.stages[0].epochs == 2.5
    assert again.gate == first.gate
    assert again.stages[2].model_copy(update={"name": None}) == first.stages[2]


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo", "dr_grpo"])
def test_explain_tells_formula_source_file_and_test(strop, method: str) -> None:
    said = strop("explain", method).out
    for part in ("Source", "src/strop/", "tests/"):
        assert part in said


def test_explain_of_nothing_lists_the_cards(strop) -> None:
    said = strop("explain").out
    assert "grpo" in said
    assert "Supervised fine-tuning" in said
    assert said.count("\n") >= len(CARDS)


def test_explain_of_an_unknown_method_names_the_nearest(strop) -> None:
    answer = strop("explain", "drgrpo")
    assert answer.code == 2
    assert "did you mean" in answer.err
