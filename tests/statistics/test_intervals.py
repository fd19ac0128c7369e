"""What levels are allowed, and the normal quantile against published numbers."""

from __future__ import annotations

import math

import pytest

from strop.statistics.intervals import normal_quantile, require_alpha, require_confidence


@pytest.mark.parametrize(("confidence", "z"), [(0.9, 1.644854), (0.95, 1.959964), (0.99, 2.575829)])
def test_the_quantile_is_the_tables(confidence: float, z: float) -> None:
    assert normal_quantile(confidence) == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.1, 95, math.nan])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        require_confidence(confidence)
    with pytest.raises(ValueError, match="confidence"):
        normal_quantile(confidence)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, 0.9, math.nan])
def test_a_level_outside_0_to_one_half_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        require_alpha(alpha)


def test_levels_near_the_ends_are_allowed() -> None:
    require_alpha(1e-9)
    require_alpha(0.499)
    require_confidence(1e-9)
    require_confidence(0.999)
