"""McNemar and sign flips against scipy, enumeration, and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from strop.statistics import NUM_FLIPS, compare_paired, mcnemar, pair_by_id, paired_difference, sign_flip

thorough = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.mark.capability("EV-51")
@thorough
@given(gained=st.integers(0, 200), lost=st.integers(0, 200))
def test_mcnemar_equals_the_exact_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_one_item_against_nine_is_p_02148() -> None:
    # 2 · (C(10,0) + C(10,1)) / 2^10 = 22 / 1024
    assert mcnemar(9, 1) == mcnemar(1, 9) == 22 / 1024


def test_thousands_of_discordant_items_do_not_overflow() -> None:
    assert mcnemar(2500, 2500) == 1.0
    assert 0 < mcnemar(2700, 2300) < 1e-6


def test_paired_runs_are_compared_item_by_item() -> None:
    candidate = [True, True, False, True, False]
    baseline = [False, True, True, False, False]
    outcome = compare_paired(candidate, baseline)
    assert (outcome.num_items, outcome.gained, outcome.lost, outcome.p_value) == (5, 2, 1, 1.0)


def test_runs_over_different_items_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="share their items"):
        compare_paired([True], [True, False])
    with pytest.raises(ValueError, match="share their items"):
        paired_difference([], [])


def test_items_that_both_pass_or_both_fail_are_neither_gained_nor_lost() -> None:
    candidate = [True] * 10 + [False] * 7
    outcome = compare_paired(candidate, [True] * 3 + [False] * 12 + [True] * 2)
    assert (outcome.num_items, outcome.gained, outcome.lost) == (17, 7, 2)


@pytest.mark.parametrize("counts", [(-1, 3), (3, -1)])
def test_negative_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        mcnemar(*counts)


@pytest.mark.capability("EV-51")
def test_mcnemar_accuses_two_equal_models_at_most_5_percent_of_the_time_however_many_items_changed() -> None:
    for m in range(41):
        size = sum(stats.binom.pmf(k, m, 0.5) for k in range(m + 1) if mcnemar(k, m - k) <= 0.05)
        assert size <= 0.05


def test_eight_problems_more_among_24_that_changed_are_no_evidence() -> None:
    # Specification 12.5: +8 of 244 with 24 discordant has p = .15.
    assert mcnemar(16, 8) == pytest.approx(0.1516, abs=5e-5)


# ------------------------------------------------------------------------------------------------------------ item ids


@pytest.mark.capability("AB-paired-eval-ids")
def test_runs_are_paired_by_item_id_whatever_their_order() -> None:
    ids, candidate, baseline = pair_by_id({"b": 1, "a": 2}, {"a": 3, "b": 4})
    assert (ids, candidate, baseline) == (["b", "a"], [1, 2], [4, 3])


@pytest.mark.capability("AB-paired-eval-ids")
def test_an_item_of_one_run_only_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"of 2 and 2, 2 are in one run only: b, c"):
        pair_by_id({"a": 1, "b": 2}, {"a": 1, "c": 2})
    with pytest.raises(ValueError, match="share their items"):
        pair_by_id({}, {})


def test_five_of_the_unshared_items_are_named() -> None:
    with pytest.raises(ValueError, match=r"only: 0, 1, 2, 3, 4$"):
        pair_by_id(dict.fromkeys("012345678", 1), {})


# ----------------------------------------------------------------------------------------------------------- sign flips


def flipped_slowly(differences: list[float]) -> float:
    """The share of all patterns of signs whose sum is as far from 0, one pattern at a time."""
    observed = abs(sum(differences))
    patterns = list(itertools.product([1, -1], repeat=len(differences)))
    reached = [abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= observed - 1e-9 for p in patterns]
    return sum(reached) / len(reached)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(differences=st.lists(st.sampled_from([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.7]), min_size=1, max_size=7))
def test_sign_flips_are_enumerated(differences: list[float]) -> None:
    assert sign_flip(differences, [0.0] * len(differences)) == pytest.approx(flipped_slowly(differences))


def test_sign_flips_equal_scipys_permutation_test() -> None:
    generator = np.random.default_rng(0)
    candidate, baseline = generator.normal(0.5, 1, 10), generator.normal(0, 1, 10)
    theirs = stats.permutation_test(
        (candidate, baseline), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(candidate.tolist(), baseline.tolist()) == pytest.approx(theirs.pvalue)


@thorough
@given(gained=st.integers(0, 8), lost=st.integers(0, 8), same=st.integers(0, 20))
def test_sign_flips_of_pass_or_fail_are_mcnemar(gained: int, lost: int, same: int) -> None:
    candidate, baseline = [1] * gained + [0] * lost + [1] * (same + 1), [0] * gained + [1] * lost + [1] * (same + 1)
    assert sign_flip(candidate, baseline) == pytest.approx(mcnemar(gained, lost))


def test_swapping_the_runs_changes_no_p_value() -> None:
    one, other = [0.9, 0.4, 0.8, 0.7], [0.1, 0.5, 0.2, 0.3]
    assert sign_flip(one, other) == sign_flip(other, one) == 4 / 16  # ±(.8 + .6 + .4) with either sign of the .1


def test_samples_of_one_task_are_flipped_together() -> None:
    # Two tasks: 4 patterns of signs, of which 2 reach 4 + 4 whatever happens within a task.
    assert sign_flip([1.0] * 8, [0.0] * 8, clusters=list("aaaabbbb")) == 0.5
    assert sign_flip([1.0] * 8, [0.0] * 8) == 2 / 256
    assert sign_flip([1.0, 0.0, 1.0], [0.0, 1.0, 0.0], clusters=list("aab")) == 1.0  # task a did not change


def test_sixteen_changes_are_enumerated_and_seventeen_drawn() -> None:
    assert sign_flip([1.0] * 16, [0.0] * 16, num_flips=1) == 2 / 2**16
    assert sign_flip([1.0] * 17, [0.0] * 17, num_flips=1) == 0.5  # (0 + 1) / (1 + 1): the observed pattern counts
    assert sign_flip([1.0] * 17, [0.0] * 17, num_flips=9) == 0.1


def test_many_items_are_close_to_the_normal_approximation() -> None:
    differences = np.random.default_rng(3).normal(0.04, 1, 300)
    z = abs(differences.sum()) / math.sqrt((differences**2).sum())
    p = sign_flip(differences.tolist(), [0.0] * 300, num_flips=1999)
    assert p == pytest.approx(2 * stats.norm.sf(z), abs=0.03)
    assert 0.01 < p < 0.2


def test_drawn_patterns_that_reach_the_sum_exactly_count() -> None:
    # Of ±1 over 18 changes, 10 gained and 8 lost: |sum| ≥ 2 for all but C(18, 9) patterns; rounding must not lose ties.
    candidate, baseline = [0.1] * 10 + [0.0] * 8, [0.0] * 10 + [0.1] * 8
    p = sign_flip(candidate, baseline, num_flips=2000)
    assert p == pytest.approx(mcnemar(10, 8), abs=0.04)


def test_the_draw_is_9999_flips_from_seed_0_unless_told() -> None:
    values, zeros = np.random.default_rng(1).normal(0.2, 1, 18).tolist(), [0.0] * 18
    assert sign_flip(values, zeros) == sign_flip(values, zeros, num_flips=9999, seed=0)
    assert sign_flip(values, zeros, num_flips=99, seed=1) != sign_flip(values, zeros, num_flips=99, seed=2)
    assert NUM_FLIPS == 9999


def test_nothing_changed_is_no_evidence() -> None:
    p = sign_flip([0.5] * 30, [0.5] * 30)
    assert p == 1.0
    assert type(p) is float


def test_a_random_test_needs_a_flip_and_shared_items() -> None:
    with pytest.raises(ValueError, match="at least one flip, not 0"):
        sign_flip([1.0], [0.0], num_flips=0)
    with pytest.raises(ValueError, match="share their items"):
        sign_flip([1.0], [])


@pytest.mark.parametrize("value", [math.nan, 0.5, 2, -1])
def test_what_is_neither_passed_nor_failed_is_not_counted_as_either(value: float) -> None:
    with pytest.raises(ValueError, match="passed or failed"):
        compare_paired([value, 1], [0, 1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="passed or failed"):
        compare_paired([True, False], [value, True])  # type: ignore[list-item]


def test_ties_count_however_large_the_differences_are() -> None:
    # .3 + .2 + .1 and .1 + .2 + .3 differ in their last bit; all plus and all minus are 2 of 8 patterns.
    for differences in ([0.3e12, 0.2e12, 0.1e12], [0.1e12, 0.2e12, 0.3e12], [0.3, 0.2, 0.1]):
        assert sign_flip(differences, [0.0] * 3) == 0.25
