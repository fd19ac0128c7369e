"""Fresh draws beside fixed suites: a model that learned the items is found, an honest one is not."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from strop.errors import MismatchError
from strop.evals import GateConfig, SuiteResult, gate
from strop.evals.fresh import fresh_suite, prompt_digest
from strop.evals.overfitting import Overfitting, measure_gap, overfitting
from strop.statistics import unpaired_difference_interval
from strop.worlds import get_world
from suite_outcomes import ones, result


def outcome(name: str, values: Sequence[float], model: str = "m", **options: str) -> SuiteResult:
    return result(values, name=name, model=model, suite=name, **options)


def both(fixed: Sequence[float], fresh: Sequence[float], model: str = "m") -> dict[str, SuiteResult]:
    return {"finance": outcome("finance", fixed, model), "fresh-finance": outcome("fresh-finance", fresh, model)}


def findings(candidate: dict[str, SuiteResult], baseline: dict[str, SuiteResult] | None = None) -> list[str]:
    evidence = overfitting(candidate, baseline)
    assert evidence is not None
    return [check.outcome for check in evidence.findings()]


def test_the_gap_of_two_rates_is_newcombes_interval_of_independent_proportions() -> None:
    gap = measure_gap(outcome("finance", ones(80, 100)), outcome("fresh-finance", ones(120, 200)))
    assert gap is not None
    expected = unpaired_difference_interval(80, 100, 120, 200)
    assert (gap.value, gap.interval.low, gap.interval.high) == pytest.approx((0.2, expected.low, expected.high))


def test_where_lower_is_better_the_gap_is_turned() -> None:
    gap = measure_gap(
        outcome("finance", ones(10, 100), direction="lower"), outcome("fresh-finance", ones(40, 100), direction="lower")
    )
    assert gap is not None
    assert gap.value == pytest.approx(0.3)
    assert gap.interval.low > 0


def simulated(rng: random.Random, memorised: float, skill: float = 0.6) -> dict[str, SuiteResult]:
    """300 fixed and 300 fresh items; a share of the fixed ones is known by heart."""
    fixed = [float(rng.random() < memorised or rng.random() < skill) for _ in range(300)]
    return both(fixed, [float(rng.random() < skill) for _ in range(300)])


@pytest.mark.capability("EV-45")
def test_a_planted_model_that_learned_the_items_is_found_and_honest_ones_are_not() -> None:
    """Half of the items by heart at a skill of 0.6 is a true gap of 0.2; honest ones flag at most 2.5 % of the time."""
    rng = random.Random(1)
    found = sum(findings(simulated(rng, 0.5)) == ["BLOCK"] for _ in range(100))
    false = sum(findings(simulated(rng, 0.0)) == ["BLOCK"] for _ in range(400))
    assert found >= 97
    assert false <= 19  # 10 at 2.5 %, plus three standard deviations; the tolerance makes it fewer


@pytest.mark.capability("EV-45")
def test_a_gain_that_is_on_the_fixed_items_only_is_found_where_the_own_gap_is_too_wide() -> None:
    """A skill of 0.6 that both share item by item; the candidate knows a tenth of the fixed items by heart."""
    rng = random.Random(2)
    own = gain = false = 0
    for _ in range(100):
        fixed, fresh = ([float(rng.random() < 0.6) for _ in range(400)] for _ in range(2))
        learned = [max(value, float(rng.random() < 0.25)) for value in fixed]
        first, second = findings(both(learned, fresh), both(fixed, fresh, "base"))
        own += first == "BLOCK"
        gain += second == "BLOCK"
        noisy = [value if rng.random() < 0.9 else 1 - value for value in fixed]
        other = [value if rng.random() < 0.9 else 1 - value for value in fresh]
        false += findings(both(noisy, other), both(fixed, fresh, "base"))[1] == "BLOCK"
    assert gain > own + 20
    assert gain >= 90
    assert false <= 7  # 2.5 of 100, plus three standard deviations


def test_the_gate_blocks_it_and_few_fresh_items_are_insufficient() -> None:
    candidate = both(ones(95, 100), ones(50, 100))
    config = GateConfig(min_items=1, thresholds={"finance.accuracy": {"min": 0.9}})
    assert gate(candidate, None, config).outcome == "PASS"
    evidence = overfitting(candidate)
    assert evidence is not None
    decision = gate(candidate, None, config, [evidence])
    assert decision.outcome == "BLOCK"
    assert "the items were learned" in next(one.reason for one in decision.checks if one.outcome == "BLOCK")
    assert findings(both(ones(90, 100), ones(9, 10))) == ["INSUFFICIENT"]
    assert overfitting({"finance": outcome("finance", ones(9, 10))}) is None


def test_a_fresh_set_of_which_nothing_could_be_judged_is_insufficient_and_never_passes() -> None:
    for fresh in ([None] * 60, [1.0]):
        candidate = both(ones(90, 100), fresh)
        evidence = overfitting(candidate)
        assert evidence is not None
        assert [check.outcome for check in evidence.findings()] == ["INSUFFICIENT"]
        config = GateConfig(min_items=1, thresholds={"finance.accuracy": {"min": 0.5}})
        assert gate({"finance": candidate["finance"]}, None, config, [evidence]).outcome == "INSUFFICIENT"


def clustered(values: Sequence[float], name: str, size: int) -> SuiteResult:
    """``size`` items in a row are one piece of evidence."""
    plain = outcome(name, values)
    return replace(plain, items=tuple(replace(item, cluster=f"c{n // size}") for n, item in enumerate(plain.items)))


def test_asking_the_same_in_other_words_makes_a_gap_of_gains_no_surer() -> None:
    """20 questions asked 5 times alike know what 20 know; the interval is the bootstrap's over 20, not over 100."""
    before = [float(n % 3 > 0) for n in range(20)]
    after = [float(n % 4 > 0) for n in range(20)]
    widths = []
    for size in (1, 5):
        sides = {
            model: {
                name: clustered([value for value in values for _ in range(size)], name, size)
                for name in ("finance", "fresh-finance")
            }
            for model, values in (("old", before), ("new", after))
        }
        gap = measure_gap(
            sides["new"]["finance"],
            sides["new"]["fresh-finance"],
            (sides["old"]["finance"], sides["old"]["fresh-finance"]),
        )
        assert gap is not None
        widths.append(gap.interval.high - gap.interval.low)
    assert widths[1] > 0.8 * widths[0], "as independent items it would be 0.45 of it"


