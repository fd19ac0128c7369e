"""The gate's decisions: thresholds, paired regressions, drift, and what is not enough."""

from typing import Any

import pytest
from scipy.stats import binomtest

from strop.errors import MismatchError, RecipeError
from strop.evals import GateConfig, ItemResult, Metric, SuiteResult, gate, parse_gate_config
from strop.types import Check, Decision
from suite_outcomes import PARAMS, ones, result, sample

FLIPPED = [1.0] * 80 + [0.0] * 20


def decide(candidate: SuiteResult, baseline: SuiteResult | None = None, **settings: Any) -> Decision:
    before = None if baseline is None else {baseline.name: baseline}
    return gate({candidate.name: candidate}, before, parse_gate_config(settings))


def check(decision: Decision, name: str) -> Check:
    return next(one for one in decision.checks if one.name == name)


# ----------------------------------------------------------------------------------------------------------- thresholds


@pytest.mark.parametrize(
    ("num_right", "threshold", "outcome", "code"),
    [
        (95, {"min": 0.95}, "PASS", 0),
        (94, {"min": 0.95}, "BLOCK", 1),
        (5, {"max": 0.05}, "PASS", 0),
        (6, {"max": 0.05}, "BLOCK", 1),
        (95, {"min": 0.95, "on": "bound"}, "BLOCK", 1),
        (100, {"min": 0.96, "on": "bound"}, "PASS", 0),
        (97, {"min": 0.96, "on": "bound"}, "BLOCK", 1),
        (3, {"max": 0.04, "on": "bound"}, "BLOCK", 1),
    ],
)
def test_a_threshold_holds_on_the_value_or_on_the_bound(
    num_right: int, threshold: dict[str, object], outcome: str, code: int
) -> None:
    """Wilson's lower bound of 100 of 100 is 100 / (100 + 3.8415) = 0.9630."""
    decision = decide(result(ones(num_right, 100)), thresholds={"finance.accuracy": threshold})
    assert (decision.outcome, decision.exit_code) == (outcome, code)


@pytest.mark.capability("AB-gate-slices")
@pytest.mark.capability("EV-41")
def test_a_slice_has_its_own_floor() -> None:
    values, kinds = ones(115, 120), ["tool"] * 90 + ["refusal"] * 30
    whole = decide(result(values, slices=kinds), thresholds={"finance.accuracy": {"min": 0.95}})
    assert whole.outcome == "PASS"
    decision = decide(result(values, slices=kinds), thresholds={"finance.accuracy[kind=refusal]": {"min": 0.95}})
    assert decision.outcome == "BLOCK"
    failed = check(decision, "finance.accuracy[kind=refusal]")
    assert failed.numbers["value"] == pytest.approx(25 / 30)
    assert failed.numbers["items"] == ["i0115", "i0116", "i0117", "i0118", "i0119"]
    assert "0.8333" in failed.reason


def test_too_few_items_are_insufficient_with_exit_code_3() -> None:
    decision = decide(result(ones(50, 50)), thresholds={"finance.accuracy": {"min": 0.5}})
    assert (decision.outcome, decision.exit_code) == ("INSUFFICIENT", 3)
    assert "50 items; at least 100" in check(decision, "finance: items").reason


def test_a_small_slice_is_insufficient_unless_a_hard_threshold_already_fails() -> None:
    values, kinds = [1.0] * 110 + [0.0] * 5, ["tool"] * 105 + ["refusal"] * 10
    key = "finance.accuracy[kind=refusal]"
    assert decide(result(values, slices=kinds), thresholds={key: {"min": 0.9}}).outcome == "INSUFFICIENT"
    assert decide(result(values, slices=kinds), thresholds={key: {"min": 0.9, "hard": True}}).outcome == "BLOCK"
    assert decide(result(values, slices=kinds), thresholds={key: {"min": 0.4, "hard": True}}).outcome == "INSUFFICIENT"


def test_an_undefined_metric_is_never_a_pass() -> None:
    decision = decide(result([None] * 120), thresholds={"finance.accuracy": {"min": 0.0}})
    assert decision.outcome == "INSUFFICIENT"
    assert "undefined" in check(decision, "finance.accuracy").reason


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("finance.acuracy", "accuracy"),
        ("finanse.accuracy", "finance"),
        ("finance.accuracy[kind=refusals]", "kind=refusal"),
    ],
)
@pytest.mark.parametrize("table", ["thresholds", "max_drop"])
def test_a_key_that_names_nothing_measured_is_an_error_that_names_the_nearest(key: str, near: str, table: str) -> None:
    outcome = result(ones(120, 120), slices=["refusal"] * 120)
    settings = {table: {key: {"min": 0.5} if table == "thresholds" else 0.1}}
    with pytest.raises(RecipeError, match=f"did you mean `{near}`"):
        decide(outcome, outcome, **settings)


