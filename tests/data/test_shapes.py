"""The field's row shapes become strop's rows; what fits none, or several, is told with the mapping to write."""

import json
from pathlib import Path
from typing import Any

import pytest

from strop.data import read_conversations, read_documents, read_preferences, read_tasks, shape_of
from strop.errors import DataError
from strop.types import Conversation, Message, Preference, Task, ToolCall


def file_of(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def conversation(folder: Path, row: dict[str, Any], **settings: Any) -> Conversation:
    [found] = read_conversations(file_of(folder, row), **settings)
    return found


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
HELLO = [("user", "Hi"), ("assistant", "Hello")]
SHAPES = {
    "messages": {"messages": [USER, ANSWER]},
    "ShareGPT": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "prompt and completion": {"prompt": "Hi", "completion": "Hello"},
    "instruction and output": {"instruction": "Hi", "input": "", "output": "Hello"},
    "question and answer": {"question": "Hi", "answer": "Hello"},
}


@pytest.mark.capability("SF-06")
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_conversation_says_the_same(tmp_path: Path, shape: str) -> None:
    path = file_of(tmp_path, SHAPES[shape])
    [row] = read_conversations(path)
    assert said(row.messages) == HELLO
    assert row.source == f"{path}:1"
    assert shape_of(path, "conversations").name == shape


def test_prompt_and_completion_may_be_message_lists_and_only_the_completion_is_trained(tmp_path: Path) -> None:
    row = conversation(
        tmp_path, {"prompt": [USER, ANSWER, {"role": "user", "content": "And?"}], "completion": [ANSWER]}
    )
    assert [message.train for message in row.messages] == [None, False, None, None]


def test_an_instruction_is_followed_by_its_input_and_preceded_by_its_system_text(tmp_path: Path) -> None:
    row = conversation(tmp_path, {"system": "Be brief.", "instruction": "Sum", "input": "1 2", "output": "3"})
    assert said(row.messages) == [("system", "Be brief."), ("user", "Sum\n\n1 2"), ("assistant", "3")]


CALL = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {**CALL, "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "c1", "name": "add", "arguments": {"a": 1}},
    ],
)
def test_tool_calls_are_read_in_every_spelling_and_results_find_their_name(tmp_path: Path, call: Any) -> None:
    turns = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "It is 2", "tool_calls": None},
    ]
    row = conversation(tmp_path, {"messages": turns, "tools": [TOOL]})
    assert row.messages[1].tool_calls == (ToolCall(name="add", arguments={"a": 1}),)
    assert row.messages[1].content == ""
    assert row.messages[2].name == "add"
    assert row.tools == (TOOL,)


@pytest.mark.parametrize("tools", [json.dumps([TOOL]), [TOOL["function"]]])
def test_tools_may_be_json_text_or_bare_functions(tmp_path: Path, tools: Any) -> None:
    assert conversation(tmp_path, {"messages": [USER, ANSWER], "tools": tools}).tools == (TOOL,)


def test_a_sharegpt_call_is_a_tool_call(tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "S"},
        {"from": "human", "value": "Add"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "2"},
    ]
    row = conversation(tmp_path, {"conversations": turns})
    assert [message.role for message in row.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert row.messages[2].tool_calls == (ToolCall(name="add", arguments={"a": 1}),)
    assert row.messages[2].content == ""


def test_reasoning_parts_and_the_weight_of_a_turn_are_read(tmp_path: Path) -> None:
    turns = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        USER,
        {**ANSWER, "weight": 0},
        USER,
        {**ANSWER, "reasoning_content": "Hm.", "train": True},
    ]
    row = conversation(tmp_path, {"messages": turns})
    assert (row.messages[0].role, row.messages[0].content) == ("system", "Be brief.")
    assert [message.train for message in row.messages] == [None, None, False, None, True]
    assert row.messages[4].reasoning == "Hm."


