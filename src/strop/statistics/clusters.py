"""What several functions need of their values: that they are finite and paired, and their sums by cluster."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def cluster_sums(
    values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the count of each cluster, in order of first appearance; without clusters each value is its own.

    Raises: ValueError for a value that is not finite, or when the lengths differ.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: leave out what could not be graded and count it apart")
    if clusters is None:
        return array, np.ones_like(array)
    if len(clusters) != len(array):
        raise ValueError(f"{len(array)} values with {len(clusters)} cluster names")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters], dtype=np.int64)
    return np.bincount(index, weights=array).astype(np.float64), np.bincount(index).astype(np.float64)


def paired_differences(candidate: Sequence[float], baseline: Sequence[float]) -> NDArray[np.float64]:
    """candidate - baseline, item by item. Raises: ValueError as ``require_paired``."""
    require_paired(candidate, baseline)
    return np.asarray(candidate, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)


def require_paired(candidate: Sequence[float], baseline: Sequence[float]) -> None:
    """Raise ValueError unless both runs have the same number of items, and some."""
    if len(candidate) != len(baseline) or not candidate:
        raise ValueError(f"paired runs share their items; there are {len(candidate)} and {len(baseline)}")
