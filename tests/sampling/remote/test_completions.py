"""Whatever a server answers, reading it ends in a completion or in a fault with a name."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.sampling.remote.chat import ChatAnswer, answer_of
from strop.sampling.remote.completions import Asked, completion_of
from strop.sampling.remote.streams import StreamedCompletion
from strop.sampling.remote.transport import Fault, parse_json, retry_after
from strop.types import Completion, SamplingParams

ASKED = Asked(
    model="base",
    prompt=(5, 6),
    params=SamplingParams(max_new_tokens=4),
    seed=0,
    stop_token_ids=(2,),
    dialect="vllm",
    vocab_size=50,
    weights="w",
    knows_stops=True,
)
GOOD: dict[str, Any] = {
    "model": "base",
    "weight_version": "w",
    "usage": {"prompt_tokens": 2, "completion_tokens": 2},
    "choices": [
        {
            "index": 0,
            "text": "a",
            "finish_reason": "stop",
            "token_ids": [10, 2],
            "prompt_token_ids": [5, 6],
            "logprobs": {"tokens": ["token_id:10", "token_id:2"], "token_logprobs": [-0.5, -0.25]},
        }
    ],
}
TURN: dict[str, Any] = {
    "model": "m",
    "usage": {"completion_tokens": 3},
    "choices": [
        {
            "finish_reason": "stop",
            "message": {
                "content": "a",
                "reasoning": "b",
                "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
            },
        }
    ],
}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 60) | st.floats() | st.text(max_size=4) | st.sampled_from(["stop"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def changed(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    whole = copy.deepcopy(whole)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return whole


def attempt(work: Callable[[], Any]) -> Any:
    """What comes of the work: its value or its fault."""
    try:
        return work()
    except Fault as fault:
        return fault


def decode(token_ids: Any) -> str:
    return "".join(f"<{token}>" for token in token_ids)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(places(GOOD)), JUNK)
def test_a_broken_answer_is_a_true_completion_or_a_fault(path: tuple[Any, ...], junk: Any) -> None:
    found = attempt(lambda: completion_of(changed(GOOD, path, junk), ASKED, decode))
    if isinstance(found, Fault):
        assert found.cause
        assert found.message
        return
    assert isinstance(found, Completion)
    assert len(found.token_ids) == len(found.sampler_logprobs) > 0
    assert all(type(token) is int and 0 <= token < 50 for token in found.token_ids)
    assert all(-9998 < value <= 0 for value in found.sampler_logprobs)
    assert (found.finish_reason == "stop") == (found.token_ids[-1] == 2)
    assert found.text == decode(t for t in found.token_ids if t != 2)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(places(TURN)), JUNK)
def test_a_broken_turn_is_an_answer_or_a_fault(path: tuple[Any, ...], junk: Any) -> None:
    found = attempt(lambda: answer_of(changed(TURN, path, junk)))
    if isinstance(found, Fault):
        assert found.message
        return
    assert isinstance(found, ChatAnswer)
    assert isinstance(found.message.content, str)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(places(GOOD)), JUNK, st.booleans())
def test_a_broken_stream_is_a_completion_or_a_fault(path: tuple[Any, ...], junk: Any, is_done: bool) -> None:
    event = f"data: {json.dumps(changed(GOOD, path, junk))}\n\n" + ("data: [DONE]\n\n" if is_done else "")
    response = httpx.Response(200, content=event.encode())
    found = attempt(lambda: asyncio.run(StreamedCompletion(ASKED, decode).read(response)))
    if isinstance(found, Fault):
        assert found.message
        return
    assert is_done
    assert len(found.token_ids) == len(found.sampler_logprobs)


def test_good_answers_are_read() -> None:
    found = completion_of(GOOD, ASKED, None)
    assert (found.token_ids, found.sampler_logprobs, found.text) == ((10, 2), (-0.5, -0.25), "a")
    assert answer_of(TURN).message.reasoning == "b"


def test_the_header_of_patience_is_a_number_or_a_date() -> None:
    assert retry_after("1.5") == 1.5
    assert retry_after("-3") == 0.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    far = retry_after("Fri, 01 Jan 2100 00:00:00 GMT")
    assert far is not None
    assert far > 1e9
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("nan") is None


def test_what_is_no_json_is_shown_shortened() -> None:
    with pytest.raises(Fault) as caught:
        parse_json(b"<html>" + b"x" * 200)
    assert caught.value.cause == "garbled"
    assert "'<html>xxx" in caught.value.message
    assert caught.value.message.endswith("x ...'")
