"""One regression of the assistant's behaviour at a time: the gate blocks, names it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from planted_assistant import Lab
from planted_faults import FAULTS, blocked
from strop.evals import GateConfig, gate, gate_report
from strop.evals.measures.concision import compare_length

CONFIG = GateConfig(min_items=300, dimensions=("helpfulness", "harmlessness", "truthfulness", "reliability"))
"""Nothing is said of any metric or slice: the gate has to look everywhere."""


def planted(name: str, rate: float, dimension: str, *rows: str) -> Any:
    marks = [pytest.mark.capability("EV-42", *rows)]
    return pytest.param(name, rate, dimension, marks=marks, id=name.replace(" ", "-"))


@pytest.mark.parametrize(
    ("name", "rate", "dimension"),
    [
        planted("over-refusal", 0.15, "helpfulness", "EV-02", "EV-12", "EV-34"),
        planted("softer refusal", 0.15, "harmlessness", "EV-03", "EV-33"),
        planted("wrong account", 0.25, "helpfulness", "EV-02", "EV-41"),
        planted("future date", 0.2, "truthfulness", "EV-04"),
        planted("verbose style", 0.15, "helpfulness", "EV-02"),
        planted("flattery", 0.15, "truthfulness", "EV-04"),
        planted("guessed number", 0.15, "truthfulness", "EV-04", "EV-22"),
        planted("format drift at depth", 0.25, "reliability", "EV-05", "EV-41"),
        planted("echo", 0.15, "reliability", "EV-05"),
        planted("repetition", 0.15, "reliability", "EV-05"),
        planted("one tenant", 0.2, "helpfulness", "EV-41"),
    ],
)
def test_a_planted_regression_is_blocked_and_named_and_nothing_else_is(
    lab: Lab, name: str, rate: float, dimension: str
) -> None:
    fault = FAULTS[name]
    baseline, candidate = lab.run("baseline"), lab.run("candidate", fault.at(rate))
    decision = gate(candidate, baseline, CONFIG)
    assert decision.outcome == "BLOCK"
    assert fault.is_named(decision.checks), [check.name for check in blocked(decision.checks)]
    assert fault.unrelated(decision.checks) == []
    named = [check for check in blocked(decision.checks) if fault.is_named([check])]
    assert dimension in {check.numbers["dimension"] for check in named}
    report = gate_report(decision, candidate, baseline, CONFIG)
    assert (report["outcome"], report["exit_code"]) == ("BLOCK", 1)
    told = {check["name"]: check["reason"] for check in report["checks"] if check["outcome"] == "BLOCK"}
    assert told.keys() == {check.name for check in blocked(decision.checks)}
    assert all("a significant regression" in told[check.name] for check in named)


@pytest.mark.capability("EV-41")
def test_the_items_that_decided_are_those_in_which_the_fault_was_planted(lab: Lab) -> None:
    fault = FAULTS["wrong account"]
    decision = gate(lab.run("candidate", fault.at(0.25)), lab.run("baseline"), CONFIG)
    tasks = {task.id: task for suite in lab.suites for task in suite.tasks}
    found = [check.numbers["items"] for check in blocked(decision.checks) if fault.is_named([check])]
    assert all(fault.affects(tasks[item]) for items in found for item in items)
    assert min(map(len, found)) >= 8


@pytest.mark.capability("EV-26")
def test_a_verbose_candidate_is_longer_at_equal_quality(lab: Lab) -> None:
    suite = lab.suites[0]
    baseline, plain = lab.result(suite, "baseline"), lab.result(suite, "candidate")
    wordy = lab.result(suite, "candidate", FAULTS["verbose style"].at(0.15))
    longer, same = compare_length(wordy, baseline), compare_length(plain, baseline)
    assert longer.interval is not None
    assert same.interval is not None
    assert longer.interval.low > 0.5
    assert same.interval.low < 0 < same.interval.high


def test_the_same_candidate_without_a_fault_passes_in_every_suite(lab: Lab) -> None:
    decision = gate(lab.run("candidate"), lab.run("baseline"), CONFIG)
    assert decision.outcome == "PASS", [check.name for check in decision.checks if check.outcome != "PASS"]
