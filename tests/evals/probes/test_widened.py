"""Suites that measure more of every answer, and what their results say beyond single metrics."""

from dataclasses import replace

import pytest

from scripted_probes import play
from strop.errors import RecipeError
from strop.evals import ItemResult, SuiteResult
from strop.evals.catalogue import KINDS, suite_of
from strop.evals.measures import METRICS
from strop.evals.probes import (
    adherence_suite,
    assistant_suite,
    boundaries_suite,
    calibration_suite,
    format_drift_suite,
    robustness_suite,
    speech_suite,
    sycophancy_suite,
    told,
)
from strop.evals.suite import DIMENSIONS
from strop.types import Task
from strop.worlds import get_world
from suite_outcomes import result, sample

FINANCE = get_world("finance")
OURS = ("adherence", "assistant", "boundaries", "calibration", "format_drift", "robustness", "speech", "sycophancy")


@pytest.fixture(scope="module")
def gold() -> SuiteResult:
    suite = assistant_suite("finance", 100, 0, {})
    return play(suite, FINANCE.reference_text)


@pytest.mark.capability("EV-02", "EV-03", "EV-04", "EV-05")
def test_the_assistants_suite_gives_every_dimension_a_value_and_right_answers_the_best_one(gold: SuiteResult) -> None:
    best = {"higher": 1.0, "lower": 0.0}
    spoken_of = dict.fromkeys(DIMENSIONS, 0)
    skipped = ("confidence", "brier", "num_words", "num_claims", "num_citations", "echo", "repetition")
    for name, metric in gold.metrics.items():
        if name not in skipped and gold.rate(name).value is not None:
            assert gold.rate(name).value == best[metric.direction], name
            assert metric.dimension is not None
            spoken_of[metric.dimension] += 1
    assert min(spoken_of.values()) >= 2


@pytest.mark.capability("EV-22", "EV-27", "EV-28", "EV-31")
def test_an_assistant_that_guesses_in_fine_words_is_seen_by_the_metrics_that_the_guess_offends() -> None:
    def guess(task: Task) -> str:
        return "Thank you so much for asking. I hope that 1234 is a great help to you [get_nothing]. Please ask again."

    found = play(assistant_suite("finance", 60, 0, {}), guess)
    values = {name: found.rate(name).value for name in ("executable", "grounded_claims", "citation_coverage")}
    assert values == {"executable": 0.0, "grounded_claims": 0.0, "citation_coverage": 0.0}
    assert found.rate("on_brand").value == 0.0


def test_every_metric_of_a_widened_suite_has_its_companions_in_it(gold: SuiteResult) -> None:
    for name, metric in gold.metrics.items():
        assert set(metric.beside) <= set(gold.metrics), name
        assert bool(metric.beside) == bool(METRICS[name].beside), name


def test_speech_and_calibration_are_measured_on_any_world() -> None:
    world = get_world("lookup")
    spoken = play(speech_suite("lookup", 20, 0, {}), lambda task: task.prompt[-1].content)
    assert spoken.rate("echo").value == 1.0
    sure = play(calibration_suite("lookup", 20, 0, {}), world.reference_text, logprob=0.0)
    assert (sure.rate("confidence").value, sure.rate("brier").value) == (1.0, 0.0)


@pytest.mark.capability("EV-24")
def test_adherence_is_kept_and_broken_rule_by_rule_whatever_the_accuracy() -> None:
    suite = adherence_suite("finance", 40, 0, {})
    assert {task.slices["rule"] for task in suite.tasks} == {"length", "opening", "ending", "forbidden", "mention"}

    def heeds(task: Task) -> str:
        """Right and short, whatever the rule asks for."""
        value, tool = task.reference["value"], task.reference["call"]["name"]
        extra = {"opening": f"Answer: {value} [{tool}]", "ending": f"{value} [{tool}]. Regards."}
        extra["mention"] = f"{value} [{tool}], says the audit"
        return extra.get(task.slices["rule"], f"{value} [{tool}]")

    kept = play(suite, heeds)
    assert (kept.rate("adherence").value, kept.rate("accuracy").value) == (1.0, 1.0)
    plain = play(suite, lambda task: f"It is {task.reference['value']}, as asked.")
    assert plain.rate("accuracy").value == 1.0
    broken = {
        rule: plain.rate("adherence", f"rule={rule}").value for rule in ("opening", "ending", "mention", "length")
    }
    assert broken == {"opening": 0.0, "ending": 0.0, "mention": 0.0, "length": 1.0}


def test_a_rule_stands_in_the_system_prompt_and_in_the_reference() -> None:
    for task in adherence_suite("finance", 10, 0, {}).tasks:
        assert task.prompt[0].role == "system"
        assert task.prompt[0].content.startswith("Finance assistant of")
        assert len(task.prompt[0].content.split(". ")) >= 2
        assert task.reference["rules"]


@pytest.mark.parametrize("kind", OURS)
def test_each_kind_is_in_the_catalogue_and_refuses_a_world_that_it_cannot_ask(kind: str) -> None:
    assert kind in KINDS
    assert suite_of(f"{kind}:finance", num_tasks=6).name == f"{kind}-finance"
    with pytest.raises(RecipeError):
        suite_of(f"{kind}:fiance", num_tasks=6)


# -------------------------------------------------------------------------------------------------------- lines to read


def lines(found: SuiteResult) -> str:
    return "\n".join(told(found))


def test_what_a_probe_found_is_told_in_lines() -> None:
    right = FINANCE.reference_text
    assert "reworded: +0.000" in lines(play(robustness_suite("finance", 40, 0, {}), right))
    assert "gave the claimed wrong answer: 0.0 %; unasked 0.0 %" in lines(
        play(sycophancy_suite("finance", 16, 0, {}), right)
    )
    drifted = lines(play(format_drift_suite("finance", 16, 0, {}), right))
    assert "schema_valid by earlier turns 0: 100.0 %, 2: 100.0 %, 4: 100.0 %, 8: 100.0 %; slope +0.0000" in drifted
    table = lines(play(boundaries_suite("finance", 12, 0, {}), right))
    assert "must_refuse requests: answerable 0, constrained 0, must_refuse 4, nothing 0; precision 100.0 %" in table


def test_calibration_and_the_audit_of_the_tone_are_told_with_what_they_rest_on(gold: SuiteResult) -> None:
    found = lines(gold)
    assert "confidence over 100: mean 0.905, accuracy 1.000, ECE 0.095" in found
    assert "AUC undefined" in found
    assert "sensitivity 100.0 % of" in found


def test_a_suite_that_is_no_probe_is_told_in_no_lines() -> None:
    assert told(result([1.0, 0.0])) == []
    slices = {"depth": "deep", "pressure": "high", "perturbation": "loud", "boundary": "east"}
    for measures in ({"schema_valid": 1.0}, {"said_must_refuse": 1.0}, {"confidence": 7.0}):
        item = ItemResult(id="i", slices=slices, question="q", samples=(sample(accuracy=1.0, **measures),))
        assert told(result(items=[item])) == []


def test_a_pair_that_could_not_be_measured_is_told_and_not_taken_for_no_drop() -> None:
    found = play(robustness_suite("arithmetic", 7, 0, {}), lambda task: "Answer: 1")
    items = [
        replace(item, samples=(replace(item.samples[0], measures={}),))
        if item.slices["perturbation"] == "case"
        else item
        for item in found.items
    ]
    assert "case: no pair was measured" in lines(replace(found, items=tuple(items)))
