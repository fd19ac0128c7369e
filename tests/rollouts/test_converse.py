"""The dialogue with tools, with a sampler that says what the test wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from strop.chat import ChatTemplate
from strop.rollouts import converse
from strop.tools import (
    Budget,
    Caller,
    Faults,
    ToolContract,
    ToolFirst,
    ToolRegistry,
    ToolSession,
    WorldState,
    recovery_of,
)
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


@pytest.mark.parametrize(("name", "key"), [("query_erp", "\\ud800"), ("\\ud800", "sales")])
def test_a_call_with_half_of_a_character_is_text_and_ends_no_run(template: ChatTemplate, name: str, key: str) -> None:
    text = f'<tool_call>{{"name": "{name}", "arguments": {{"department": "{key}"}}}}</tool_call>'
    executed: list[Any] = []
    messages = run(template, Script(text, "done"), executed)
    assert (executed, [message.content for message in messages]) == ([], [text])


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


ERP = ToolContract(
    name="query_erp",
    description="Spending.",
    parameters={"type": "object", "properties": {"quarter": {"enum": ["Q3", "Q4"]}}, "required": ["quarter"]},
)


def opened(**settings: Any) -> ToolSession:
    services = {"query_erp": lambda contract, arguments, caller, state: {"spent": 1200}}
    state = WorldState(today=date(2025, 9, 30))
    return ToolSession(ToolRegistry([ERP]), services, state=state, caller=Caller(tenant="bank_A"), **settings)


def held(template: ChatTemplate, script: Script, session: ToolSession, **settings: Any) -> list[Message]:
    return converse(script, template, QUESTION, (), session, max_turns=20, **settings)


def test_a_session_answers_the_calls_and_its_trace_names_the_registry(template: ChatTemplate) -> None:
    session = opened()
    messages = held(template, Script(CALL, "Sales spent 1200."), session)
    assert [message.content for message in messages[1:]] == ['{"spent":1200}', "Sales spent 1200."]
    assert session.trace["registry"] == ToolRegistry([ERP]).digest
    assert [record["tool"] for record in session.trace["records"]] == ["query_erp"]


@pytest.mark.capability("TU-19")
def test_after_the_last_call_the_policy_answers_once_more_and_the_dialogue_ends(template: ChatTemplate) -> None:
    session = opened(budget=Budget(max_calls=2))
    messages = held(template, Script(*[CALL] * 3, "As far as I see, 1200.", "never"), session)
    assert [message.role for message in messages] == ["assistant", "tool"] * 3 + ["assistant"]
    assert "answer now" in messages[5].content
    assert messages[6].content == "As far as I see, 1200."


@pytest.mark.capability("TU-19")
@pytest.mark.parametrize("bound", [0, 1, 3])
def test_a_policy_that_never_stops_calling_is_stopped(template: ChatTemplate, bound: int) -> None:
    session = opened(budget=Budget(max_calls=bound))
    messages = held(template, Script(*[CALL] * 20), session)
    assert sum(record.result.is_ok for record in session.records) == bound
    assert len(session.records) == bound + 1
    assert (messages[-1].content, messages[-1].tool_calls) == (CALL, ())


@pytest.mark.capability("TU-03")
def test_a_policy_that_calls_again_after_an_error_gets_its_answer(template: ChatTemplate) -> None:
    session = opened(faults=Faults(plan={0: "timeout", 1: "error"}))
    wrong = CALL.replace("Q3", "Q9")
    messages = held(template, Script(CALL, wrong, CALL, CALL, "Sales spent 1200."), session)
    assert [record.result.state for record in session.records] == ["failed", "invalid_arguments", "failed", "ok"]
    assert messages[-1].content == "Sales spent 1200."
    assert recovery_of(session.records, within=3).rate == 1.0
    assert recovery_of(session.records, within=2).rate == 0.0


GUARD = ToolFirst(kinds=frozenset({"spending"}))


@pytest.mark.capability("TU-25")
def test_a_guessed_number_never_reaches_the_user_of_a_high_risk_kind(template: ChatTemplate) -> None:
    session = opened()
    messages = held(template, Script("Sales spent 1200."), session, guard=GUARD, kind="spending")
    assert [message.content for message in messages] == [GUARD.withheld]
    assert session.trace["withheld"] == ["no evidence for 1200"]
    free = held(template, Script("Sales spent 1200."), opened(), guard=GUARD, kind="small_talk")
    assert free[0].content == "Sales spent 1200."


@pytest.mark.capability("TU-25")
def test_a_number_beside_a_call_is_withheld_and_the_call_is_made(template: ChatTemplate) -> None:
    session = opened()
    script = Script("It is 1200. " + CALL, "Sales spent 1200.")
    messages = held(template, script, session, guard=GUARD, kind="spending")
    assert [message.content for message in messages] == ["", '{"spent":1200}', "Sales spent 1200."]
    assert messages[0].tool_calls
