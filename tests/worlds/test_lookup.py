"""The lookup world: values are copied, followed or fetched; guesses and needless calls fail."""

from __future__ import annotations

import json
import re

import pytest

from strop.types import Completion, Task, ToolCall, Verdict
from strop.verifiers import parse_calls
from strop.worlds.lookup import LookupWorld, call_text, chain_of, stored

WORLD = LookupWorld()


def judged(text: str, task: Task) -> Verdict:
    return WORLD.verifier(task, Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"))


def looked_up(question: str) -> str:
    """The value by following the notes of the question: the oracle."""
    notes = dict(re.findall(r"(\w+) (see \w+|\d+)", question.partition(". What")[0]))
    key = question.rpartition(" ")[2].removesuffix("?")
    while notes[key].startswith("see "):
        key = notes[key].removeprefix("see ")
    return notes[key]


@pytest.mark.parametrize("level", [level for level in WORLD.levels if "tool" not in level])
def test_the_answer_is_what_following_the_notes_finds(level: dict[str, int]) -> None:
    for task in WORLD.tasks("test", 50, **level):
        question = task.prompt[0].content
        assert task.reference["value"] == looked_up(question)
        assert len(re.findall(r"(?:see \w+|\d{4})[,.]", question)) == level["keys"]
        for text in (task.reference["value"], WORLD.reference_text(task), f"Answer: {task.reference['value']}"):
            assert judged(text, task).passed


@pytest.mark.capability("IM-08")
def test_the_store_is_deterministic_differs_by_tenant_and_names_a_broken_call() -> None:
    call = ToolCall(name="lookup", arguments={"key": "Kanol"})
    assert WORLD.execute(call) == WORLD.execute(call)
    keys = [f"Key{number}" for number in range(60)]
    answers = {t: [WORLD.execute(ToolCall(name="lookup", arguments={"key": k}), tenant=t) for k in keys] for t in "ab"}
    assert sum(a != b for a, b in zip(answers["a"], answers["b"], strict=True)) > 50
    for broken in (
        ToolCall(name="find", arguments={"key": "x"}),
        ToolCall(name="lookup", arguments={}),
        ToolCall(name="lookup", arguments={"key": 3}),
        ToolCall(name="lookup", arguments={"key": "x", "more": 1}),
    ):
        assert "error" in json.loads(WORLD.execute(broken))


def test_the_store_refers_to_another_key_in_one_case_of_three() -> None:
    share = sum(stored(f"Key{number}")[0] for number in range(3000)) / 3000
    assert abs(share - 1 / 3) < 0.03
    assert all(len(chain_of(f"Key{number}", 2)) <= 3 for number in range(100))


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_following_the_reference_calls_through_the_store_ends_at_the_value(hops: int) -> None:
    for task in WORLD.tasks("test", 30, keys=4, hops=hops, tool=1):
        if task.slices["kind"] == "notes":
            assert task.reference["call"] is None
            continue
        key = task.prompt[0].content.rpartition(" ")[2].removesuffix("?")
        assert f"{key} " not in task.prompt[0].content.partition(". What")[0]
        told, calls = {"see": key}, 0
        while "see" in told:
            told = json.loads(WORLD.execute(ToolCall(name="lookup", arguments={"key": told["see"]})))
            calls += 1
        assert (calls, told["value"]) == (hops + 1, task.reference["value"])
        assert len([turn for turn in task.prompt if turn.role == "tool"]) == len(task.prompt[1:]) // 2


def test_a_due_call_cannot_be_replaced_by_the_right_value_nor_a_value_by_a_call() -> None:
    kinds = set()
    for task in WORLD.tasks("test", 60, keys=2, hops=1, tool=1):
        kinds.add(task.slices["kind"])
        value, key = task.reference["value"], task.reference["key"]
        if task.slices["kind"] == "call":
            assert not judged(f"{key} is {value}.", task).passed
            assert parse_calls(WORLD.reference_text(task))[0].name == "lookup"
        else:
            assert not judged(call_text(key), task).passed
            assert judged(f"{key} is {value}.", task).passed
            assert not judged(f"{key} is {value}.{call_text(key)}", task).passed
    assert kinds == {"notes", "call", "evidence"}


def test_demonstrations_show_every_call_with_what_the_store_says() -> None:
    for row in WORLD.demonstrations("train", 40, keys=2, hops=1, tool=1):
        asked = [turn.tool_calls[0] for turn in row.messages if turn.tool_calls]
        told = [turn.content for turn in row.messages if turn.role == "tool"]
        assert told == [WORLD.execute(call) for call in asked]
        assert len(asked) in (0, 2)
        assert row.tools == WORLD.tools
