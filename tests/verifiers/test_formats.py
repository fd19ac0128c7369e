"""The form of an answer is judged as it was asked for, and not by what merely looks like it."""

import time

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task
from strop.verifiers import audit, reference_cases
from strop.verifiers.formats import FormatAnswer, measure_format
from strop.verifiers.markup import read_markdown, read_xml

XML = {"kind": "xml", "sections": ["facts", "answer"]}
MARKDOWN = {
    "kind": "markdown",
    "headings": ["## Summary", "Risks"],
    "table": {"columns": ["Account", "Amount"], "min_rows": 2},
    "list": {"min_items": 2, "max_items": 3},
}
GOLD_XML = "<facts>\nSales spent 1 &lt; 2 <b>million</b>.\n</facts>\n<answer>Yes, 1.</answer>"
GOLD_MARKDOWN = """# Report

## Summary
All is well.

| Account | Amount |
|:--------|-------:|
| 6100    | 12     |
| 6200    | a \\| b |

### Risks
- one
  more of one
- two
"""
BOMB = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]>' + GOLD_XML.replace("Yes", "&z;")


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(wanted: object) -> Task:
    return Task(id="t", prompt=(), reference={"format": wanted}, source="f:1")


def reasons(wanted: object, text: str) -> str:
    return "; ".join(FormatAnswer()(task(wanted), said(text)).reasons)


UNREADABLE_XML = {
    "<facts>a</facts><answer>b": "not XML",
    "<facts>a</answer><answer>b</facts>": "not XML: mismatched tag",
    "<facts>a < b</facts><answer>c</answer>": "not XML",
    "<facts>a & b</facts><answer>c</answer>": "not XML",
    "<facts>&nbsp;</facts><answer>c</answer>": "not XML",
    "<facts a=1>a</facts><answer>c</answer>": "not XML",
    GOLD_XML + "</strop-answer><strop-answer>": "not XML",
    "<strop-answer>" + GOLD_XML + "</strop-answer>": "strop-answer is no tag",
    "<a>" * 100 + "</a>" * 100: "nested deeper",
    BOMB: "not XML",
    '<?xml version="1.0"?>' + BOMB: "not XML",
}
WRONG_XML = {
    "<answer>b</answer><facts>a</facts>": "the sections are answer, facts",
    "<facts>a</facts>": "<answer> stands 0 times",
    "<facts>a</facts><answer>b</answer><answer>c</answer>": "<answer> stands 2 times",
    "<facts>a<answer>b</answer></facts>": "<answer> stands 0 times",
    "<facts> </facts><answer>...</answer>": "<facts> is empty; <answer> is empty",
    "Sure: " + GOLD_XML: "text outside the sections: 'Sure:'",
    "<plan>x</plan>" + GOLD_XML: "the sections are plan, facts, answer",
    "<Facts>a</Facts><answer>b</answer>": "<facts> stands 0 times",
    "<!-- <facts>a</facts> --><answer>b</answer>": "<facts> stands 0 times",
    "<![CDATA[<facts>a</facts>]]><answer>b</answer>": "<facts> stands 0 times",
    "<facts><!-- much --></facts><answer>b</answer>": "<facts> is empty",
    "": "<facts> stands 0 times",
}


@pytest.mark.parametrize("text", UNREADABLE_XML, ids=lambda text: text[:40])
def test_xml_that_is_not_well_formed_is_unparsable(text: str) -> None:
    verdict = FormatAnswer()(task(XML), said(text))
    assert (verdict.state, verdict.score) == ("unparsable", 0.0)
    assert UNREADABLE_XML[text] in verdict.reasons[0]


@pytest.mark.parametrize("text", WRONG_XML, ids=lambda text: text[:40])
def test_sections_are_wrong_with_the_reason(text: str) -> None:
    assert WRONG_XML[text] in reasons(XML, text)


def test_no_document_type_is_read_and_so_no_entity_expands() -> None:
    with pytest.raises(ValueError, match="not XML"):
        read_xml(BOMB)
    with pytest.raises(ValueError, match="not XML"):
        read_xml('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a>x</a>')


def test_sections_in_order_pass_in_a_root_or_beside_text_where_that_is_asked_for() -> None:
    assert FormatAnswer()(task(XML), said(GOLD_XML)).passed
    assert FormatAnswer()(task(XML), said("<think>\n<facts>\n</think>" + GOLD_XML)).passed
    assert not FormatAnswer()(task(XML), said(GOLD_XML, "length")).passed
    rooted = {**XML, "root": "report"}
    assert FormatAnswer()(task(rooted), said(f'<?xml version="1.0"?><report>{GOLD_XML}</report>')).passed
    assert "only element" in reasons(rooted, GOLD_XML)
    assert "text outside" in reasons(rooted, f"<report>Well. {GOLD_XML}</report>")
    assert FormatAnswer()(task({**XML, "other_text": True}), said("Sure: " + GOLD_XML)).passed


