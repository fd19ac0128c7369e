"""A dialogue becomes plan, call, result, answer; a trajectory with anything out of place is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from strop.tools import (
    SEARCH,
    Caller,
    IndexedDocument,
    SearchIndex,
    SearchService,
    ToolRegistry,
    ToolSession,
    WorldState,
    trajectory,
    trajectory_errors,
)
from strop.types import Message, ToolCall

INDEX = SearchIndex([IndexedDocument(id="limit/a", text="The limit is 8000.")])
SESSION = ToolSession(
    ToolRegistry([SEARCH]),
    {"search": SearchService(index=INDEX)},
    state=WorldState(today=date(2025, 9, 30)),
    caller=Caller(tenant="bank_A", permissions=frozenset({"documents.read"})),
)
CALLS = (ToolCall(name="search", arguments={"query": "limit"}), ToolCall(name="search", arguments={"query": "rent"}))
TURNS = [
    Message(role="assistant", content="I look it up.", reasoning="A limit is asked for.", tool_calls=CALLS),
    Message(role="tool", name="search", content="one"),
    Message(role="tool", name="search", content="two"),
    Message(role="assistant", content="It is 8000 [limit/a]."),
]


@pytest.mark.capability("TU-05", "RG-06")
def test_a_dialogue_becomes_a_trajectory_that_names_registry_and_index() -> None:
    made = trajectory(TURNS, SESSION)
    assert made == {
        "steps": [
            {"kind": "plan", "text": "A limit is asked for."},
            {"kind": "plan", "text": "I look it up."},
            {"kind": "call", "call": 0, "tool": "search", "arguments": {"query": "limit"}},
            {"kind": "call", "call": 1, "tool": "search", "arguments": {"query": "rent"}},
            {"kind": "result", "call": 0, "tool": "search", "content": "one"},
            {"kind": "result", "call": 1, "tool": "search", "content": "two"},
            {"kind": "answer", "text": "It is 8000 [limit/a]."},
        ],
        "registry": SESSION.registry.digest,
        "indices": {"search": INDEX.index_digest},
    }
    assert trajectory_errors(made) == ()
    assert trajectory_errors(trajectory(TURNS[-1:], SESSION)) == ()


def _drop(place: int) -> Callable[[Any], object]:
    return lambda made: made["steps"].pop(place)


BROKEN: dict[str, Callable[[Any], object]] = {
    "no answer": _drop(6),
    "no result": _drop(5),
    "no call": _drop(3),
    "a second answer": lambda made: made["steps"].insert(0, {"kind": "answer", "text": "8000"}),
    "a result twice": lambda made: made["steps"].insert(5, made["steps"][4]),
    "another tool's result": lambda made: made["steps"][5].update(tool="query_erp"),
    "a call numbered wrongly": lambda made: made["steps"][3].update(call=7),
    "an answer before the result": lambda made: made["steps"].insert(4, made["steps"].pop()),
    "a step of no kind": lambda made: made["steps"].insert(0, {"kind": "thought", "text": "x"}),
    "arguments as text": lambda made: made["steps"][2].update(arguments="limit"),
    "no registry": lambda made: made.pop("registry"),
    "a registry by name": lambda made: made.update(registry="tools-v2"),
    "no indices": lambda made: made.pop("indices"),
    "an extra field": lambda made: made["steps"][0].update(score=1),
}


@pytest.mark.capability("TU-05")
@pytest.mark.parametrize("name", BROKEN)
def test_a_trajectory_with_anything_out_of_place_is_refused(name: str) -> None:
    made = copy.deepcopy(trajectory(TURNS, SESSION))
    BROKEN[name](made)
    assert trajectory_errors(made)
