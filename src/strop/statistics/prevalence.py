"""The true rate behind an imperfect grader, and how pure its kept set is."""

from __future__ import annotations

import math

from strop.statistics.intervals import Interval, normal_quantile


def kept_purity(rate: float, sensitivity: float, false_positive_rate: float) -> float:
    """The share of truly good samples among those that a grader kept.

    p a / (p a + (1 - p) b), with p the rate of good samples, a and b the chances to keep a good and a bad one

    Bayes' rule. At p = 0.2, a = 1 and b = 0.1 only 71 % of what is kept is good: the rarer the good, the more a false
    positive costs. Raises: ValueError for what is no rate, and where nothing at all is kept.
    """
    for value in (rate, sensitivity, false_positive_rate):
        _require_rate(value)
    kept_good, kept_bad = rate * sensitivity, (1 - rate) * false_positive_rate
    if kept_good + kept_bad == 0:
        raise ValueError(f"nothing is kept at rate {rate}, sensitivity {sensitivity}, false positives 0")
    return kept_good / (kept_good + kept_bad)


def true_rate(observed_rate: float, sensitivity: float, specificity: float) -> float:
    """The rate of good samples when a grader with known errors passes ``observed_rate`` of them, inside [0, 1].

    (r + specificity - 1) / (sensitivity + specificity - 1), cut off at 0 and 1

    *Source*: Rogan and Gladen 1978. The cut-off is where chance took the observed rate out of what the grader can give.
    Raises: ValueError for what is no rate, and for a grader no better than chance (Youden's index ≤ 0).
    """
    for value in (observed_rate, sensitivity, specificity):
        _require_rate(value)
    return _within((observed_rate + specificity - 1) / _youden(sensitivity, specificity))


def true_rate_interval(
    passed: float,
    num_graded: int,
    *,
    passed_good: int,
    num_good: int,
    failed_bad: int,
    num_bad: int,
    confidence: float = 0.95,
) -> tuple[float, Interval]:
    """The rate of good samples and its interval, when the grader's errors are themselves estimated from an audit.

    The audit: of ``num_good`` truly good samples the grader passed ``passed_good``, of ``num_bad`` bad ones it failed
    ``failed_bad``. ``passed`` may be a sum of shares, where a piece of evidence is several samples. The estimate is
    ``true_rate`` of the three shares. The interval, cut off at 0 and 1:

    p' + δ ± z √(r'(1-r')/(n+z²) + p'² a'(1-a')/(n_a+2) + (1-p')² b'(1-b')/(n_b+2)) / (a' + b' - 1)
    δ = 2 z² (p' a'(1-a')/(n_a+2) - (1-p') b'(1-b')/(n_b+2)),  r' = (k + z²/2)/(n + z²),  a' = (k_a+1)/(n_a+2),
    b' = (k_b+1)/(n_b+2),  p' = (r' + b' - 1)/(a' + b' - 1)

    *Source*: Lang and Reiczigel 2014, "Confidence limits for prevalence of disease adjusted for estimated sensitivity
    and specificity". The three samples are independent of each other. Treating an audit as exact is the usual mistake:
    the more samples are graded, the surer a biased answer becomes.
    Raises: ValueError for counts that cannot be, an empty sample, and a grader no better than chance.
    """
    z = normal_quantile(confidence)
    for part, whole in ((passed, num_graded), (passed_good, num_good), (failed_bad, num_bad)):
        if whole < 1 or not 0 <= part <= whole:
            raise ValueError(f"{part} of {whole} samples: every count lies within its sample, which is not empty")
    estimate = true_rate(passed / num_graded, passed_good / num_good, failed_bad / num_bad)
    r, a, b = (
        (passed + z * z / 2) / (num_graded + z * z),
        (passed_good + 1) / (num_good + 2),
        (failed_bad + 1) / (num_bad + 2),
    )
    youden = _youden(a, b)
    p = (r + b - 1) / youden
    spread_r, spread_a, spread_b = (
        r * (1 - r) / (num_graded + z * z),
        a * (1 - a) / (num_good + 2),
        b * (1 - b) / (num_bad + 2),
    )
    centre = p + 2 * z * z * (p * spread_a - (1 - p) * spread_b)
    half = z * math.sqrt(spread_r + p * p * spread_a + (1 - p) ** 2 * spread_b) / youden
    return estimate, Interval(_within(centre - half), _within(centre + half))


def _youden(sensitivity: float, specificity: float) -> float:
    index = sensitivity + specificity - 1
    if index <= 0:
        raise ValueError(
            f"a grader with sensitivity {sensitivity:g} and specificity {specificity:g} is no better than chance: no "
            "rate can be read off it"
        )
    return index


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))


def _require_rate(value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"a rate lies between 0 and 1, not {value}")
