"""The index ranks as BM25 by hand does, and a foreign document changes neither a result nor a score."""

from __future__ import annotations

import math
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.errors import ToolError
from strop.tools import Caller, ToolRegistry, ToolSession, WorldState, evidence_of, ground
from strop.tools.index import IndexedDocument, SearchIndex
from strop.tools.retrieval import SEARCH, SearchService
from strop.types import ToolCall

READER = Caller(tenant="bank_A", permissions=frozenset({"documents.read"}))
WORDS = [f"w{number}" for number in range(60)]


def drawn(seed: int, num: int, tenant: str = "") -> list[IndexedDocument]:
    """Documents of 3 to 30 words, frequent ones first as in any language."""
    rng = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [
        IndexedDocument(
            id=f"{tenant}d{n:03}", text=" ".join(rng.choices(WORDS, weights, k=rng.randint(3, 30))), tenant=tenant
        )
        for n in range(num)
    ]


def bm25(documents: Sequence[IndexedDocument], query: str) -> dict[str, float]:
    """Scores by the formula of Robertson and Zaragoza (2009), with SQLite's floor of 1e-6 under the idf."""
    texts = {d.id: re.findall(r"\w+", d.text.lower()) for d in documents}
    average = sum(map(len, texts.values())) / len(texts)
    scores: dict[str, float] = {}
    for word in dict.fromkeys(query.lower().split()):
        having = sum(word in words for words in texts.values())
        idf = max(math.log((len(texts) - having + 0.5) / (having + 0.5)), 1e-6) if having else 0.0
        for name, words in texts.items():
            if count := Counter(words)[word]:
                damped = count + 1.2 * (0.25 + 0.75 * len(words) / average)
                scores[name] = scores.get(name, 0.0) + idf * count * 2.2 / damped
    return scores


@pytest.mark.capability("RG-02")
def test_recall_at_k_against_brute_force_is_one() -> None:
    documents = drawn(1, 400)
    index = SearchIndex(documents, tokenizer="unicode61")
    rng = random.Random(2)
    for _ in range(100):
        query = " ".join(rng.sample(WORDS, rng.randint(1, 4)))
        scores = bm25(documents, query)
        for k in (1, 5, 20):
            hits = index.search(query, READER, k=k)
            best = sorted(scores.values(), reverse=True)[:k]
            assert [hit.score for hit in hits] == pytest.approx(best, rel=1e-9)
            assert all(hit.score == pytest.approx(scores[hit.document.id], rel=1e-9) for hit in hits)


OWN = [
    IndexedDocument(id="own-1", text="transfer limit rent rent", tenant="bank_A"),
    IndexedDocument(id="own-2", text="transfer of the rent for the whole long year", tenant="bank_A"),
    IndexedDocument(id="all-1", text="limit for every tenant"),
]


@pytest.mark.capability("TU-18")
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["transfer", "rent", "limit", "secret"]), min_size=1, max_size=30), max_size=12),
    st.sampled_from(["transfer", "rent limit", "secret", "transfer rent limit secret"]),
)
def test_foreign_documents_change_no_result_and_no_score(foreign: list[list[str]], query: str) -> None:
    others = [IndexedDocument(id=f"b{n}", text=" ".join(t), tenant="bank_B") for n, t in enumerate(foreign)]
    locked = [
        IndexedDocument(id=f"l{n}", text=" ".join(t), tenant="bank_A", permission="board")
        for n, t in enumerate(foreign)
    ]
    assert SearchIndex([*OWN, *others, *locked]).search(query, READER, k=9) == SearchIndex(OWN).search(
        query, READER, k=9
    )


def test_filtering_one_common_index_would_leak_through_the_scores() -> None:
    connection = sqlite3.connect(":memory:")
    scores = []
    for num_foreign in (0, 50):
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(tenant UNINDEXED, text)")
        rows = [(d.tenant, d.text) for d in OWN] + [("bank_B", "rent")] * num_foreign
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        found = connection.execute("SELECT bm25(t) FROM t WHERE t MATCH 'rent' AND tenant = 'bank_A' ORDER BY 1")
        scores.append([row[0] for row in found])
        connection.execute("DROP TABLE t")
    assert scores[0] != scores[1]


