"""An answer rests on its evidence, or its verdict says which claim does not; rates are worked by hand."""

import itertools
import json
from typing import Any

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Message, Task
from strop.verifiers import audit, reference_cases
from strop.verifiers.facts import Fact, facts_of, read_fact, relation
from strop.verifiers.grounding import GroundedAnswer, evidence_in, measure_grounding

EVIDENCE = {
    "erp/sales": {"department": "sales", "spent": 1200, "budget": 1500, "owner": "Lee"},
    "policy/meals": "The limit of meals is 40. The approver of meals is Kim.",
    "note-1": "The travel budget was cut on 2025-09-30.",
}
GOLD = "Sales spent 1,200 [erp/sales]. The limit of meals is 40 [policy/meals]."


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(prompt: tuple[Message, ...] = (), **reference: Any) -> Task:
    return Task(id="t", prompt=prompt, reference={"evidence": EVIDENCE, **reference}, source="f:1")


def measures(text: str, **reference: Any) -> tuple[float | None, ...]:
    found = measure_grounding(task(**reference), said(text))
    assert found["unsupported_claims"] == (None if found["grounded_claims"] is None else 1 - found["grounded_claims"])
    return tuple(found[name] for name in found if name != "unsupported_claims")


# answer: grounded, coverage, precision, consistency, without evidence
BY_HAND: dict[str, tuple[float | None, ...]] = {
    GOLD: (1.0, 1.0, 1.0, 1.0, 0.0),
    "Sales spent 1,200 [erp/sales]. Meals cost 50.": (1 / 2, 1 / 2, 1.0, 1.0, 0.0),
    "Sales spent 1,300 [erp/sales].": (0.0, 1.0, 0.0, 0.0, 1.0),
    "Sales spent 1,200.": (0.0, 0.0, None, None, 1.0),
    "Sales spent 1,200 [erp/sold].": (0.0, 0.0, 0.0, None, 1.0),
    "Sales spent 1,200 [policy/meals].": (0.0, 1.0, 0.0, None, 1.0),
    "Sales spent 1,200 [erp/sales] [policy/meals] [note-1].": (1.0, 1.0, 1 / 3, 1.0, 0.0),
    "The limit of meals is 50 [policy/meals].": (0.0, 1.0, 0.0, 0.0, 1.0),
    "The limit of meals is 50 [policy/meals]. The approver of meals is Kim [policy/meals].": (0.5, 1.0, 0.5, 0.5, 0.0),
    "The approver of meals is Lee [policy/meals].": (0.0, 1.0, 0.0, 0.0, 1.0),
    "The approver of meals is Kim.": (0.0, 0.0, None, 1.0, 1.0),
    "The approver of meals is not Kim [policy/meals].": (0.0, 1.0, 1.0, 0.0, 1.0),
    "The owner of erp/sales is Lee [erp/sales].": (1.0, 1.0, 1.0, 1.0, 0.0),
    "The budget was cut on 2025-09-30 [note-1].": (1.0, 1.0, 1.0, None, 0.0),
    "The budget was cut on 2025-09-29 [note-1].": (0.0, 1.0, 0.0, None, 1.0),
    "I was told that Bolt spent 1,200 [erp/sales].": (0.0, 1.0, 1.0, 1.0, 1.0),
    "Sales did not spend 1,200 [erp/sales].": (0.0, 1.0, 1.0, None, 1.0),
    "It is false that sales spent 1,200 [erp/sales].": (0.0, 1.0, 1.0, 1.0, 1.0),
    "Sales spent 1,500 [erp/sales].": (0.0, 1.0, 1.0, 0.0, 1.0),
    "The budget was 1500, and 1.2k were spent [erp/sales].": (1.0, 1.0, 1.0, 1.0, 0.0),
    "I do not know.": (None, None, None, None, None),
    "": (None, None, None, None, None),
}


