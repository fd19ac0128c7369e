"""What docs/statistics.md says in words, held against its tables at reduced size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
TRIALS = 400
NOISE = 3.0
"""Points: three standard errors of 95 % over 400 trials; the tables over fewer allow more."""

pytestmark = [pytest.mark.slow, pytest.mark.capability("EV-51")]


@pytest.fixture(autouse=True)
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def cells(table: object) -> dict[str, list[float]]:
    return {name: [cell for cell in row if cell is not None] for name, row in table.rows}  # type: ignore[attr-defined]


def test_wilson_stays_within_93_to_97_percent_from_100_trials_on_and_above_90_percent_everywhere() -> None:
    import coverage_counted

    found = cells(coverage_counted.wilson())
    for n in (100, 200, 500):
        assert all(93 <= value <= 97 for value in found[f"n = {n}"][2:])
    assert min(map(min, found.values())) > 90


def test_differences_of_rates_keep_94_percent_from_20_trials_on() -> None:
    import coverage_counted

    assert min(map(min, cells(coverage_counted.paired_rates()).values())) > 94.9
    unpaired = cells(coverage_counted.unpaired_rates())
    assert all(value > 94 for row in unpaired.values() for value in row)
    assert min(map(min, cells(coverage_counted.win_rate()).values())) > 94.7


@pytest.mark.parametrize("name", ["mcnemar", "sign_flips", "holm", "seeds_equivalence"])
def test_exact_tests_raise_no_more_false_alarms_than_asked_for(name: str) -> None:
    import coverage_counted
    import coverage_simulated

    table = coverage_counted.mcnemar() if name == "mcnemar" else getattr(coverage_simulated, name)(TRIALS)
    for case, row in cells(table).items():
        levels = (1, 5, 10) if len(table.header) == 4 and "α = 1 %" in table.header else (5,) * len(row)
        noise = 0.0 if "changed" in case or "exact" in case else 3 * (5 * 95 / TRIALS) ** 0.5
        assert all(value <= level + noise + 1e-9 for value, level in zip(row, levels)), case


def test_equivalence_of_pass_or_fail_is_near_its_level_where_items_times_margin_reach_6() -> None:
    import coverage_counted

    found = cells(coverage_counted.equivalence())
    assert max(found["n = 60"]) < 6
    assert max(found["n = 20"]) > 10  # the words say so: too quick where nothing changes


def test_simulated_intervals_keep_their_promise_where_the_words_say_so() -> None:
    import coverage_simulated as simulated

    bootstrap = cells(simulated.bootstrap(TRIALS))
    assert max(bootstrap["5 clusters"]) < 91
    assert min(bootstrap["100 clusters"]) > 95 - 2 - 1.5 * NOISE
    for row in cells(simulated.seeds(TRIALS)).values():
        assert abs(row[0] - 95) < NOISE / 2 + 0.5
    assert min(map(min, cells(simulated.true_rate(TRIALS)).values())) > 95 - NOISE - 1
    kappa = cells(simulated.kappa(TRIALS))
    assert min(kappa["n = 300"][:2]) > 95 - NOISE
    assert kappa["n = 20"][2] < 90
    assert min(map(min, cells(simulated.ratings(TRIALS)).values())) > 95 - 1.5 * NOISE


def test_power_is_what_the_tests_do() -> None:
    import coverage_simulated

    for case, (said, found) in cells(coverage_simulated.power(TRIALS)).items():
        assert abs(said - found) < (2.0 if "exact" in case else 4.0), case
