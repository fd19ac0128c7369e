"""Judged measures beside a suite's own, and anchors on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripted_judge import judge_model, material_of, nonce_of
from strop.errors import DataError, MismatchError
from strop.evals import GateConfig, SuiteResult, Threshold, gate
from strop.evals.judging import (
    RubricEvidence,
    hold_to_people,
    judge_rubric,
    read_anchor_report,
    read_anchors,
    write_anchor_report,
    write_anchors,
)
from strop.types import Message, Task, ToolCall
from strop.verifiers.anchors import Anchor, measure_anchors
from strop.verifiers.judge import Criterion, JudgeVerifier, Rubric
from suite_outcomes import ones, result

RUBRIC = Rubric(
    criteria=(
        Criterion(name="helpfulness", text="Does it help?"),
        Criterion(name="density", text="Does every sentence bring something?"),
    )
)


def judge(points: dict[str, int], model: str = "scripted") -> JudgeVerifier:
    """Gives an answer the points of its first word for helpfulness, and 5 for density; None for what it cannot read."""

    def answer(prompt: str) -> str:
        found = points.get(material_of(prompt)["ANSWER"].split()[0])
        nonce = nonce_of(prompt)
        return f"VERDICT {nonce} helpfulness: {found}\nVERDICT {nonce} density: {5 if found != 0 else 0}"

    return JudgeVerifier(judge=replace(judge_model(answer), model=model), rubric=RUBRIC)


POINTS = {"good": 10, "fair": 7, "bad": 0}
JUDGE = judge(POINTS)
ANCHORS = tuple(
    Anchor(task=Task(id=f"a{n}", prompt=(Message(role="user", content="?"),)), text=f"{word} {n}", label=word == "good")
    for n in range(20)
    for word in ("good", "bad")
)
TASKS = [Task(id=f"i{n:04}", prompt=(Message(role="user", content="q"),)) for n in range(120)]


def answered(words: Sequence[str], **more: Any) -> SuiteResult:
    made = result(ones(len(words), len(words)), **more)
    return replace(
        made,
        items=tuple(
            replace(item, samples=(replace(item.samples[0], text=f"{word} answer"),))
            for item, word in zip(made.items, words, strict=True)
        ),
    )


def test_each_criterion_is_a_measure_with_its_dimension_beside_accuracy_and_failures_are_counted() -> None:
    """By hand: 60 of 10 points, 40 of 7, 19 of 0 and one that the judge says nothing readable of, of 120."""
    words = ["good"] * 60 + ["fair"] * 40 + ["bad"] * 19 + ["odd"]
    found = judge_rubric(answered(words), JUDGE, hold_to_people(JUDGE, ANCHORS), TASKS)
    rate = found.rate("judged_helpfulness")
    assert rate.num_items == 119
    assert rate.value == pytest.approx((60 * 1.0 + 40 * 0.7) / 119)
    assert found.rate("judged_density").value == pytest.approx((60 + 40) * 0.5 / 119)
    assert found.rate("unjudged").value == pytest.approx(1 / 120)
    metric = found.metrics["judged_helpfulness"]
    assert (metric.dimension, metric.beside, metric.direction) == ("helpfulness", ("accuracy",), "higher")
    assert found.metrics["judged_density"].dimension is None
    assert not found.metrics["unjudged"].is_gate
    assert found.digests["judge"] == JUDGE.digest
    assert found.rate("accuracy").value == 1.0


def test_a_cut_answer_has_nothing_of_any_criterion_unasked() -> None:
    made = answered(["good"] * 120)
    cut = replace(made.items[0], samples=(replace(made.items[0].samples[0], finish_reason="length"),))
    found = judge_rubric(replace(made, items=(cut, *made.items[1:])), JUDGE, hold_to_people(JUDGE, ANCHORS), TASKS)
    assert found.items[0].measures["judged_helpfulness"] == 0.0
    assert found.items[0].measures["unjudged"] == 0.0


@pytest.mark.capability("EV-46")
def test_the_dimension_of_a_judge_that_is_not_borne_out_is_insufficient_and_its_numbers_stay_to_be_seen() -> None:
    words = ["good"] * 120
    settings = GateConfig(dimensions=("helpfulness",), thresholds={"finance.accuracy": Threshold(min=0.9)})
    trusted = judge_rubric(answered(words), JUDGE, hold_to_people(JUDGE, ANCHORS), TASKS)
    assert gate({"finance": trusted}, None, settings).outcome == "PASS"
    for anchors in ((), ANCHORS[:10], tuple(replace(one, label=not one.label) for one in ANCHORS)):
        found = judge_rubric(answered(words), JUDGE, hold_to_people(JUDGE, anchors), TASKS)
        assert found.rate("judged_helpfulness").value is None
        assert found.rate("untrusted_helpfulness").value == 1.0
        decision = gate({"finance": found}, None, settings)
        assert decision.outcome == "INSUFFICIENT"
        (check,) = [one for one in decision.checks if one.name == "dimension helpfulness"]
        assert check.outcome == "INSUFFICIENT"
        (told,) = RubricEvidence.of(found, hold_to_people(JUDGE, anchors)).findings()
        assert (told.name, told.outcome) == ("dimension helpfulness: judged measures of finance", "INSUFFICIENT")
        assert "anchors" in told.reason


def test_a_judge_that_fails_at_many_answers_decides_nothing_of_the_others() -> None:
    """7 of 120 are more than the 5 % that a judge may leave."""
    standing = hold_to_people(JUDGE, ANCHORS)
    for num_odd, value in ((6, 1.0), (7, None)):
        found = judge_rubric(answered(["good"] * (120 - num_odd) + ["odd"] * num_odd), JUDGE, standing, TASKS)
        assert found.rate("judged_helpfulness").value == value
        (told,) = RubricEvidence.of(found, standing).findings()
        assert told.outcome == ("INSUFFICIENT" if value is None else "PASS")
        assert value is not None or "7 of 120 answers could not be judged" in told.reason


@pytest.mark.capability("EV-46")
def test_values_of_two_judges_are_never_compared_they_are_insufficient() -> None:
    """The other judge gives 7 where this one gives 10: with one judge a regression, with two nothing."""
    other = judge({**POINTS, "good": 7}, model="another")
    before = judge_rubric(answered(["good"] * 120), JUDGE, hold_to_people(JUDGE, ANCHORS), TASKS)
    same = judge_rubric(answered(["fair"] * 120, model="new"), JUDGE, hold_to_people(JUDGE, ANCHORS), TASKS)
    assert gate({"finance": same}, {"finance": before}, GateConfig()).outcome == "BLOCK"
    now = judge_rubric(answered(["good"] * 120, model="new"), other, hold_to_people(other, ANCHORS), TASKS)
    assert now.rate("judged_helpfulness").value == pytest.approx(0.7)
    for candidate, baseline in ((now, before), (before, now)):
        decision = gate({"finance": candidate}, {"finance": baseline}, GateConfig())
        assert decision.outcome == "INSUFFICIENT"
        named = {check.name: check.outcome for check in decision.checks}
        assert named["finance.judged_helpfulness against the baseline"] == "INSUFFICIENT"
        assert named["finance.accuracy against the baseline"] == "PASS"


def test_what_cannot_be_judged_as_asked_is_refused() -> None:
    standing = hold_to_people(JUDGE, ANCHORS)
    judged = judge_rubric(answered(["good"] * 120), JUDGE, standing, TASKS)
    with pytest.raises(MismatchError, match="judged already"):
        judge_rubric(judged, JUDGE, standing, TASKS)
    with pytest.raises(MismatchError, match="the prompt of item i0000 is not known"):
        judge_rubric(answered(["good"] * 120), JUDGE, standing, TASKS[1:])
    with pytest.raises(MismatchError, match="of another judge or rubric"):
        judge_rubric(answered(["good"] * 120), judge(POINTS, model="another"), standing, TASKS)


# -------------------------------------------------------------------------------------------------------------- anchors


@pytest.mark.capability("EV-58")
def test_the_anchor_report_is_bound_to_judge_rubric_and_labels_and_its_numbers_are_those_of_a_hand(
    tmp_path: Path,
) -> None:
    """4 good answers are judged bad: 36 of 40 agree; kappa = (0.9 - 0.5) / 0.5 = 0.8, as people say yes to half."""
    harsh = judge({**POINTS, "good": 10})
    anchors = [replace(one, text=f"bad {n}") if one.label and n < 8 else one for n, one in enumerate(ANCHORS)]
    report = measure_anchors(harsh, anchors)
    write_anchor_report(tmp_path / "anchor_report.json", report)
    numbers = json.loads((tmp_path / "anchor_report.json").read_text())["numbers"]
    assert (numbers["num_anchors"], numbers["agreement"], numbers["num_undecided"]) == (40, 0.9, 0)
    assert numbers["kappa"] == pytest.approx(0.8)
    z2 = 1.959964**2
    half = 1.959964 * (40 * 0.9 * 0.1 + z2 / 4) ** 0.5
    assert numbers["low"] == pytest.approx((36 + z2 / 2 - half) / (40 + z2), abs=1e-6)
    assert read_anchor_report(tmp_path / "anchor_report.json") == report
    for other in (judge(POINTS, model="another"), replace(JUDGE, rubric=replace(RUBRIC, pass_at=0.6))):
        assert "people examined another judge or rubric" in str(hold_to_people(other, anchors, before=report))


def test_an_edited_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "anchor_report.json"
    write_anchor_report(path, measure_anchors(JUDGE, ANCHORS))
    content = json.loads(path.read_text())
    for change in ({"numbers": {**content["numbers"], "agreement": 0.99}}, {"passed": content["passed"][:-1]}):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(MismatchError, match="cannot use the anchor report"):
            read_anchor_report(path)


def test_anchors_are_read_back_as_they_were_with_calls_and_slices(tmp_path: Path) -> None:
    call = Message(role="assistant", tool_calls=(ToolCall(name="total", arguments={"of": [1, 2]}),))
    task = Task(id="t", prompt=(Message(role="user", content="ü"), call), slices={"kind": "tool"}, cluster="c")
    anchors = (Anchor(task=task, text="yes\u2028or no", label=True), *ANCHORS)
    write_anchors(tmp_path / "anchors.jsonl", anchors)
    assert read_anchors(tmp_path / "anchors.jsonl") == anchors
    again = measure_anchors(JUDGE, read_anchors(tmp_path / "anchors.jsonl")[1:])
    assert again == measure_anchors(JUDGE, ANCHORS)


def test_anchors_written_by_hand_are_read_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    path.write_text('{"prompt": "2 + 2?", "text": "4", "label": true, "reference": {"answer": "5"}}\n')
    (found,) = read_anchors(path)
    assert (found.task.prompt[0].content, found.task.reference, found.label) == ("2 + 2?", {"answer": "5"}, True)
    for line, why in (
        ("{", "Expecting"),
        ('{"prompt": "a", "text": "b"}', "`label`"),
        ('{"text": 1, "label": 2}', "text"),
    ):
        path.write_text('{"prompt": "2 + 2?", "text": "4", "label": true}\n' + line + "\n")
        with pytest.raises(DataError, match="a line is no anchor") as told:
            read_anchors(path)
        assert told.value.where.endswith("anchors.jsonl:2")
        assert why in told.value.why