@pytest.mark.capability("EV-22")
@pytest.mark.capability("EV-31")
@pytest.mark.capability("EV-32")
@pytest.mark.parametrize("text", BY_HAND, ids=lambda text: text[:50])
def test_the_rates_of_an_answer_worked_by_hand(text: str) -> None:
    assert measures(text) == pytest.approx(BY_HAND[text])


def test_of_a_truncated_answer_nothing_is_known() -> None:
    assert set(measure_grounding(task(), said(GOLD, "length")).values()) == {None}
    assert GroundedAnswer()(task(), said(GOLD, "length")).reasons == ("truncated",)


@pytest.mark.parametrize(
    ("sentence", "fact"),
    [
        ("The owner of ACME is Lee.", ("ACME", "owner", "Lee", False)),
        ("ACME's owner is not Lee [x/1].", ("ACME", "owner", "Lee", True)),
        ("ACME has a credit limit of EUR 1,200.", ("ACME", "credit limit", "EUR 1,200", False)),
        ("The owner of ACME wasn't Kim", ("ACME", "owner", "Kim", True)),
        ("Sales spent 1,200.", None),
        ("Is the owner of ACME Lee?", None),
    ],
)
def test_facts_are_read_from_plain_sentences(sentence: str, fact: tuple[str, str, str, bool] | None) -> None:
    found = read_fact(sentence)
    assert (found and (found.subject, found.attribute, found.value, found.is_denied)) == fact


def test_facts_are_read_from_records_and_texts() -> None:
    found = list(
        facts_of("erp", {"id": "acc-1", "balance": 5, "lines": [{"amount": 3}], "note": "The owner of X is Y."})
    )
    topics = {(fact.subject, fact.attribute, fact.value) for fact in found}
    assert {("acc-1", "balance", 5), ("acc-1", "amount", 3), ("X", "owner", "Y")} <= topics


@pytest.mark.capability("EV-32")
def test_entailment_is_decided_on_every_pair_of_synthetic_facts() -> None:
    subjects, attributes, values = ("ACME", "Bolt"), ("owner", "credit limit"), ("Lee", "Kim", "1200")
    shapes = ("The {1} of {0} is {2}.", "{0}'s {1} is {2}.", "{0} has the {1} of {2}.")
    denials = ("The {1} of {0} is not {2}.", "{0}'s {1} isn't {2}.", "{0} has not the {1} of {2}.")
    told, counts = itertools.product(subjects, attributes, values), {"entailed": 0, "contradicted": 0, "neutral": 0}
    for known in told:
        record = [Fact(subject=known[0], attribute=known[1].replace(" ", "_"), value=known[2])]
        for asked in itertools.product(subjects, attributes, values):
            for shape, is_denied in [*((one, False) for one in shapes), *((one, True) for one in denials)]:
                fact = read_fact(shape.format(*asked))
                assert fact is not None, shape
                speaks, agrees = known[:2] == asked[:2], known[2] == asked[2]
                expected = "neutral" if not speaks else "entailed" if agrees != is_denied else "contradicted"
                assert relation(fact, record) == expected, (known, shape.format(*asked))
                counts[expected] += 1
    # 12 facts × 12 × 6 wordings; of the pairs a quarter share subject and attribute, a third of those the value
    assert counts == {"neutral": 648, "entailed": 108, "contradicted": 108}


def test_of_several_known_values_each_is_one_and_no_other() -> None:
    known = [Fact(subject="X", attribute="owner", value=value) for value in ("Lee", "Kim")]
    assert relation(Fact(subject="x", attribute="Owner", value="kim"), known) == "entailed"
    assert relation(Fact(subject="x", attribute="owner", value="Ann"), known) == "contradicted"
    assert relation(Fact(subject="x", attribute="owner", value="Ann", is_denied=True), known) == "entailed"


