"""What docs/gate.md says of wrong passes and blocks, held at reduced size against benchmarks/gate_power.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

BENCHMARKS = Path(__file__).parent.parent.parent.parent / "benchmarks"
ALPHA = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.capability("EV-51")]


@pytest.fixture(autouse=True)
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def noise(trials: int) -> float:
    """Three standard errors of a share of alpha."""
    return float(3 * (ALPHA * (1 - ALPHA) / trials) ** 0.5)


@pytest.mark.capability("EV-42")
@pytest.mark.parametrize("steadiness", [3.0, 20.0])
def test_an_unchanged_candidate_is_blocked_at_most_alpha_times_over_64_comparisons(steadiness: float) -> None:
    import gate_power

    found = gate_power.unchanged(200, 300, steadiness=steadiness, seed=11)
    assert found["comparisons"] == 64
    assert found["blocked"] / 300 <= ALPHA + noise(300)


@pytest.mark.capability("EV-42")
@pytest.mark.parametrize("num_items", [50, 200, 400])
def test_a_candidate_that_is_worse_by_the_margin_passes_at_most_alpha_times(num_items: int) -> None:
    import gate_power

    found = gate_power.with_margin(num_items, 300, drop=0.05, margin=0.05, seed=12)
    assert found["PASS"] / 300 <= ALPHA + noise(300)


@pytest.mark.capability("EV-42")
def test_few_items_are_insufficient_and_many_pass_or_block() -> None:
    import gate_power

    few = gate_power.with_margin(50, 60, drop=0.0, margin=0.05, seed=13)
    many = gate_power.with_margin(800, 60, drop=0.0, margin=0.05, seed=13)
    worse = gate_power.with_margin(800, 60, drop=0.1, margin=0.05, seed=13)
    assert few["INSUFFICIENT"] > 30
    assert many["PASS"] > 50
    assert worse["BLOCK"] == 60


@pytest.mark.capability("EV-41")
def test_a_large_drop_inside_one_slice_is_blocked_under_its_name() -> None:
    import gate_power

    assert gate_power.planted(600, 40, drop=0.3, kind="refusal", seed=14)["blocked_and_named"] >= 38


def test_the_exact_rule_holds_its_level_and_the_formulas_do_not() -> None:
    import gate_power_levels as levels

    for n in (50, 100):
        for margin in (0.02, 0.05):
            assert levels._worst(n, margin, ALPHA, levels.RULES["exact"]) <= 5.0 + 1e-6
    assert levels._worst(50, 0.05, ALPHA, levels.RULES["newcombe"]) > 6
    assert levels._worst(100, 0.05, ALPHA, levels.RULES["tango"]) > 5.3


def test_the_unpaired_z_is_the_statistic_of_two_samples_with_their_own_variances() -> None:
    """Welch's t is the same quotient; scipy computes it."""
    import gate_power

    generator = np.random.default_rng(0)
    one, two = generator.random(80) < 0.8, generator.random(80) < 0.7
    welch = ttest_ind(one.astype(float), two.astype(float), equal_var=False).statistic
    assert gate_power.lm_eval_z(one.astype(float), two.astype(float)) == pytest.approx(welch)


def test_the_simulated_drop_is_the_drop_that_is_said() -> None:
    import gate_outcomes

    generator = np.random.default_rng(1)
    runs = gate_outcomes.draw_runs(generator, 400_000, drops={"m1": (0.05, None)}, metrics=("m1",), sliced=False)
    before, now = runs.values("m1")
    assert before.mean() - now.mean() == pytest.approx(0.05, abs=0.003)
    assert 0.3 < runs.correlation("m1") < 0.8
