"""A recipe is read strictly, and every refusal names the place and the cure."""

from pathlib import Path

import pytest

from strop.errors import RecipeError
from strop.pipeline.reading import nearest, read_recipe
from strop.pipeline.recipe import GRPOStage, GuardTable, SFTStage

WHOLE = """\
name = "demo"
base = "strop:tiny"

[[stage]]
method = "sft"
data = "world:finance/demonstrations"
lora = { rank = 8 }

[[stage]]
method = "grpo"
tasks = "world:arithmetic"
group_size = 4

[gate]
suites = ["world:finance", { tasks = "world:arithmetic", temperature = 1.0 }]
min_items = 50
thresholds = { "finance.exact" = { min = 0.8 } }

[release]
name = "demo"
"""


def read(tmp_path: Path, text: str, **settings: object) -> object:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path, **settings)  # type: ignore[arg-type]


def refused(tmp_path: Path, text: str, **settings: object) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text, **settings)
    return caught.value


def test_a_whole_recipe_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert [type(stage) for stage in recipe.stages] == [SFTStage, GRPOStage]
    assert recipe.stages[0].lora.rank == 8
    assert recipe.gate.config.min_items == 50
    assert recipe.gate.config.thresholds["finance.exact"].min == 0.8
    assert recipe.release.alias == "candidate"


@pytest.mark.capability("IM-03")
@pytest.mark.parametrize(
    ("old", "new", "line", "key", "near"),
    [
        ("group_size = 4", "groupsize = 4", 12, "groupsize", "group_size"),
        ("group_size = 4", "num_generations = 4", 12, "num_generations", "group_size"),
        ("rank = 8", "rnk = 8", 7, "rnk", "rank"),
        ("[gate]", "[gat]", 14, "gat", "gate"),
        ("min_items", "min_item", 16, "min_item", "min_items"),
        ("temperature = 1.0", "temprature = 1.0", 15, "temprature", "temperature"),
        ("min = 0.8", "minimum = 0.8", 17, "minimum", "min"),
        ('base = "strop:tiny"', 'model = "strop:tiny"', 2, "model", "base"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one_and_the_line(
    tmp_path: Path, old: str, new: str, line: int, key: str, near: str
) -> None:
    error = refused(tmp_path, WHOLE.replace(old, new))
    assert f"`{key}`" in error.what
    assert error.where.endswith(f"recipe.toml:{line}")
    assert f"did you mean `{near}`?" in error.do


@pytest.mark.capability("IM-03")
def test_a_key_of_another_method_is_refused_with_the_methods_that_use_it(tmp_path: Path) -> None:
    error = refused(tmp_path, WHOLE.replace("lora = { rank = 8 }", "group_size = 8"))
    assert error.what == "`group_size` has no effect in stage 0 (sft)"
    assert "grpo, dr_grpo" in error.why


def test_an_unknown_method_names_the_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, WHOLE.replace('"grpo"', '"grop"'))
    assert "did you mean `grpo`?" in error.do


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("group_size = 4", "group_size = 1", "greater than or equal to 2"),
        ("group_size = 4", 'group_size = "4"', "valid integer"),
        ("rank = 8", "rank = 8.5", "valid integer"),
        ("group_size = 4", "learning_rate = 0", "greater than 0"),
        ("group_size = 4", "warmup = 1.5", "less than or equal to 1"),
    ],
)
def test_an_impossible_value_is_refused_and_never_changed(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in refused(tmp_path, WHOLE.replace(old, new)).why


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, WHOLE.replace('tasks = "world:arithmetic"\ngroup', "group"))
    assert error.what == "stage 1 (grpo) has no `tasks`"


def test_broken_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, WHOLE.replace("rank = 8 }", "rank = 8")).where.endswith("recipe.toml:7")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path / "no.toml")


def test_overrides_reach_stages_by_number_and_by_name(tmp_path: Path) -> None:
    settings = ["stage.0.learning_rate=0.25", "stage.grpo.group_size=16", "gate.alpha=0.1", "name=other"]
    recipe = read(tmp_path, WHOLE, overrides=[*settings, "stage.sft.lora.rank=2"], seed=7)
    assert recipe.stages[0].learning_rate == 0.25
    assert recipe.stages[0].lora.rank == 2
    assert recipe.stages[1].group_size == 16
    assert recipe.gate.alpha == 0.1
    assert (recipe.name, recipe.seed) == ("other", 7)