def test_evidence_is_what_tools_brought_and_documents_say_but_no_error() -> None:
    prompt = (
        Message(role="user", content="Use these:\n[doc-1] The limit of cabs is 30.\n[not a document]\nHow much?"),
        Message(role="tool", name="search", content=json.dumps({"documents": [{"source": "d-2", "text": "It is 7."}]})),
        Message(role="tool", name="erp", content='{"error": "denied", "why": "no 99"}'),
        Message(role="tool", name="clock", content="It is 12:30."),
    )
    found = evidence_in(Task(id="t", prompt=prompt))
    assert [piece.id for piece in found] == ["doc-1", "d-2", "search", "clock"]
    with_prompt = Task(id="t", prompt=prompt)
    assert GroundedAnswer()(with_prompt, said("The limit of cabs is 30 [doc-1].")).passed
    assert not GroundedAnswer()(with_prompt, said("It is 99 [erp].")).passed


@pytest.mark.capability("RG-05")
def test_an_answer_without_evidence_fails_though_it_is_right() -> None:
    for text in ("Sales spent 1,200.", "Sales spent twelve hundred.", "Surely. Sales spent 1200! Trust me."):
        verdict = GroundedAnswer()(task(), said(text))
        assert (verdict.passed, verdict.score) == (False, 0.0)
        assert measure_grounding(task(), said(text))["without_evidence"] == 1.0
    bare = Task(id="t", prompt=())
    assert not GroundedAnswer()(bare, said("Sales spent 1,200 [erp/sales].")).passed


@pytest.mark.capability("RG-03")
def test_what_must_be_said_must_stand_in_a_supported_claim() -> None:
    due = task(must_say=["1200", "Kim"])
    whole = GOLD + " The approver of meals is Kim [policy/meals]."
    assert GroundedAnswer()(due, said(whole)).passed
    part = GroundedAnswer()(due, said(GOLD))
    assert (part.score, part.reasons) == (0.5, ("'Kim' is not said",))


def test_where_nothing_can_be_known_only_an_answer_without_claims_passes() -> None:
    unknown = task(answerable=False)
    assert GroundedAnswer()(unknown, said("I do not know; there is no evidence for that.")).passed
    assert not GroundedAnswer()(unknown, said("It is 5.")).passed
    assert not GroundedAnswer()(unknown, said("")).passed
    assert not GroundedAnswer()(task(), said("I do not know.")).passed


def test_evidence_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(VerifierError, match="no mapping"):
        GroundedAnswer()(task(evidence=["x"]), said(GOLD))


def test_the_judge_of_grounding_passes_its_audit() -> None:
    due = task(must_say=["1,200", "40"])
    wrong = [
        GOLD.replace("1,200", "1,201"),
        GOLD.replace("40", "45"),
        GOLD.replace("erp/sales", "policy/meals"),
        GOLD.replace(" [erp/sales]", ""),
        GOLD.replace("Sales", "In all, Bolt"),
        GOLD.replace("is 40", "is not 40"),
        "I do not know.",
        "",
    ]
    every = " ".join(f"[{name}]" for name in EVIDENCE)
    cheats = [
        f"Sales spent 1,200 {every}. The limit of meals is 40 {every}.",
        every,
        f"1,200 40 {every}",
        "Sales spent 1,200 [1]. The limit of meals is 40 [2].",
        "Sales spent 1,200 and the limit is 40 [source: erp/sales].",
        GOLD + " Sales also spent ninety on gifts [erp/sales].",
        "The travel budget was cut on 2025-09-30 [note-1].",
        "As everyone knows, it is 1,200, and 40 for meals.",
    ]
    found = audit(GroundedAnswer(), reference_cases([due], lambda _: GOLD, lambda _: wrong, lambda _: cheats))
    assert found.require().num_cheats == 8


def test_a_citation_that_holds_nothing_of_its_claim_is_named() -> None:
    verdict = GroundedAnswer()(task(), said("Sales spent 1,200 [erp/sales] [note-1]."))
    assert (verdict.score, verdict.reasons) == (0.5, ("a citation holds nothing of its claim",))
