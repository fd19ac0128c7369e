"""Length, repetition and echo, counted by hand."""

import pytest

from measured_answers import RIGHT, said, task
from strop.evals.measures import echo, measure_speech, repetition


def test_repetition_is_the_share_of_runs_that_stood_before() -> None:
    # a b c, b c a, c a b, a b c: four runs, three distinct
    assert repetition("a b c a b c") == pytest.approx(1 / 4)
    assert repetition("one two three four five") == 0.0
    # x x x five times over: 1 distinct of 5
    assert repetition("x " * 7) == pytest.approx(4 / 5)


def test_repetition_of_a_text_shorter_than_a_run_is_undefined() -> None:
    assert repetition("a b") is None
    assert repetition("") is None


def test_echo_is_the_share_of_words_in_long_runs_of_the_source() -> None:
    source = "What did sales East spend in Q3?"
    # 7 words copied of 9; "sales" and "spent" alone are no run
    assert echo("What did sales East spend in Q3? It is", source) == pytest.approx(7 / 9)
    assert echo("sales spent 4503 in the third quarter", source) == 0.0


def test_a_short_answer_is_an_echo_only_as_a_whole() -> None:
    assert echo("sales East", "What did sales East spend") == 1.0
    assert echo("sales West", "What did sales East spend") == 0.0
    assert echo("4503", "What did 4503 do") is None


def test_marks_and_case_do_not_hide_an_echo() -> None:
    assert echo("WHAT, did sales: East - spend", "What did sales East spend") == 1.0


def test_what_a_tool_showed_is_no_echo_and_a_call_is_no_speech() -> None:
    asked = task("What did sales East spend in Q3, please?")
    assert measure_speech(asked, said("What did sales East spend in Q3, please?"), RIGHT)["echo"] == 1.0
    assert set(measure_speech(asked, said('<tool_call>{"name": "a"}</tool_call>'), RIGHT).values()) == {None}


def test_a_truncated_answer_has_no_length_but_its_repetition_is_measured() -> None:
    values = measure_speech(task(), said("x " * 7, finish_reason="length"), RIGHT)
    assert values["num_words"] is None
    assert values["repetition"] == pytest.approx(4 / 5)
    assert measure_speech(task(), said("It is 7 now."), RIGHT)["num_words"] == 4.0
