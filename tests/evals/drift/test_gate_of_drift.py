"""Two evaluations of one suite whose tools or index differ: the same suite, another system, and the gate says which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scripted_evaluation import GREEDY, Parrot, Template, tasks
from strop.errors import MismatchError
from strop.evals import GateConfig, SuiteResult, evaluate, gate, task_suite
from strop.evals.drift import CHECKS, Drift, DriftCheck, Probe, Surroundings, replay_index, surroundings_of, with_index
from strop.tools import Caller, IndexedDocument, SearchIndex, ToolContract
from strop.types import Check, Decision
from strop.verifiers import NumberAnswer

QUARTER: dict[str, Any] = {"enum": ["Q1", "Q2"]}
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"quarter": QUARTER}, "required": ["quarter"]}
TOTAL = ToolContract(name="total", description="A quarter's sum.", parameters=PARAMETERS)


def evaluated(tool: ToolContract, *, index: str = "", model: str = "m") -> SuiteResult:
    asked = [replace(task, tools=(tool.described,)) for task in tasks(*range(120))]
    suite = replace(task_suite("digits", asked, NumberAnswer()), index_digest=index)
    return evaluate(Parrot(), Template(), suite, model_digest=model, params=GREEDY)  # type: ignore[arg-type]


def decide(candidate: SuiteResult, baseline: SuiteResult, **settings: Any) -> Decision:
    settings = {"thresholds": {"digits.accuracy": {"min": 0.0}}, **settings}
    return gate({"digits": candidate}, {"digits": baseline}, GateConfig(**settings))


@pytest.mark.capability("EV-55")
@pytest.mark.capability("CK-9")
def test_a_lost_enum_value_of_a_tool_is_a_block_of_the_gate_that_names_it_and_no_other_suite() -> None:
    narrowed = replace(TOTAL, parameters={**PARAMETERS, "properties": {"quarter": {"enum": ["Q1"]}}})
    before, after = evaluated(TOTAL), evaluated(narrowed)
    assert after.digests["suite"] == before.digests["suite"]
    decision = decide(after, before)
    (found,) = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert found.name == "digits: tools"
    assert found.reason == (
        "the weights are the same, the tools are not: "
        "total: breaking (no version tells of it): parameters.quarter: enum allows less"
    )
    assert decide(after, before, allow_tool_change=True).outcome == "PASS"
    assert decide(evaluated(TOTAL), before).outcome == "PASS"


def test_a_task_that_is_offered_other_tools_than_before_is_found_though_the_tools_are_the_same() -> None:
    other = replace(TOTAL, name="mean")
    results = []
    for offered in ((TOTAL, other), (other, TOTAL)):
        asked = [replace(task, tools=(offered[n % 2].described,)) for n, task in enumerate(tasks(*range(120)))]
        suite = task_suite("digits", asked, NumberAnswer())
        results.append(evaluate(Parrot(), Template(), suite, model_digest="m", params=GREEDY))  # type: ignore[arg-type]
    (found,) = [check for check in decide(*results).checks if check.outcome == "BLOCK"]
    assert found.name == "digits: tools"


@pytest.mark.capability("EV-56")
def test_a_replaced_document_is_a_block_of_the_gate_that_names_the_query_it_answers_otherwise() -> None:
    probes = [Probe(query=query, caller=Caller(tenant="bank_A")) for query in ("gifts", "flights")]
    sides = []
    for limit in ("80", "50"):
        index = SearchIndex(
            [
                IndexedDocument(id="gifts", text=f"Gifts above {limit} are declared."),
                IndexedDocument(id="flights", text="Flights above 500 need approval."),
            ]
        )
        sides.append(with_index(evaluated(TOTAL, index=index.index_digest), replay_index(index, probes)))
    (found,) = [check for check in decide(*sides).checks if check.outcome == "BLOCK"]
    assert found.name == "digits: index"
    assert "1 of 2 replayed queries are answered differently" in found.reason
    assert "'gifts (as bank_A, k=3)' finds the same documents, with another text in gifts" in found.reason
    assert decide(*sides, allow_index_change=True).outcome == "PASS"
    assert decide(sides[1], sides[1]).outcome == "PASS"
    with pytest.raises(MismatchError, match="was not evaluated with this index"):
        with_index(sides[0], {"digest": "x", "probes": {}})


def test_a_further_check_joins_by_the_protocol() -> None:
    """As routing will: it reads what results keep under its own name."""

    def routing(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool, /) -> list[Check]:
        if candidate.more.get("routing") == baseline.more.get("routing"):
            return []
        return [Check(name="routing", outcome="BLOCK", reason=f"weights unchanged: {weights_unchanged}")]

    checks: dict[str, DriftCheck] = {**CHECKS, "routing": routing}
    before = evaluated(TOTAL)
    after = replace(before, surroundings={**before.surroundings, "routing": {"refunds": "small-model"}})
    sides = surroundings_of(after), surroundings_of(before)
    (found,) = Drift(candidate=sides[0], baseline=sides[1], checks=checks).findings()
    assert (found.name, found.reason) == ("routing", "weights unchanged: True")
    assert Drift(candidate=sides[1], baseline=sides[1], checks=checks).findings() == []
