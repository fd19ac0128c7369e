"""Student's t against scipy and closed forms."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from strop.statistics import t_quantile
from strop.statistics.student import central_probability


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 6, 9, 30, 101])
@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.9, 0.95, 0.999])
def test_quantiles_are_scipys(degrees: int, confidence: float) -> None:
    assert t_quantile(confidence, degrees) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, degrees), rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("t", [0.0, 0.3, 2.0, 50.0])
def test_probabilities_are_scipys(degrees: int, t: float) -> None:
    assert central_probability(t, degrees) == pytest.approx(1 - 2 * stats.t.sf(t, degrees), abs=1e-12)


def test_three_seeds_need_4_303_standard_errors() -> None:
    assert t_quantile(0.95, 2) == pytest.approx(4.302653, abs=1e-6)
    assert t_quantile(0.5, 1) == pytest.approx(math.tan(math.pi / 4))  # Cauchy


def test_a_quantile_needs_a_degree_of_freedom_and_a_confidence() -> None:
    with pytest.raises(ValueError, match="degree of freedom, not 0"):
        t_quantile(0.95, 0)
    with pytest.raises(ValueError, match="confidence"):
        t_quantile(1.0, 3)