def test_a_document_is_found_by_its_tenant_and_permission_only() -> None:
    documents = [*OWN, IndexedDocument(id="board-1", text="secret rent", tenant="bank_A", permission="board")]
    index = SearchIndex(documents)

    def found(caller: Caller) -> set[str]:
        return {hit.document.id for hit in index.search("rent limit secret", caller, k=9)}

    assert found(READER) == {"own-1", "own-2", "all-1"}
    assert found(Caller(tenant="bank_B")) == {"all-1"}
    assert found(Caller(tenant="bank_A", permissions=frozenset({"board"}))) == {"own-1", "own-2", "all-1", "board-1"}


@pytest.mark.capability("RG-06")
def test_the_digest_changes_with_every_field_and_not_with_the_order() -> None:
    base = {"id": "a", "text": "t", "title": "u", "tenant": "x", "permission": "p"}
    digests = {SearchIndex([IndexedDocument(**{**base, field: "other"})]).index_digest for field in base}
    digests.add(SearchIndex([IndexedDocument(**base)]).index_digest)
    digests.add(SearchIndex([IndexedDocument(**base)], tokenizer="trigram").index_digest)
    assert len(digests) == 7
    documents = drawn(3, 30)
    shuffled = random.Random(0).sample(documents, 30)
    assert SearchIndex(documents).index_digest == SearchIndex(shuffled).index_digest
    assert SearchIndex(documents).search("w0 w1", READER, k=9) == SearchIndex(shuffled).search("w0 w1", READER, k=9)


def session_over(index: SearchIndex, caller: Caller = READER) -> ToolSession:
    services = {"search": SearchService(index=index)}
    return ToolSession(ToolRegistry([SEARCH]), services, state=WorldState(today=date(2025, 9, 30)), caller=caller)


@pytest.mark.capability("RG-06")
def test_the_index_stands_in_every_trace_and_on_every_search() -> None:
    index = SearchIndex(OWN)
    session = session_over(index)
    assert session.trace["indices"] == {"search": index.index_digest}
    session.call(ToolCall(name="search", arguments={"query": "rent"}))
    assert session.trace["records"][0]["index"] == session.records[0].index_digest == index.index_digest


def test_what_was_found_can_be_cited_and_what_was_not_cannot() -> None:
    session = session_over(SearchIndex([IndexedDocument(id="limit/a", text="The limit is 8000.", tenant="bank_A")]))
    result = session.call(ToolCall(name="search", arguments={"query": "what is the limit?"}))
    assert result.value == {"documents": [{"source": "limit/a", "text": "The limit is 8000."}]}
    evidence = evidence_of(session.records)
    assert ground("The limit is 8,000 [limit/a].", evidence).grounded == 1.0
    assert ground("The limit is 8,000 [limit/b].", evidence).grounded == 0.0


def test_nothing_found_is_an_empty_list_and_no_permission_is_a_refusal() -> None:
    assert session_over(SearchIndex(OWN)).call(ToolCall(name="search", arguments={"query": "??"})).value == {
        "documents": []
    }
    stranger = session_over(SearchIndex(OWN), Caller(tenant="bank_A"))
    assert stranger.call(ToolCall(name="search", arguments={"query": "rent"})).state == "denied"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_query_is_words_and_never_query_language(query: str) -> None:
    SearchIndex(OWN).search(query, READER)


def test_operators_are_words() -> None:
    index = SearchIndex([IndexedDocument(id="a", text="alpha"), IndexedDocument(id="n", text="not near")])
    assert {hit.document.id for hit in index.search('alpha NOT "near', READER)} == {"a", "n"}
    assert index.search("text:alpha*", READER)[0].document.id == "a"


def test_an_id_stands_once_and_can_be_cited() -> None:
    with pytest.raises(ToolError, match="own-1"):
        SearchIndex([OWN[0], OWN[0]])
    with pytest.raises(ToolError, match="cited"):
        IndexedDocument(id="two words", text="")
