"""Intervals of proportions: one rate, the difference of two rates (same items or not), and the win rate with ties."""

from __future__ import annotations

import math

from strop.statistics.intervals import Interval, normal_quantile


def wilson(successes: float, num_trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion.

    centre = (p + z²/2n) / (1 + z²/n);  half = z √(p(1-p)/n + z²/4n²) / (1 + z²/n)

    *Source*: Wilson 1927; without continuity correction. Assumes independent trials: for several samples of one item
    use ``mean_interval`` with clusters. ``successes`` may be a half-integer (ties). No trials: [0, 1], no claim.
    The 95 % interval covers 93 to 97 % for n ≥ 100 and p in 0.1 to 0.9; counts are discrete, so smaller n varies more.
    Raises: ValueError for counts that cannot be.
    """
    z = normal_quantile(confidence)
    if not 0 <= successes <= num_trials:
        raise ValueError(f"{successes} successes of {num_trials} trials")
    if num_trials == 0:
        return Interval(0.0, 1.0)
    p, n = successes / num_trials, num_trials
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is exactly 0 or 1; the formula leaves rounding there.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == num_trials else (centre + half) / scale
    return Interval(low, high)


def rate_difference_interval(both: int, gained: int, lost: int, neither: int, confidence: float = 0.95) -> Interval:
    """The interval of the difference of two pass rates on the same n items, from the four counts of their outcomes.

    d - √((p1-l1)² - 2φ(p1-l1)(u2-p2) + (u2-p2)²)  to  d + √((u1-p1)² - 2φ(u1-p1)(p2-l2) + (p2-l2)²)
    with p1 = (both + gained) / n, p2 = (both + lost) / n, d = p1 - p2, their Wilson bounds l and u, and φ the
    correlation of the outcomes, its numerator corrected for continuity

    *Source*: Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", method 10. Raises: ValueError without items, or for a negative count.
    """
    n = both + gained + lost + neither
    if n == 0 or min(both, gained, lost, neither) < 0:
        raise ValueError(f"a difference needs at least one item and no negative count: {both, gained, lost, neither}")
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    cross = both * neither - gained * lost
    cross_corrected = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross_corrected / math.sqrt(margins) if margins else 0.0
    return _square_and_add(both + gained, n, both + lost, n, phi, confidence)


def unpaired_difference_interval(
    successes: int, num_trials: int, other_successes: int, other_num_trials: int, confidence: float = 0.95
) -> Interval:
    """The interval of the difference of two rates over two *different*, independent sets of trials.

    d - √((p1-l1)² + (u2-p2)²)  to  d + √((u1-p1)² + (p2-l2)²), with Wilson's bounds l and u

    *Source*: Newcombe 1998, "Interval estimation for the difference between independent proportions: comparison of
    eleven methods", method 10. The same items on both sides: ``rate_difference_interval``, which is narrower.
    Raises: ValueError where one side has no trials.
    """
    if min(num_trials, other_num_trials) < 1:
        raise ValueError(f"both sides of a difference need trials; there are {num_trials} and {other_num_trials}")
    return _square_and_add(successes, num_trials, other_successes, other_num_trials, 0.0, confidence)


def _square_and_add(k1: int, n1: int, k2: int, n2: int, phi: float, confidence: float) -> Interval:
    """Newcombe's interval of p1 - p2 from the two Wilson intervals and the correlation of the two estimates."""
    p1, p2 = k1 / n1, k2 / n2
    one, two = wilson(k1, n1, confidence), wilson(k2, n2, confidence)
    below, above = (p1 - one.low, two.high - p2), (one.high - p1, p2 - two.low)
    low, high = (math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)) for a, b in (below, above))
    return Interval(p1 - p2 - low, p1 - p2 + high)


def win_rate(wins: int, ties: int, losses: int, confidence: float = 0.95) -> tuple[float, Interval]:
    """(wins + ties / 2) / n over n comparisons, with Wilson's interval of that count.

    Counting a tie as half a success overstates the variance, so the interval is conservative when there are many ties.
    Raises: ValueError without any comparison, or for a negative count.
    """
    if min(wins, ties, losses) < 0:
        raise ValueError(f"counts are not negative: {wins}, {ties}, {losses}")
    n = wins + ties + losses
    if n == 0:
        raise ValueError("a win rate needs at least one comparison")
    points = wins + ties / 2
    return points / n, wilson(points, n, confidence)
