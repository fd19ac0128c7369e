"""Sums by cluster, and what is refused."""

from __future__ import annotations

import math

import pytest

from strop.statistics.clusters import cluster_sums, paired_differences, require_paired


def test_clusters_are_summed_in_order_of_first_appearance() -> None:
    sums, counts = cluster_sums([1.0, 2.0, 4.0, 8.0], ["b", "a", "b", "c"])
    assert (sums.tolist(), counts.tolist()) == ([5.0, 2.0, 8.0], [2.0, 1.0, 1.0])


def test_without_clusters_each_value_is_its_own() -> None:
    sums, counts = cluster_sums([1.0, 2.0], None)
    assert (sums.tolist(), counts.tolist()) == ([1.0, 2.0], [1.0, 1.0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        cluster_sums([1.0, value], None)


def test_every_value_needs_its_cluster() -> None:
    with pytest.raises(ValueError, match="2 values with 1"):
        cluster_sums([1.0, 2.0], ["a"])


@pytest.mark.parametrize("runs", [([], []), ([1], []), ([1], [1, 2])])
def test_runs_of_different_length_or_none_are_not_paired(runs: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="share their items"):
        require_paired(*runs)


def test_differences_are_item_by_item_also_of_truth_values() -> None:
    assert paired_differences([True, False, 0.5], [False, True, 0.25]).tolist() == [1.0, -1.0, 0.25]
    with pytest.raises(ValueError, match="share their items"):
        paired_differences([1.0], [1.0, 0.0])


def test_one_shared_item_is_a_pair() -> None:
    require_paired([1.0], [0.0])
