"""Drawings are inline, themed by the page, and the same every time."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from strop.report import curve


def test_the_drawing_is_well_formed_and_takes_every_colour_from_the_page() -> None:
    plot = curve("Loss", {"train": [(0, 3.0), (1, 2.0)], "validation": [(0, 3.1), (1, 2.2)]}, y_label="nats")
    ET.fromstring(plot.svg)
    assert not re.findall(r"#[0-9a-f]{6}\b", plot.svg)
    assert {"currentColor", "var(--series-1)", "var(--series-2)", "var(--grid)"} <= set(
        re.findall(r"currentColor|var\(--[a-z0-9-]+\)", plot.svg)
    )


def test_lines_differ_by_dash_as_well_as_by_colour() -> None:
    one = curve("Loss", {"train": [(0, 3.0), (1, 2.0)]}).svg
    two = curve("Loss", {"train": [(0, 3.0), (1, 2.0)], "validation": [(0, 3.0), (1, 2.0)]}).svg
    assert "stroke-dasharray" not in one
    assert "stroke-dasharray" in two


def test_the_same_points_give_the_same_bytes() -> None:
    points = {"train": [(step, 1 / (step + 1)) for step in range(20)]}
    assert curve("Loss", points) == curve("Loss", points)


def test_the_words_in_a_drawing_are_words() -> None:
    svg = curve("Cost", {"a<b> & c": [(0, 1.0), (1, 2.0)], "price $x$": [(0, 1.0)]}, y_label="US$ and $").svg
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"a<b> & c", "price $x$", "US$ and $", "step"} <= set(texts)


def test_the_caption_and_label_say_what_the_eye_would_see() -> None:
    plot = curve("Loss", {"train": [(0, 3.0), (1, math.nan), (2, 0.5)]}, note="seed 0")
    assert plot.caption == "train: 3 → 0.5; 1 points were not finite and are not drawn; seed 0"
    assert ET.fromstring(plot.svg).get("aria-label") == f"Loss. {plot.caption}"


@pytest.mark.parametrize("points", [{}, {"train": []}, {"train": [(0, math.nan)]}])
def test_nothing_to_draw_is_refused(points: dict[str, list[tuple[float, float]]]) -> None:
    with pytest.raises(ValueError, match="no finite point"):
        curve("Loss", points)


def test_more_lines_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 6"):
        curve("Loss", {str(i): [(0, 1.0)] for i in range(7)})


def test_importing_the_report_loads_neither_matplotlib_nor_torch() -> None:
    code = "import sys, strop.report; print(sorted({'matplotlib', 'torch'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
