"""An assistant's text read back as a message, strictly."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.chat.parse import parse_assistant
from strop.types import Message, ToolCall

CALL = '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>'
F = ToolCall(name="f", arguments={"x": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello.", Message(role="assistant", content="Hello.")),
        (" spaced \n", Message(role="assistant", content=" spaced \n")),
        (CALL, Message(role="assistant", tool_calls=(F,))),
        (f"Let me see.\n{CALL}\n", Message(role="assistant", content="Let me see.", tool_calls=(F,))),
        (f"{CALL}\n{CALL}", Message(role="assistant", tool_calls=(F, F))),
        ("<think>\nhm\n</think>\n\nYes.", Message(role="assistant", content="Yes.", reasoning="hm")),
        (f"<think>hm</think>{CALL}", Message(role="assistant", reasoning="hm", tool_calls=(F,))),
        ("<think>\n\n</think>\n\nYes.", Message(role="assistant", content="Yes.")),
    ],
)
def test_what_a_text_says(text: str, message: Message) -> None:
    assert parse_assistant(text) == message


def test_a_think_block_that_the_prompt_opened_needs_no_opening() -> None:
    message = parse_assistant("hm\n</think>\n\nYes.", is_thinking=True)
    assert message == Message(role="assistant", content="Yes.", reasoning="hm")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<tool_call>{"name": "f", "arguments": {}}', "never closed"),
        ('{"name": "f"}</tool_call>', "without <tool_call>"),
        (f"<tool_call>{CALL}</tool_call>", "not JSON"),
        (f"<tool_call>{CALL[11:-12]} {CALL[11:-12]}</tool_call>", "more than one JSON value"),
        ("<tool_call>f(x=1)</tool_call>", "not JSON"),
        ('<tool_call>{"name": "f", "arguments": {},}</tool_call>', "not JSON"),
        ("<tool_call>[1]</tool_call>", "not an object"),
        ('<tool_call>{"name": "f"}</tool_call>', "not exactly name and arguments"),
        ('<tool_call>{"name": "f", "arguments": {}, "id": 1}</tool_call>', "not exactly"),
        ('<tool_call>{"name": "", "arguments": {}}</tool_call>', "non-empty"),
        ('<tool_call>{"name": 3, "arguments": {}}</tool_call>', "non-empty"),
        ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call>', "not an object"),
        ('<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>', "NaN is not JSON"),
        ('<tool_call>{"name": "f", "arguments": {"x": 1, "x": 2}}</tool_call>', "twice"),
        ("<think>hm", "never closed"),
        ("hm</think>Yes.", "only once, at the beginning"),
        ("Yes. <think>hm</think>", "only once, at the beginning"),
        ("<think>a</think><think>b</think>", "only once"),
        ("<think>a<think>b</think>", "inside"),
        ("<tool_call>" + '{"name": "f", "arguments": ' + "[" * 100_000 + "</tool_call>", "call"),
    ],
)
def test_malformed_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_assistant(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1), st.dictionaries(st.text(), JSON))
def test_calls_come_back_as_they_were_written(name: str, arguments: dict[str, object]) -> None:
    written = json.dumps({"name": name, "arguments": arguments})
    assert parse_assistant(f"<tool_call>{written}</tool_call>").tool_calls == (
        ToolCall(name=name, arguments=arguments),
    )


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_message_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_assistant(text).role == "assistant"
