"""Textual answers are compared after normalisation, and nothing else counts."""

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import ExactAnswer


def judge(expected: object, text: str, finish_reason: str = "stop") -> Verdict:
    completion = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)
    return ExactAnswer()(Task(id="t", prompt=(), reference={"answer": expected}, source="f:1"), completion)


@pytest.mark.parametrize(
    ("expected", "text", "passed"),
    [
        ("Paris", "  paris. ", True),
        ("Paris", "Thinking of France. Answer: **Paris**", True),
        ("Paris", "Paris or London", False),
        (["Paris", "Paris, France"], "paris, france", True),
        ("café", "cafe\u0301", True),
        (42, "42", True),
        ("yes", "no", False),
    ],
)
def test_case_spacing_and_form_do_not_matter_but_words_do(expected: object, text: str, passed: bool) -> None:
    assert judge(expected, text).passed == passed


def test_empty_and_truncated_answers_fail() -> None:
    assert judge("Paris", "").state == "unparsable"
    assert judge("Paris", "Paris", "length").reasons == ("truncated",)


@pytest.mark.parametrize("missing", [None, "", [], ["a", None], True])
def test_a_task_without_an_answer_is_refused(missing: object) -> None:
    with pytest.raises(VerifierError, match="task t has no text"):
        judge(missing, "x")
