"""Claims beside their evidence: shares of claims, not of answers."""

import pytest

from measured_answers import RIGHT, said, task
from strop.evals import ItemResult
from strop.evals.measures import measure_support, metrics_of, with_calls
from strop.types import Message, ToolCall
from strop.worlds import get_world
from suite_outcomes import result, sample

EVIDENCE = {"erp": {"sales": 1200, "legal": 300}, "policy": {"limit": 5000}}
NAMES = ("grounded_claims", "unsupported_claims", "citation_coverage", "citation_precision", "evidence_consistency")
COUNTS = ("num_claims", "num_citations", "num_known")


def measured(text: str) -> dict[str, float | None]:
    return dict(measure_support(task(reference={"evidence": EVIDENCE}), said(text), RIGHT))


@pytest.mark.capability("EV-22", "EV-31")
def test_an_answer_of_three_claims_by_hand() -> None:
    # supported; a figure that its source does not hold; no source at all
    values = measured("Sales spent 1200 [erp]. Legal spent 900 [erp]. The limit is 5000.")
    assert values["num_claims"] == 3.0
    assert values["grounded_claims"] == pytest.approx(1 / 3)
    assert values["unsupported_claims"] == pytest.approx(2 / 3)
    assert values["citation_coverage"] == pytest.approx(2 / 3)
    assert (values["num_citations"], values["citation_precision"]) == (2.0, 0.5)


@pytest.mark.capability("EV-22")
def test_over_a_suite_three_claims_of_one_answer_count_three_times() -> None:
    texts = ["Sales spent 1200 [erp]. Legal spent 900 [erp]. The limit is 5000.", "Sales spent 1200 [erp]."]
    items = [
        ItemResult(id=f"i{at}", slices={}, question="q", samples=(sample(**measured(text)),))
        for at, text in enumerate(texts)
    ]
    found = result(items=items, metrics=metrics_of(NAMES, weights=COUNTS))
    # 2 of 4 claims, not (1/3 + 1) / 2 of the answers
    assert found.rate("grounded_claims").value == pytest.approx(0.5)
    assert found.rate("unsupported_claims").value == pytest.approx(0.5)
    # 2 of 3 citations
    assert found.rate("citation_precision").value == pytest.approx(2 / 3)


@pytest.mark.capability("EV-32")
def test_consistency_is_entailed_over_entailed_and_contradicted() -> None:
    # entailed, contradicted, entailed, and rent, of which the evidence says nothing
    values = measured("The sales is 1200 [erp]. Legal is 900 [erp]. Sales 1200 [erp]. Rent is 77 [erp].")
    assert (values["num_claims"], values["num_known"]) == (4.0, 3.0)
    assert values["evidence_consistency"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", ["", "Good morning.", '<tool_call>{"name": "a", "arguments": {}}</tool_call>'])
def test_an_answer_that_claims_nothing_divides_by_nothing(text: str) -> None:
    assert {measured(text)[name] for name in (*NAMES, *COUNTS)} == {None}


def test_without_evidence_nothing_is_measured() -> None:
    asked = task(prompt=[Message(role="user", content="What is it?")])
    assert set(measure_support(asked, said("It is 7."), RIGHT).values()) == {None}


@pytest.mark.capability("EV-22")
def test_what_a_tool_was_asked_belongs_to_what_it_told() -> None:
    call = ToolCall(name="query_erp", arguments={"department": "sales", "region": "East", "quarter": "Q3"})
    shown = [
        Message(role="user", content="What did sales East spend in Q3?"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", name="query_erp", content='{"spent": 4503}'),
    ]
    right, wrong = "Sales East spent 4503 in Q3 [query_erp].", "Sales East spent 4503 in Q2 [query_erp]."
    asked = with_calls(task(prompt=shown))
    assert measure_support(asked, said(right), RIGHT)["grounded_claims"] == 1.0
    assert measure_support(asked, said(wrong), RIGHT)["grounded_claims"] == 0.0
    assert measure_support(task(prompt=shown), said(right), RIGHT)["grounded_claims"] == 0.0
    failed = [*shown[:2], Message(role="tool", name="query_erp", content='{"error": "no"}')]
    assert "evidence" not in with_calls(task(prompt=failed)).reference


def test_the_finance_worlds_reference_answers_rest_on_their_evidence_and_their_mutations_do_not() -> None:
    world = get_world("finance")
    asked = [with_calls(one) for one in world.tasks("test", 60) if one.reference["expects"] == "evidence"]
    assert len(asked) > 10
    for one in asked:
        assert measure_support(one, said(one.reference["text"]), RIGHT)["grounded_claims"] == 1.0
        assert measure_support(one, said("It is 1 [get_budget]."), RIGHT)["grounded_claims"] == 0.0
