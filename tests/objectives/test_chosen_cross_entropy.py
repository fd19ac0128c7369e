"""The likelihood of chosen answers against hand numbers under three aggregates; rejected ones are left alone."""

from __future__ import annotations

import pytest

from random_batches import descend, masked_out, row
from strop.batches import collate
from strop.errors import RecipeError
from strop.objectives import ChosenCrossEntropy

ROWS = [
    row([-9.0], name="rejected a", group=0),
    row([-1.0, -2.0, -3.0], name="chosen a", group=0, preferred=1.0),
    row([-4.0], name="chosen b", group=1, preferred=1.0),
    row([-8.0, -8.0], name="rejected b", group=1),
]


@pytest.mark.parametrize(
    ("aggregate", "value"), [("token_mean", 10 / 4), ("sequence_mean", (2 + 4) / 2), ("sequence_sum", (6 + 4) / 2)]
)
def test_hand_numbers_of_the_three_aggregates(aggregate: str, value: float) -> None:
    result = descend(ChosenCrossEntropy(aggregate=aggregate), ROWS)  # type: ignore[arg-type]
    assert result.value == pytest.approx(value)
    assert result.metrics == pytest.approx({"nll_chosen": 2.5})


@pytest.mark.parametrize(
    ("aggregate", "a", "b"),
    [("token_mean", -1 / 4, -1 / 4), ("sequence_mean", -1 / 6, -1 / 2), ("sequence_sum", -1 / 2, -1 / 2)],
)
def test_only_the_chosen_answers_get_a_gradient(aggregate: str, a: float, b: float) -> None:
    result = descend(ChosenCrossEntropy(aggregate=aggregate), ROWS)  # type: ignore[arg-type]
    assert result.gradients["chosen a"].tolist() == pytest.approx([0.0, a, a, a])
    assert result.gradients["chosen b"].tolist() == pytest.approx([0.0, b])
    assert not result.gradients["rejected a"].any()
    assert not result.gradients["rejected b"].any()


@pytest.mark.parametrize("aggregate", ["token_mean", "sequence_mean", "sequence_sum"])
def test_a_chosen_answer_whose_rejected_one_is_empty_counts_nowhere(aggregate: str) -> None:
    objective = ChosenCrossEntropy(aggregate=aggregate)  # type: ignore[arg-type]
    with_broken = descend(objective, [masked_out(ROWS[0]), ROWS[1], *ROWS[2:]])
    assert with_broken.value == pytest.approx(4.0)
    assert not with_broken.gradients["chosen a"].any()


def test_pairs_and_their_chosen_tokens_are_counted() -> None:
    counts = ChosenCrossEntropy().count(collate(ROWS))
    assert counts == {"pairs": 2.0, "chosen_tokens": 4.0}
    assert {type(count) for count in counts.values()} == {float}


def test_a_step_without_pairs_is_0() -> None:
    result = descend(ChosenCrossEntropy(), [masked_out(sample) for sample in ROWS])
    assert result.value == result.metrics["nll_chosen"] == 0.0
    assert not result.gradient.any()


def test_the_defaults() -> None:
    assert ChosenCrossEntropy() == ChosenCrossEntropy(aggregate="token_mean")
    assert ChosenCrossEntropy().needs == {"logprobs"}
    assert ChosenCrossEntropy().temperature == 1.0
    with pytest.raises(TypeError):
        ChosenCrossEntropy(temperature=0.7)  # type: ignore[call-arg]


@pytest.mark.parametrize("aggregate", ["constant", "mean"])
def test_an_aggregate_without_a_meaning_here_is_refused(aggregate: str) -> None:
    with pytest.raises(RecipeError, match="aggregate is"):
        ChosenCrossEntropy(aggregate=aggregate)  # type: ignore[arg-type]
