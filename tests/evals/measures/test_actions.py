"""What an answer does is done: calls on the world's services, code in the sandbox."""

import pytest

from measured_answers import RIGHT, said, task
from strop.evals.measures import CallsRun, CodeRuns, measure_tools
from strop.sandbox import Sandbox
from strop.worlds import get_world

FINANCE = get_world("finance")
RUNS = CallsRun(FINANCE.execute, "finance")
DUE = task(
    "What is on acc-1234?",
    {"call": {"name": "get_balance", "arguments": {"account": "acc-1234"}}, "expects": "call", "tenant": "bank_A"},
    tools=FINANCE.tools,
)
CALL = '<tool_call>{"name": "get_balance", "arguments": {"account": "%s"}}</tool_call>'


@pytest.mark.capability("EV-27")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CALL % "acc-1234", 1.0),
        (CALL % "acc-9999", 1.0),  # the wrong account, but it runs: argument_exact tells
        (CALL % "my account", 0.0),  # refused by the service
        (CALL % "acc-1234" + CALL % "no", 0.0),  # one of two fails
        (CALL.replace("get_balance", "get_riches") % "acc-1234", 0.0),
        ((CALL % "acc-1234").replace("}}", "}"), 0.0),  # does not parse
        ("It is 4503.", 0.0),
    ],
)
def test_calls_are_executable_if_they_parse_and_the_service_does_them(text: str, expected: float) -> None:
    assert RUNS(DUE, said(text), RIGHT) == {"executable": expected}


def test_an_answer_in_words_where_no_call_is_due_is_neither_executable_nor_not() -> None:
    talk = task("Hello", {"expects": "reply", "tenant": "bank_A"})
    shown = task("?", {**DUE.reference, "expects": "evidence"})
    assert RUNS(talk, said("Hello."), RIGHT) == {"executable": None}
    assert RUNS(shown, said("It is 4503."), RIGHT) == {"executable": None}
    assert RUNS(talk, said(CALL % "none"), RIGHT) == {"executable": 0.0}


def test_a_call_that_was_cut_off_has_not_run() -> None:
    assert RUNS(DUE, said(CALL % "acc-1234", finish_reason="length"), RIGHT) == {"executable": 0.0}


@pytest.mark.capability("EV-27")
def test_code_is_executable_if_it_runs_to_its_end_in_the_sandbox_right_or_wrong() -> None:
    asked = task("Write f(a).", {"entry_point": "f", "tests": [{"call": [2], "expect": 4}]})
    with Sandbox.open(workers=1) as sandbox:
        runs = CodeRuns(sandbox)
        values = [
            runs(asked, said(text), RIGHT)["executable"]
            for text in (
                "def f(a):\n    return a * 2\n",
                "def f(a):\n    return 0\n",  # wrong, but it runs
                "def f(a):\n    return b\n",  # fails when called
                "def f(a)\n    return a\n",  # does not compile
                "def f(a):\n    while True: pass\n",  # never ends
                "import sys\ndef f(a):\n    return b\nsys.exit(0)\n",  # ends before it can be called
                "",
            )
        ]
    assert values == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("tests", ["f(1)", ["assert call(f)"], [5], [{"call": 5}], None])
def test_code_without_a_test_that_calls_it_has_only_to_run_to_its_end(tests: object) -> None:
    with Sandbox.open(workers=1) as sandbox:
        asked = task("Write f(a).", {"entry_point": "f", "tests": tests})
        assert CodeRuns(sandbox)(asked, said("def f(a):\n    return b\n"), RIGHT) == {"executable": 1.0}


@pytest.mark.capability("EV-39")
def test_calls_are_counted_and_whether_there_were_any_is_a_rate_of_its_own() -> None:
    both = measure_tools(DUE, said(CALL % "acc-1234" + CALL % "acc-1235"), RIGHT)
    assert (both["num_calls"], both["call_rate"], both["tool_precision"]) == (2.0, 1.0, 0.5)
    none = measure_tools(DUE, said("No."), RIGHT)
    assert (none["num_calls"], none["call_rate"], none["tool_precision"]) == (0.0, 0.0, None)
