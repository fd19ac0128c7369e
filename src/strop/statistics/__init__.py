"""How sure a number is: intervals, paired tests, power, and estimates, from counts and per-item values.

Pure Python and numpy. Every function says what it assumes; none answers 0 where it means "not enough data".
"""

from strop.statistics.intervals import (
    NUM_RESAMPLES,
    Interval,
    PairedOutcome,
    compare_paired,
    is_equivalent,
    mcnemar,
    mean_interval,
    paired_difference,
    pass_at_k,
    rate_difference_interval,
    wilson,
    win_rate,
)

__all__ = [
    "NUM_RESAMPLES",
    "Interval",
    "PairedOutcome",
    "compare_paired",
    "is_equivalent",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "pass_at_k",
    "rate_difference_interval",
    "wilson",
    "win_rate",
]