def test_one_cluster_leaves_the_gap_of_gains_unknown() -> None:
    sides = [clustered(ones(8, 10), name, 10) for name in ("finance", "fresh-finance")]
    assert measure_gap(sides[0], sides[1], (sides[0], sides[1])) is None


def test_a_baseline_on_another_draw_is_refused() -> None:
    candidate, other = both(ones(9, 10), ones(9, 10)), outcome("fresh-finance", ones(9, 10))
    other = SuiteResult(**{**vars_of(other), "digests": {**other.digests, "suite": "another draw"}})
    with pytest.raises(MismatchError, match="asked other items of fresh-finance"):
        overfitting(candidate, {"finance": candidate["finance"], "fresh-finance": other})


def vars_of(one: SuiteResult) -> dict[str, object]:
    return {name: value for name, value in vars(one).items() if not name.startswith("_")}


def test_the_digest_follows_the_numbers() -> None:
    digests = {
        one.digest for n in (90, 91) for one in [overfitting(both(ones(n, 100), ones(80, 100)))] if one is not None
    }
    assert len(digests | {Overfitting(gaps=()).digest}) == 3


@pytest.mark.capability("EV-45")
@pytest.mark.parametrize("name", ["finance", "arithmetic", "lookup"])
def test_a_fresh_set_has_none_of_the_fixed_items(name: str) -> None:
    fixed = {prompt_digest(task) for task in get_world(name).tasks("test", 500)}
    one, two = fresh_suite(name, 60, 0, {}), fresh_suite(name, 60, 0, {})
    assert not fixed & {prompt_digest(task) for task in (*one.tasks, *two.tasks)}
    assert one.version != two.version
    assert one.tasks != two.tasks
    assert fresh_suite(f"{name}@{one.version.removeprefix('fresh-')}", 60, 0, {}).digest == one.digest
