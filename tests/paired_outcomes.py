"""Two runs of one suite made by hand from columns of values, for the tests of what the gate compares."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from strop.evals import ItemResult, Metric, SuiteResult
from suite_outcomes import DIGESTS, PARAMS, sample

Column = Sequence[float | None]


def run_of(
    columns: Mapping[str, Column],
    *,
    name: str = "finance",
    metrics: Mapping[str, Metric] | None = None,
    slices: Sequence[Mapping[str, str]] | None = None,
    clusters: Sequence[str] | None = None,
    version: str = "1",
) -> SuiteResult:
    """One item a row; every column that ``metrics`` does not name is measured and not rated."""
    num_items = len(next(iter(columns.values())))
    items = tuple(
        ItemResult(
            id=f"i{i:04}",
            slices={} if slices is None else slices[i],
            question="q",
            samples=(replace(sample(**{metric: column[i] for metric, column in columns.items()}), score=1.0),),
            cluster="" if clusters is None else clusters[i],
        )
        for i in range(num_items)
    )
    rated = dict.fromkeys(columns, Metric(direction="higher")) if metrics is None else metrics
    return SuiteResult(name=name, digests=DIGESTS, params=PARAMS, metrics=rated, items=items, version=version)


def flips(num_items: int, *, lost: int = 0, gained: int = 0) -> tuple[list[float], list[float]]:
    """Before and now of a measure where so many items changed each way; all others pass."""
    before = [1.0] * lost + [0.0] * gained + [1.0] * (num_items - lost - gained)
    now = [0.0] * lost + [1.0] * gained + [1.0] * (num_items - lost - gained)
    return before, now
