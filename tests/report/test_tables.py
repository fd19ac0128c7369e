"""Tables keep their numbers honest."""

from __future__ import annotations

import math
from typing import Any

import pytest

from strop.report import Measured, Row, progress, table, to_markdown
from strop.report.tables import change_tone, format_interval, format_value


def rate(value: float, n: int = 500, **changed: Any) -> Measured:
    return Measured(value=value, n=n, low=value - 0.02, high=value + 0.02, **changed)


@pytest.mark.capability("IM-10")
def test_a_bare_fraction_is_refused_because_it_has_no_n_and_no_interval() -> None:
    with pytest.raises(ValueError, match="stands without its n and interval"):
        table("t", ["sft"], [Row(label="accuracy", cells=(0.93,))], seeds=[0])  # type: ignore[arg-type]


@pytest.mark.capability("IM-10")
def test_measured_numbers_without_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds"):
        table("t", ["sft"], [Row(label="accuracy", cells=(rate(0.9),))])


@pytest.mark.capability("IM-10")
@pytest.mark.parametrize(
    "broken", [{"n": 0}, {"low": math.nan}, {"high": math.inf}, {"low": 0.9, "high": 0.8}, {"value": math.nan}]
)
def test_a_measurement_without_items_or_interval_cannot_be_made(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Measured(**{"value": 0.5, "n": 500, "low": 0.4, "high": 0.6, **broken})


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        table("t", ["sft"], [Row(label="accuracy", cells=("a", "b"))])


def test_words_and_counts_need_no_interval() -> None:
    assert table("t", ["steps", "method"], [Row(label="sft", cells=(300, "sft"))]).rows[0].cells == (300, "sft")


def test_a_metric_that_a_stage_has_no_case_for_is_undefined_and_not_zero() -> None:
    shown = progress("t", {"base": {"a": rate(0.1)}, "sft": {"b": None}}, directions={}, seeds=[0])
    assert [(row.label, row.cells) for row in shown.rows] == [("a", (rate(0.1), None)), ("b", (None, None))]
    assert "| b | undefined | undefined |" in to_markdown(shown)


@pytest.mark.parametrize(
    ("measured", "value", "interval"),
    [
        (Measured(value=0.972, n=500, low=0.954, high=0.984), "97.2 %", "95.4 to 98.4, n = 500"),
        (Measured(value=-0.031, n=40, low=-0.05, high=0.01, unit="points"), "-3.1 pp", "-5.0 to +1.0, n = 40"),
        (Measured(value=1.23456, n=7, low=1.2, high=1.3, unit="number"), "1.235", "1.2 to 1.3, n = 7"),
    ],
)
def test_numbers_are_printed_with_interval_and_n(measured: Measured, value: str, interval: str) -> None:
    assert format_value(measured) == value
    assert format_interval(measured) == interval


@pytest.mark.parametrize(
    ("low", "high", "direction", "tone"),
    [
        (0.01, 0.05, "higher", "better"),
        (0.01, 0.05, "lower", "worse"),
        (-0.05, -0.01, "higher", "worse"),
        (-0.05, -0.01, "lower", "better"),
        (-0.01, 0.05, "higher", "unclear"),
        (0.0, 0.05, "higher", "unclear"),
        (0.01, 0.05, None, "unclear"),
    ],
)
def test_a_change_is_better_or_worse_only_where_its_interval_excludes_zero(
    low: float, high: float, direction: Any, tone: str
) -> None:
    change = Measured(value=(low + high) / 2, n=100, low=low, high=high, unit="points")
    assert change_tone(change, direction) == tone


def test_markdown_holds_every_number_and_no_broken_cell() -> None:
    shown = progress(
        "Suite",
        {"base": {"a|b": rate(0.5)}, "sft": {"a|b": rate(0.7)}},
        directions={"a|b": "higher"},
        seeds=[0, 1],
        changes={"a|b": rate(0.2, unit="points")},
    )
    assert to_markdown(shown) == (
        "**Suite**\n"
        "\n"
        "|  | base | sft | change |\n"
        "| --- | --- | --- | --- |\n"
        "| a\\|b | 50.0 % (48.0 to 52.0, n = 500) | 70.0 % (68.0 to 72.0, n = 500) "
        "| +20.0 pp (+18.0 to +22.0, n = 500) |\n"
        "\n"
        "Seeds: 0, 1"
    )
