"""The dialogue with tools, with a sampler that says what the test wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from strop.chat import ChatTemplate
from strop.rollouts import converse
from strop.types import Completion, Message, SamplingParams, ToolCall

CALL = '<tool_call>{"name": "query_erp", "arguments": {"quarter": "Q3"}}</tool_call>'
QUESTION = [Message(role="user", content="What did sales spend in Q3?")]


class Script:
    """Says the given texts one after the other; a text that ends in … was cut off."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.prompts: list[tuple[int, ...]] = []
        self.seeds: list[int] = []

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        self.prompts.append(tuple(prompts[0]))
        self.seeds.append(seeds[0])
        text = self.texts.pop(0)
        return [
            Completion(
                token_ids=(5, 2),
                sampler_logprobs=(0.0, 0.0),
                text=text.removesuffix("…"),
                finish_reason="length" if text.endswith("…") else "stop",
            )
        ]


@pytest.fixture(scope="module")
def template(chat_folder: Path) -> ChatTemplate:
    return ChatTemplate.load(chat_folder)


def run(template: ChatTemplate, script: Script, executed: list[Any], max_turns: int = 5) -> list[Message]:
    def execute(call: ToolCall) -> str:
        executed.append((call.name, dict(call.arguments)))
        return "1200"

    return converse(script, template, QUESTION, (), execute, max_turns=max_turns)


def test_a_call_is_executed_and_its_result_goes_back_to_the_policy(template: ChatTemplate) -> None:
    script, executed = Script(CALL, "Sales spent 1200."), []
    messages = run(template, script, executed)
    assert executed == [("query_erp", {"quarter": "Q3"})]
    assert [message.role for message in messages] == ["assistant", "tool", "assistant"]
    assert messages[0].tool_calls == (ToolCall(name="query_erp", arguments={"quarter": "Q3"}),)
    assert (messages[1].name, messages[1].content) == ("query_erp", "1200")
    assert messages[2].content == "Sales spent 1200."
    assert script.prompts[1] == template.prompt_ids([*QUESTION, *messages[:2]])


def test_every_call_of_a_turn_is_executed_in_order(template: ChatTemplate) -> None:
    second = CALL.replace("Q3", "Q4")
    executed: list[Any] = []
    messages = run(template, Script(CALL + second, "done"), executed)
    assert [arguments["quarter"] for _, arguments in executed] == ["Q3", "Q4"]
    assert [message.role for message in messages] == ["assistant", "tool", "tool", "assistant"]


def test_a_plain_answer_ends_the_dialogue(template: ChatTemplate) -> None:
    executed: list[Any] = []
    assert [message.content for message in run(template, Script("Hello."), executed)] == ["Hello."]
    assert executed == []


@pytest.mark.parametrize("text", ['<tool_call>{"name": broken}</tool_call>', CALL + "…"])
def test_a_call_that_is_broken_or_cut_off_is_text_and_is_not_executed(template: ChatTemplate, text: str) -> None:
    executed: list[Any] = []
    messages = run(template, Script(text), executed)
    assert [(message.role, message.content) for message in messages] == [("assistant", text.removesuffix("…"))]
    assert executed == []


def test_the_dialogue_ends_after_max_turns(template: ChatTemplate) -> None:
    executed: list[Any] = []
    messages = run(template, Script(CALL, CALL, CALL), executed, max_turns=2)
    assert [message.role for message in messages] == ["assistant", "tool", "assistant", "tool"]


def test_every_turn_draws_from_a_seed_of_its_own(template: ChatTemplate) -> None:
    script = Script(CALL, CALL, "done")
    run(template, script, [])
    assert len(set(script.seeds)) == 3


def test_an_error_of_the_tool_is_the_callers(template: ChatTemplate) -> None:
    def execute(call: ToolCall) -> str:
        raise PermissionError("transfers are refused")

    with pytest.raises(PermissionError, match="refused"):
        converse(Script(CALL), template, QUESTION, (), execute, max_turns=3)
