"""Regressions on paired items: the exact tests, their correction together, margins, and which items decided."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from paired_outcomes import flips, run_of
from strop.errors import MismatchError, RecipeError
from strop.evals import Metric, SuiteResult, gate, parse_gate_config
from strop.evals.gating.regression import corrected, regression_p_value
from strop.statistics import holm
from strop.types import Check, Decision


def decide(candidate: SuiteResult, baseline: SuiteResult, **settings: Any) -> Decision:
    config = parse_gate_config({"min_items": 20, **settings})
    return gate({candidate.name: candidate}, {baseline.name: baseline}, config)


def named(decision: Decision, name: str) -> Check:
    return next(check for check in decision.checks if check.name == name)


def compared(n: int, *, lost: int = 0, gained: int = 0, **settings: Any) -> Check:
    before, now = flips(n, lost=lost, gained=gained)
    decision = decide(run_of({"accuracy": now}), run_of({"accuracy": before}), **settings)
    return named(decision, "finance.accuracy against the baseline")


# ---------------------------------------------------------------------------------------------------------- the tests


@given(st.lists(st.sampled_from([-0.75, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=9), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_the_share_of_sign_patterns_of_whole_clusters_that_are_as_bad(
    worsenings: list[float], size: int
) -> None:
    clusters = [str(i // size) for i in range(len(worsenings))]
    sums = [sum(w for w, c in zip(worsenings, clusters) if c == name) for name in dict.fromkeys(clusters)]
    patterns = list(itertools.product((1, -1), repeat=len(sums)))
    as_bad = np.mean([sum(s * x for s, x in zip(signs, sums)) >= sum(sums) - 1e-9 for signs in patterns])
    found, least = regression_p_value(worsenings, clusters)
    if sum(sums) > 1e-9:
        assert found == pytest.approx(as_bad)
    else:
        assert found >= 0.5
    assert least <= found + 1e-12


def test_many_clusters_are_tested_by_random_signs_as_scipy_tests_them() -> None:
    generator = np.random.default_rng(0)
    worsenings = (generator.choice([-0.5, -0.25, 0.25, 0.75], size=60)).tolist()
    oracle = permutation_test(
        (np.array(worsenings), np.zeros(60)),
        lambda now, old, axis: (now - old).sum(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=9999,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    found, least = regression_p_value(worsenings, [str(i) for i in range(60)])
    assert found == pytest.approx(oracle.pvalue, abs=0.01)
    assert 0.001 < found < 0.5
    assert least == 0.5 / 10_000


@pytest.mark.parametrize(("lost", "gained"), [(5, 0), (9, 2), (3, 3), (2, 7), (0, 0)])
def test_pass_or_fail_is_the_one_sided_binomial_test(lost: int, gained: int) -> None:
    worsenings = [1.0] * lost + [-1.0] * gained + [0.0] * 5
    found, least = regression_p_value(worsenings, [str(i) for i in range(len(worsenings))])
    expected = binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    assert found == pytest.approx(expected)
    assert least == 0.5 ** (lost + gained)


def test_an_attack_and_its_twin_are_one_piece_of_evidence() -> None:
    """Six items in three clusters all got worse: 1/8, where six of their own would be 1/64."""
    before, now = flips(60, lost=6)
    clusters = [str(i // 2) for i in range(60)]
    found = decide(run_of({"accuracy": now}, clusters=clusters), run_of({"accuracy": before}, clusters=clusters))
    check = named(found, "finance.accuracy against the baseline")
    assert (check.outcome, check.numbers["p_value"]) == ("PASS", 1 / 8)
    assert "in 30 clusters" in check.reason
    assert compared(60, lost=6).outcome == "BLOCK"


# ----------------------------------------------------------------------------------------------------- the correction


def test_tests_that_could_not_block_whatever_they_found_cost_the_others_nothing() -> None:
    """By hand at 0.05: three tests could reach 0.05, of which two could reach 0.05 / 2; Holm over those two."""
    adjusted, num_tests = corrected([0.001, 0.02, 0.03, 0.5], [0.0001, 0.02, 0.03, 0.5], 0.05)
    assert (adjusted, num_tests) == ([0.002, 0.02, 1.0, 1.0], 2)
    assert corrected([], [], 0.05) == ([], 0)
    assert corrected([0.5], [0.5], 0.05) == ([1.0], 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_the_correction_rejects_whatever_holm_over_all_rejects(pairs: list[tuple[float, float]]) -> None:
    p_values, least = [max(pair) for pair in pairs], [min(pair) for pair in pairs]
    adjusted, num_tests = corrected(p_values, least, 0.05)
    for ours, whole in zip(adjusted, holm(p_values)):
        assert ours <= 0.05 or whole > 0.05
    assert num_tests <= len(pairs)


@pytest.mark.capability("EV-42")
def test_suites_metrics_slices_and_evidence_are_corrected_together() -> None:
    """Six one-way changes have p = 1/64: proven alone, and not beside nine measures that could have fallen as far."""
    before, now = flips(200, lost=6)
    assert decide(run_of({"m0": now}), run_of({"m0": before})).outcome == "BLOCK"
    others = {f"m{i}": flips(200, lost=10, gained=10) for i in range(1, 10)}
    all_before = {"m0": before} | {name: pair[0] for name, pair in others.items()}
    all_now = {"m0": now} | {name: pair[1] for name, pair in others.items()}
    assert decide(run_of(all_now), run_of(all_before)).outcome == "PASS"
    all_before["m0"], all_now["m0"] = flips(200, lost=12)
    first = named(decide(run_of(all_now), run_of(all_before)), "finance.m0 against the baseline")
    assert (first.outcome, first.numbers["num_tests"], first.numbers["adjusted_p"]) == ("BLOCK", 10, 10 / 2**12)
    assert first.numbers["items"] == [f"i{i:04}" for i in range(12)]


def test_a_slice_that_holds_everything_is_not_tested_twice() -> None:
    before, now = flips(60, lost=6)
    slices = [{"kind": "refusal"}] * 60
    decision = decide(run_of({"m": now}, slices=slices), run_of({"m": before}, slices=slices))
    assert [check.name for check in decision.checks] == ["finance.m against the baseline"]
    assert decision.checks[0].numbers["num_tests"] == 1


@pytest.mark.capability("EV-42")
def test_without_a_margin_what_is_not_proven_passes_and_says_what_would_have_been_found() -> None:
    check = compared(200, lost=4)
    assert check.outcome == "PASS"
    assert check.numbers["p_value"] == 1 / 16
    assert 0.02 < check.numbers["drop_in_reach"] < 0.06
    assert "would have been found 4 times in 5" in check.reason
    assert compared(200, lost=5).outcome == "BLOCK"


# ------------------------------------------------------------------------------------------------------------ margins


@pytest.mark.capability("EV-42")
def test_a_margin_passes_blocks_or_says_how_many_items_it_takes() -> None:
    shown = compared(400, lost=2, gained=2, margins={"finance.accuracy": 0.05})
    assert (shown.outcome, shown.numbers["margin_test"]) == ("PASS", "exact")
    proven = compared(400, lost=30, margins={"finance.accuracy": 0.03})
    assert proven.outcome == "BLOCK"
    assert "by more than the margin" in proven.reason
    assert proven.numbers["items"][:2] == ["i0000", "i0001"]
    open_ = compared(100, lost=4, gained=4, margins={"finance.accuracy": 0.02})
    assert open_.outcome == "INSUFFICIENT"
    assert 1000 < open_.numbers["items_needed"] < 1700
    assert f"about {open_.numbers['items_needed']} items" in open_.reason
    assert 0.06 < open_.numbers["margin_in_reach"] < 0.09


def test_a_drop_that_is_proven_and_shown_to_be_small_passes() -> None:
    """Ten of 2,000 fell, none rose: a significant regression of half a point, shown to be below two."""
    check = compared(2000, lost=10, margins={"finance.accuracy": 0.02})
    assert check.numbers["adjusted_p"] <= 0.05
    assert check.outcome == "PASS"


def test_a_drop_that_is_proven_but_not_shown_to_exceed_the_margin_blocks_without_saying_so() -> None:
    check = compared(200, lost=6, margins={"finance.accuracy": 0.03})
    assert check.outcome == "BLOCK"
    assert "more than the margin" not in check.reason


def test_where_an_unchanged_candidate_would_have_passed_no_more_items_are_asked_for() -> None:
    check = compared(700, lost=14, gained=6, margins={"finance.accuracy": 0.02})
    assert check.outcome == "INSUFFICIENT"
    assert "an unchanged candidate would have shown it" in check.reason


def test_a_margin_of_a_measure_where_lower_is_better_bounds_its_rise() -> None:
    before, now = [0.0] * 200, [1.0] * 30 + [0.0] * 170
    metrics = {"violation": Metric(direction="lower")}
    worse, better = run_of({"violation": now}, metrics=metrics), run_of({"violation": before}, metrics=metrics)
    assert decide(worse, better, margins={"finance.violation": 0.05}).outcome == "BLOCK"
    assert decide(better, worse, margins={"finance.violation": 0.05}).outcome == "PASS"


def test_a_slice_that_is_too_small_for_its_margin_is_insufficient_with_the_items_it_takes() -> None:
    slices = [{"kind": "refusal"}] * 10 + [{"kind": "tool"}] * 190
    outcome = run_of({"accuracy": [1.0] * 200}, slices=slices)
    decision = decide(outcome, outcome, margins={"finance.accuracy[kind=refusal]": 0.02})
    check = named(decision, "finance.accuracy[kind=refusal] against the baseline")
    assert (check.outcome, check.numbers["items_needed"]) == ("INSUFFICIENT", 149)
    assert "takes about 149" in check.reason


def test_samples_that_differ_within_an_item_are_bet_on() -> None:
    before = run_of({"accuracy": [0.75] * 300})
    check = named(decide(before, before, margins={"finance.accuracy": 0.05}), "finance.accuracy against the baseline")
    assert (check.outcome, check.numbers["margin_test"]) == ("PASS", "exact")
    now = run_of({"accuracy": [0.5, 1.0] * 20 + [0.75] * 260})
    check = named(decide(now, before, margins={"finance.accuracy": 0.05}), "finance.accuracy against the baseline")
    assert (check.outcome, check.numbers["margin_test"]) == ("PASS", "betting")


def test_a_margin_of_what_is_no_share_is_refused() -> None:
    outcome = run_of({"accuracy": [7.0] * 50})
    with pytest.raises(RecipeError, match="do not stay between 0 and 1"):
        decide(outcome, outcome, margins={"finance.accuracy": 0.05})


def test_a_margin_and_a_tolerated_drop_of_one_place_are_refused() -> None:
    outcome = run_of({"accuracy": [1.0] * 50})
    with pytest.raises(RecipeError, match="has a margin and a tolerated drop"):
        decide(outcome, outcome, margins={"finance.*": 0.05}, max_drop={"finance.accuracy": 0.1})


@pytest.mark.capability("CK-10")
def test_another_version_of_a_suite_is_another_suite() -> None:
    columns = {"accuracy": [1.0] * 50}
    with pytest.raises(MismatchError, match="suite finance changed") as caught:
        decide(run_of(columns, version="2"), run_of(columns))
    assert "answered version 1, the candidate version 2" in str(caught.value)