def test_runtime_measures_have_thresholds_too() -> None:
    decision = decide(result(ones(120, 120)), thresholds={"finance.latency_p95_s": {"max": 0.4}})
    assert decision.outcome == "BLOCK"
    assert decide(result(ones(120, 120)), thresholds={"finance.cost_per_request": {"max": 1}}).outcome == "INSUFFICIENT"


def test_answers_that_could_not_be_judged_are_counted_and_stop_a_pass() -> None:
    items = [ItemResult(id=f"i{n}", slices={}, question="q", samples=(sample(accuracy=1.0),)) for n in range(118)]
    items += [ItemResult(id=f"x{n}", slices={}, question="q", samples=(sample(state="timeout"),)) for n in range(2)]
    metrics = {"accuracy": Metric(direction="higher")}
    decision = decide(result(items=items, metrics=metrics), thresholds={"finance.accuracy": {"min": 0.99}})
    assert check(decision, "finance.accuracy").numbers["num_items"] == 118
    assert decision.outcome == "INSUFFICIENT"
    judged = check(decision, "finance: judged")
    assert judged.reason.startswith(
        "2 of 120 answers could not be judged, more than 0.01 of them (`max_ungraded`): mend"
    )
    assert judged.numbers["items"] == ["x0", "x1"]
    tolerant = decide(
        result(items=items, metrics=metrics), thresholds={"finance.accuracy": {"min": 0.9}}, max_ungraded=0.02
    )
    assert tolerant.outcome == "PASS"


def test_what_is_insufficient_says_which_setting_asks_and_what_to_do() -> None:
    few = decide(result(ones(12, 12)), min_items=50, thresholds={"finance.accuracy": {"min": 0.5}})
    reason = check(few, "finance: items").reason
    assert reason.startswith("12 items; at least 50 are asked for (`min_items`): raise the suite's `limit` to 50")
    told = check(few, "finance.accuracy").reason
    assert "only 12 items, at least 20 are asked for (`min_group_items`): raise the suite's `limit`" in told
    rule = {"suite": "finance", "safe": ["accuracy"], "min": 0.5}
    going_live = check(decide(result(ones(12, 12)), go_live=[rule]), "finance.go_live")
    assert (going_live.outcome, "`min_group_items`" in going_live.reason) == ("INSUFFICIENT", True)
    assert "give --baseline, or thresholds" in check(decide(result(ones(120, 120))), "tested").reason
    asked = decide(result(ones(120, 120)), margins={"finance.accuracy": 0.05})
    assert check(asked, "baseline").reason.endswith("asks for a comparison: give --baseline")
    pair = (result(ones(12, 12), model="new"), result(ones(12, 12)))
    assert (
        "at least 20 are asked for (`min_group_items`)"
        in check(decide(*pair, margins={"finance.accuracy": 0.05}), "finance.accuracy against the baseline").reason
    )


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [(100, 110, "better"), (100, 100, "unchanged"), (100, 99, "one-sided p = 0.5, 1 corrected for")],
)
def test_only_what_got_worse_is_told_with_its_p_value(before: int, now: int, told: str) -> None:
    decision = decide(result(ones(now, 120)), result(ones(before, 120)))
    found = check(decision, "finance.accuracy against the baseline")
    assert f"), {told}" in found.reason
    assert ("p = " in found.reason) == (now < before)
    assert found.numbers["p_value"] == (0.5 if now < before else 1.0)


def test_nothing_tested_is_not_a_pass() -> None:
    assert decide(result(ones(120, 120))).outcome == "INSUFFICIENT"
    assert gate({}, None, GateConfig()).outcome == "INSUFFICIENT"


# ----------------------------------------------------------------------------------------------- against a baseline


@pytest.mark.parametrize(("worse", "better"), [(10, 2), (9, 2), (6, 0), (5, 0), (12, 12), (2, 10), (0, 0)])
def test_a_regression_is_decided_by_the_exact_paired_test(worse: int, better: int) -> None:
    """The items flip one by one; scipy's binomial test is the oracle."""
    before = [1.0] * worse + [0.0] * better + [1.0] * (200 - worse - better)
    after = [0.0] * worse + [1.0] * better + [1.0] * (200 - worse - better)
    decision = decide(result(after), result(before))
    p_value = binomtest(worse, worse + better, alternative="greater").pvalue if worse + better else 1.0
    found = check(decision, "finance.accuracy against the baseline")
    assert found.numbers["p_value"] == pytest.approx(p_value)
    assert (found.numbers["worse"], found.numbers["better"]) == (worse, better)
    assert found.outcome == ("BLOCK" if p_value <= 0.05 else "PASS")
    assert found.numbers["items"] == [f"i{n:04}" for n in range(worse)]


def test_for_a_metric_where_lower_is_better_a_rise_is_the_regression() -> None:
    before, after = [0.0] * 120, [1.0] * 10 + [0.0] * 110
    assert decide(result(after, direction="lower"), result(before, direction="lower")).outcome == "BLOCK"
    assert decide(result(before, direction="lower"), result(after, direction="lower")).outcome == "PASS"


