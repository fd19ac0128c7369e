"""What an interval is, and the normal quantile that most of them stand on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval."""

    low: float
    high: float


def require_confidence(confidence: float) -> None:
    """Raise ValueError unless ``confidence`` is a probability that an interval can have."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a probability between 0 and 1, not {confidence}")


def require_alpha(alpha: float) -> None:
    """Raise ValueError unless ``alpha`` is a level at which a test can be run: above 0 and below 1/2."""
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is the accepted rate of false alarms, between 0 and 1/2, not {alpha}")


def normal_quantile(confidence: float) -> float:
    """The z with P(|Z| ≤ z) = confidence for a standard normal Z. Raises: ValueError outside (0, 1)."""
    require_confidence(confidence)
    return NormalDist().inv_cdf(0.5 + confidence / 2)
