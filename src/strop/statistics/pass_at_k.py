"""Several samples of one task: the chance that any of k passes, that all k pass, and their means over tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The unbiased estimate of P(at least one of k samples passes), from n ≥ k samples of one task of which c passed.

    1 - C(n-c, k) / C(n, k) = 1 - Π_{i=n-c+1..n} (1 - k/i);  average it over tasks. 1 where n - c < k: one i is k

    *Source*: Chen et al. 2021 (arXiv:2107.03374), eq. 1. The plug-in 1 - (1 - c/n)^k is biased low and is not offered.
    Raises: ValueError for fewer samples than k, and for counts that cannot be.
    """
    n, c = num_samples, num_correct
    _require_counts(n, c, k)
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_hat_k(num_samples: int, num_correct: int, k: int) -> float:
    """The unbiased estimate of P(all k samples pass), "pass^k": what someone meets who asks k times and needs all.

    C(c, k) / C(n, k);  average it over tasks

    *Source*: Yao et al. 2024, τ-bench (arXiv:2406.12045). The plug-in (c/n)^k is biased high. Equals pass@1 at k = 1.
    Raises: ValueError for fewer samples than k, and for counts that cannot be.
    """
    _require_counts(num_samples, num_correct, k)
    return math.comb(num_correct, k) / math.comb(num_samples, k)


def best_of_k(rate: float, k: int) -> float:
    """1 - (1 - rate)^k: the chance that one of k passes on a task whose pass rate is *known*.

    An estimated rate makes it biased low: use ``pass_at_k``. Apply it task by task and average: applied to the average
    rate it over-estimates, for it is concave.
    Raises: ValueError for what is no rate, and for k below 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a pass rate lies between 0 and 1, not {rate}")
    if k < 1:
        raise ValueError(f"k counts samples, at least one, not {k}")
    return 1.0 - (1.0 - rate) ** k


def mean_over_tasks(
    counts: Sequence[tuple[int, int]], k: int, estimate: Callable[[int, int, int], float] = pass_at_k
) -> float:
    """The mean over tasks of ``estimate`` (``pass_at_k`` or ``pass_hat_k``), from each task's (samples, correct).

    Tasks weigh alike, however often each was sampled. Its interval: ``mean_interval`` of the tasks' estimates.
    Raises: ValueError without tasks, and when one has fewer samples than k.
    """
    if not counts:
        raise ValueError("a mean over tasks needs at least one task")
    return math.fsum(estimate(n, c, k) for n, c in counts) / len(counts)


def _require_counts(n: int, c: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} needs at least {k} samples of every task and k ≥ 1; there are {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} correct of {n} samples")
