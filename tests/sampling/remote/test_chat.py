"""Asking a server process for a turn of a dialogue, as judges and teachers do."""

from __future__ import annotations

from typing import Any

import pytest

from strop.errors import RemoteError
from strop.sampling.remote.chat import wire_messages
from strop.types import Message, ToolCall

TOOL = {"type": "function", "function": {"name": "query_erp", "parameters": {"type": "object"}}}


def said(content: str) -> list[Message]:
    return [Message(role="user", content=content)]


def test_a_dialogue_is_answered_by_the_servers_model(server: Any) -> None:
    sampler = server.sampler()
    found = sampler.chat(said("hello"), max_new_tokens=5, temperature=0.5, seed=3)
    assert found.message == Message(role="assistant", content="echo: hello")
    assert (found.finish_reason, found.model, found.num_tokens) == ("stop", "base", 4)
    body = server.seen()["requests"][0]
    told = {"max_tokens": 5, "temperature": 0.5, "seed": 3, "messages": [{"role": "user", "content": "hello"}]}
    assert told.items() <= body.items()
    assert "tools" not in body
    assert "response_format" not in body
    assert sampler.traffic.num_tokens == 4


def test_tools_and_formats_are_passed_on_and_calls_come_back(server: Any) -> None:
    found = server.sampler().chat(said("spent?"), [TOOL], response_format={"type": "json_object"})
    assert found.message.tool_calls == (ToolCall(name="query_erp", arguments={"quarter": "Q3"}),)
    assert found.finish_reason == "stop"
    body = server.seen()["requests"][0]
    assert body["tools"] == [TOOL]
    assert body["response_format"] == {"type": "json_object"}


def test_calls_and_their_results_are_told_by_id() -> None:
    calls = (ToolCall(name="a", arguments={"x": 1}), ToolCall(name="b", arguments={}))
    turns = [
        *said("?"),
        Message(role="assistant", content="", tool_calls=calls, reasoning="hm"),
        Message(role="tool", name="a", content="1"),
        Message(role="tool", name="b", content="2"),
    ]
    wire = wire_messages(turns)
    ids = [call["id"] for call in wire[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [turn["tool_call_id"] for turn in wire[2:]] == ids
    assert wire[1]["tool_calls"][0]["function"] == {"name": "a", "arguments": '{"x": 1}'}
    assert wire[1]["reasoning_content"] == "hm"


@pytest.mark.parametrize("arguments", ['{"quarter": ', "[1]", None])
def test_a_call_that_the_model_wrote_wrongly_is_told_and_not_made(server: Any, arguments: str | None) -> None:
    server.script({"edit": {"choices.0.message.tool_calls.0.function.arguments": arguments}})
    found = server.sampler().chat(said("spent?"), [TOOL])
    assert found.message.tool_calls == ()
    assert "'query_erp' has arguments that are no JSON object" in found.violations[0]


def test_a_cut_answer_is_told_from_a_whole_one(server: Any) -> None:
    server.script({"edit": {"choices.0.finish_reason": "length"}})
    assert server.sampler().chat(said("hello")).finish_reason == "length"


def test_many_dialogues_come_back_in_order_and_failures_are_named(server: Any) -> None:
    sampler = server.sampler(max_retries=1)
    found = sampler.chat_many([said(str(i)) for i in range(5)])
    assert [one.message.content for one in found] == [f"echo: {i}" for i in range(5)]
    server.script({"status": 500}, {"status": 500})
    one_at_a_time = server.sampler(max_retries=1, max_concurrency=1)
    with pytest.raises(RemoteError) as caught:
        one_at_a_time.chat_many([said("a"), said("b")])
    assert caught.value.failures == {0: "answered 500: as scripted (tried 2 times)"}
    assert caught.value.completions[1].message.content == "echo: b"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"choices.0.message": None}, "garbled"),
        ({"choices.0.finish_reason": None}, "truncated"),
        ({"choices": []}, "garbled"),
        ({"choices.0.message.content": {"a": 1}}, "garbled"),
    ],
)
def test_an_answer_that_is_cut_off_is_asked_again(server: Any, change: dict[str, Any], cause: str) -> None:
    sampler = server.sampler()
    server.script({"edit": change})
    assert sampler.chat(said("hello")).message.content == "echo: hello"
    assert dict(sampler.traffic.retries) == {cause: 1}


def test_an_answer_that_was_withheld_is_an_error(server: Any) -> None:
    server.script({"edit": {"choices.0.finish_reason": "content_filter"}})
    with pytest.raises(RemoteError, match="finish_reason 'content_filter'"):
        server.sampler().chat(said("hello"))
