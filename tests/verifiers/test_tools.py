"""Tool calls are read strictly, compared argument by argument, and read leniently only beside it."""

import json
from typing import Any

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Message, Task, ToolCall
from strop.verifiers import (
    ToolCallAnswer,
    audit,
    find_calls,
    match_call,
    measure_calls,
    parse_calls,
    reference_cases,
    schema_problems,
)
from strop.verifiers.tools import BFCL, is_same

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
    assert problems("nothing") == "there is no tool 'nothing', only get_policy, query_erp"


def test_strict_and_lenient_scores_stand_beside_each_other() -> None:
    loose = measure_calls(task(call=RIGHT), said("Sure: " + json.dumps(RIGHT)))
    assert (loose["schema_valid"], loose["argument_exact"], loose["lenient_exact"]) == (0.0, 0.0, 1.0)
    assert loose["tool_precision"] is None
    assert loose["tool_recall"] == 0.0
    strict = measure_calls(task(call=RIGHT), said(block(RIGHT)))
    assert (strict["schema_valid"], strict["argument_exact"], strict["lenient_exact"]) == (1.0, 1.0, 1.0)
    irrelevant = measure_calls(task(call=None), said("No tool helps here."))
    assert (irrelevant["schema_valid"], irrelevant["argument_exact"], irrelevant["no_call_kept"]) == (None, None, 1.0)


def accepted(*calls: dict[str, Any], tools: tuple[Any, ...] = TOOLS) -> Task:
    return Task(id="t", prompt=(), tools=tools, reference={"accepted": list(calls)}, source="f:1")


SALES = {"query_erp": {"department": ["sales", "Sales & Co."], "quarter": ["Q3", ""], "limit": [5, 10]}}


@pytest.mark.parametrize(
    ("arguments", "passed", "reason"),
    [
        ({"department": "sales", "quarter": "Q3", "limit": 5}, True, "as expected"),
        ({"department": "Sales & Co.", "limit": 10}, True, "as expected"),
        ({"department": "sales", "limit": 5.0}, True, "as expected"),
        ({"department": "SALES", "limit": 5}, False, "argument department is wrong"),
        ({"department": "sales", "quarter": "Q2", "limit": 5}, False, "argument quarter is wrong"),
        ({"department": "sales", "quarter": None, "limit": 5}, False, "argument quarter is wrong"),
        ({"department": "sales", "limit": True}, False, "argument limit is wrong"),
        ({"department": "sales"}, False, "argument limit is missing"),
        ({"quarter": "Q3", "limit": 5}, False, "argument department is missing"),
        ({"department": "sales", "limit": 5, "memo": "x"}, False, "argument memo is extra"),
        ({"department": ["sales", "Sales & Co."], "limit": [5, 10]}, False, "argument department is wrong"),
    ],
)
def test_any_accepted_value_is_right_and_every_other_is_named(arguments: Any, passed: bool, reason: str) -> None:
    verdict = ToolCallAnswer()(accepted(SALES), said(block({"name": "query_erp", "arguments": arguments})))
    assert verdict.passed == passed
    assert any(reason in one for one in verdict.reasons)


def test_the_empty_text_means_left_out_unless_the_schema_requires_it_and_is_a_value_of_texts_only() -> None:
    lax = {"query_erp": {"department": ["sales", ""], "quarter": ["", "Q3"], "limit": [5, ""]}}

    def passes(**arguments: Any) -> bool:
        return ToolCallAnswer()(accepted(lax), said(block({"name": "query_erp", "arguments": arguments}))).passed

    assert passes(department="sales")
    assert passes(department="")
    assert not passes(), "the schema requires the department"
    assert not passes(department="sales", limit="")


def test_objects_among_the_values_accept_member_by_member() -> None:
    where = [{"field": ["age", "years"], "unit": ["", "y"]}, {"id": [7]}]
    due = {"get_policy": {"where": where, "rows": [[{"a": [1, 2]}, {"a": [3]}]]}}

    def passes(where: Any, rows: Any = ({"a": 2}, {"a": 3})) -> bool:
        arguments = {"where": where, "rows": list(rows)}
        return ToolCallAnswer()(accepted(due), said(block({"name": "get_policy", "arguments": arguments}))).passed

    assert passes({"field": "years"})
    assert passes({"field": "age", "unit": "y"})
    assert passes({"id": 7})
    assert not passes({"field": "age", "id": 7})
    assert not passes({"unit": "y"})
    assert not passes({"field": "age"}, rows=[{"a": 3}, {"a": 2}])
    assert not passes({"field": "age"}, rows=[{"a": 1}])


def test_the_leaderboards_leniencies_are_a_setting_and_off_by_default() -> None:
    due = accepted({"query_erp": {"department": ["San Francisco, CA"], "limit": [5]}})
    loose = block({"name": "query_erp", "arguments": {"department": "san francisco ca", "limit": 5}})
    fraction = block({"name": "query_erp", "arguments": {"department": "San Francisco, CA", "limit": 5.0}})
    assert (ToolCallAnswer()(due, said(loose)).passed, ToolCallAnswer()(due, said(fraction)).passed) == (False, True)
    like_bfcl = ToolCallAnswer(leniency=BFCL)
    assert (like_bfcl(due, said(loose)).passed, like_bfcl(due, said(fraction)).passed) == (True, False)
    assert like_bfcl.digest != ToolCallAnswer().digest
    whole = task(call={"name": "query_erp", "arguments": {"department": "it's"}})
    assert like_bfcl(whole, said(block({"name": "query_erp", "arguments": {"department": 'IT"S'}}))).passed


