"""A learned reward: its steps, how they are put together, and what a scorer must keep to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import VerifierError
from strop.objectives.step_label import StepLabel, label_steps
from strop.types import Batch, Completion, Outputs, Task
from strop.verifiers import judge_all
from strop.verifiers.learned import LearnedReward, Steps, aggregate, shepherd_labels, split_steps

TASK = Task(id="t", prompt=())


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]


def known(rows: Sequence[tuple[Task, Steps]]) -> list[list[float]]:
    """What stands after the `@` of each step."""
    return [[float(step.split("@")[1]) for step in steps] for _, steps in rows]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a\nb\nc", ("a\n", "b\n", "c")),
        ("a\nb\n", ("a\n", "b\n")),
        ("a\n\n\nb", ("a\n\n\n", "b")),
        ("\n\na\nb", ("\n\na\n", "b")),
        ("a", ("a",)),
        ("", ()),
        ("\n", ("\n",)),
        ("  \n a \n \nb", ("  \n a \n \n", "b")),
    ],
)
def test_steps_end_with_their_separator_and_blank_lines_belong_to_the_step_before(text: str, steps: Steps) -> None:
    assert split_steps(text) == steps


@given(st.text(alphabet="ab \n;", max_size=30), st.sampled_from(["\n", ";", "\n\n"]))
def test_steps_joined_are_the_text_and_each_has_words(text: str, separator: str) -> None:
    steps = split_steps(text, separator)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or not text.strip(" \n" + separator)


def test_the_aggregates_are_those_of_the_papers() -> None:
    steps = [0.9, 0.5, 0.8]
    assert aggregate(steps, "product") == pytest.approx(0.36)
    assert aggregate(steps, "min") == 0.5
    assert aggregate(steps, "last") == 0.8
    assert aggregate(steps, "mean") == pytest.approx(2.2 / 3)
    with pytest.raises(ValueError, match="without steps"):
        aggregate([], "min")


@pytest.mark.parametrize(
    ("how", "score", "passed"), [("product", 0.36, False), ("min", 0.5, True), ("last", 0.8, True)]
)
def test_a_process_reward_scores_every_step(how: Any, score: float, passed: bool) -> None:
    verifier = LearnedReward(scorer=known, model="m", aggregation=how)
    found = verifier(TASK, said("one @0.9\ntwo @0.5\nthree @0.8"))
    assert (found.score, found.passed) == (pytest.approx(score), passed)
    assert found.steps == (0.9, 0.5, 0.8)
    assert found.reasons == ("weakest step 2 of 3: 0.5",)
    assert found.provenance == {"model": "m"}


def test_an_outcome_reward_reads_the_whole_answer_once() -> None:
    seen: list[Steps] = []

    def scorer(rows: Sequence[tuple[Task, Steps]]) -> list[list[float]]:
        seen.extend(steps for _, steps in rows)
        return [[0.7]] * len(rows)

    verdicts = judge_all(
        LearnedReward(scorer=scorer, model="m", outcome=True), [(TASK, said("a\nb")), (TASK, said("c"))]
    )
    assert [(verdict.score, verdict.steps) for verdict in verdicts] == [(0.7, (0.7,))] * 2
    assert seen == [("a\nb",), ("c",)]


def test_what_is_truncated_or_empty_is_not_scored() -> None:
    verifier = LearnedReward(scorer=known, model="m")
    found = verifier.judge_many([(TASK, said("a @1", "length")), (TASK, said("\n")), (TASK, said("a @1"))])
    assert [(one.score, one.state, one.passed) for one in found] == [
        (0.0, "graded", False),
        (0.0, "unparsable", False),
        (1.0, "graded", True),
    ]
    assert verifier.judge_many([]) == []


@pytest.mark.parametrize("scores", [[], [[0.5]], [[0.5, 0.5, 0.5]], [[0.5, 1.5]], [[0.5, math.nan]], [[-0.1, 0.5]]])
def test_a_scorer_that_breaks_its_promise_is_named(scores: list[list[float]]) -> None:
    with pytest.raises(VerifierError, match="broke its promise"):
        LearnedReward(scorer=lambda rows: scores, model="m")(TASK, said("a\nb"))


@pytest.mark.parametrize("settings", [{"aggregation": "max"}, {"separator": ""}, {"pass_at": 0.0}])
def test_settings_without_a_meaning_are_refused(settings: Any) -> None:
    with pytest.raises(VerifierError):
        LearnedReward(scorer=known, model="m", **settings)


def test_the_digest_is_of_the_model_and_the_settings() -> None:
    made: list[dict[str, Any]] = [{}, {"model": "n"}, {"aggregation": "last"}, {"outcome": True}, {"separator": ";"}]
    assert len({LearnedReward(**{"scorer": known, "model": "m", **one}).digest for one in made}) == 5


def test_labels_from_completions_are_hard_or_soft() -> None:
    # by hand, of the three completions that were drawn from the end of each step
    outcomes = [[True, True, False], [True, False, False], [False, False, False], []]
    assert shepherd_labels(outcomes) == (1.0, 1.0, 0.0, None)
    assert shepherd_labels(outcomes, hard=False) == (pytest.approx(2 / 3), pytest.approx(1 / 3), 0.0, None)


def test_a_model_that_learned_the_labels_of_the_split_judges_the_same_steps() -> None:
    """Training and judging agree on where a step ends: a head that fits its labels gives them back as verdicts."""
    text = "3 + 4 = 7\n\n7 * 2 = 15\n"
    steps = split_steps(text)
    spans, start = [], 0
    for step in steps:  # a token a character
        spans.append((start + 1, start + 1 + len(step)))
        start += len(step)
    mask, labels = label_steps(1 + len(text), spans, shepherd_labels([[True], [False]]))
    batch = Batch(
        token_ids=torch.tensor([0, *map(ord, text)]),
        position_ids=torch.arange(1 + len(text)),
        sequence_ids=torch.zeros(1 + len(text), dtype=torch.int64),
        loss_mask=torch.tensor(mask),
        names=("row",),
        streams={"labels": torch.tensor(labels)},
    )
    head = torch.zeros(1 + len(text), requires_grad=True)  # a score a place: the richest head there is
    objective = StepLabel()
    for _ in range(200):
        outputs = Outputs(logprobs=torch.zeros(1 + len(text)), scores=head)
        (gradient,) = torch.autograd.grad(objective(outputs, batch, objective.count(batch)).value, head)
        head = (head - 2.0 * gradient).detach().requires_grad_()

    def scorer(rows: Sequence[tuple[Task, Steps]]) -> list[list[float]]:
        found = []
        for _, judged in rows:
            ends = [len("".join(judged[: n + 1])) for n in range(len(judged))]
            found.append([float(head.detach()[end].sigmoid()) for end in ends])
        return found

    verdict = LearnedReward(scorer=scorer, model="head")(TASK, said(text))
    right, wrong = verdict.steps
    assert right is not None
    assert wrong is not None
    assert wrong < 0.05 < 0.95 < right
    assert not verdict.passed
