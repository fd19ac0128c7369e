"""Final numbers are found and compared exactly."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task
from strop.verifiers import NumberAnswer
from strop.verifiers.numbers import final_number, find_numbers


def answer(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(expected: object) -> Task:
    return Task(id="t", prompt=(), reference={"answer": expected}, source="rows.jsonl:7")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 and then 5.\n#### 1,234", 1234),
        (r"so the result is \boxed{\frac{3}{4}}", Fraction(3, 4)),
        (r"\boxed{-\frac34}", Fraction(-3, 4)),
        (r"\boxed{2\frac{1}{2}}", Fraction(5, 2)),
        ("34+17=51; 51-9=42. Answer: 42", 42),
        ("**Answer:** $1,200.50 in all", Fraction(2401, 2)),
        ("The answer is 5 + 3 = 8 apples", 8),
        ("Answer:\n\n7", 7),
        ("Answer: 42 (of 50)", 42),
        (r"Answer: \boxed{12}.", 12),
        ("It is 7, or rather 9.", 9),
        ("Sales spent 1200 in Q3.", 1200),
        ("10-3=7", 7),
        ("from 3-5", 5),
        ("−4", -4),
        (".5", Fraction(1, 2)),
        ("1 1/2 cups", Fraction(3, 2)),
        ("1e3", 1000),
        ("Answer: unknown, though I counted to three", None),
        ("no number here, see v1 and Q3", None),
        ("1/0", None),
        ("1e999999999", None),
        ("9" * 5000, None),
    ],
)
def test_the_final_number_of_a_text(text: str, number: Fraction | int | None) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 12 or 13", None),
        ("The answer is 12 dollars or 13 dollars.", None),
        ("\\boxed{12} or $\\boxed{13}$", None),
        ("First \\boxed{12}. Later \\boxed{13}", 13),
        ("It is 12 or 13", None),
        ("Answer: x = 3 or x = 5", None),
        ("Answer: 12, 13", None),
        ("Answer: 3,5", None),
        ("Answer: 10 to 12", None),
        ("Answer: 12 and 12", 12),
        ("Answer: 30:30", None),
        ("Answer: 18 * 2", None),
        ("Answer: 18 - 2", None),
        ("Answer: 12.5.3", None),
        ("Answer: 5 feet 6 inches", None),
        ("Answer: more than 18", None),
        ("Answer: not 18", None),
        ("Answer: x != 5", None),
        ("Answer: sqrt(18)", None),
        ("Answer: 18\\pi", None),
        ("Answer: minus 18", -18),
        ("Answer: - 18", -18),
        ("Answer: 18 million", 18_000_000),
        ("Answer: $2.5k", 2500),
        ("Answer: 18 kg", 18),
        ("Answer: 18 (or 1.5 dozen)", 18),
        ("The answer is 18 because 20 - 2 is 18", 18),
        ("Answer: 18/20 points", Fraction(9, 10)),
    ],
)
def test_a_number_that_is_only_part_of_what_is_said_is_no_answer(text: str, number: Fraction | int | None) -> None:
    assert final_number(text) == number


def test_the_last_mark_decides_so_that_listing_candidates_does_not_help() -> None:
    assert final_number("Answer: 1\nAnswer: 2\n#### 3") == 3
    assert final_number("#### 3\nno, Answer: 4") == 4


def test_numbers_keep_their_order_and_separators_do_not_split_them() -> None:
    assert find_numbers("1,234 then 1,23 then 12") == [1234, 1, 23, 12]


@pytest.mark.parametrize(
    ("expected", "text", "passed"),
    [
        (1234, "#### 1,234", True),
        ("1,234", "1234.0", True),
        (0.1, "Answer: 1/10", True),
        ("3/4", "Answer: 0.75", True),
        ("1/3", "Answer: 0.333", False),
        (72, "Answer: 73", False),
        (72, "Answer: -72", False),
        ("Natalia sold 24. 48+24 = 72\n#### 72", "Answer: 72", True),
    ],
)
def test_answers_are_compared_as_rational_numbers(expected: object, text: str, passed: bool) -> None:
    verdict = NumberAnswer()(task(expected), answer(text))
    assert (verdict.passed, verdict.score, verdict.state) == (passed, float(passed), "graded")


def test_a_tolerance_is_relative_to_the_reference() -> None:
    near = NumberAnswer(tolerance=0.01)
    assert near(task("1/3"), answer("Answer: 0.333")).passed
    assert not near(task("1/3"), answer("Answer: 0.32")).passed
    assert near.digest != NumberAnswer().digest


def test_a_truncated_completion_never_passes_even_with_the_right_number() -> None:
    verdict = NumberAnswer()(task(42), answer("Answer: 42", "length"))
    assert (verdict.passed, verdict.score, verdict.state, verdict.reasons) == (False, 0.0, "graded", ("truncated",))


def test_an_answer_without_a_number_is_unparsable() -> None:
    assert NumberAnswer()(task(42), answer("I do not know.")).state == "unparsable"


@pytest.mark.parametrize("missing", [None, "Paris", True, float("nan"), [1]])
def test_a_task_without_a_numeric_answer_is_refused_by_its_row(missing: object) -> None:
    with pytest.raises(VerifierError, match=r"rows\.jsonl:7"):
        NumberAnswer()(task(missing), answer("1"))


def test_every_gsm8k_solution_is_read_as_its_own_answer_and_rejected_for_the_next_problem(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "gsm8k" / "test.jsonl").read_text().splitlines()]
    finals = [Fraction(row["answer"].split("####")[1].replace(",", "").strip()) for row in rows]
    verify = NumberAnswer()
    assert len(rows) == 1319
    for row, following, final, next_final in zip(rows, rows[1:], finals, finals[1:], strict=False):
        assert verify(task(row["answer"]), answer(row["answer"])).passed
        assert verify(task(row["answer"]), answer(following["answer"])).passed == (final == next_final)
