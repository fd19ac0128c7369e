"""Twins within a suite: the difference is over pairs, and its doubt over clusters."""

import pytest

from strop.evals import ItemResult, SuiteResult
from strop.evals.probes import compare_twins
from strop.statistics import paired_difference, wilson
from suite_outcomes import result, sample


def item(cluster: str, kind: str, value: float | None) -> ItemResult:
    made = sample(accuracy=value)
    return ItemResult(id=f"{cluster}#{kind}", slices={"as": kind}, question="q", samples=(made,), cluster=cluster)


def suite_of(**clusters: dict[str, float | None]) -> SuiteResult:
    return result(items=[item(name, kind, value) for name, one in clusters.items() for kind, value in one.items()])


def test_the_difference_is_over_the_pairs_of_which_both_sides_were_measured() -> None:
    found = compare_twins(
        suite_of(
            a={"plain": 1.0, "loud": 0.0, "long": 1.0},
            b={"plain": 1.0, "loud": 1.0, "long": None},
            c={"plain": 0.0, "loud": 1.0},
            d={"plain": None, "loud": 0.0},
        ),
        axis="as",
        plain="plain",
    )
    loud, long, together = found["loud"], found["long"], found[""]
    assert loud is not None
    assert (loud.num_pairs, loud.plain, loud.changed) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert loud.difference == pytest.approx(0.0)
    assert loud.interval == paired_difference([0.0, 1.0, 1.0], [1.0, 1.0, 0.0])[1]
    assert long is not None
    assert (long.num_pairs, long.interval) == (1, None)
    assert together is not None
    assert together.num_pairs == 4


def test_variants_of_one_question_are_one_piece_of_evidence() -> None:
    once = {f"c{at}": {"plain": 1.0, "v0": float(at % 2)} for at in range(20)}
    often = {f"c{at}": {"plain": 1.0} | {f"v{k}": float(at % 2) for k in range(5)} for at in range(20)}
    single = compare_twins(suite_of(**once), axis="as", plain="plain")[""]
    copied = compare_twins(suite_of(**often), axis="as", plain="plain")[""]
    assert single is not None
    assert copied is not None
    assert copied.interval is not None
    assert single.interval is not None
    # five copies of each variant add no knowledge: an interval over items would be 1/√5 as wide
    width = copied.interval.high - copied.interval.low
    assert width > 0.8 * (single.interval.high - single.interval.low)


def test_where_nothing_changed_the_doubt_is_that_of_so_few_clusters_and_not_zero() -> None:
    calm = {f"c{at}": {"plain": 1.0, "v0": 1.0, "v1": 1.0} for at in range(10)}
    found = compare_twins(suite_of(**calm), axis="as", plain="plain")[""]
    assert found is not None
    assert found.difference == 0.0
    assert found.interval == paired_difference([1.0] * 10, [1.0] * 10)[1]


@pytest.mark.parametrize(
    "one",
    [
        {"plain": 1.0, "v0": 1.0, "v1": 0.0},  # every cluster loses half: no resample has another mean
        {"plain": 0.5, "v0": 0.25},  # shares of several samples, all alike
    ],
)
def test_clusters_that_are_all_alike_leave_the_spread_unknown_and_not_zero(one: dict[str, float | None]) -> None:
    found = compare_twins(suite_of(**{f"c{at}": one for at in range(10)}), axis="as", plain="plain")[""]
    assert found is not None
    assert found.difference < 0
    assert found.interval is None


def test_without_pairs_nothing_is_claimed() -> None:
    found = compare_twins(suite_of(a={"loud": 1.0}), axis="as", plain="plain")
    assert found == {"loud": None, "": None}


def test_the_interval_of_a_rate_does_not_narrow_by_asking_the_same_in_other_words() -> None:
    once = suite_of(**{f"c{at}": {"plain": float(at % 2)} for at in range(20)}).rate("accuracy")
    often = suite_of(**{f"c{at}": {f"v{k}": float(at % 2) for k in range(5)} for at in range(20)}).rate("accuracy")
    sure = suite_of(**{f"c{at}": {f"v{k}": 1.0 for k in range(5)} for at in range(20)}).rate("accuracy")
    assert (once.value, often.value, often.num_items) == (0.5, 0.5, 100)
    assert once.interval is not None
    assert often.interval is not None
    assert often.interval.high - often.interval.low > 0.9 * (once.interval.high - once.interval.low)
    assert sure.interval == wilson(20, 20)  # of twenty pieces of evidence, not a hundred
