"""Length is compared where quality is equal."""

from dataclasses import replace

import pytest

from strop.errors import MismatchError
from strop.evals import ItemResult, SuiteResult
from strop.evals.measures import compare_length
from strop.statistics import Interval
from suite_outcomes import result, sample


def suite_of(*answers: tuple[str, bool | None]) -> SuiteResult:
    items = []
    for at, (text, is_right) in enumerate(answers):
        made = sample() if is_right is None else sample(accuracy=float(is_right))
        state = "timeout" if is_right is None else "graded"
        changed = type(made)(**{**vars(made), "text": text, "state": state, "passed": bool(is_right)})
        items.append(ItemResult(id=f"i{at}", slices={}, question="q", samples=(changed,), cluster=f"i{at}"))
    return result(items=items)


@pytest.mark.capability("EV-26")
def test_a_short_wrong_answer_is_not_concise() -> None:
    candidate = suite_of(("a b", True), ("a", False), ("a b c d", True), ("a", True), ("a", None))
    baseline = suite_of(("a b c d", True), ("a b c", True), ("a b c d e f g h", True), ("a b", False), ("a b", True))
    found = compare_length(candidate, baseline)
    # both right on the first and the third: 2 and 4 words against 4 and 8; the last was not judged
    assert (found.num_items, found.num_shared) == (2, 4)
    assert (found.candidate_words, found.baseline_words, found.difference) == (3.0, 6.0, -3.0)
    # a resample of -2 and -4 is one of -2, -3, -4, the ends each in a quarter of them
    assert found.interval == Interval(-4.0, -2.0)


def test_without_a_task_that_both_solve_nothing_is_said_of_length() -> None:
    found = compare_length(suite_of(("a", True)), suite_of(("a b", False)))
    assert (found.num_items, found.candidate_words, found.difference, found.interval) == (0, None, None, None)


def test_one_such_task_gives_a_difference_and_no_interval() -> None:
    found = compare_length(suite_of(("a", True)), suite_of(("a b", True)))
    assert (found.difference, found.interval) == (-1.0, None)


def test_tasks_that_all_differ_by_as_much_leave_the_spread_unknown() -> None:
    found = compare_length(suite_of(("a", True), ("b", True)), suite_of(("a b", True), ("b c", True)))
    assert (found.difference, found.interval) == (-1.0, None)


def test_answers_to_different_questions_of_one_id_are_not_compared() -> None:
    other = suite_of(("a b", True))
    other = replace(other, items=(replace(other.items[0], question="another"),))
    with pytest.raises(MismatchError, match="ask different things"):
        compare_length(suite_of(("a", True)), other)
