"""What the gate asks beside the numbers: companions, dimensions, other evidence, thresholds that can be met."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from paired_outcomes import flips, run_of
from strop.errors import MismatchError, RecipeError
from strop.evals import Metric, SuiteResult, gate, parse_gate_config
from strop.evals.gating.evidence import BlockingTest
from strop.types import Check, Decision
from suite_outcomes import DIGESTS

N = 200
BESIDE = {
    "schema_valid": Metric(direction="higher", beside=("semantic_valid",), dimension="reliability"),
    "semantic_valid": Metric(direction="higher", dimension="helpfulness"),
}
RIGHT = {"schema_valid": [1.0] * N, "semantic_valid": [1.0] * 150 + [0.0] * 50}


def decide(
    candidate: SuiteResult, baseline: SuiteResult | None = None, evidence: Any = (), **settings: Any
) -> Decision:
    before = None if baseline is None else {baseline.name: baseline}
    return gate({candidate.name: candidate}, before, parse_gate_config(settings), evidence)


def named(decision: Decision, name: str) -> Check:
    return next(check for check in decision.checks if check.name == name)


# --------------------------------------------------------------------------------------------------------- companions


@pytest.mark.capability("EV-47")
@pytest.mark.parametrize("table", ["thresholds", "margins", "max_drop"])
def test_a_metric_that_misleads_alone_is_not_judged_without_its_companion(table: str) -> None:
    alone = run_of({**RIGHT, "semantic_valid": [None] * N}, metrics=BESIDE)
    asked = {"finance.schema_valid": {"min": 0.9} if table == "thresholds" else 0.1}
    decision = decide(alone, alone, **{table: asked})
    assert decision.outcome == "INSUFFICIENT"
    check = next(check for check in decision.checks if check.outcome == "INSUFFICIENT")
    assert check.numbers["missing"] == ["semantic_valid"]
    assert "schema_valid is not judged without semantic_valid" in check.reason


@pytest.mark.capability("EV-47")
def test_companions_are_told_together() -> None:
    both = run_of(RIGHT, metrics=BESIDE)
    decision = decide(both, both, thresholds={"finance.schema_valid": {"min": 0.9}})
    assert decision.outcome == "PASS"
    for name in ("finance.schema_valid", "finance.schema_valid against the baseline"):
        check = named(decision, name)
        assert check.reason.endswith("beside it semantic_valid 0.75")
        assert check.numbers["beside"] == {"semantic_valid": {"value": 0.75, "num_items": N}}


@pytest.mark.capability("EV-47")
def test_a_companion_may_have_been_measured_in_another_suite() -> None:
    alone = run_of({"schema_valid": [1.0] * N}, metrics={"schema_valid": BESIDE["schema_valid"]})
    config = parse_gate_config({"thresholds": {"finance.schema_valid": {"min": 0.9}}})
    assert gate({"finance": alone}, None, config).outcome == "INSUFFICIENT"
    other = run_of({"semantic_valid": [1.0] * N}, name="other")
    assert gate({"finance": alone, "other": other}, None, config).outcome == "PASS"


def test_a_metric_that_fails_blocks_with_or_without_its_companion() -> None:
    alone = run_of({"schema_valid": [0.0] * N}, metrics={"schema_valid": BESIDE["schema_valid"]})
    assert decide(alone, thresholds={"finance.schema_valid": {"min": 0.9}}).outcome == "BLOCK"


# --------------------------------------------------------------------------------------------------------- dimensions


@pytest.mark.parametrize(
    "dimension",
    [
        pytest.param("helpfulness", marks=pytest.mark.capability("EV-02")),
        pytest.param("harmlessness", marks=pytest.mark.capability("EV-03")),
        pytest.param("truthfulness", marks=pytest.mark.capability("EV-04")),
        pytest.param("reliability", marks=pytest.mark.capability("EV-05")),
    ],
)
def test_a_required_dimension_that_nothing_measured_is_insufficient(dimension: Any) -> None:
    rated = run_of({"m": [1.0] * N}, metrics={"m": Metric(direction="higher", dimension=dimension)})
    asked: dict[str, Any] = {"dimensions": [dimension], "thresholds": {"finance.m": {"min": 0.5}}}
    decision = decide(rated, **asked)
    assert decision.outcome == "PASS"
    assert named(decision, f"dimension {dimension}").numbers["values"] == {"finance.m": 1.0}
    for metric, values in ((Metric(direction="higher"), [1.0] * N), (rated.metrics["m"], [None] * N)):
        other = decide(run_of({"m": values, "n": [1.0] * N}, metrics={"m": metric}), dimensions=[dimension])
        assert named(other, f"dimension {dimension}").outcome == "INSUFFICIENT"


def test_a_margin_of_a_dimension_that_nothing_measured_is_insufficient() -> None:
    outcome = run_of({"m": [1.0] * N})
    decision = decide(outcome, outcome, margins={"dimension:harmlessness": 0.05})
    assert decision.outcome == "INSUFFICIENT"
    assert "no metric of harmlessness was measured" in named(decision, "dimension harmlessness").reason


def test_an_unknown_dimension_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"`dimensions\.0` cannot be used"):
        parse_gate_config({"dimensions": ["harmlesness"]})


@pytest.mark.parametrize("table", ["margins", "max_drop"])
def test_a_drop_that_is_limited_without_a_baseline_is_insufficient(table: str) -> None:
    outcome = run_of({"m": [1.0] * N})
    decision = decide(outcome, thresholds={"finance.m": {"min": 0.5}}, **{table: {"finance.m": 0.05}})
    assert decision.outcome == "INSUFFICIENT"
    told = "no baseline was given, and finance.m asks for a comparison: give --baseline"
    assert named(decision, "baseline").reason == told


# ----------------------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Told:
    found: tuple[Any, ...]
    name: str = "people"
    digest: str = "d"

    def findings(self) -> tuple[Any, ...]:
        return self.found


@pytest.mark.parametrize("outcome", ["PASS", "INSUFFICIENT", "BLOCK"])
def test_checks_of_evidence_are_taken_as_they_are(outcome: Any) -> None:
    one = Check(name="looks", outcome=outcome, reason="the ledger is full", numbers={"items": ["a"]})
    decision = decide(run_of({"m": [1.0] * N}), evidence=[Told((one,))])
    assert (decision.outcome, decision.checks[0]) == (outcome, one)


@pytest.mark.capability("EV-42")
def test_tests_of_evidence_are_corrected_together_with_the_suites() -> None:
    """0.03 blocks alone; beside one regression that could block, each is held against twice its p."""
    test = BlockingTest(name="people prefer the baseline", p_value=0.03, told="62 of 100", numbers={"items": ["p1"]})
    quiet = run_of({"m": [1.0] * N})
    alone = named(decide(quiet, quiet, evidence=[Told((test,))]), test.name)
    assert (alone.outcome, alone.numbers["num_tests"], alone.numbers["items"]) == ("BLOCK", 1, ["p1"])
    assert alone.reason == "62 of 100, one-sided p = 0.03, 0.03 corrected for 1 tests: significantly worse"
    before, now = flips(N, lost=10, gained=10)
    beside = named(decide(run_of({"m": now}), run_of({"m": before}), evidence=[Told((test,))]), test.name)
    assert (beside.outcome, beside.numbers["adjusted_p"], beside.numbers["num_tests"]) == ("PASS", 0.06, 2)


@pytest.mark.parametrize(
    "name", ["looks", "contamination", "overfitting", "judge", "judged measures of finance", "drift of finance"]
)
def test_evidence_of_the_items_the_judge_or_the_surroundings_tests_no_candidate(name: str) -> None:
    one = Check(name="finance: looks", outcome="PASS", reason="two looks")
    decision = decide(run_of({"m": [1.0] * N}), evidence=[Told((one,), name=name)])
    assert (decision.outcome, named(decision, "finance: looks")) == ("INSUFFICIENT", one)
    assert "nothing was tested" in named(decision, "tested").reason
    bad = replace(one, outcome="BLOCK")
    assert decide(run_of({"m": [1.0] * N}), evidence=[Told((bad,), name=name)]).outcome == "BLOCK"
    test = BlockingTest(name="the baseline is preferred", p_value=0.6, told="level")
    assert decide(run_of({"m": [1.0] * N}), evidence=[Told((one, test), name=name)]).outcome == "PASS"


def test_a_drift_that_is_allowed_tests_no_candidate() -> None:
    before, now = (
        replace(run_of({"m": [None] * N}), digests={**DIGESTS, "template": template}) for template in ("old", "new")
    )
    decision = decide(now, before, allow_template_change=True)
    assert named(decision, "finance: template").outcome == "PASS"
    assert (decision.outcome, named(decision, "tested").outcome) == ("INSUFFICIENT", "INSUFFICIENT")


def test_evidence_that_is_given_twice_is_refused() -> None:
    """Twenty copies of a level comparison would make six one-way changes of the candidate unprovable."""
    level = Told((BlockingTest(name="people", p_value=0.5, told="level"),))
    with pytest.raises(MismatchError, match=r"`people` .* is given twice"):
        decide(run_of({"m": [1.0] * N}), evidence=[level, level])


def test_what_is_neither_a_check_nor_a_test_is_not_dropped() -> None:
    with pytest.raises(ValueError, match="neither a check nor a test"):
        decide(run_of({"m": [1.0] * N}), evidence=[Told(({"outcome": "BLOCK"},))])


def test_results_of_two_models_are_no_candidate() -> None:
    one, other = run_of({"m": [1.0] * N}), run_of({"m": [1.0] * N}, name="other")
    config = parse_gate_config({"thresholds": {"finance.m": {"min": 0.5}}})
    for what in ("model", "template"):
        odd = replace(other, digests={**DIGESTS, what: "another"})
        with pytest.raises(MismatchError, match=f"2 different {what}s"):
            gate({"finance": one, "other": odd}, None, config)


def test_evidence_alone_can_decide_without_a_baseline() -> None:
    test = BlockingTest(name="judge", p_value=0.5, told="level")
    assert decide(run_of({"m": [1.0] * N}), evidence=[Told((test,))]).outcome == "PASS"
    with pytest.raises(ValueError, match=r"gives 1\.5 as a p-value"):
        decide(run_of({"m": [1.0] * N}), evidence=[Told((BlockingTest(name="judge", p_value=1.5, told=""),))])


# ---------------------------------------------------------------------------------------------- what cannot be met


@pytest.mark.parametrize(
    ("key", "threshold", "why"),
    [
        ("finance.m", {"min": 1.01}, "lies between 0 and 1"),
        ("finance.m", {"max": -0.1}, "never below 0"),
        ("finance.latency_p95_s", {"max": -1}, "never below 0"),
        ("finance.truncated_share", {"min": 2}, "lies between 0 and 1"),
        ("finance.m", {"min": 1.0, "on": "bound"}, "no number of items"),
        ("finance.m", {"max": 0.0, "on": "bound", "hard": True}, "no number of items"),
    ],
)
def test_a_threshold_that_cannot_be_met_is_refused_with_the_reason(key: str, threshold: Any, why: str) -> None:
    with pytest.raises(RecipeError, match="cannot be met") as caught:
        decide(run_of({"m": [1.0] * 100 + [0.0] * 100}), thresholds={key: threshold})
    assert why in str(caught.value)


def test_a_threshold_above_1_is_for_measures_that_reach_it() -> None:
    assert decide(run_of({"m": [3.0] * N}), thresholds={"finance.m": {"min": 2}}).outcome == "PASS"
    assert decide(run_of({"m": [-3.0] * N}), thresholds={"finance.m": {"max": -2}}).outcome == "PASS"


def test_a_minimum_above_the_maximum_is_refused() -> None:
    for table in ({"min": 0.9, "max": 0.1}, {"min": float("nan")}, {"max": float("inf")}):
        with pytest.raises(RecipeError, match="cannot be used"):
            parse_gate_config({"thresholds": {"finance.m": table}})


@pytest.mark.parametrize(("n", "outcome"), [(124, "INSUFFICIENT"), (125, "PASS")])
def test_a_bound_that_all_right_answers_could_not_reach_is_insufficient_with_the_items_needed(
    n: int, outcome: str
) -> None:
    """Wilson's lower end of n of n is n / (n + 3.8415): 0.97 takes 0.97 / 0.03 · 3.8415 = 124.2 items."""
    decision = decide(run_of({"m": [1.0] * n}), thresholds={"finance.m": {"min": 0.97, "on": "bound"}})
    assert decision.outcome == outcome
    if outcome == "INSUFFICIENT":
        check = named(decision, "finance.m")
        assert check.numbers["items_needed"] == 125
        assert "at least 125 are needed" in check.reason
    low = run_of({"m": [0.0] * n})
    assert decide(low, thresholds={"finance.m": {"max": 0.03, "on": "bound"}}).outcome == outcome
    assert decide(low, thresholds={"finance.m": {"min": 0.97, "on": "bound"}}).outcome == "BLOCK"


