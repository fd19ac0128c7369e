"""reasoning-gym's tasks behave as every world's do, where the package is installed."""

from __future__ import annotations

import importlib

import pytest

from strop.errors import MissingDependencyError, RecipeError
from strop.verifiers import AuditCase, audit, reference_cases
from strop.worlds import get_world


def test_without_the_package_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"strop\[gym\]"):
        get_world("gym.gcd")


@pytest.fixture
def gym() -> None:
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: pip install 'strop[gym]'")


@pytest.mark.usefixtures("gym")
@pytest.mark.parametrize("name", ["gcd", "basic_arithmetic", "leg_counting", "number_sequence", "syllogism", "aiw"])
def test_references_pass_mistakes_do_not_and_splits_share_nothing(name: str) -> None:
    world = get_world(f"gym.{name}")
    drawn = {split: world.tasks(split, 10, **world.levels[0]) for split in ("train", "dev", "test")}
    cases = reference_cases(drawn["dev"], world.reference_text, world.mutations)
    cheats = [
        AuditCase(task=task, text=text, should_pass=False) for task in drawn["dev"] for text in world.cheats(task)
    ]
    table = audit(world.verifier, [*cases, *cheats])
    assert table.failures == ()
    questions = {split: {task.prompt[0].content for task in tasks} for split, tasks in drawn.items()}
    assert questions["train"].isdisjoint(questions["dev"] | questions["test"])
    assert drawn["test"] == get_world(f"gym.{name}").tasks("test", 10, **world.levels[0])


@pytest.mark.usefixtures("gym")
def test_the_level_moves_the_curriculum() -> None:
    world = get_world("gym.gcd")
    assert len(world.levels) > 1
    easy, hard = (world.tasks("test", 20, **level) for level in (world.levels[0], world.levels[-1]))
    lengths = [sum(len(task.prompt[0].content) for task in tasks) for tasks in (easy, hard)]
    assert lengths[1] > lengths[0]
    assert {task.slices["level"] for task in hard} == {str(len(world.levels) - 1)}


@pytest.mark.usefixtures("gym")
def test_answers_are_worked_out_by_hand() -> None:
    import math
    import re

    for task in get_world("gym.gcd").tasks("test", 20):
        numbers = [int(number) for number in re.findall(r"\d+", task.prompt[0].content)]
        assert task.reference["answer"] == [str(math.gcd(*numbers))]


@pytest.mark.usefixtures("gym")
@pytest.mark.parametrize("name", ["gym.countdown", "gym.polynomial_equations", "gym.gdc"])
def test_data_sets_that_are_missing_or_run_code_to_judge_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="there is no world"):
        get_world(name)
