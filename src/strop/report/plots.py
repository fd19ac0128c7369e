"""Curves as inline SVG that takes its colours from the page, so that it reads in light, dark and print."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that no plot uses by itself, exchanged for the page's own after drawing.
_INK = "#010203"
_GRID = "#010204"
_SERIES = tuple(f"#0102{10 + i:02x}" for i in range(6))
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A finished drawing."""

    kind: ClassVar[str] = "plot"
    title: str
    svg: str
    """Inline markup without scripts or links, in the page's ``currentColor``, ``var(--grid)``, ``var(--series-N)``."""
    caption: str


def curve(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str = "step",
    y_label: str = "",
    note: str = "",
) -> Plot:
    """Lines through (x, y) points, at most six, told apart by colour and by dash.

    Points that are not finite are left out and counted in the caption. Raises: ValueError without a finite point.
    """
    if len(series) > len(_SERIES):
        raise ValueError(f"{title}: {len(series)} lines cannot be told apart; draw at most {len(_SERIES)}")
    kept = {
        name: [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    if not any(kept.values()):
        raise ValueError(f"{title}: there is no finite point to draw")
    num_dropped = sum(len(points) for points in series.values()) - sum(len(points) for points in kept.values())
    caption = _caption(kept, num_dropped, note)
    return Plot(title=title, svg=_svg(title, kept, x_label, y_label, caption), caption=caption)


def _caption(kept: Mapping[str, list[tuple[float, float]]], num_dropped: int, note: str) -> str:
    ends = [f"{name}: {points[0][1]:.4g} → {points[-1][1]:.4g}" for name, points in kept.items() if points]
    dropped = [f"{num_dropped} points were not finite and are not drawn"] if num_dropped else []
    return "; ".join(ends + dropped + ([note] if note else []))


def _svg(title: str, kept: Mapping[str, list[tuple[float, float]]], x_label: str, y_label: str, caption: str) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Text stays text (small, searchable); the salt makes the same plot the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 11}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        for (name, points), colour, dashes in zip(kept.items(), _SERIES, _DASHES, strict=False):
            marker = "o" if len(points) == 1 else None
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes, marker=marker, label=_literal(name))
        _dress(axes, x_label, y_label, with_legend=len(kept) > 1)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _inline(buffer.getvalue(), f"{title}. {caption}")


def _dress(axes: Axes, x_label: str, y_label: str, *, with_legend: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(_literal(x_label), color=_INK)
    axes.set_ylabel(_literal(y_label), color=_INK)
    axes.tick_params(colors=_INK)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(color=_GRID, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    if with_legend:
        axes.legend(frameon=False, labelcolor=_INK)


def _literal(text: str) -> str:
    """The text with its dollars kept: matplotlib would read a pair of them as mathematics."""
    return text.replace("$", r"\$")


def _inline(svg: str, description: str) -> str:
    """The drawing as an element of a page: no prologue, no metadata, no fixed size or ids that could clash."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    for number, colour in enumerate(_SERIES, start=1):
        svg = svg.replace(colour, f"var(--series-{number})")
    return svg.strip()
