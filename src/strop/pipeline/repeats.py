"""The table of what several samples of each task are worth, and take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from strop import report

if TYPE_CHECKING:
    from strop.evals import Rate, SuiteResult


def repeats_table(result: SuiteResult, *, seed: int) -> report.Table | None:
    """pass@k and pass^k with the tokens and the money of k answers; None where every task was answered once."""
    from strop.evals.pass_at_k import repeated

    found = repeated(result)
    if not found:
        return None
    rows = [
        report.Row(
            label=f"k = {one.k}",
            cells=(
                _measured(one.any_passes, "percent"),
                _measured(one.all_pass, "percent"),
                _measured(one.tokens, "number"),
                "no price" if one.cost is None else f"{one.cost:.4g}",
            ),
        )
        for one in found
    ]
    return report.table(
        f"{result.name}: k answers to each task",
        ("pass@k: any of k", "pass^k: all of k", "answer tokens", "cost"),
        rows,
        seeds=[seed],
        note="unbiased estimates, 95 % intervals over tasks",
    )


def _measured(rate: Rate, unit: Literal["percent", "number"]) -> report.Measured | None:
    if rate.value is None or rate.interval is None:
        return None
    return report.Measured(
        value=rate.value, n=rate.num_items, low=rate.interval.low, high=rate.interval.high, unit=unit
    )