WRONG_MARKDOWN = {
    GOLD_MARKDOWN.replace("## Summary", "# Summary"): "'## Summary' stands 0 times",
    GOLD_MARKDOWN.replace("All is well.\n", "").partition("| Account")[0]
    + "## Risks\n- a\n- b": "nothing stands below",
    GOLD_MARKDOWN.replace("### Risks", "Risks"): "'Risks' stands 0 times",
    "### Risks\nx\n" + GOLD_MARKDOWN: "'Risks' stands 2 times",
    "## Risks\n- a\n- b\n## Summary\nx\n": "the headings are not in the order",
    GOLD_MARKDOWN.replace("Amount |", "Sum |"): "the columns are Account, Sum",
    GOLD_MARKDOWN.replace("| 6100    | 12     |", "| 6100 |"): "a row is not as wide",
    GOLD_MARKDOWN.replace("12 ", "   "): "a cell is empty",
    GOLD_MARKDOWN.replace("| 6200    | a \\| b |\n", ""): "1 rows, asked for 2 to any",
    GOLD_MARKDOWN.replace("| 6200    | a \\| b |", "| 6100 | 12 |"): "a row stands twice",
    GOLD_MARKDOWN.replace("|:--------|-------:|\n", ""): "0 tables",
    GOLD_MARKDOWN.replace("- two\n", ""): "1 items, asked for 2 to 3",
    GOLD_MARKDOWN + "- three\n- four\n": "4 items, asked for 2 to 3",
    GOLD_MARKDOWN.replace("- two", "- one"): "stands twice",
    GOLD_MARKDOWN + "\nText.\n\n* x\n* y\n": "2 lists where one was due",
    f"```\n{GOLD_MARKDOWN}```\n": "'## Summary' stands 0 times",
    f"<!--\n{GOLD_MARKDOWN}-->\n": "'## Summary' stands 0 times",
    f"```\n{GOLD_MARKDOWN}": "never closed",
    GOLD_MARKDOWN.replace("\n", " "): "'## Summary' stands 0 times",
}


@pytest.mark.parametrize("text", WRONG_MARKDOWN, ids=lambda text: WRONG_MARKDOWN[text])
def test_markdown_is_wrong_with_the_reason(text: str) -> None:
    assert WRONG_MARKDOWN[text] in reasons(MARKDOWN, text)


def test_markdown_as_asked_for_passes() -> None:
    verdict = FormatAnswer()(task(MARKDOWN), said(GOLD_MARKDOWN))
    assert verdict.passed, verdict.reasons
    assert measure_format(task(MARKDOWN), said(GOLD_MARKDOWN)) == {"format_valid": 1.0, "format_share": 1.0}
    # five things are asked for: two headings, their order, a table and a list
    spoilt = GOLD_MARKDOWN.replace("- two\n", "")
    assert measure_format(task(MARKDOWN), said(spoilt)) == {"format_valid": 0.0, "format_share": pytest.approx(4 / 5)}


def test_the_structure_of_markdown_is_read_as_commonmark_has_it() -> None:
    found = read_markdown("# A #\n#no\n    # code\n~~~\n# in\n```\n~~~\n1. x\n2. y\n\n   z\n- q\n\na|b\n-|-\n1|2\n")
    assert [heading.title for heading in found.headings] == ["A"]
    assert found.lists == (("x", "y"), ("q",))
    assert [(table.columns, table.rows) for table in found.tables] == [(("a", "b"), (("1", "2"),))]


@pytest.mark.parametrize("empty", ["```\n```", "```python\n\n```", "~~~\n...\n~~~", "\x00", "\x01"])
def test_an_empty_block_or_a_control_character_is_nothing_below_a_heading(empty: str) -> None:
    wanted = {"kind": "markdown", "headings": ["Summary"]}
    assert reasons(wanted, "# Summary\n```\nx = 1\n```") == "as asked for"
    assert reasons(wanted, f"# Summary\n{empty}") == "nothing stands below the heading 'Summary'"


def test_a_text_full_of_tables_is_read_in_time() -> None:
    begun = time.process_time()
    assert len(read_markdown("|a|b|\n|-|-|\n" * 20_000).tables) == 1
    assert time.process_time() - begun < 5.0  # 0.3 s; every table read to the end anew took minutes


def test_json_alone_is_one_strict_value() -> None:
    assert reasons({"kind": "json"}, '{"a": 1}') == "as asked for"
    assert "not JSON" in reasons({"kind": "json"}, 'Here: {"a": 1}')
    assert "twice" in reasons({"kind": "json"}, '{"a": 1, "a": 1}')


@pytest.mark.parametrize(
    "wanted",
    [None, {"kind": "yaml"}, {"kind": "xml"}, {**XML, "heading": []}, {**MARKDOWN, "table": {"column": []}}],
)
def test_a_format_that_is_not_known_is_refused(wanted: object) -> None:
    with pytest.raises(VerifierError, match="has"):
        FormatAnswer()(task(wanted), said("x"))


def test_the_judge_of_formats_passes_its_audit() -> None:
    xml_cheats = [BOMB, "<facts/><answer/>", "<facts>-</facts><answer>?</answer>", GOLD_XML * 2, "facts answer"]
    xml = reference_cases([task(XML)], lambda _: GOLD_XML, lambda _: list(WRONG_XML), lambda _: xml_cheats)
    tricks = [
        "# Summary Risks\n| Account | Amount |",
        f"```markdown\n{GOLD_MARKDOWN}```",
        GOLD_MARKDOWN.replace("6100", "").replace("6200", ""),
        GOLD_MARKDOWN.replace("- one\n  more of one\n- two", "- .\n- ,"),
    ]
    shape = reference_cases([task(MARKDOWN)], lambda _: GOLD_MARKDOWN, lambda _: list(WRONG_MARKDOWN), lambda _: tricks)
    json_tricks = ['"{}" {}', "```json\n{}\n```", "{} {}", "{'a': 1}"]
    bare = reference_cases([task({"kind": "json"})], lambda _: "{}", lambda _: ["{", "None"], lambda _: json_tricks)
    assert audit(FormatAnswer(), [*xml, *shape, *bare]).require().num_cheats == 13