def test_items_of_one_cluster_count_once_towards_a_bound() -> None:
    """20 clusters of 5: 0.95 takes 0.95 / 0.05 · 3.8415 = 73 clusters, so that 365 items are needed, and not 73."""
    clusters = [str(i // 5) for i in range(100)]
    right = run_of({"m": [1.0] * 100}, clusters=clusters)
    decision = decide(right, thresholds={"finance.m": {"min": 0.95, "on": "bound"}})
    assert decision.outcome == "INSUFFICIENT"
    assert named(decision, "finance.m").numbers["items_needed"] == 365


@pytest.mark.parametrize("drop", [float("nan"), float("inf")])
def test_a_tolerated_drop_that_nothing_exceeds_is_refused(drop: float) -> None:
    with pytest.raises(RecipeError, match="finite number"):
        parse_gate_config({"max_drop": {"finance.m": drop}})


def test_a_tolerated_drop_in_percent_of_a_share_is_refused() -> None:
    """5 was meant as five points, and no share can fall by 5."""
    before, now = (run_of({"m": [value] * N}) for value in (1.0, 0.0))
    with pytest.raises(RecipeError, match=r"0\.05 for five points"):
        decide(now, before, max_drop={"finance.m": 5})
    seconds = [run_of({"m": [value] * N}) for value in (9.0, 6.0)]
    assert decide(seconds[1], seconds[0], max_drop={"finance.m": 5}).outcome == "PASS"
