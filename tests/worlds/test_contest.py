"""The contest world: what the words say, what the Python does and what the tests expect are the same."""

from __future__ import annotations

from typing import Any

import pytest

from strop.types import Task
from strop.worlds.contest import ContestWorld
from strop.worlds.contest.recipes import Recipe, Stage

WORLD = ContestWorld()


def passes(source: str, task: Task) -> bool:
    """Whether the source, which is ours, passes the hidden tests: run here, without a sandbox."""
    names: dict[str, Any] = {}
    try:
        exec(source, names)
        return all(names["f"](*test["call"]) == test["expect"] for test in task.reference["tests"])
    except Exception:
        return False


def called(source: str, call: list[Any]) -> object:
    """What the source, which is ours, returns."""
    names: dict[str, Any] = {}
    exec(source, names)
    return names["f"](*call)


def test_a_recipe_its_words_its_python_and_its_value_by_hand() -> None:
    recipe = Recipe(
        inputs=("xs", "a"),
        start="a",
        stages=(
            Stage(operator="times", operand=3),
            Stage(operator="plus", operand="x", over=4, each="xs"),
            Stage(operator="minus", operand=2, over=10, repeat="a"),
        ),
    )
    assert recipe.text == "take a, times 3, for each x of xs over 4 plus x, a times if over 10 minus 2"
    assert recipe.source == (
        "def f(xs, a):\n r = a\n r *= 3\n for x in xs:\n  if x > 4: r += x\n"
        " for i in range(a):\n  if r > 10: r -= 2\n return r"
    )
    assert recipe.value({"xs": [4, 5, 1], "a": 2}) == 9  # 2, 6, 11, then 9, which is not over 10
    assert recipe.value({"xs": [], "a": -1}) == -3  # a negative number of times is none


@pytest.mark.parametrize("level", WORLD.levels)
def test_the_reference_passes_and_every_mutation_fails_the_hidden_tests(level: dict[str, int]) -> None:
    for task in WORLD.tasks("test", 30, **level):
        assert len(task.reference["tests"]) >= 6
        assert passes(WORLD.reference_text(task), task)
        wrong = WORLD.mutations(task)
        assert len(wrong) >= 8
        for text in wrong:
            assert not passes(text, task), (task.prompt, text)


def test_the_words_name_every_stage_and_nothing_of_the_tests() -> None:
    for task in WORLD.tasks("test", 30, ops=4, branches=2, loops=1):
        words = task.prompt[0].content
        assert words.startswith("Write f(")
        assert words.count(", ") - words.partition(":")[0].count(", ") == 4
        assert words.count("if over") == 2
        assert " times plus " in words or " times minus " in words or " times if " in words


def test_no_constant_passes_for_an_input_in_a_stage_that_is_rarely_reached() -> None:
    tried = 0
    for task in WORLD.tasks("train", 15, 5, ops=4, branches=2, loops=1, lists=1):
        right = WORLD.reference_text(task)
        lines = right.split("\n")
        for at, line in enumerate(lines[2:-1], 2):
            head, sign, _ = line.rpartition("= ")
            for constant in range(-9, 21):
                wrong = "\n".join([*lines[:at], f"{head}{sign}{constant}", *lines[at + 1 :]])
                pool = [{"call": list(one.values())} for one in task.reference["pool"]]
                if sign and any(called(wrong, one["call"]) != called(right, one["call"]) for one in pool):
                    tried += 1
                    tests = task.reference["tests"]
                    assert any(called(wrong, one["call"]) != one["expect"] for one in tests), wrong
    assert tried > 500


def test_another_right_function_passes_the_hidden_tests() -> None:
    task = next(t for t in WORLD.tasks("train", 200, ops=1) if "plus" in t.prompt[0].content)
    head, _, said = task.prompt[0].content.removeprefix("Write ").partition(": take ")
    start, _, operand = said.removesuffix(".").partition(", plus ")
    assert passes(f"def {head}:\n    return sum([{operand}, {start}])", task)
    assert not passes(f"def {head}:\n    return sum([{operand}, {start}, 1])", task)


def test_kinds_follow_the_dial() -> None:
    kinds = [{task.slices["kind"] for task in WORLD.tasks("train", 10, **level)} for level in WORLD.levels]
    assert kinds[0] == {"chain"}
    assert kinds[3] == {"branch"}
    assert kinds[4] == {"loop"}
    assert kinds[-1] == {"list"}
