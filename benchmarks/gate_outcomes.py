"""Simulated runs of two models over one suite: eight measures, slices, and difficulties that both runs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from strop.evals import ItemResult, Metric, SampleResult, SuiteResult

METRICS: Mapping[str, float] = {
    "m0": 0.97,
    "m1": 0.9,
    "m2": 0.85,
    "m3": 0.8,
    "m4": 0.7,
    "m5": 0.6,
    "m6": 0.95,
    "m7": 0.45,
}
"""Name → about which share of items passes."""
KINDS = ("tool", "answer", "refusal", "clarify")
_KIND_SHARES = (0.45, 0.25, 0.2, 0.1)
BOUNDARIES = ("answerable", "with-constraints", "must-refuse")
_BOUNDARY_SHARES = (0.6, 0.25, 0.15)
SLICED = len(KINDS) + len(BOUNDARIES)
_SHARED = 0.6
"""Correlation of one item's difficulty between two measures, and of one answer's luck."""


@dataclass(frozen=True)
class Runs:
    """Two runs over the same items."""

    kinds: tuple[str, ...]
    boundaries: tuple[str, ...]
    passed: Mapping[str, NDArray[np.bool_]]
    """Measure → [2, items]: before and now."""

    def values(self, metric: str, kind: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Before and now, over all items or those of a kind."""
        chosen = self.passed[metric].astype(np.float64)
        if kind is not None:
            chosen = chosen[:, np.array([one == kind for one in self.kinds])]
        return chosen[0], chosen[1]

    def correlation(self, metric: str) -> float:
        """Of the two runs' outcomes."""
        before, now = self.values(metric)
        return float(np.corrcoef(before, now)[0, 1])


def draw_runs(
    generator: np.random.Generator,
    num_items: int,
    *,
    steadiness: float = 3.0,
    drops: Mapping[str, tuple[float, str | None]] | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    sliced: bool = True,
) -> Runs:
    """Two runs of one model; in the second each of ``drops`` fails more often, over all items or one kind.

    An item passes a measure with probability σ(centre + steadiness · difficulty): the larger the steadiness, the more
    items always or never pass. A drop d makes passed items fail with probability d / E[pass], so d is its true size.
    """
    kinds = generator.choice(len(KINDS), size=num_items, p=_KIND_SHARES)
    boundaries = generator.choice(len(BOUNDARIES), size=num_items, p=_BOUNDARY_SHARES)
    shared, luck = generator.standard_normal(num_items), generator.standard_normal((2, num_items))
    passed = {}
    for metric in metrics:
        own = generator.standard_normal(num_items)
        chance = _chance(metric, steadiness, _mixed(shared, own))
        draws = _normal_cdf(_mixed(luck, generator.standard_normal((2, num_items))))
        passed[metric] = draws < chance
        drop, kind = (drops or {}).get(metric, (0.0, None))
        if drop:
            fails = generator.random(num_items) < drop / _mean_chance(metric, steadiness)
            passed[metric][1] &= ~(fails & ((kinds == KINDS.index(kind)) if kind else True))
    names = (tuple(KINDS[k] for k in kinds), tuple(BOUNDARIES[b] for b in boundaries)) if sliced else ((), ())
    return Runs(names[0], names[1], passed)


def _mixed(shared: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    return _SHARED**0.5 * shared + (1 - _SHARED) ** 0.5 * own


def _chance(metric: str, steadiness: float, difficulty: NDArray[np.float64]) -> NDArray[np.float64]:
    share = METRICS[metric]
    centre = np.log(share / (1 - share)) * (1 + 0.35 * steadiness**2) ** 0.5
    return np.asarray(1 / (1 + np.exp(-np.clip(centre + steadiness * difficulty, -50, 50))))


@lru_cache(maxsize=64)
def _mean_chance(metric: str, steadiness: float) -> float:
    """E[pass], by quadrature over the normal difficulty."""
    grid = np.linspace(-8, 8, 20_001)
    weights = np.exp(-grid * grid / 2)
    return float((_chance(metric, steadiness, grid) * weights).sum() / weights.sum())


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def suite_result(runs: Runs, run: int) -> SuiteResult:
    """One of the runs as the result of a suite."""
    columns = {metric: values[run].astype(float).tolist() for metric, values in runs.passed.items()}
    num_items = len(next(iter(columns.values())))
    slices: list[Mapping[str, str]] = [{}] * num_items
    if runs.kinds:
        slices = [{"kind": kind, "boundary": b} for kind, b in zip(runs.kinds, runs.boundaries, strict=True)]
    items = tuple(
        ItemResult(
            id=f"i{i:05}",
            slices=slices[i],
            question="",
            samples=(_sample({metric: column[i] for metric, column in columns.items()}),),
        )
        for i in range(num_items)
    )
    return SuiteResult(
        name="suite",
        digests={"model": str(run), "template": "t", "tools": "", "verifier": "v", "suite": "s"},
        params={"temperature": 1.0},
        metrics={metric: Metric(direction="higher") for metric in columns},
        items=items,
    )


def _sample(measures: Mapping[str, float]) -> SampleResult:
    return SampleResult(
        text="",
        finish_reason="stop",
        state="graded",
        passed=True,
        score=1.0,
        reasons=(),
        measures=measures,
        num_prompt_tokens=1,
        num_tokens=1,
        latency_s=0.0,
    )