@pytest.mark.parametrize("override", ["stage.5.epochs=1", "stage.dpo.epochs=1", "epochs", "name.x=1"])
def test_an_override_that_names_nothing_is_refused(tmp_path: Path, override: str) -> None:
    assert f"--set {override}" in refused(tmp_path, WHOLE, overrides=[override]).what


def test_an_override_with_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    assert "did you mean `learning_rate`?" in refused(tmp_path, WHOLE, overrides=["stage.0.lr=1e-4"]).do


def test_a_word_that_resembles_nothing_has_no_nearest() -> None:
    assert nearest("zzzzzz", ["alpha", "rank"]) is None


GUARDED = """\
name = "demo"
base = "strop:tiny"

[[stage]]
method = "sft"
data = "a.jsonl"

[[stage.guard]]
suite = "world:arithmetic"
every = 10

[[stage]]
method = "sft"
name = "again"
data = ["a.jsonl", "b.jsonl"]
shares = [0.8, 0.2]

[[stage.guard]]
suite = { tasks = "world:finance", limit = 20 }
action = "stop"

[[stage.guard]]
suite = "world:lookup"
max_drop = 0.2
"""


def test_guards_stand_in_their_stage(tmp_path: Path) -> None:
    first, second = read(tmp_path, GUARDED).stages
    assert [guard.suite for guard in first.guards] == ["world:arithmetic"]
    assert [(guard.action, guard.max_drop) for guard in second.guards] == [("stop", 0.1), ("roll_back", 0.2)]
    assert second.guards[0].suite.limit == 20
    assert second.shares == (0.8, 0.2)


@pytest.mark.capability("IM-03")
@pytest.mark.parametrize(
    ("old", "new", "line", "key", "near"),
    [
        ("every = 10", "evry = 10", 10, "evry", "every"),
        ("max_drop = 0.2", "maxdrop = 0.2", 24, "maxdrop", "max_drop"),
        ("limit = 20", "limt = 20", 19, "limt", "limit"),
        ('[[stage.guard]]\nsuite = "world:lookup"', '[[stage.gard]]\nsuite = "world:lookup"', 22, "gard", "guard"),
    ],
)
def test_an_unknown_key_of_a_guard_names_the_nearest_known_one_and_the_line(
    tmp_path: Path, old: str, new: str, line: int, key: str, near: str
) -> None:
    error = refused(tmp_path, GUARDED.replace(old, new))
    assert f"`{key}`" in error.what
    assert f"did you mean `{near}`?" in error.do
    assert error.where.endswith(f"recipe.toml:{line}")


def test_a_recipe_and_a_rule_know_the_same_actions() -> None:
    from strop.training.regression import Action

    assert GuardTable.model_fields["action"].annotation == Action


def test_one_refused_value_is_one_problem(tmp_path: Path) -> None:
    assert "more problem" not in refused(tmp_path, GUARDED.replace("every = 10", "every = 0")).what
    two = GUARDED.replace("every = 10", "every = 0").replace("max_drop = 0.2", "max_drop = -1.0")
    assert "(1 more problem follows)" in refused(tmp_path, two).what


@pytest.mark.parametrize(
    ("given", "written", "do"),
    [
        ("{ min = 0.8 }", "0.8", 'write "finance.exact" = { min = 0.8 }'),
        ("min_items = 50", "min_items = 0", "write a whole number of items from 1 on"),
        ("min_items = 50", "alpha = 3", "write a chance between 0 and 0.5"),
        ("min_items = 50", 'dimensions = ["harmlesness"]', "did you mean `harmlessness`"),
    ],
)
def test_a_gates_setting_that_cannot_be_used_says_what_to_write(
    tmp_path: Path, given: str, written: str, do: str
) -> None:
    assert refused(tmp_path, WHOLE.replace(given, written)).do.startswith(do)
