"""What holds for every world: references pass, mistakes and cheats do not, splits share nothing, seeds decide."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.chat import ChatTemplate
from strop.errors import RecipeError
from strop.types import Task
from strop.verifiers import AuditCase, audit, reference_cases
from strop.worlds import World, get_world, world_names
from strop.worlds.generated import GeneratedWorld

TINY = Path(importlib.util.find_spec("strop.models").origin or "").parent / "tiny"  # type: ignore[union-attr]
BY_RUNNING = {"contest": 4}
"""Worlds whose verifier starts a process for every answer, and how many tasks a level they are tried on."""
NUM_TASKS = 25
ROW_TOKENS = 288


@cache
def world(name: str) -> World:
    return get_world(name)


LEVELS = [
    pytest.param(name, level, id=f"{name}-{number}")
    for name in world_names()
    for number, level in enumerate(world(name).levels)
]


def tasks(name: str, level: Mapping[str, int], split: str = "dev", seed: int = 0, n: int = NUM_TASKS) -> list[Task]:
    return world(name).tasks(split, BY_RUNNING.get(name, n), seed, **level)


@pytest.mark.capability("IM-05")
@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_references_pass_and_mutations_and_cheats_do_not(name: str, level: Mapping[str, int]) -> None:
    here = world(name)
    if name in BY_RUNNING:
        pytest.importorskip("strop.sandbox.sandbox", reason="there is no sandbox in this checkout")
    drawn = tasks(name, level)
    cases = reference_cases(drawn, here.reference_text, here.mutations)
    cheats = [AuditCase(task=task, text=text, should_pass=False) for task in drawn for text in here.cheats(task)]
    table = audit(here.verifier, [*cases, *cheats])
    assert table.failures == ()
    assert (table.num_right, table.num_ungraded) == (len(drawn), 0)
    assert table.num_wrong >= 5 * len(drawn)


@pytest.mark.parametrize("name", world_names())
def test_every_task_has_a_cheat_or_more_and_no_cheat_or_mutation_is_the_reference(name: str) -> None:
    here = world(name)
    for level in here.levels:
        for task in here.tasks("train", 5, **level):
            assert len(here.cheats(task)) >= (2 if name == "finance" else 3)
            assert here.reference_text(task) not in [*here.cheats(task), *here.mutations(task)]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_the_same_seed_gives_the_same_tasks_and_another_seed_others(name: str, level: Mapping[str, int]) -> None:
    assert tasks(name, level, seed=3) == tasks(name, level, seed=3)
    assert [task.prompt for task in tasks(name, level, seed=3)] != [task.prompt for task in tasks(name, level, seed=4)]
    assert world(name).demonstrations("train", 5, 3, **level) == world(name).demonstrations("train", 5, 3, **level)


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_the_first_rows_do_not_depend_on_how_many_are_drawn(name: str, level: Mapping[str, int]) -> None:
    assert world(name).tasks("dev", 3, **level) == world(name).tasks("dev", 6, **level)[:3]


def prompts(name: str, split: str, seed: int) -> set[str]:
    return {repr(task.prompt) for level in world(name).levels for task in world(name).tasks(split, 12, seed, **level)}


@pytest.mark.parametrize("name", world_names())
def test_no_prompt_of_any_level_stands_in_two_splits(name: str) -> None:
    drawn = {split: prompts(name, split, 0) for split in ("train", "dev", "test")}
    assert drawn["train"].isdisjoint(drawn["test"] | drawn["dev"])
    assert drawn["dev"].isdisjoint(drawn["test"])


GENERATED = [name for name in world_names() if isinstance(world(name), GeneratedWorld)]


@given(name=st.sampled_from(GENERATED), level=st.integers(0, 4), seeds=st.tuples(*[st.integers(0, 10**6)] * 3))
@settings(max_examples=40, deadline=None)
def test_what_problems_are_made_of_lies_in_one_split_whatever_seed_and_level(
    name: str, level: int, seeds: tuple[int, int, int]
) -> None:
    here = world(name)
    assert isinstance(here, GeneratedWorld)
    keys = [
        {key for puzzle in here.puzzles(split, 6, seed, **here.levels[level]) for key in puzzle.keys}
        for split, seed in zip(("train", "dev", "test"), seeds, strict=True)
    ]
    assert keys[0].isdisjoint(keys[1] | keys[2])
    assert keys[1].isdisjoint(keys[2])


@pytest.mark.parametrize("name", GENERATED)
def test_tasks_say_their_level_and_kind(name: str) -> None:
    for number, level in enumerate(world(name).levels):
        slices = [task.slices for task in world(name).tasks("dev", 5, **level)]
        assert {one["level"] for one in slices} == {str(number)}
        assert all(one["kind"] for one in slices)


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate.load(TINY)


def _length(template: ChatTemplate, here: World, task: Task) -> int:
    return len(template.prompt_ids(task.prompt, task.tools)) + len(template.text_ids(here.reference_text(task))) + 1


def test_prompt_and_reference_fit_a_row_of_the_embedded_base_but_at_the_two_hardest_levels(template) -> None:  # type: ignore[no-untyped-def]
    for name in GENERATED:
        here = world(name)
        for level in here.levels[:-2]:
            longest = max(_length(template, here, task) for task in here.tasks("train", 40, **level))
            assert longest <= ROW_TOKENS, (name, level, longest)


@pytest.mark.parametrize("name", GENERATED)
def test_easy_and_middle_levels_take_at_most_150_tokens(name: str, template) -> None:  # type: ignore[no-untyped-def]
    here = world(name)
    for level in here.levels[: len(here.levels) // 2]:
        assert max(_length(template, here, task) for task in here.tasks("train", 40, **level)) <= 150


@pytest.mark.parametrize("name", GENERATED)
def test_a_wrong_dial_is_refused_with_the_right_ones(name: str) -> None:
    with pytest.raises(RecipeError, match="cannot be dialled with stepz = 3"):
        world(name).tasks("train", 1, stepz=3)
    dial = next(iter(world(name).dials))  # type: ignore[attr-defined]
    with pytest.raises(RecipeError) as told:
        world(name).tasks("train", 1, **{f"{dial}z": 1})
    assert f"did you mean `{dial}`?" in told.value.do
    with pytest.raises(RecipeError, match=f"{dial} = 99999"):
        world(name).tasks("train", 1, **{dial: 99999})


@pytest.mark.parametrize("name", world_names())
def test_demonstrations_begin_with_a_question_and_end_with_the_assistant(name: str) -> None:
    for level in world(name).levels:
        for row in world(name).demonstrations("train", 5, **level):
            assert row.messages[0].role in ("system", "user")
            assert row.messages[-1].role == "assistant"
            assert row.messages[-1].content
