"""Worked sums are judged step by step: every right route earns every step, wrong steps and padding earn nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.types import Completion, Verdict
from strop.verifiers import NumberAnswer
from strop.worlds import get_world
from strop.worlds.arithmetic import ArithmeticWorld
from strop.worlds.scratchpad import WorkedNumber, judge_steps, read_question, read_steps, routes

WORLD = get_world("arithmetic")
RECORDED = [
    "Compute 56 - 5 - 82 - 8 mod 100.",
    "Compute 48 + 54 + 35 - 11 mod 100.",
    "Compute 1 - 64 - 62 + 28 mod 100.",
]
TERMS, MODULUS = ((1, 34), (1, 17), (-1, 9)), 100


def scores(text: str, terms: tuple[tuple[int, int], ...] = TERMS) -> tuple[float, ...]:
    return judge_steps(terms, MODULUS, read_steps(text))


def test_the_question_is_read_into_terms() -> None:
    assert read_question("Compute 34 + 17 - 9 mod 100.") == (TERMS, MODULUS)
    assert read_question("What is 3?") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("34+17=51; 51-9=42. Answer: 42", (1, 1)),
        ("34 + 17 = 51\n51 - 9 = 42", (1, 1)),
        ("17-9=8; 34+8=42", (1, 1)),
        ("34-9=25; 25+17=42", (1, 1)),
        ("34+10=44; 44+7=51; 51-9=42", (1, 1, 1)),
        ("34+17=52; 52-9=43", (0, 1)),  # a wrong step, then a right one from its result
        ("34+17=51; 51-9=41", (1, 0)),
        ("34+17=51; 51+9=60", (1, 0)),  # true, but the nine is taken away
        ("34+17=51; 34+17=51; 51-9=42", (1, 0, 1)),  # twice the same earns once
        ("90+5=95; 34+17=51; 51-9=42", (0, 1, 1)),  # true, from elsewhere
        ("51-0=51", (0,)),
        ("Answer: 42", ()),
    ],
)
def test_steps_by_hand(text: str, expected: tuple[int, ...]) -> None:
    assert scores(text) == expected


def test_two_minuses_may_be_summed_before_they_are_taken_away() -> None:
    terms = ((1, 80), (-1, 30), (-1, 9))
    assert scores("30+9=39; 80-39=41", terms) == (1, 1)
    assert scores("30+9=39; 80+39=19", terms) == (1, 0)


@given(st.integers(0, 6), st.integers(0, 10**6))
def test_every_route_is_right_in_every_step_and_one_wrong_result_costs_that_step(level: int, seed: int) -> None:
    task = WORLD.tasks("train", 1, seed, **WORLD.levels[level])[0]
    asked = read_question(task.prompt[0].content)
    assert asked is not None
    for text in routes(*asked):
        verdict = judged(text, task)
        assert verdict.passed
        assert verdict.steps
        assert set(verdict.steps) == {1.0}
        first, _, rest = text.partition("; ")
        left, _, result = first.partition("=")
        value, dot, answer = result.partition(".")
        spoilt = f"{left}={(int(value) + 1) % asked[1]}{dot}{answer}" + ("; " + rest if rest else "")
        assert judged(spoilt, task).steps[0] == 0.0


def judged(text: str, task: object) -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
    return WORLD.verifier(task, answer)  # type: ignore[arg-type]


def test_there_are_several_routes_and_the_reference_is_the_first() -> None:
    world = ArithmeticWorld()
    for task in world.tasks("dev", 50, steps=5):
        found = world.routes(task)
        assert found[0] == world.reference_text(task)
        assert len(found) >= 2
        assert {text.rpartition(" ")[2] for text in found} == {task.reference["answer"]}


@given(st.text("0123456789+-=;. Answer:", max_size=60))
def test_score_state_and_reasons_are_those_of_the_number_alone(text: str) -> None:
    task = WORLD.tasks("dev", 1)[0]
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
    alone, worked = NumberAnswer()(task, answer), WorkedNumber()(task, answer)
    assert (worked.score, worked.passed, worked.state, worked.reasons) == (
        (alone.score, alone.passed, alone.state, alone.reasons)
    )


def test_the_default_tasks_are_the_ones_they_always_were() -> None:
    """Recorded before steps were judged: the numbers of the demo rest on these tasks."""
    first = WORLD.tasks("test", 3)
    assert [task.prompt[0].content for task in first] == RECORDED
    assert [task.id for task in first] == ["arithmetic/test/0/0", "arithmetic/test/0/1", "arithmetic/test/0/2"]
