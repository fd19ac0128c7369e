"""Tool calls are read strictly, compared argument by argument, and read leniently only beside it."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task, ToolCall
from strop.verifiers import ToolCallAnswer, find_calls, match_call, measure_calls, parse_calls, schema_problems
from strop.verifiers.tools import is_same

TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "query_erp",
            "parameters": {
                "type": "object",
                "properties": {
                    "department": {"type": "string"},
                    "quarter": {"enum": ["Q1", "Q2", "Q3", "Q4"]},
                    "limit": {"type": "integer"},
                },
                "required": ["department"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "get_policy", "parameters": {"type": "object"}}},
)
RIGHT = {"name": "query_erp", "arguments": {"department": "sales", "quarter": "Q3"}}


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def block(*calls: object) -> str:
    return "".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)


def task(**reference: Any) -> Task:
    return Task(id="t", prompt=(), tools=TOOLS, reference=reference, source="f:1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<tool_call>{'name': 'a', 'arguments': {}}</tool_call>", "not JSON"),
        ('<tool_call>{"name": "a", "arguments": {}}', "never closed"),
        ('{"name": "a", "arguments": {}}</tool_call>', "without <tool_call>"),
        ('<tool_call>{"name": "a", "args": {}}</tool_call>', "not exactly name and arguments"),
        ('<tool_call>{"name": "a", "arguments": {}, "id": 1}</tool_call>', "not exactly name and arguments"),
        ('<tool_call>{"name": "a", "arguments": "{}"}</tool_call>', "not an object"),
        ('<tool_call>{"name": "a", "arguments": {"x": 1, "x": 2}}</tool_call>', "twice"),
        ('<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', "NaN"),
        ("<tool_call>" + '{"a":' * 100_000 + "</tool_call>", "nested too deeply"),
        ('<tool_call><tool_call>{"name": "a", "arguments": {}}</tool_call>', "not JSON"),
    ],
)
def test_a_malformed_call_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_calls(text)


def test_strict_reading_returns_all_calls_and_none_for_plain_text() -> None:
    assert parse_calls("Hello {world}.") == ()
    assert parse_calls(f"Let me look. {block(RIGHT)}\n{block({'name': 'b', 'arguments': {}})}") == (
        ToolCall(name="query_erp", arguments={"department": "sales", "quarter": "Q3"}),
        ToolCall(name="b", arguments={}),
    )


@pytest.mark.parametrize(
    "text",
    [
        'Sure: {"name": "query_erp", "arguments": {"department": "sales"}}',
        'Sure: {"tool": "query_erp", "args": {"department": "sales"}} ok',
        '{"function": {"name": "query_erp", "arguments": "{\\"department\\": \\"sales\\"}"}}',
        '{broken {"action": "query_erp", "department": "sales"}',
        '<tool_call>{"name": "query_erp", "parameters": {"department": "sales"}}',
    ],
)
def test_lenient_reading_finds_the_call_in_any_json_notation(text: str) -> None:
    assert find_calls(text, TOOLS) == (ToolCall(name="query_erp", arguments={"department": "sales"}),)


def test_lenient_reading_does_not_invent_calls() -> None:
    assert find_calls('{"name": "unknown", "arguments": {}} and {"department": "sales"} query_erp', TOOLS) == ()


def test_json_equality_knows_numbers_from_truth_values_and_ignores_key_order() -> None:
    assert is_same({"a": 1, "b": [1.0, "x"]}, {"b": [1, "x"], "a": 1.0})
    assert not is_same(1, True)
    assert not is_same(0, False)
    assert not is_same([1, 2], [2, 1])
    assert not is_same("1", 1)


def test_a_call_is_compared_argument_by_argument() -> None:
    expected = ToolCall(name="f", arguments={"a": 1, "b": 2, "c": 3})
    match = match_call(ToolCall(name="f", arguments={"a": 1, "b": 5, "d": 4}), expected)
    assert (match.right, match.wrong, match.missing, match.extra) == (("a",), ("b",), ("c",), ("d",))
    assert match.share == 1 / 4
    assert not match.is_exact
    assert match_call(ToolCall(name="g", arguments=dict(expected.arguments)), expected).share == 0.0
    assert match_call(expected, expected).is_exact


@pytest.mark.parametrize(
    ("text", "passed", "reason"),
    [
        (block(RIGHT), True, "as expected"),
        ("I will look it up. " + block(RIGHT), True, "as expected"),
        (block({"name": "get_policy", "arguments": {}}), False, "get_policy was called instead of query_erp"),
        (block({"name": "query_erp", "arguments": {"department": "sales"}}), False, "argument quarter is missing"),
        (block({**RIGHT, "arguments": {**RIGHT["arguments"], "limit": 1}}), False, "argument limit is extra"),
        (block({**RIGHT, "arguments": {**RIGHT["arguments"], "quarter": "Q2"}}), False, "argument quarter is wrong"),
        (block(RIGHT, RIGHT), False, "2 calls where 1 were due"),
        ("Sales spent 1200.", False, "no call where one was due"),
    ],
)
def test_the_verdict_names_what_is_wrong_with_a_call(text: str, passed: bool, reason: str) -> None:
    verdict = ToolCallAnswer()(task(call=RIGHT), said(text))
    assert verdict.passed == passed
    assert any(reason in one for one in verdict.reasons)


def test_where_no_call_is_due_any_call_fails() -> None:
    assert ToolCallAnswer()(task(call=None), said("I cannot know that.")).passed
    verdict = ToolCallAnswer()(task(call=None), said(block(RIGHT)))
    assert not verdict.passed
    assert verdict.reasons == ("query_erp was called where no call was due",)


def test_several_calls_may_come_in_any_order_but_each_once() -> None:
    other = {"name": "get_policy", "arguments": {"topic": "travel"}}
    both = task(calls=[RIGHT, other])
    assert ToolCallAnswer()(both, said(block(other, RIGHT))).passed
    assert not ToolCallAnswer()(both, said(block(other, other))).passed
    assert not ToolCallAnswer()(both, said(block(RIGHT))).passed


def test_malformed_calls_are_unparsable_and_truncated_ones_fail() -> None:
    assert ToolCallAnswer()(task(call=RIGHT), said("<tool_call>{}")).state == "unparsable"
    assert ToolCallAnswer()(task(call=RIGHT), said(block(RIGHT), "length")).reasons == ("truncated",)


@pytest.mark.parametrize("reference", [{}, {"call": "query_erp"}, {"call": {"name": "a"}}, {"calls": [1]}])
def test_a_task_that_does_not_say_its_call_is_refused(reference: dict[str, Any]) -> None:
    with pytest.raises(VerifierError, match="which call is expected"):
        ToolCallAnswer()(task(**reference), said("x"))


def test_schema_problems_are_named_and_unknown_tools_are_one() -> None:
    def problems(name: str, **arguments: Any) -> str:
        return "; ".join(schema_problems(ToolCall(name=name, arguments=arguments), TOOLS))

    assert problems("query_erp", department="sales", quarter="Q3") == ""
    assert "'department' is a required property" in problems("query_erp")
    assert "quarter: 'Q5' is not one of" in problems("query_erp", department="a", quarter="Q5")
    assert "limit: 'x' is not of type 'integer'" in problems("query_erp", department="a", limit="x")
    assert problems("nothing") == "unknown tool nothing"


def test_strict_and_lenient_scores_stand_beside_each_other() -> None:
    loose = measure_calls(task(call=RIGHT), said("Sure: " + json.dumps(RIGHT)))
    assert (loose["schema_valid"], loose["argument_exact"], loose["lenient_exact"]) == (0.0, 0.0, 1.0)
    assert loose["tool_precision"] is None
    assert loose["tool_recall"] == 0.0
    strict = measure_calls(task(call=RIGHT), said(block(RIGHT)))
    assert (strict["schema_valid"], strict["argument_exact"], strict["lenient_exact"]) == (1.0, 1.0, 1.0)
    irrelevant = measure_calls(task(call=None), said("No tool helps here."))
    assert (irrelevant["schema_valid"], irrelevant["argument_exact"], irrelevant["no_call_kept"]) == (None, None, 1.0)


def test_real_function_calling_references_pass_and_the_next_problems_do_not(shared_data: Path) -> None:
    folder = shared_data / "bfcl"
    tasks = []
    for name in ("multiple", "simple_python"):
        questions = (folder / f"BFCL_v4_{name}.json").read_text().splitlines()
        answers = (folder / f"possible_answer__BFCL_v4_{name}.json").read_text().splitlines()
        for question, answer in zip(map(json.loads, questions), map(json.loads, answers), strict=True):
            (called,) = answer["ground_truth"]
            ((tool, accepted),) = called.items()
            arguments = {key: values[0] for key, values in accepted.items() if values[0] != ""}
            reference = {"call": {"name": tool, "arguments": arguments}}
            tasks.append(Task(id=question["id"], prompt=(), tools=tuple(question["function"]), reference=reference))
    verify = ToolCallAnswer()
    assert len(tasks) == 600
    for one, following in itertools.pairwise(tasks):
        assert verify(one, said(block(one.reference["call"]))).passed
        assert verify(one, said(block(following.reference["call"]))).passed == is_same(
            one.reference["call"], following.reference["call"]
        )
        assert measure_calls(one, said(json.dumps(one.reference["call"])))["lenient_exact"] == 1.0
