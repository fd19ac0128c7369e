"""How far raters agree beyond chance: Cohen's kappa (plain and weighted) and Fleiss' kappa."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from strop.statistics.intervals import Interval, normal_quantile

Weights = Literal["linear", "quadratic"]
_POWERS: dict[Weights, int] = {"linear": 1, "quadratic": 2}
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Cohen's kappa of two raters over the same items."""

    kappa: float | None
    """1 is full agreement, 0 is chance; None where chance alone agrees fully (both raters gave one and the same label),
    which leaves nothing to measure."""
    interval: Interval | None
    """Of kappa, for large samples; None where kappa is undefined or its estimated variance is 0 (full agreement)."""
    observed: float
    """The share of items (weighted: of credit) on which they agree."""
    expected: float
    """The same by chance: were each rater's labels dealt to the items at random."""
    num_items: int


def cohen_kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    categories: Sequence[Hashable] | None = None,
    weights: Weights | None = None,
    confidence: float = 0.95,
) -> Agreement:
    """Kappa of two raters' labels of the same items, with its large-sample interval.

    κ = (o - e) / (1 - e),  o = Σ_ij w_ij p_ij,  e = Σ_ij w_ij p_i. p_.j,  w_ij = 1[i = j];
    weighted: w_ij = 1 - (|i - j| / (c - 1))^q with q = 1 (linear) or 2 (quadratic), categories in order
    se² = (Σ_ij p_ij (w_ij - (w̄_i + w̄_j)(1 - κ))² - (κ - e(1 - κ))²) / (n (1 - e)²)
    with w̄_i = Σ_j w_ij p_.j and w̄_j = Σ_i w_ij p_i.

    *Source*: Cohen 1960, 1968; the standard error: Fleiss, Cohen and Everitt 1969. Trust the interval from about 100
    items on: below that, above all with a rare label, it is too narrow.
    ``categories`` are the possible labels in order: needed for weights, else those found.
    Raises: ValueError without items, for different numbers of labels, for labels outside the categories, and for
    weights without an order of at least two categories.
    """
    z = normal_quantile(confidence)
    table = _table(first, second, categories, weights)
    credit = _credit(len(table), weights)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float((credit * table).sum()), float(rows @ credit @ columns)
    found = Agreement(kappa=None, interval=None, observed=observed, expected=expected, num_items=len(first))
    if len({*first, *second}) == 1:
        return found
    kappa = (observed - expected) / (1 - expected)
    around = credit - (1 - kappa) * ((credit @ columns)[:, None] + (rows @ credit)[None, :])
    variance = (table * around**2).sum() - (kappa - expected * (1 - kappa)) ** 2
    half = z * math.sqrt(max(0.0, variance) / len(first)) / (1 - expected)
    interval = Interval(kappa - half, kappa + half) if variance > _ROUNDING else None
    return Agreement(kappa=kappa, interval=interval, observed=observed, expected=expected, num_items=len(first))


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Kappa of n raters an item, from how many of them gave each label; None where every rating is one label.

    κ = (P̄ - P_e) / (1 - P_e),  P̄ = mean_i (Σ_j n_ij² - n) / (n (n - 1)),  P_e = Σ_j (share of label j)²

    *Source*: Fleiss 1971. Rows are items, columns are labels; the raters may differ between items, not their number.
    Raises: ValueError without items, for fewer than two raters, and when items have different numbers of raters.
    """
    sizes = {sum(row) for row in counts}
    if len(sizes) != 1 or not sizes.isdisjoint({0, 1}) or len({len(row) for row in counts}) != 1:
        raise ValueError(f"every item needs the same two or more raters and the same labels; raters: {sorted(sizes)}")
    if min(min(row) for row in counts) < 0:
        raise ValueError("a count of raters is negative")
    table, n = np.asarray(counts, dtype=np.float64), sizes.pop()
    observed = float(((table**2).sum(axis=1) - n).mean()) / (n * (n - 1))
    expected = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if np.count_nonzero(table.sum(axis=0)) > 1 else None


def _table(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    categories: Sequence[Hashable] | None,
    weights: Weights | None,
) -> NDArray[np.float64]:
    """The share of items by both labels."""
    if len(first) != len(second) or not first:
        raise ValueError(f"two raters label the same items; there are {len(first)} and {len(second)} labels")
    if weights is not None and (categories is None or len(categories) < 2):
        raise ValueError(f"weights need two or more categories in their order, not {categories}")
    labels = list(dict.fromkeys([*first, *second])) if categories is None else list(categories)
    if len(set(labels)) != len(labels):
        raise ValueError(f"a category is named twice: {labels}")
    number = {label: i for i, label in enumerate(labels)}
    strange = [label for label in (*first, *second) if label not in number]
    if strange:
        raise ValueError(f"{strange[0]!r} is none of the categories {labels}")
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second):
        table[number[one], number[other]] += 1
    return table / len(first)


def _credit(size: int, weights: Weights | None) -> NDArray[np.float64]:
    """How much each pair of labels counts as agreement: 1 on the diagonal."""
    if weights is None:
        return np.eye(size)
    if weights not in _POWERS:
        raise ValueError(f"weights are {', '.join(_POWERS)} or None, not {weights!r}")
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return np.asarray(1 - (apart / (size - 1)) ** _POWERS[weights], dtype=np.float64)
