"""Evidence that nothing that matters changed: equivalence (two one-sided tests) and non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from strop.statistics.bootstrap import NUM_RESAMPLES, paired_difference
from strop.statistics.clusters import paired_differences
from strop.statistics.intervals import Interval, require_alpha
from strop.statistics.proportions import wilson
from strop.statistics.seeds import over_seeds

_ROUNDING = 1e-12


def is_equivalent(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> bool:
    """Whether both one-sided tests reject a difference of ``margin`` or more at level ``alpha`` (TOST).

    That is: the 1 - 2 alpha interval of the paired difference lies inside (-margin, margin). *Source*: Schuirmann 1987.
    Overlapping intervals are no equivalence, and too few items to tell answer False. Of pass or fail, its rate of false
    alarms is near ``alpha`` where items times margin is 6 or more; below that it is too quick when nothing changed.
    Raises: ValueError for a margin that is not positive and finite.
    """
    _require_margin(margin)
    require_alpha(alpha)
    interval = _difference(candidate, baseline, clusters, alpha, num_resamples, seed)
    return -margin < interval.low and interval.high < margin


def is_non_inferior(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> bool:
    """Whether a one-sided test rejects, at level ``alpha``, that the candidate is worse by ``margin`` or more.

    That is: the lower end of the 1 - 2 alpha interval of candidate - baseline lies above -margin. Higher is better:
    swap the runs for a measure where lower is. *Source*: Blackwelder 1982. Too few items to tell answer False.
    Raises: ValueError for a margin that is not positive and finite.
    """
    _require_margin(margin)
    require_alpha(alpha)
    return -margin < _difference(candidate, baseline, clusters, alpha, num_resamples, seed).low


def _difference(
    candidate: Sequence[float],
    baseline: Sequence[float],
    clusters: Sequence[Hashable] | None,
    alpha: float,
    num_resamples: int,
    seed: int,
) -> Interval:
    """The 1 - 2 alpha interval of the paired difference.

    Where every item differs by the same the bootstrap has no width, which two items would have as well as two thousand.
    Then it is as wide as what the items cannot exclude: a change of 1, seen 0 times in so many clusters (Wilson).
    """
    value, interval = paired_difference(
        candidate, baseline, clusters=clusters, confidence=1 - 2 * alpha, num_resamples=num_resamples, seed=seed
    )
    if interval.high - interval.low > _ROUNDING:
        return interval
    num_clusters = len(candidate) if clusters is None else len(set(clusters))
    unseen = wilson(0, num_clusters, 1 - 2 * alpha).high
    return Interval(value - unseen, value + unseen)


def is_equivalent_over_seeds(
    candidate: Sequence[float], baseline: Sequence[float], *, margin: float, alpha: float = 0.05
) -> bool:
    """Whether two methods run on the same few seeds differ by less than ``margin`` (TOST with Student's t).

    The 1 - 2 alpha t interval of the differences seed by seed lies inside (-margin, margin). *Source*: Schuirmann 1987.
    A handful of runs is too few for ``is_equivalent``, whose bootstrap would be too sure. Seeds that all differ by one
    value, to rounding, leave the spread unknown and answer False.
    Raises: ValueError for a margin that is not positive and finite, and for fewer than two seeds.
    """
    _require_margin(margin)
    require_alpha(alpha)
    differences = paired_differences(candidate, baseline).tolist()
    interval = over_seeds(differences, confidence=1 - 2 * alpha).interval
    if max(differences) - min(differences) <= _ROUNDING * max(map(abs, (*candidate, *baseline))):
        return False
    return interval is not None and -margin < interval.low and interval.high < margin


def _require_margin(margin: float) -> None:
    if not 0 < margin < math.inf:
        raise ValueError(f"the margin is the largest difference that does not matter; it is not {margin}")
