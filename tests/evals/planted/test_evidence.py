"""Faults outside the model: a judge that drifts, items that were trained on; and many candidates without any."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from planted_assistant import Lab, remembered
from planted_evidence import (
    Mind,
    anchors,
    contamination,
    evidence_of,
    examined,
    judged,
    leaked_rows,
    training_rows,
)
from planted_faults import blocked
from strop.evals import GateConfig, Suite, gate, gate_report, task_suite
from strop.types import Document, Message, Task
from strop.verifiers import NumberAnswer

CONFIG = GateConfig(min_items=300)
NAME = "assistant-finance"


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Suite:
    (found,) = (suite for suite in lab.suites if suite.name == NAME)
    return found


@pytest.mark.capability("EV-46")
def test_a_judge_that_drifted_under_the_same_name_is_insufficient_and_names_its_dimension(
    lab: Lab, asked: Suite
) -> None:
    """It thinks otherwise than people of 5 % of pairs when it was examined, and of 40 % now."""
    held = anchors()
    before = examined(held)
    sides = {NAME: lab.result(asked, "candidate")}, {NAME: lab.result(asked, "baseline")}
    healthy = judged(sides[0][NAME], sides[1][NAME], Mind(), held, before)
    drifted = judged(sides[0][NAME], sides[1][NAME], Mind(0.4, "now"), held, before)
    assert healthy.result.judge == drifted.result.judge
    assert gate(*sides, CONFIG, [healthy]).outcome == "PASS"
    decision = gate(*sides, CONFIG, [drifted])
    assert decision.outcome == "INSUFFICIENT"
    (found,) = [check for check in decision.checks if check.outcome != "PASS"]
    assert found.name == "dimension helpfulness: judge of assistant-finance"
    assert "agrees with people on" in found.reason
    report = gate_report(decision, *sides, CONFIG, [drifted])
    assert (report["outcome"], report["exit_code"]) == ("INSUFFICIENT", 3)


@pytest.mark.capability("EV-52")
@pytest.mark.capability("PI-65")
@pytest.mark.parametrize("is_retyped", [False, True], ids=["word-for-word", "other-case-and-spacing"])
def test_five_items_among_a_thousand_training_rows_are_blocked_by_their_names(
    lab: Lab, asked: Suite, is_retyped: bool
) -> None:
    rows = training_rows(1000)
    sides = {NAME: lab.result(asked, "candidate")}, {NAME: lab.result(asked, "baseline")}
    clean = contamination(rows, [asked])
    assert gate(*sides, CONFIG, [clean]).outcome == "PASS"
    leaked = leaked_rows(asked, 5, random.Random(1), is_retyped=is_retyped)
    decision = gate(*sides, CONFIG, [contamination([*rows, *leaked], [asked])])
    (found,) = blocked(decision.checks)
    assert found.name == "assistant-finance: not trained on"
    questions = {row.messages[-2].content.strip().casefold() for row in leaked}
    prompts = {task.id: task.prompt[-1].content.strip().casefold() for task in asked.tasks}
    assert {prompts[item] for item in found.numbers["items"]} >= questions
    assert {leak["row"].split(" ")[1] for leak in found.numbers["leaks"]} <= {f"leak{number}" for number in range(5)}


@pytest.mark.capability("EV-52")
def test_a_near_copy_of_a_story_is_insufficient_and_names_item_and_row() -> None:
    """Two of about fifty words are others: a person has to look."""
    stories = (
        "Mara bakes twelve loaves every morning and sells each of them for four coins at the harbour market. On rainy "
        "days half of her customers stay at home, and she gives what is left to the sailors. How much does she earn "
        "in a week with three rainy days?",
        "A carpenter cuts a plank of nine feet into pieces of two feet each, and uses the rest for wedges. Every wedge "
        "takes a quarter of a foot, and a chair needs six of them. How many chairs can he finish from twenty planks?",
    )
    tasks = [
        Task(id=f"story{number}", prompt=(Message(role="user", content=text),), reference={"answer": 1})
        for number, text in enumerate(stories)
    ]
    near = stories[0].replace("Mara", "Nora").replace("harbour", "village")
    evidence = contamination([Document(id="page", text=near)], [task_suite("stories", tasks, NumberAnswer())])
    (check,) = evidence.findings()
    assert check.outcome == "INSUFFICIENT"
    assert check.numbers["items"] == ["story0"]
    assert "story0 in sft: page" in check.reason


@pytest.mark.slow
def test_five_unchanged_candidates_pass_with_all_evidence(lab: Lab) -> None:
    """The hundred of ``benchmarks/planted_regressions.py`` in small."""
    held = anchors()
    before, clean = examined(held), contamination(training_rows(1000), lab.suites)
    baseline = lab.run("baseline")
    for number in range(5):
        candidate = lab.run(f"unchanged {number}")
        decision = gate(candidate, baseline, CONFIG, evidence_of(candidate, baseline, clean, held, before))
        assert not blocked(decision.checks), [check.name for check in blocked(decision.checks)]


def test_what_is_remembered_is_what_the_verifiers_judge_in_their_own_processes(lab: Lab) -> None:
    """A suite without any memory gives the same verdicts and measures, answer by answer."""
    (kept,) = (suite for suite in lab.suites if suite.name == "boundaries-finance")
    plain = replace(kept, verifier=kept.verifier.verifier, measure=kept.measure.measure)  # type: ignore[union-attr, attr-defined]
    few = replace(plain, tasks=plain.tasks[:60])
    found = Lab(lab.template, (few,)).result(few, "plain")
    again = Lab(lab.template, (few,)).result(remembered(few), "plain")
    for one, other in zip(found.items, again.items, strict=True):
        mine, theirs = one.samples[0], other.samples[0]
        assert (mine.text, mine.passed, mine.measures) == (theirs.text, theirs.passed, theirs.measures)
