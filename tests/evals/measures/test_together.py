"""Measures put together measure what their parts do, and are known by all of them."""

import pytest

from measured_answers import RIGHT, said, task
from strop.errors import VerifierError
from strop.evals.measures import measure_confidence, measure_rules, measure_speech, only, together
from strop.evals.suite import Suite, measure_identity
from strop.verifiers import ExactAnswer


def test_an_answer_is_measured_by_every_part() -> None:
    measure = together(measure_speech, measure_confidence)
    found = measure(task(), said("It is seven", logprobs=[0.0]), RIGHT)
    assert found["num_words"] == 3.0
    assert found["confidence"] == 1.0


def test_two_parts_that_measure_the_same_are_refused() -> None:
    with pytest.raises(VerifierError, match="`echo`"):
        together(measure_speech, only(measure_speech, "echo"))(task(), said("a b c"), RIGHT)


def test_only_leaves_out_what_is_not_named_and_keeps_a_name_that_is_missing() -> None:
    assert only(measure_speech, "num_words", "other")(task(), said("a b"), RIGHT) == {"num_words": 2.0, "other": None}


def test_the_identity_of_a_suite_changes_with_a_part_and_with_their_order_but_not_between_runs() -> None:
    def digest(measure: object) -> str:
        asked = task(reference={"answer": "x"})
        made = Suite(name="s", tasks=(asked,), verifier=ExactAnswer(), metrics={}, measure=measure)  # type: ignore[arg-type]
        return made.digest

    one, two = together(measure_speech), together(measure_speech, measure_rules)
    assert digest(one) != digest(two) != digest(together(measure_rules, measure_speech))
    assert digest(two) == digest(together(measure_speech, measure_rules))
    assert measure_identity(only(measure_speech, "echo")) != measure_identity(only(measure_speech, "num_words"))
