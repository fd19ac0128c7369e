"""One change around the weights, of every kind: found, named and shown; and nothing where nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tokenizers.pre_tokenizers import ByteLevel

import trl_templates
from strop.chat import ChatTemplate
from strop.evals.drift import Probe, Surroundings, replay_index
from strop.evals.drift.checks import find_drift
from strop.tools import Caller, IndexedDocument, SearchIndex, ToolContract
from strop.types import Check
from tiny_models import CHATML, make_tokenizer


def around(**parts: Any) -> Surroundings:
    return Surroundings(name="finance", weights="w", **parts)


def of_tokenizer(tokenizer: Any) -> Surroundings:
    return around(template=ChatTemplate.from_tokenizer(tokenizer).lock)


def only(candidate: Surroundings, baseline: Surroundings) -> Check:
    found = find_drift(candidate, baseline)
    assert len(found) == 1, [check.name for check in found]
    assert found[0].outcome == "BLOCK"
    return found[0]


# ---------------------------------------------------------------------------------------------- template and tokenizer


@pytest.mark.capability("EV-53")
@pytest.mark.parametrize("name", ["qwen3", "llama3", "gemma", "phi3"])
def test_one_byte_of_a_real_template_is_found_and_the_conversation_it_changes_is_shown(name: str) -> None:
    """``qwen3`` and the others as trl ships them: a space is put before the end of each turn that the user takes."""
    ends = {
        "qwen3": ("'<|im_end|>'", "' <|im_end|>'"),
        "llama3": ("<|start_header_id|>' + ", " <|start_header_id|>' + "),
        "gemma": ("'<end_of_turn>", "' <end_of_turn>"),
        "phi3": ("<|user|>", " <|user|>"),
    }
    tokenizer = trl_templates.tokenizer_for(name)
    baseline = of_tokenizer(tokenizer)
    old, new = ends[name]
    assert old in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(old, new)
    found = only(of_tokenizer(tokenizer), baseline)
    assert found.name == "finance: template"
    assert found.reason.startswith("the weights are the same, the template is not: the chat template differs")
    assert "golden conversation " in found.reason
    removed, added = (
        next(line for line in found.reason.splitlines() if line.strip().startswith(sign) and '"' in line)
        for sign in "-+"
    )
    assert len(added) > len(removed)
    assert found.numbers["goldens"]
    assert find_drift(baseline, baseline) == []


@pytest.mark.capability("EV-53")
def test_a_template_byte_that_changes_no_conversation_is_still_a_drift() -> None:
    baseline = of_tokenizer(make_tokenizer(CHATML))
    found = only(of_tokenizer(make_tokenizer("{# a #}" + CHATML)), baseline)
    assert found.numbers["goldens"] == []
    assert "golden" not in found.reason


@pytest.mark.capability("EV-54")
def test_one_added_token_is_found_and_named_with_its_id() -> None:
    baseline = of_tokenizer(make_tokenizer())
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["Hello"])
    found = only(of_tokenizer(tokenizer), baseline)
    assert found.name == "finance: tokenizer"
    assert found.reason.startswith("the weights are the same, the tokenizer is not: the tokenizer differs")
    assert f"Hello: None -> {len(tokenizer) - 1}" in found.reason
    assert found.numbers["goldens"] == []  # no message's text becomes an added token


@pytest.mark.capability("EV-54")
def test_a_tokenizer_that_splits_otherwise_is_found_by_the_ids_and_the_template_is_not_blamed() -> None:
    baseline = of_tokenizer(make_tokenizer())
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    found = only(of_tokenizer(tokenizer), baseline)
    assert found.name == "finance: tokenizer"
    assert "same string, other ids from token 1" in found.reason  # <|user|>, and then the first word
    assert {"prompt", "one turn", "several turns"} <= set(found.numbers["goldens"])


@pytest.mark.capability("EV-54")
def test_another_special_token_is_found_though_every_conversation_stays() -> None:
    baseline = of_tokenizer(make_tokenizer())
    tokenizer = make_tokenizer()
    tokenizer.eos_token = "<|pad|>"
    found = only(of_tokenizer(tokenizer), baseline)
    assert found.name == "finance: tokenizer"
    assert "eos_token: '<|end|>' -> '<|pad|>'" in found.reason


@pytest.mark.capability("EV-54")
def test_a_special_token_that_changes_its_id_is_found() -> None:
    lock = dict(ChatTemplate.from_tokenizer(make_tokenizer()).lock)
    moved = deepcopy(lock)
    moved["control_tokens"]["<|end|>"] = 399
    found = only(around(template=moved), around(template=lock))
    assert found.name == "finance: tokenizer"
    assert "<|end|>: 2 -> 399" in found.reason


def test_with_other_weights_the_drift_is_told_as_one_of_two_changes() -> None:
    baseline = of_tokenizer(make_tokenizer(CHATML))
    candidate = replace(of_tokenizer(make_tokenizer("{# a #}" + CHATML)), weights="trained")
    found = only(candidate, baseline)
    assert found.reason.startswith("the weights changed, and so did the template: ")
    assert found.numbers["weights_unchanged"] is False
    assert find_drift(replace(baseline, weights="trained"), baseline) == []


def test_where_the_content_was_not_kept_the_digest_still_tells() -> None:
    found = only(around(digests={"template": "b" * 64}), around(digests={"template": "a" * 64}))
    assert "its digest was aaaaaaaaaaaa and is bbbbbbbbbbbb" in found.reason


# ---------------------------------------------------------------------------------------------------------------- tools

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"quarter": {"enum": ["Q1", "Q2"]}, "department": {"type": "string"}},
    "required": ["quarter"],
    "additionalProperties": False,
}
CONTRACT = ToolContract(name="query_erp", description="What was spent.", parameters=SCHEMA)


def schema(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    copy = deepcopy(SCHEMA)
    change(copy)
    return copy


def renamed(schema: dict[str, Any]) -> None:
    schema["properties"]["dept"] = schema["properties"].pop("department")


CHANGES: Mapping[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "an enum value lost": (lambda s: s["properties"]["quarter"]["enum"].pop(), "breaking", "enum allows less"),
    "an enum value more": (lambda s: s["properties"]["quarter"]["enum"].append("Q3"), "compatible", "more is possible"),
    "an argument renamed": (renamed, "breaking", "department"),
    "words": (lambda s: s["properties"]["quarter"].update(description="Of 2025."), "wording", "only words"),
}


@pytest.mark.capability("EV-55")
@pytest.mark.capability("CK-9")
@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("is_plain", [False, True], ids=["contracts", "plain functions"])
def test_a_changed_contract_is_found_and_told_by_what_it_does_to_its_callers(change: str, is_plain: bool) -> None:
    alter, kind, reason = CHANGES[change]
    after = replace(CONTRACT, parameters=schema(alter))
    shown = [{"query_erp": c.described if is_plain else c.as_json} for c in (after, CONTRACT)]
    found = only(around(tools=shown[0]), around(tools=shown[1]))
    assert found.name == "finance: tools"
    assert found.reason.startswith("the weights are the same, the tools are not: query_erp: ")
    assert kind in found.reason
    assert reason in found.reason
    told = found.numbers["tools"]["query_erp"]
    assert told["kind"] == kind
    assert told["baseline"] != told["candidate"]
    assert told["is_announced"] is (None if is_plain else False)
    assert ("not announced: 1.0.0 -> 1.0.0" in found.reason) is not is_plain


@pytest.mark.capability("EV-55")
def test_an_announced_change_is_still_a_drift_and_says_that_it_was_announced() -> None:
    after = replace(CONTRACT, parameters=schema(CHANGES["an argument renamed"][0]), version="2.0.0")
    found = only(around(tools={"query_erp": after.as_json}), around(tools={"query_erp": CONTRACT.as_json}))
    assert "announced by its version, 1.0.0 -> 2.0.0" in found.reason
    assert found.numbers["tools"]["query_erp"]["is_announced"] is True


@pytest.mark.parametrize(("before", "after", "told"), [(0, 1, "the tool is new"), (1, 0, "the tool is gone")])
def test_a_tool_that_came_or_went_is_named(before: int, after: int, told: str) -> None:
    tools = [{}, {"query_erp": CONTRACT.described}]
    found = only(around(tools=tools[after]), around(tools=tools[before]))
    assert told in found.reason
    assert find_drift(around(tools=tools[1]), around(tools=tools[1])) == []


def test_what_a_function_says_beside_its_contract_counts_too() -> None:
    strict = {"type": "function", "function": {**CONTRACT.described["function"], "strict": True}}
    found = only(around(tools={"query_erp": strict}), around(tools={"query_erp": CONTRACT.described}))
    assert "query_erp: described to the model in another way" in found.reason


# ------------------------------------------------------------------------------------------------------ index, decoding

ME = Caller(tenant="bank_A")
DOCUMENTS = tuple(
    IndexedDocument(id=name, text=text)
    for name, text in {
        "travel": "Flights above 500 need approval by the manager.",
        "gifts": "Gifts above 50 must be declared.",
        "cards": "Company cards are blocked after three wrong codes.",
    }.items()
)
PROBES = tuple(Probe(query=query, caller=ME) for query in ("flights approval", "gifts declared", "cards blocked"))


def index_of(*documents: IndexedDocument) -> dict[str, Any]:
    return replay_index(SearchIndex(documents), PROBES)


@pytest.mark.capability("EV-56")
def test_one_replaced_document_is_found_and_the_queries_it_changes_are_named() -> None:
    """The limit for gifts became 80: the same document is found, with another text, by the one query about gifts."""
    gifts = replace(DOCUMENTS[1], text="Gifts above 80 must be declared.")
    baseline, candidate = index_of(*DOCUMENTS), index_of(DOCUMENTS[0], gifts, DOCUMENTS[2])
    found = only(around(index=candidate), around(index=baseline))
    assert found.name == "finance: index"
    assert found.reason.startswith("the weights are the same, the index is not: its digest was ")
    assert "1 of 3 replayed queries are answered differently" in found.reason
    assert list(found.numbers["queries"]) == ["gifts declared (as bank_A, k=3)"]
    assert "another text in gifts" in found.numbers["queries"]["gifts declared (as bank_A, k=3)"]
    assert find_drift(around(index=index_of(*DOCUMENTS)), around(index=baseline)) == []


@pytest.mark.capability("EV-56")
def test_a_lost_document_is_told_by_what_is_found_instead() -> None:
    found = only(around(index=index_of(*DOCUMENTS[1:])), around(index=index_of(*DOCUMENTS)))
    assert "'flights approval (as bank_A, k=3)' found travel; now nothing" in found.reason


@pytest.mark.capability("EV-56")
def test_a_new_document_that_no_query_meets_is_a_drift_of_the_digest_alone() -> None:
    extra = IndexedDocument(id="dogs", text="Dogs stay outside.")
    found = only(around(index=index_of(*DOCUMENTS, extra)), around(index=index_of(*DOCUMENTS)))
    assert "0 of 3 replayed queries are answered differently" in found.reason
    assert found.numbers["queries"] == {}


@pytest.mark.capability("EV-56")
def test_an_index_that_answers_otherwise_under_the_same_digest_is_found_by_the_replay() -> None:
    """As behind a server, whose digest is only what it says of itself."""
    gifts = replace(DOCUMENTS[1], text="Gifts above 80 must be declared.")
    baseline = index_of(*DOCUMENTS)
    lying = {**index_of(DOCUMENTS[0], gifts, DOCUMENTS[2]), "digest": baseline["digest"]}
    assert "1 of 3 replayed queries" in only(around(index=lying), around(index=baseline)).reason


def test_without_replayed_queries_it_is_said_that_the_effect_is_not_known() -> None:
    found = only(around(index={"digest": "b" * 64}), around(index={"digest": "a" * 64}))
    assert "no query was replayed" in found.reason
    gone = only(around(index={}), around(index={"digest": "a" * 64}))
    assert "there is no index any more" in gone.reason


def test_answers_made_of_the_hits_are_compared_as_answers() -> None:
    gifts = replace(DOCUMENTS[1], text="Gifts above 80 must be declared.")
    old, new = (
        replay_index(
            SearchIndex([DOCUMENTS[0], one]),
            PROBES[1:2],
            answer=lambda _, hits: "".join(c for c in hits[0].document.text if c.isdigit()),
        )
        for one in (DOCUMENTS[1], gifts)
    )
    assert "answered '50', now '80'" in only(around(index=new), around(index=old)).reason


def test_decoding_settings_are_compared_one_by_one() -> None:
    found = only(around(decoding={"temperature": 0.7, "top_p": 1.0}), around(decoding={"temperature": 0.0, "top_p": 1}))
    assert found.reason == "the weights are the same, the decoding settings are not: temperature: 0.0 -> 0.7"