def test_the_order_of_calls_counts_where_it_is_asked_for() -> None:
    other = {"name": "get_policy", "arguments": {"topic": "travel"}}
    both = task(calls=[RIGHT, other])
    in_order = ToolCallAnswer(order="as_due")
    assert in_order(both, said(block(RIGHT, other))).passed
    verdict = in_order(both, said(block(other, RIGHT)))
    assert not verdict.passed
    assert verdict.reasons[0] == "the calls are right but not in the order in which they were due"


def test_parallel_calls_are_matched_so_that_as_many_as_can_be_are_right() -> None:
    wide, narrow = {"get_policy": {"topic": ["travel", "meals"]}}, {"get_policy": {"topic": ["travel"]}}
    travel, meals = ({"name": "get_policy", "arguments": {"topic": topic}} for topic in ("travel", "meals"))
    due = accepted(wide, narrow)
    assert ToolCallAnswer()(due, said(block(travel, meals))).passed, "the first that fits would leave one unanswered"
    assert not ToolCallAnswer()(due, said(block(meals, meals))).passed
    assert measure_calls(due, said(block(meals, meals)))["tool_recall"] == 0.5
    verdict = ToolCallAnswer()(task(calls=[RIGHT, travel]), said(block(travel, {"name": "query_erp", "arguments": {}})))
    assert verdict.reasons == (
        "call 2: query_erp: argument department is missing",
        "call 2: query_erp: argument quarter is missing",
    )


@pytest.mark.capability("TU-01")
def test_the_choice_of_tools_is_counted_over_a_set_with_and_without_calls() -> None:
    other = {"name": "get_policy", "arguments": {}}
    answers = [
        (RIGHT, block(RIGHT)),
        (RIGHT, block(other)),
        (RIGHT, "Sales spent 5."),
        (None, "No."),
        (None, block(other)),
    ]
    found = [measure_calls(task(call=call), said(text)) for call, text in answers]
    # five answers, three calls of which one is right; three calls were due; of two that needed none, one made none
    assert [one["tool_precision"] for one in found] == [1.0, 0.0, None, None, 0.0]
    assert [one["tool_recall"] for one in found] == [1.0, 0.0, 0.0, None, None]
    assert [one["no_call_kept"] for one in found] == [None, None, None, 1.0, 0.0]


@pytest.mark.capability("TU-13")
@pytest.mark.capability("TU-14")
def test_made_up_tools_and_arguments_are_counted() -> None:
    made_up = [
        {"name": "pay_all", "arguments": {}},
        RIGHT,
        {"name": "query_erp", "arguments": {"department": "a", "x": 1}},
    ]
    found = measure_calls(task(calls=[RIGHT]), said(block(*made_up)))
    assert found["known_tool"] == pytest.approx(2 / 3)
    assert found["argument_valid"] == pytest.approx(1 / 3)


@pytest.mark.capability("TU-02")
def test_arguments_are_counted_one_by_one() -> None:
    wrong = {"name": "query_erp", "arguments": {"department": "sales", "quarter": "Q1", "limit": 2}}
    found = measure_calls(task(call=RIGHT), said(block(wrong)))
    assert (found["argument_share"], found["argument_exact"]) == (pytest.approx(1 / 3), 0.0)


def test_the_judge_of_calls_passes_its_audit() -> None:
    gold = block(RIGHT)
    wrong = {name: {**RIGHT, "arguments": {**RIGHT["arguments"], "quarter": name}} for name in ("Q1", "", "q3", "Q3 ")}
    cheats = [
        block(RIGHT, RIGHT),
        block(*wrong.values(), RIGHT),
        json.dumps(RIGHT),
        gold.removesuffix("</tool_call>"),
        block({**RIGHT, "arguments": {**RIGHT["arguments"], "*": "*"}}),
        block({**RIGHT, "name": "query_erp get_policy"}),
        block({**RIGHT, "arguments": {"department": ["sales"], "quarter": ["Q1", "Q2", "Q3", "Q4"]}}),
        gold.replace('"quarter"', '"department": "hr", "quarter"'),
    ]
    tasks = [task(call=RIGHT)]
    cases = reference_cases(tasks, lambda _: gold, lambda _: [block(one) for one in wrong.values()], lambda _: cheats)
    cases += reference_cases(
        [task(call=None)], lambda _: "None fits.", lambda _: [gold], lambda _: [cheats[3], "<tool_call>"]
    )
    for judge in (ToolCallAnswer(), ToolCallAnswer(order="as_due")):
        assert audit(judge, cases).require().num_cheats == 10


@pytest.mark.capability("EV-30")
def test_the_success_of_tools_is_results_without_an_error_over_results() -> None:
    results = ('{"spent": 5}', '{"error": "denied", "why": "no"}', "plain text", '["error"]')
    prompt = tuple(Message(role="tool", name="query_erp", content=content) for content in results)
    asked = Task(
        id="t", prompt=(Message(role="user", content="error?"), *prompt), tools=TOOLS, reference={"call": None}
    )
    assert measure_calls(asked, said("Five."))["tool_success"] == 3 / 4
    assert measure_calls(task(call=None), said("Five."))["tool_success"] is None


@pytest.mark.capability("EV-29")
def test_the_validity_of_arguments_is_valid_calls_over_calls() -> None:
    calls = [RIGHT, {"name": "query_erp", "arguments": {"quarter": "Q3"}}, {"name": "get_policy", "arguments": {}}]
    assert measure_calls(task(calls=calls), said(block(*calls)))["argument_valid"] == pytest.approx(2 / 3)
    assert measure_calls(task(calls=calls), said("None."))["argument_valid"] is None