def test_a_column_mapping_reads_any_names_and_decides_between_shapes(tmp_path: Path) -> None:
    row = {"problem": "Hi", "solution": "Hello", "messages": [USER, ANSWER, USER, ANSWER]}
    mapped = conversation(tmp_path, row, columns={"prompt": "problem", "completion": "solution"})
    assert said(mapped.messages) == HELLO


def preference(folder: Path, row: dict[str, Any]) -> Preference:
    [found] = read_preferences(file_of(folder, row))
    return found


PAIRS = {
    "strings": {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
    "message lists": {"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "Go"}]},
    "implicit prompt": {"chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "Go"}]},
    "stated and repeated": {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "Go"}]},
}


@pytest.mark.parametrize("form", PAIRS)
def test_a_pair_has_one_prompt_and_two_answers_in_every_form(tmp_path: Path, form: str) -> None:
    pair = preference(tmp_path, PAIRS[form])
    assert said(pair.prompt) == [("user", "Hi")]
    assert said(pair.chosen) == [("assistant", "Hello")]
    assert said(pair.rejected) == [("assistant", "Go")]
    assert pair.source.endswith("rows.jsonl:1")


def test_whole_conversations_share_everything_up_to_the_answer_that_differs(tmp_path: Path) -> None:
    again = {"role": "user", "content": "Again"}
    other = {"role": "assistant", "content": "No"}
    pair = preference(tmp_path, {"chosen": [USER, ANSWER, again, ANSWER], "rejected": [USER, ANSWER, again, other]})
    assert said(pair.prompt) == [*HELLO, ("user", "Again")]
    assert said(pair.rejected) == [("assistant", "No")]


def task(folder: Path, row: dict[str, Any], **settings: Any) -> Task:
    [found] = read_tasks(file_of(folder, row), **settings)
    return found


def test_a_task_keeps_every_other_column_as_its_reference(tmp_path: Path) -> None:
    row = {"id": 7, "question": "1+1?", "answer": "2", "level": 3, "note": None, "slices": {"kind": "sum", "n": 1}}
    found = task(tmp_path, row)
    assert said(found.prompt) == [("user", "1+1?")]
    assert found.reference == {"answer": "2", "level": 3, "note": None}
    assert found.slices == {"kind": "sum", "n": "1"}
    assert found.id == "7"


def test_a_task_of_messages_asks_without_the_answer(tmp_path: Path) -> None:
    found = task(tmp_path, {"messages": [USER, ANSWER]})
    assert said(found.prompt) == [("user", "Hi")]
    assert found.reference == {"answer": "Hello"}


def test_documents_are_their_text(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"text": "One."}, {"text": "Two.", "url": "x"})
    assert [row.text for row in read_documents(path)] == ["One.", "Two."]
    assert [row.text for row in read_documents(path, columns={"text": "text"}, limit=1)] == ["One."]


BAD_CONVERSATIONS = {
    "no assistant turn": ({"messages": [USER]}, "the row has no assistant turn", ":1"),
    "unknown role": (
        {"messages": [{"role": "narrator", "content": "x"}, ANSWER]},
        "unknown role 'narrator'",
        "messages[0]",
    ),
    "unknown speaker": ({"conversations": [{"from": "dog", "value": "x"}]}, "unknown role 'dog'", "conversations[0]"),
    "no role": ({"messages": [{"content": "x"}, ANSWER]}, "the turn has no role", "messages[0]"),
    "null without calls": (
        {"messages": [USER, {"role": "assistant", "content": None}]},
        "the turn has no text",
        "messages[1]",
    ),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]},
        "the turn has no text",
        "[0]",
    ),
    "no turns": ({"messages": []}, "the turns are no list of messages", "messages"),
    "turns as text": ({"messages": "Hi"}, "the turns are no list of messages", "messages"),
    "a call without a name": (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"arguments": {}}]}]},
        "a tool call has no name",
        "messages[1].tool_calls[0]",
    ),
    "arguments of broken JSON": (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{x"}]}]},
        "the arguments of a tool call are no JSON",
        "messages[1].tool_calls[0]",
    ),
    "arguments of a list": (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[1]"}]}]},
        "the arguments of a tool call are no object",
        "messages[1].tool_calls[0]",
    ),
    "calls by the user": (
        {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}, ANSWER]},
        "a turn that is not the assistant's calls tools",
        "messages[0]",
    ),
    "a tool without a name": ({"messages": [USER, ANSWER], "tools": [{}]}, "a tool has no name", "tools[0]"),
    "half a weight": ({"messages": [USER, {**ANSWER, "weight": 0.5}]}, "`weight` is 0.5", "messages[1]"),
    "a trained user": (
        {"messages": [{**USER, "train": True}, ANSWER]},
        "a user turn asks to be trained",
        "messages[0]",
    ),
    "an answer that is no text": ({"question": "1+1", "answer": 2}, "`answer` is no text", ":1"),
}