def test_items_are_paired_by_id_and_not_by_position() -> None:
    before = result(FLIPPED + FLIPPED)
    after = result(items=tuple(reversed(before.items)), metrics=before.metrics)
    found = check(decide(after, before), "finance.accuracy against the baseline")
    assert (found.numbers["worse"], found.numbers["better"]) == (0, 0)


def test_a_tolerated_drop_decides_in_place_of_the_significance_test() -> None:
    before, after = [1.0] * 200, [0.0] * 10 + [1.0] * 190
    assert decide(result(after), result(before)).outcome == "BLOCK"
    assert decide(result(after), result(before), max_drop={"finance.accuracy": 0.05}).outcome == "PASS"
    assert decide(result(after), result(before), max_drop={"finance.accuracy": 0.04}).outcome == "BLOCK"
    small = [0.0] + [1.0] * 199
    assert decide(result(small), result(before), max_drop={"finance.accuracy": 0.0}).outcome == "BLOCK"


@pytest.mark.capability("EV-41")
def test_a_slice_that_regresses_blocks_although_the_whole_does_not() -> None:
    """10 of 30 refusals got worse, 10 of 170 tool items got better: the whole is level, and the slice is not."""
    kinds = ["refusal"] * 30 + ["tool"] * 170
    before = [1.0] * 30 + [0.0] * 10 + [1.0] * 160
    after = [0.0] * 10 + [1.0] * 20 + [1.0] * 170
    decision = decide(result(after, slices=kinds), result(before, slices=kinds))
    assert check(decision, "finance.accuracy against the baseline").outcome == "PASS"
    failed = check(decision, "finance.accuracy[kind=refusal] against the baseline")
    assert failed.outcome == "BLOCK"
    assert (failed.numbers["num_tests"], failed.numbers["p_value"]) == (3, 2**-10)
    assert failed.numbers["adjusted_p"] == pytest.approx(3 / 2**10)
    assert "1 of 2 comparisons" in check(decision, "finance: slices against the baseline").reason


def test_a_metric_that_the_candidate_no_longer_has_is_insufficient() -> None:
    decision = decide(result([None] * 120), result([1.0] * 120))
    assert decision.outcome == "INSUFFICIENT"
    assert "120 of the baseline's items, and to both models on 0 only" in decision.checks[0].reason


def test_a_metric_that_only_the_candidate_has_cannot_regress() -> None:
    decision = decide(result([1.0] * 120), result([None] * 120), thresholds={"finance.accuracy": {"min": 0.5}})
    assert decision.outcome == "PASS"


def test_means_over_several_samples_are_compared_by_their_sign() -> None:
    before, after = [0.75] * 120, [0.5] * 8 + [0.75] * 112
    found = check(decide(result(after), result(before)), "finance.accuracy against the baseline")
    assert found.numbers["p_value"] == pytest.approx(1 / 2**8)
    assert found.outcome == "BLOCK"


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        (result(ones(120, 120), suite="other"), "suite finance changed"),
        (result(ones(120, 120), verifier="other"), "verifier's content differs"),
        (result(ones(119, 119)), "1 items of suite finance are on one side only, for example 'i0119'"),
        (result(ones(120, 120), name="other"), "not evaluated on suite finance"),
    ],
)
def test_results_that_cannot_be_paired_are_refused(baseline: SuiteResult, told: str) -> None:
    with pytest.raises(MismatchError, match=told):
        decide(result(ones(120, 120)), baseline)


def test_different_sampling_is_refused() -> None:
    before = result(ones(120, 120))
    warm = SuiteResult(
        name="finance",
        digests=before.digests,
        params={**PARAMS, "temperature": 1.0},
        metrics=before.metrics,
        items=before.items,
    )
    with pytest.raises(MismatchError, match="sampled differently: temperature"):
        decide(warm, before)


def test_an_item_that_stands_twice_is_refused() -> None:
    one = result(ones(1, 1)).items[0]
    with pytest.raises(MismatchError, match="1 items twice, for example 'i0000'"):
        result(items=[one, one], metrics={"accuracy": Metric(direction="higher")})


def test_a_changed_template_blocks_unless_it_is_meant() -> None:
    candidate, baseline = result(ones(120, 120), template="new"), result(ones(120, 120), template="old")
    decision = decide(candidate, baseline)
    assert check(decision, "finance: template").outcome == "BLOCK"
    assert decide(candidate, baseline, allow_template_change=True).outcome == "PASS"


def test_the_worst_check_decides() -> None:
    decision = decide(result(ones(40, 50)), result(ones(50, 50)))
    assert {one.outcome for one in decision.checks} == {"BLOCK", "INSUFFICIENT"}
    assert decision.outcome == "BLOCK"
