"""How sure a number is: intervals, paired tests, power, and estimates, from counts and per-item values.

Pure Python and numpy. Every function says what it assumes; none answers 0 where it means "not enough data". What each
interval covers and each test rejects, measured: ``docs/statistics.md``.
"""

from strop.statistics.agreement import Agreement, cohen_kappa, fleiss_kappa
from strop.statistics.bootstrap import NUM_RESAMPLES, mean_interval, paired_difference
from strop.statistics.calibration import Brier, auc, brier, expected_calibration_error
from strop.statistics.equivalence import is_equivalent, is_equivalent_over_seeds, is_non_inferior
from strop.statistics.intervals import Interval
from strop.statistics.multiple import holm, holm_rejections
from strop.statistics.paired import NUM_FLIPS, PairedOutcome, compare_paired, mcnemar, pair_by_id, sign_flip
from strop.statistics.pass_at_k import best_of_k, mean_over_tasks, pass_at_k, pass_hat_k
from strop.statistics.power import (
    mcnemar_num_items,
    mcnemar_power,
    paired_detectable_difference,
    two_rate_detectable_difference,
    two_rate_num_items,
    two_rate_power,
)
from strop.statistics.prevalence import kept_purity, true_rate, true_rate_interval
from strop.statistics.proportions import rate_difference_interval, unpaired_difference_interval, wilson, win_rate
from strop.statistics.ratings import Comparison, Ratings, bradley_terry
from strop.statistics.seeds import SeedSummary, over_seeds
from strop.statistics.student import t_quantile

__all__ = [
    "NUM_FLIPS",
    "NUM_RESAMPLES",
    "Agreement",
    "Brier",
    "Comparison",
    "Interval",
    "PairedOutcome",
    "Ratings",
    "SeedSummary",
    "auc",
    "best_of_k",
    "bradley_terry",
    "brier",
    "cohen_kappa",
    "compare_paired",
    "expected_calibration_error",
    "fleiss_kappa",
    "holm",
    "holm_rejections",
    "is_equivalent",
    "is_equivalent_over_seeds",
    "is_non_inferior",
    "kept_purity",
    "mcnemar",
    "mcnemar_num_items",
    "mcnemar_power",
    "mean_interval",
    "mean_over_tasks",
    "over_seeds",
    "pair_by_id",
    "paired_detectable_difference",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "rate_difference_interval",
    "sign_flip",
    "t_quantile",
    "true_rate",
    "true_rate_interval",
    "two_rate_detectable_difference",
    "two_rate_num_items",
    "two_rate_power",
    "unpaired_difference_interval",
    "wilson",
    "win_rate",
]
