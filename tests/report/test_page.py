"""The page is self-contained, escaped, balanced, and complete."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from strop.report import (
    Lineage,
    Measured,
    Piece,
    Samples,
    Section,
    SideBySide,
    StageCard,
    StageCards,
    Text,
    Transcript,
    curve,
    mark_control,
    page,
    progress,
)
from strop.types import Check, Decision

ATTACK = "<script>alert('x')</script>\"><img src=https://example.org/x onerror=alert(1)>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Document(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def full_page(words: str = "words") -> str:
    """A page with every kind of item, with ``words`` wherever a user's text can stand."""
    rate = Measured(value=0.9, n=500, low=0.87, high=0.93)
    change = Measured(value=0.4, n=500, low=0.3, high=0.5, unit="points")
    answer = Transcript(label=words, pieces=mark_control(f"<tool_call>{words}", ["<tool_call>"]), verdict=words)
    items = (
        progress(
            words,
            {"base": {words: None}, words: {words: rate}},
            directions={words: "higher"},
            seeds=[3],
            changes={words: change},
            note=words,
        ),
        curve(words, {words: [(0, 1.0), (1, 2.0)]}, y_label=words),
        StageCards(cards=(StageCard(name=words, lever=words, metric=words, rollback=words, facts={words: words}),)),
        Samples(samples=(SideBySide(title=words, prompt=(Piece(words),), transcripts=(answer, answer)),)),
        Lineage(digests={words: words}),
        Text(paragraphs=(words,)),
    )
    decision = Decision(outcome="BLOCK", checks=(Check(name=words, outcome="INSUFFICIENT", reason=words),))
    sections = [Section(title=words, items=items, intro=words), Section(title="empty", items=())]
    return page(words, sections, decision=decision, subtitle=words, facts={words: words})


def test_a_script_in_any_text_stays_text() -> None:
    document = Document(full_page(ATTACK))
    assert {tag for tag, _ in document.tags} & {"script", "img"} == set()
    assert not [name for _, attributes in document.tags for name in attributes if name.startswith("on")]
    harmless = Document(full_page("words"))
    assert [tag for tag, _ in document.tags] == [tag for tag, _ in harmless.tags]
    assert document.text.count(ATTACK) == harmless.text.count("words") >= 20


def test_the_page_requests_nothing() -> None:
    source = full_page()
    document = Document(source)
    links = [v for _, attributes in document.tags for k, v in attributes.items() if k in ("src", "href", "xlink:href")]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    assert not {tag for tag, _ in document.tags} & {"script", "link", "iframe", "object", "embed"}


@pytest.mark.parametrize("outcome", ["PASS", "BLOCK", "INSUFFICIENT"])
def test_the_decision_stands_on_top_in_words(outcome: str) -> None:
    check = Check(name="finance.valid", outcome=outcome, reason="because")  # type: ignore[arg-type]
    decision = Decision(outcome=outcome, checks=(check,))  # type: ignore[arg-type]
    document = Document(page("run", [Section(title="later", items=())], decision=decision))
    assert document.text.index(outcome) < document.text.index("finance.valid") < document.text.rindex("later")
    assert ("div", {"class": f"banner {outcome}"}) in document.tags


def test_a_page_without_a_decision_claims_none() -> None:
    document = Document(page("run", []))
    assert not any("banner" in (attributes.get("class") or "") for _, attributes in document.tags)


@pytest.mark.capability("IM-10")
def test_every_rate_stands_with_its_interval_its_n_and_its_seeds() -> None:
    text = " ".join(Document(full_page()).text.split())
    assert "90.0 % 87.0 to 93.0, n = 500" in text
    assert "+40.0 pp +30.0 to +50.0, n = 500 better" in text
    assert "seed 3" in text


@pytest.mark.parametrize("missing", ["lever", "metric", "rollback"])
def test_a_stage_without_lever_metric_or_rollback_has_no_card(missing: str) -> None:
    fields = {"lever": "a", "metric": "b", "rollback": "c", missing: " "}
    with pytest.raises(ValueError, match=missing):
        StageCard(name="sft", **fields)


def test_the_page_can_be_heard_and_navigated() -> None:
    document = Document(full_page())
    assert ("html", {"lang": "en"}) in document.tags
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for tag, attributes in document.tags if tag == "a"]
    assert all((target or "")[1:] in ids for target in targets)
    tables = [tag for tag, _ in document.tags if tag in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") == 2
    assert all("scope" in attributes for tag, attributes in document.tags if tag == "th")
    drawing = next(attributes for tag, attributes in document.tags if tag == "svg")
    assert drawing["role"] == "img"
    assert drawing["aria-label"]


def test_trained_and_control_tokens_are_visible_and_named() -> None:
    pieces = mark_control("<|assistant|>hello<tool_call>{}</tool_call><|end|>", ["<|end|>", "<tool_call>"], "trained")
    assert pieces == (
        Piece("<|assistant|>hello", "trained"),
        Piece("<tool_call>", "trained control"),
        Piece("{}</tool_call>", "trained"),
        Piece("<|end|>", "trained control"),
    )
    answer = Transcript(label="sft", pieces=pieces)
    sample = SideBySide(title="one", prompt=mark_control("hi<|end|>", ["<|end|>"]), transcripts=(answer,))
    document = Document(page("run", [Section(title="Samples", items=(Samples(samples=(sample,)),))]))
    classes = [attributes.get("class") for tag, attributes in document.tags if tag == "span"]
    assert classes.count("trained control") == 2
    assert "control" in classes
    assert "Legend: trained control token" in " ".join(document.text.split())


def test_the_longer_control_token_wins_where_two_overlap() -> None:
    assert mark_control("a<|end|>>", ["<|end|>", "<|end|>>"]) == (Piece("a"), Piece("<|end|>>", "control"))
    assert mark_control("", ["<|end|>"]) == ()
    assert mark_control("plain", []) == (Piece("plain"),)


def test_neighbouring_plots_share_a_row_and_keep_the_order_of_the_items() -> None:
    plot = curve("Loss", {"train": [(0, 1.0), (1, 2.0)]})
    items = (Text(paragraphs=("first",)), plot, plot, Text(paragraphs=("last",)))
    document = Document(page("run", [Section(title="Curves", items=items)]))
    assert [attributes.get("class") for tag, attributes in document.tags if tag == "div"] == ["plots"]
    assert document.text.index("first") < document.text.index("Loss") < document.text.index("last")


def test_what_failed_stands_before_what_passed() -> None:
    outcomes = {"good": "PASS", "few": "INSUFFICIENT", "fine": "PASS", "bad": "BLOCK"}
    checks = tuple(Check(name=name, outcome=outcome, reason="") for name, outcome in outcomes.items())  # type: ignore[arg-type]
    html = page("run", [], decision=Decision(outcome="BLOCK", checks=checks))
    assert re.findall(r'<th scope="row">(\w+)</th>', html) == ["bad", "few", "good", "fine"]
