"""How often four margin tests of pass or fail, and two of clusters, accept a candidate that is worse by the margin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strop.evals.gating.non_inferiority import exact_p_value, margin_p_value, score
from strop.statistics import rate_difference_interval, t_quantile

ITEMS = (30, 50, 100, 200, 400)
MARGINS = (0.01, 0.02, 0.05, 0.1)
_PASS_RATE = 0.8
"""Of the baseline, for Newcombe's interval, which also asks how many items both pass."""
Grid = NDArray[np.float64]


def exact_levels(alpha: float) -> list[dict[str, Any]]:
    """The largest chance of PASS at a true drop of the margin, over 200 rates of changed items; in percent."""
    return [
        {"num_items": n, "margin": m, **{rule: _worst(n, m, alpha, region) for rule, region in RULES.items()}}
        for n in ITEMS
        for m in MARGINS
    ]


def change_rates(margin: float, num: int = 200) -> Grid:
    """Rates of changed items from the margin to the most that the baseline's pass rate allows, dense at both ends."""
    return margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, num)) ** 2


def _worst(n: int, margin: float, alpha: float, region: Callable[[int, float, float], NDArray[np.bool_]]) -> float:
    accepted = region(n, margin, alpha)
    return 100 * max(float(_chances(n, margin, psi)[accepted].sum()) for psi in change_rates(margin))


def _chances(n: int, margin: float, psi: float) -> Grid:
    """The chance of every (gained, lost) when the share psi changes and the true drop is the margin."""
    gain, loss = max((psi - margin) / 2, 0.0), min((psi + margin) / 2, 1.0)
    rest = max(1 - gain - loss, 0.0)
    gained, lost = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    unchanged = n - gained - lost
    logs = np.array([math.lgamma(k + 1) for k in range(n + 1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(count == 0, 0.0, count * np.log(p)) for count, p in ((gained, gain), (lost, loss))]
        log = logs[n] - logs[gained] - logs[lost] - logs[np.maximum(unchanged, 0)] + terms[0] + terms[1]
        log = log + np.where(unchanged == 0, 0.0, unchanged * np.log(rest))
    return np.exp(np.where(unchanged >= 0, log, -np.inf))


def _counts(n: int) -> tuple[Grid, Grid]:
    return np.arange(n + 1.0)[:, None], np.arange(n + 1.0)[None, :]


def _newcombe(n: int, margin: float, alpha: float) -> NDArray[np.bool_]:
    accepted = np.zeros((n + 1, n + 1), dtype=bool)
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            if lost - gained < margin * n:  # elsewhere the interval's middle already lies beyond the margin
                both = round(_PASS_RATE * (n - gained - lost))
                low = rate_difference_interval(both, gained, lost, n - gained - lost - both, 1 - 2 * alpha).low
                accepted[gained, lost] = low > -margin
    return accepted


def _tango(n: int, margin: float, alpha: float) -> NDArray[np.bool_]:
    return score(n, *_counts(n), margin) >= -_quantile(alpha)


def _tango_corrected(n: int, margin: float, alpha: float) -> NDArray[np.bool_]:
    gained, lost = _counts(n)
    excess = gained - lost + n * margin
    shrunk = np.where(excess > 1, (excess - 1) / np.where(excess > 1, excess, 1.0), 0.0)
    return score(n, gained, lost, margin) * shrunk >= -_quantile(alpha)


def _exact(n: int, margin: float, alpha: float) -> NDArray[np.bool_]:
    """p falls as z grows, so the accepted outcomes are found by halving over z."""
    gained, lost = _counts(n)
    z = np.where(gained + lost <= n, score(n, gained, lost, margin), -np.inf)
    order = np.argsort(z, axis=None)
    order = order[np.isfinite(z.ravel()[order])]
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        place = divmod(int(order[middle]), n + 1)
        low, high = (low, middle) if exact_p_value(n, *place, margin) <= alpha else (middle + 1, high)
    return z >= z.ravel()[order[low]] - 1e-9 if low < len(order) else np.zeros_like(z, dtype=bool)


def _quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


RULES = {"newcombe": _newcombe, "tango": _tango, "tango_corrected": _tango_corrected, "exact": _exact}


# ---------------------------------------------------------------------------------------------------------- clusters


def betting_levels(trials: int, alpha: float) -> list[dict[str, Any]]:
    """Clusters whose true drop is the margin (PASS is wrong) or 0 (PASS is right): shares of PASS in percent."""
    return [
        {"clusters": num, "size": size, "margin": margin, "case": case, "trials": trials, "seed": num}
        | {
            f"{test}_drop_{name}": value
            for name, drop in (("margin", margin), ("0", 0.0))
            for test, value in _cluster_shares(num, size, margin, drop, case, trials, alpha).items()
        }
        for case in ("rare losses", "both ways")
        for num, size, margin in ((50, 4, 0.05), (200, 4, 0.05), (200, 2, 0.02), (800, 2, 0.02))
    ]


def _cluster_shares(
    num: int, size: int, margin: float, drop: float, case: str, trials: int, alpha: float
) -> dict[str, float]:
    generator = np.random.default_rng(num)
    clusters = [str(i // size) for i in range(num * size)]
    betting = student = 0
    for _ in range(trials):
        worsenings = _draw_worsenings(generator, num, size, drop, case)
        betting += margin_p_value(worsenings.ravel().tolist(), clusters, margin)[0] <= alpha
        means = worsenings.mean(axis=1)
        upper = means.mean() + t_quantile(1 - 2 * alpha, num - 1) * means.std(ddof=1) / math.sqrt(num)
        student += bool(upper < margin)
    return {"betting": 100 * betting / trials, "student": 100 * student / trials}


def _draw_worsenings(generator: np.random.Generator, num: int, size: int, drop: float, case: str) -> Grid:
    """[clusters, size]; rare losses take a whole cluster, changes both ways take an item each at a rate of 0.2."""
    if case == "rare losses":
        return np.repeat((generator.random((num, 1)) < drop).astype(np.float64), size, axis=1)
    luck = generator.random((num, size))
    return np.where(luck < 0.1 + drop / 2, 1.0, np.where(luck > 0.9 + drop / 2, -1.0, 0.0))
