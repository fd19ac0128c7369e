"""pass@k, pass^k and best-of-k against enumeration and expectation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from strop.statistics import best_of_k, mean_over_tasks, pass_at_k, pass_hat_k

COUNTS = [(n, c, k) for n in (1, 4, 7) for c in range(n + 1) for k in range(1, n + 1)]


@pytest.mark.capability("TT-08")
@pytest.mark.capability("AB-pass-at-k-enumeration")
@pytest.mark.parametrize(("n", "c", "k"), COUNTS)
def test_pass_at_k_is_the_share_of_draws_that_hold_a_correct_sample(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations([i < c for i in range(n)], k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@pytest.mark.capability("A1-6")
def test_best_of_five_at_20_percent_passes_67_232_percent_of_the_time_in_expectation() -> None:
    # 1 - 0.8^5; the estimate from n samples averages to it exactly over c ~ Binomial(n, 0.2).
    n, c = 12, np.arange(13)
    expected = sum(stats.binom.pmf(i, n, 0.2) * pass_at_k(n, int(i), 5) for i in c)
    assert expected == pytest.approx(0.67232, abs=1e-9)


@pytest.mark.parametrize("case", [(4, 1, 5), (4, 1, 0), (4, 5, 2), (4, -1, 2)])
def test_fewer_samples_than_k_and_impossible_counts_are_refused(case: tuple[int, int, int]) -> None:
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError):
            estimate(*case)


@pytest.mark.parametrize(("n", "c", "k"), COUNTS)
def test_pass_hat_k_is_the_share_of_draws_that_hold_correct_samples_only(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations([i < c for i in range(n)], k))
    assert pass_hat_k(n, c, k) == pytest.approx(sum(all(draw) for draw in draws) / len(draws))


@pytest.mark.capability("A1-6")
def test_best_of_five_at_20_percent_is_0_67232() -> None:
    assert best_of_k(0.2, 5) == pytest.approx(0.67232, abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.95, 1.0])
def test_both_estimates_are_unbiased(rate: float) -> None:
    c = np.arange(9)
    weights = stats.binom.pmf(c, 8, rate)
    assert sum(w * pass_at_k(8, int(i), 3) for i, w in zip(c, weights)) == pytest.approx(best_of_k(rate, 3))
    assert sum(w * pass_hat_k(8, int(i), 3) for i, w in zip(c, weights)) == pytest.approx(rate**3)


def test_best_of_k_at_the_average_rate_promises_more_than_the_average_task_gives() -> None:
    assert best_of_k(0.5, 4) == 0.9375
    assert (best_of_k(0.0, 4) + best_of_k(1.0, 4)) / 2 == 0.5


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_rate_outside_0_to_1_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="pass rate"):
        best_of_k(rate, 1)


def test_k_counts_at_least_one_sample() -> None:
    assert best_of_k(0.25, 1) == 0.25
    with pytest.raises(ValueError, match="at least one, not 0"):
        best_of_k(0.25, 0)


def test_tasks_weigh_alike_however_often_they_were_sampled() -> None:
    # pass@2: 2 of 4 gives 1 - 1/6; 0 of 10 gives 0; pass^2: 1/6 and 0.
    assert mean_over_tasks([(4, 2), (10, 0)], 2) == pytest.approx(5 / 12)
    assert mean_over_tasks([(4, 2), (10, 0)], 2, pass_hat_k) == pytest.approx(1 / 12)


def test_a_mean_needs_tasks_with_k_samples() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        mean_over_tasks([], 1)
    with pytest.raises(ValueError, match="at least 3 samples"):
        mean_over_tasks([(4, 2), (2, 0)], 3)
