"""Student's t distribution with a whole number of degrees of freedom."""

from __future__ import annotations

import math

from strop.statistics.intervals import require_confidence

_NUM_HALVINGS = 60


def central_probability(t: float, degrees: int) -> float:
    """P(|T| ≤ t) of Student's t with ``degrees`` degrees of freedom, t ≥ 0, exact up to rounding.

    θ = arctan(t / √degrees);  even: sin θ (1 + 1/2 cos² θ + 1·3/2·4 cos⁴ θ + …)
    odd: 2/π (θ + sin θ (cos θ + 2/3 cos³ θ + 2·4/3·5 cos⁵ θ + …)), both up to the power degrees - 2

    *Source*: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    total, term = 0.0, math.cos(angle) if odd else 1.0
    for i in range(2 + odd, degrees + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (i - 1) / i
    within = math.sin(angle) * total
    return (angle + within) * 2 / math.pi if odd else within


def t_quantile(confidence: float, degrees: int) -> float:
    """The t with P(|T| ≤ t) = confidence.

    Raises: ValueError for a confidence outside (0, 1) and without a degree of freedom.
    """
    require_confidence(confidence)
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {degrees}")
    low, high = 0.0, math.pi / 2  # halved over the angle, which is bounded
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        t = math.tan(middle) * math.sqrt(degrees)
        low, high = (middle, high) if central_probability(t, degrees) < confidence else (low, middle)
    return math.tan(high) * math.sqrt(degrees)
