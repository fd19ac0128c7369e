"""A claim rests on evidence if what it cites is there and holds its figures; otherwise the answer has failed."""

from __future__ import annotations

import pytest

from strop.errors import ToolError
from strop.tools import Evidence, ToolRecord, ToolResult, citations, evidence_of, ground
from strop.tools.evidence import sentences
from strop.types import ToolCall

EVIDENCE = (
    Evidence(id="erp/sales-2025-Q3", value={"spent": 1200, "source": "erp/sales-2025-Q3"}),
    Evidence(id="policy/meals", value={"text": "at most 40 a day"}),
)


def record(name: str, value: object, state: str = "ok") -> ToolRecord:
    return ToolRecord(
        number=0,
        call=ToolCall(name=name, arguments={}),
        result=ToolResult(content="{}", state=state, value=value),  # type: ignore[arg-type]
        contract_digest="c",
        index_digest=None,
    )


def test_evidence_is_every_object_with_a_source_and_each_whole_result() -> None:
    value = {"rows": [{"source": "inv-1", "amount": 5}, {"amount": 6}], "source": "erp"}
    found = evidence_of([record("query", value), record("broken", None, "failed")])
    assert [piece.id for piece in found] == ["erp", "inv-1", "query"]
    assert found[1].value == {"source": "inv-1", "amount": 5}


def test_a_trace_in_the_place_of_records_is_told_what_to_give() -> None:
    trace = {"registry": "r", "records": [record("query", 5).as_json]}
    for wrong in (trace, trace["records"]):
        with pytest.raises(ToolError) as told:
            evidence_of(wrong)  # type: ignore[arg-type]
        assert "session.records" in told.value.do


@pytest.mark.capability("RG-03")
@pytest.mark.parametrize(
    ("answer", "grounded", "coverage", "precision"),
    [
        ("Sales spent 1,200 [erp/sales-2025-Q3].", 1.0, 1.0, 1.0),
        ("Sales spent 1,200. [erp/sales-2025-Q3] Meals: at most 40 [policy/meals].", 1.0, 1.0, 1.0),
        ("Sales spent 1,300 [erp/sales-2025-Q3].", 0.0, 1.0, 0.0),
        ("Sales spent 1,200.", 0.0, 0.0, None),
        ("Sales spent 1,200 [erp/sales-2025-Q4].", 0.0, 0.0, 0.0),
        ("Sales spent 1,200 [policy/meals].", 0.0, 1.0, 0.0),
        ("Sales spent 1,200 [erp/sales-2025-Q3] [policy/meals].", 1.0, 1.0, 0.5),
        ("Sales spent 1,200 [erp/sales-2025-Q3] [made-up].", 0.0, 1.0, 0.5),
        ("Sales spent 1,200 [erp/sales-2025-Q3]. Meals are 50.", 0.5, 0.5, 1.0),
        ("In 2025-Q3 it was 1,200 [erp/sales/2025-Q3].", 0.0, 0.0, 0.0),
        ("Hello, how can I help?", None, None, None),
    ],
)
def test_the_rates_of_an_answer_worked_by_hand(
    answer: str, grounded: float | None, coverage: float | None, precision: float | None
) -> None:
    found = ground(answer, EVIDENCE)
    assert (found.grounded, found.coverage, found.precision) == (grounded, coverage, precision)


@pytest.mark.capability("RG-05")
@pytest.mark.parametrize(
    ("answer", "has_failed"),
    [
        ("Sales spent 1,200.", True),
        ("Sales spent twelve hundred.", True),
        ("Sales spent 1,200 [erp/made-up].", True),
        ("Sales spent 1,200 [erp/sales-2025-Q3].", False),
        ("I do not know.", False),
    ],
)
def test_an_answer_without_evidence_is_a_failure_even_where_it_is_right(answer: str, has_failed: bool) -> None:
    assert ground(answer, EVIDENCE).is_without_evidence is has_failed
    assert ground("Sales spent 1,200 [erp/sales-2025-Q3].", ()).is_without_evidence


def test_what_a_source_is_about_stands_in_its_name() -> None:
    evidence = [Evidence(id="treasury/acc-1234/2025-Q3", value={"balance": 5})]
    assert ground("5 on acc-1234 in 2025-Q3 [treasury/acc-1234/2025-Q3].", evidence).grounded == 1.0
    assert ground("5 on acc-1235 [treasury/acc-1234/2025-Q3].", evidence).grounded == 0.0


def test_citations_are_found_in_order() -> None:
    assert citations("a [x-1] b [y/2]. [no spaces] [] [z:3]") == ("x-1", "y/2", "z:3")


def test_a_citation_behind_the_full_stop_ends_its_sentence() -> None:
    assert sentences("A is 1. [a] [b] B is 2 [c]. C is 3.5 [d]!\nD") == (
        "A is 1 [a] [b].",
        "B is 2 [c].",
        "C is 3.5 [d]!",
        "D",
    )
    borrowed = ground("Sales spent 1,200. [erp/sales-2025-Q3] At most 40 a day.", EVIDENCE)
    assert borrowed.grounded == 0.5, "the second claim cites nothing of its own"
