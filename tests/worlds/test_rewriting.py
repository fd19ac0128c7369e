"""The rewriting world: shortest proofs known by search, paths that are narrow, skeletons that give no rule away."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from strop.types import Task
from strop.worlds.rewriting import RewritingWorld, search, skeleton_of
from strop.worlds.rewriting.world import written

WORLD = RewritingWorld()
SORTING = [("ab", "ba")]
NARROW = [level for level in WORLD.levels if level.get("narrow")]


def ways(text: str, goal: str, rules: Sequence[Sequence[str]], left: int) -> set[tuple[str, ...]]:
    """Every way of exactly ``left`` steps, by trying everything: the oracle."""
    if left == 0:
        return {()} if text == goal else set()
    return {
        (result, *rest)
        for before, after in rules
        for at in range(len(text))
        if text[at : at + len(before)] == before
        for result in [text[:at] + after + text[at + len(before) :]]
        if len(result) <= search.MAX_LETTERS
        for rest in ways(result, goal, rules, left - 1)
    }


def test_sorting_two_letters_past_two_takes_four_steps_in_two_ways() -> None:
    found = search.distances("aabb", SORTING, 6)
    assert found is not None
    assert found["bbaa"] == 4  # the inversions
    assert len(search.shortest_paths("bbaa", SORTING, found)) == 2  # standard Young tableaux of 2 x 2
    assert max(found.values()) == 4


def test_luck_is_the_chance_of_random_steps() -> None:
    assert search.luck("aabb", "bbaa", SORTING, 4) == 1.0  # every maximal walk sorts
    rules = [("a", "b"), ("a", "c")]
    assert math.isclose(search.luck("aa", "bc", rules, 2), 0.25)  # four moves, then two: 1/4 * 1/2 in two orders


@pytest.mark.capability("IM-06")
@pytest.mark.parametrize("level", NARROW[:2])
def test_narrow_tasks_have_one_shortest_proof_and_a_wrong_turn_at_every_step(level: dict[str, int]) -> None:
    for task in WORLD.tasks("test", 15, **level):
        rules, start, goal = task.reference["rules"], task.reference["start"], task.reference["goal"]
        steps = level["steps"]
        assert not any(ways(start, goal, rules, fewer) for fewer in range(steps))
        only = ways(start, goal, rules, steps)
        assert len(only) == 1
        assert task.reference["solutions"] == 1
        for text in (start, *next(iter(only))[:-1]):
            assert len(reachable(text, rules)) > 1
        assert len(rules) == level["rules"] + level["decoys"]


def reachable(text: str, rules: Sequence[Sequence[str]]) -> set[str]:
    return {
        text[:at] + after + text[at + len(before) :]
        for before, after in rules
        for at in range(len(text))
        if text[at : at + len(before)] == before
    }


def test_the_number_of_solutions_is_what_trying_everything_finds() -> None:
    counts = []
    for task in WORLD.tasks("dev", 40, steps=3, rules=3):
        found = ways(task.reference["start"], task.reference["goal"], task.reference["rules"], 3)
        assert task.reference["solutions"] == len(found)
        counts.append(len(found))
    assert max(counts) > 1


def test_random_steps_get_luckier_the_easier_the_level() -> None:
    means = []
    for level in WORLD.levels:
        luck = [task.reference["luck"] for task in WORLD.tasks("train", 20, **level)]
        means.append(sum(luck) / len(luck))
    assert means[0] > 0.5
    assert means[-1] < 0.01
    assert means[4] < means[3]  # of the same length, narrow beats wide


def test_a_skeleton_keeps_sub_goals_and_hides_rules() -> None:
    task = WORLD.tasks("train", 1, steps=4, rules=3)[0]
    strings = [line.partition(": ")[2] for line in WORLD.reference_steps(task)]
    assert WORLD.skeleton(task) == f"?; ?: {strings[1]}; ?; ?: {strings[3]}"
    assert WORLD.skeleton(task, keep_every=1) == "; ".join(f"?: {text}" for text in strings)
    assert WORLD.skeleton(task, keep_every=9) == f"?; ?; ?; ?: {strings[3]}"
    assert task.reference["skeleton"] == WORLD.skeleton(task)


def test_a_skeleton_is_no_proof() -> None:
    from strop.types import Completion

    for task in WORLD.tasks("train", 20, steps=3, rules=3):
        text = WORLD.skeleton(task, keep_every=1)
        verdict = WORLD.verifier(task, Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"))
        assert verdict.state == "unparsable"


def test_the_question_lists_the_rules_as_the_proof_numbers_them() -> None:
    task: Task = WORLD.tasks("train", 1, steps=2)[0]
    rules = ", ".join(
        f"{number} {' '.join(left)} > {' '.join(right)}"
        for number, (left, right) in enumerate(task.reference["rules"], 1)
    )
    start, goal = " ".join(task.reference["start"]), " ".join(task.reference["goal"])
    assert task.prompt[0].content == f"Rules: {rules}. From {start} to {goal}."


def test_written_proofs_and_skeletons_of_no_step_are_empty() -> None:
    assert written([]) == ""
    assert skeleton_of([]) == ""
