"""The arithmetic world: exact answers, a dial, disjoint splits."""

import pytest

from strop.errors import RecipeError
from strop.types import Completion
from strop.worlds import get_world
from strop.worlds.arithmetic import Chain

WORLD = get_world("arithmetic")


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(0,), sampler_logprobs=(0.0,), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]


def test_a_chain_is_worked_as_by_hand() -> None:
    chain = Chain(first=34, steps=(("+", 17), ("-", 60)), modulus=100)
    assert chain.question == "Compute 34 + 17 - 60 mod 100."
    assert chain.worked == "34+17=51; 51-60=91. Answer: 91"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_answers_equal_an_evaluation_of_the_expression(steps: int) -> None:
    for task in WORLD.tasks("test", 100, steps=steps):
        expression = task.prompt[0].content.removeprefix("Compute ").removesuffix(" mod 100.")
        assert int(task.reference["answer"]) == eval(expression) % 100
        assert expression.count("+") + expression.count("-") == steps


@pytest.mark.capability("IM-05")
def test_the_verifier_accepts_every_reference_and_rejects_every_mutation() -> None:
    for task in WORLD.tasks("dev", 300):
        assert WORLD.verifier(task, said(WORLD.reference_text(task))).passed
        for text in WORLD.mutations(task):
            assert not WORLD.verifier(task, said(text)).passed, text


def test_splits_share_no_question() -> None:
    questions = {split: {t.prompt[0].content for t in WORLD.tasks(split, 800, steps=1)} for split in ("train", "test")}
    assert questions["train"].isdisjoint(questions["test"])


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(RecipeError, match="dialled"):
        WORLD.tasks("test", 1, step=3)
    with pytest.raises(RecipeError, match="no preference pairs"):
        WORLD.preferences("train", 1)


def test_an_unknown_setting_is_told_with_the_nearest_and_a_wrong_value_with_its_bounds() -> None:
    with pytest.raises(RecipeError) as told:
        WORLD.tasks("test", 1, num_steps=3)
    assert "no setting `num_steps`" in told.value.why
    assert "did you mean `steps`?" in told.value.do
    with pytest.raises(RecipeError) as told:
        WORLD.tasks("test", 1, steps=0)
    assert "did you mean" not in told.value.do
    assert "1 or more" in told.value.why
    with pytest.raises(RecipeError, match="steps = three"):
        WORLD.tasks("test", 1, steps="three")  # type: ignore[arg-type]
