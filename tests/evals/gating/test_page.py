"""The gate's page says the decision in words and shows no number without what it rests on."""

import re

import pytest

from strop.evals import ItemResult, Metric, gate, gate_report, parse_gate_config
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.page import gate_page, together
from strop.evals.gating.recorded import RecordedEvidence
from strop.types import Check
from suite_outcomes import ones, result, sample

METRICS = {
    "accuracy": Metric(direction="higher", dimension="truthfulness"),
    "schema_valid": Metric(direction="higher", dimension="reliability", beside=("semantic_valid",)),
    "over_refusal": Metric(direction="lower", dimension="harmlessness"),
    "semantic_valid": Metric(direction="higher", dimension="truthfulness"),
    "call_rate": Metric(direction="higher", dimension="reliability", is_gate=False),
}


def items(num_right: int, word: str) -> list[ItemResult]:
    made = []
    for index in range(120):
        right = float(index < num_right)
        one = sample(accuracy=right, schema_valid=1.0, over_refusal=1 - right, semantic_valid=right, call_rate=0.5)
        one = type(one)(**{**vars(one), "text": f"{word} {index}"})
        slices = {"kind": "transfer" if index % 2 else "balance"}
        made.append(ItemResult(id=f"i{index:04}", slices=slices, question=f"Question {index}?", samples=(one,)))
    return made


def sides(num_right: int = 90):
    candidate = {"finance": result(items=items(num_right, "new"), metrics=METRICS, model="new", tools="other")}
    baseline = {"finance": result(items=items(115, "old"), metrics=METRICS, model="old")}
    return candidate, baseline


def test_the_page_of_a_blocked_candidate_shows_reasons_both_answers_drift_and_lineage() -> None:
    candidate, baseline = sides()
    config = parse_gate_config({"thresholds": {"finance.accuracy[kind=transfer]": {"min": 0.9}}})
    decision = gate(candidate, baseline, config)
    report = gate_report(decision, candidate, baseline, config, who="Ada")
    html = gate_page(report, decision, candidate, baseline)
    assert decision.outcome == "BLOCK"
    assert "It must not be released because:" in html
    assert "finance.accuracy[kind=transfer]" in html
    assert "Ada" in html
    assert "finance · harmlessness" in html
    assert "finance · by kind" in html
    shown = re.findall(r"<article class=\"sample\"><h3>[^<]*· (i\d+)</h3>.*?</article>", html, re.DOTALL)
    assert shown, "the items that decided are there"
    for item in shown:
        number = int(item[1:])
        assert f"old {number}<" in html, "with the baseline's answer"
        assert f"new {number}<" in html, "and the candidate's"
    assert re.search(r"tools</th>\s*<td>.*?o<.*?other.*?changed", html, re.DOTALL), "the drift of the tools"
    assert candidate["finance"].digest in html
    assert report["config_digest"] in html


@pytest.mark.capability("EV-47")
def test_a_metric_stands_in_no_table_without_its_companions() -> None:
    candidate, baseline = sides()
    config = parse_gate_config({})
    decision = gate(candidate, baseline, config)
    html = gate_page(gate_report(decision, candidate, baseline, config), decision, candidate, baseline)
    tables = re.findall(r"<table>\n<caption>([^<]*)<.*?</table>", html, re.DOTALL)
    bodies = re.findall(r"<table>\n<caption>.*?</table>", html, re.DOTALL)
    checked = 0
    for title, body in zip(tables, bodies, strict=True):
        if "schema_valid (read with semantic_valid)" in body:
            labels = re.findall(r"<th scope=\"row\">([^<]*)", body)
            for index, label in enumerate(labels):
                if "schema_valid" in label:
                    prefix = label.partition("schema_valid")[0]
                    assert labels[index + 1] == f"{prefix}semantic_valid", title
                    checked += 1
    assert checked == 3, "once by dimension, once in each of two slices"
    assert "call_rate (never a gate)" in html


def test_a_companion_that_was_not_measured_is_shown_as_missing() -> None:
    metrics = {"win_rate": Metric(direction="higher", beside=("accuracy",))}
    alone = result(ones(60, 120), metric="win_rate", metrics=metrics)
    assert together(["win_rate"], alone) == ["win_rate", "accuracy"]
    config = parse_gate_config({})
    decision = gate({"finance": alone}, None, config)
    html = gate_page(gate_report(decision, {"finance": alone}, None, config), decision, {"finance": alone})
    assert "not measured" in html


def test_every_number_of_a_metric_comes_with_its_items_and_interval() -> None:
    candidate, baseline = sides()
    config = parse_gate_config({})
    decision = gate(candidate, baseline, config)
    html = gate_page(gate_report(decision, candidate, baseline, config), decision, candidate, baseline)
    row = re.search(r"<th scope=\"row\">accuracy<.*?</tr>", html, re.DOTALL)
    assert row is not None
    # Wilson's 95 % interval of 90 of 120, by hand: centre (90 + 1.9208) / (120 + 3.8416) = 0.7422, half width 0.0767
    assert "75.0 %" in row[0]
    assert "66.6 to 81.9, n = 120" in row[0]
    assert "-20.8 pp" in row[0]


def test_evidence_stands_on_the_page_with_its_findings() -> None:
    candidate, _ = sides()
    kept = (
        Check(name="people", outcome="BLOCK", reason="they prefer the old one"),
        BlockingTest(name="judge", p_value=0.01, told="31 of 40 lost"),
    )
    evidence = RecordedEvidence(name="label session", digest="e" * 64, kept=kept)
    config = parse_gate_config({})
    decision = gate(candidate, None, config)
    report = gate_report(decision, candidate, None, config, [evidence])
    html = gate_page(report, decision, candidate, None, [evidence])
    for part in ("label session", "they prefer the old one", "31 of 40 lost", "p = 0.01", "e" * 64):
        assert part in html