@pytest.mark.parametrize("case", BAD_CONVERSATIONS)
def test_a_bad_row_is_named_with_its_turn(tmp_path: Path, case: str) -> None:
    row, what, where = BAD_CONVERSATIONS[case]
    with pytest.raises(DataError) as caught:
        conversation(tmp_path, row)
    assert caught.value.what == what
    assert "rows.jsonl:1" in caught.value.where
    assert caught.value.where.endswith(where)


BAD_PAIRS = {
    "no prompt": ({"chosen": "a", "rejected": "b"}, "the pair has no prompt"),
    "nothing shared": (
        {"chosen": [USER, ANSWER], "rejected": [{"role": "user", "content": "Other"}, ANSWER]},
        "`chosen` and `rejected` share no prompt",
    ),
    "another prompt": (
        {"prompt": "Bye", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "Go"}]},
        "`prompt` is not what the two conversations share",
    ),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_a_bad_pair_is_refused(tmp_path: Path, case: str) -> None:
    row, what = BAD_PAIRS[case]
    with pytest.raises(DataError) as caught:
        preference(tmp_path, row)
    assert caught.value.what == what


def test_wrong_columns_are_listed_with_the_nearest_mapping(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        conversation(tmp_path, {"Problem": "x", "Solution": "y", "level": 1})
    assert "Problem, Solution, level" in caught.value.why
    assert "question + answer" in caught.value.why
    assert 'columns = { prompt = "Problem", completion = "Solution" }' in caught.value.do


def test_unrecognisable_columns_show_how_a_mapping_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'columns = \{ messages = "your_column" \}'):
        conversation(tmp_path, {"x": 1, "y": 2})


def test_two_shapes_at_once_are_an_error_not_a_guess(tmp_path: Path) -> None:
    row = {"messages": [USER, ANSWER], "prompt": "a", "completion": "b"}
    with pytest.raises(DataError) as caught:
        conversation(tmp_path, row)
    assert caught.value.what == "the columns fit 2 shapes: messages; prompt and completion"
    assert said(conversation(tmp_path, row, columns={"messages": "messages"}).messages) == HELLO


def test_a_mapping_to_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        conversation(tmp_path, SHAPES["question and answer"], columns={"prompt": "qestion", "completion": "answer"})
    assert caught.value.do == 'did you mean columns = { prompt = "question" }?'


def test_a_mapping_of_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns maps `promt`"):
        conversation(tmp_path, SHAPES["question and answer"], columns={"promt": "question"})


def test_a_later_row_of_another_shape_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, SHAPES["question and answer"], SHAPES["messages"])
    with pytest.raises(DataError) as caught:
        read_conversations(path)
    assert caught.value.what == "the row has no `question`"
    assert caught.value.where.endswith("rows.jsonl:2")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_data_set_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(DataError, match="has no rows"):
        read_conversations(tmp_path / "rows.jsonl")


def test_a_task_that_asks_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asks nothing"):
        task(tmp_path, {"messages": [ANSWER]})
