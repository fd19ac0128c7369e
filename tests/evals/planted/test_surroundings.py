"""The same weights, and one byte, token, contract or document around them is another: blocked, and said which."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planted_assistant import Lab, RememberedTemplate, remembered
from strop.chat import ChatTemplate
from strop.evals import GateConfig, Suite, SuiteResult, gate, gate_report
from strop.evals.catalogue import suite_of
from strop.evals.drift import Probe, replay_index, with_index
from strop.models import Policy
from strop.tools import Caller, IndexedDocument, SearchIndex
from strop.types import Check, Task

NUM_ITEMS = 120
RULES = {
    topic: f"The rule for {topic} is number {number}." for number, topic in enumerate(("gifts", "travel", "meals"))
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return Policy.load("strop:tiny").template.tokenizer


@pytest.fixture(scope="module")
def suite() -> Suite:
    return remembered(suite_of("boundaries:finance", num_tasks=NUM_ITEMS))


def answered(suite: Suite, tokenizer: Any) -> SuiteResult:
    """The same run of the same weights."""
    template = RememberedTemplate(ChatTemplate.from_tokenizer(tokenizer))
    return Lab(template, (suite,)).result(suite, "the same weights")


def blocks(candidate: SuiteResult, baseline: SuiteResult) -> list[Check]:
    """The checks that block; all of them stand in the report with their reasons."""
    sides = {candidate.name: candidate}, {baseline.name: baseline}
    config = GateConfig(min_items=100)
    decision = gate(*sides, config)
    found = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert decision.outcome == ("BLOCK" if found else "PASS")
    told = [check["reason"] for check in gate_report(decision, *sides, config)["checks"] if check["outcome"] == "BLOCK"]
    assert told == [check.reason for check in found]
    return found


@pytest.mark.capability("EV-53")
def test_one_byte_of_the_template_is_blocked_and_named(suite: Suite, tokenizer: Any) -> None:
    changed = copy.deepcopy(tokenizer)
    before, marker = changed.chat_template, "<|im_end|>"
    changed.chat_template = before.replace(marker, f"{marker} ", 1) if marker in before else before + " "
    assert len(changed.chat_template) == len(before) + 1
    (found,) = blocks(answered(suite, changed), answered(suite, tokenizer))
    assert found.name == "boundaries-finance: template"
    assert found.reason.startswith("the weights are the same, the template is not")


@pytest.mark.capability("EV-54")
def test_one_added_token_is_blocked_and_named_though_no_prompt_is_rendered_otherwise(
    suite: Suite, tokenizer: Any
) -> None:
    changed = copy.deepcopy(tokenizer)
    assert changed.add_tokens(["<|planted|>"]) == 1
    (found,) = blocks(answered(suite, changed), answered(suite, tokenizer))
    assert found.name == "boundaries-finance: tokenizer"
    assert found.reason.startswith("the weights are the same, the tokenizer is not")
    assert found.numbers["goldens"] == []


def with_tools(suite: Suite, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Suite:
    """The suite with ``get_balance`` changed in every task that offers it."""

    def changed(task: Task) -> Task:
        tools = tuple(
            {**tool, "function": change(dict(tool["function"]))} if tool["function"]["name"] == "get_balance" else tool
            for tool in task.tools
        )
        return replace(task, tools=tools)

    return replace(suite, tasks=tuple(map(changed, suite.tasks)))


@pytest.mark.capability("EV-55")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda tool: {
                **tool,
                "parameters": {
                    **tool["parameters"],
                    "properties": {"account": {"type": "string", "pattern": "^acc-[0-9]{5}$"}},
                },
            },
            "get_balance: breaking",
        ),
        (lambda tool: {**tool, "description": "Balance of an account, in thousands."}, "get_balance: "),
    ],
    ids=["schema", "description"],
)
def test_another_schema_or_meaning_of_one_tool_is_blocked_and_named(
    suite: Suite, tokenizer: Any, change: Callable[[dict[str, Any]], dict[str, Any]], named: str
) -> None:
    after = answered(with_tools(suite, change), tokenizer)
    (found,) = blocks(after, answered(suite, tokenizer))
    assert found.name == "boundaries-finance: tools"
    assert named in found.reason
    assert set(found.numbers["tools"]) == {"get_balance"}


@pytest.mark.capability("EV-56")
def test_one_replaced_document_is_blocked_with_the_query_whose_answer_it_changes(suite: Suite, tokenizer: Any) -> None:
    probes = [Probe(query=f"rule for {topic}", caller=Caller(tenant="bank_A"), k=1) for topic in RULES]
    sides = []
    for rules in (RULES, {**RULES, "travel": "The rule for travel is to fly first class."}):
        index = SearchIndex([IndexedDocument(id=topic, text=text) for topic, text in rules.items()])
        found = answered(replace(suite, index_digest=index.index_digest), tokenizer)
        sides.append(with_index(found, replay_index(index, probes)))
    before, after = sides
    (check,) = blocks(after, before)
    assert check.name == "boundaries-finance: index"
    assert [key.split(" (")[0] for key in check.numbers["queries"]] == ["rule for travel"]
    assert "1 of 3 replayed queries are answered differently" in check.reason


def test_the_same_weights_in_the_same_surroundings_pass(suite: Suite, tokenizer: Any) -> None:
    assert blocks(answered(suite, copy.deepcopy(tokenizer)), answered(suite, tokenizer)) == []
