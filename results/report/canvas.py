"""What all figures share: colours, the page's ink, legends, and how a chart fits its place.

python -m pytest tests/results/report/test_charts.py
"""

from __future__ import annotations

import re
from typing import Any

import altair as alt

BLUE = "#1b5fa8"
MID_BLUE = "#2f7fd0"
"""For lines and bars, readable on white and on dark."""
ORANGE = "#d9691a"
GREY = "#808790"
INK = "currentColor"
"""The colour of the page's text."""

_UNDRAWABLE = re.compile("[^\t\n\r -\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no SVG may hold (XML 1.0, 2.2), and the line ends at which Vega's parser of expressions stops."""

_PLAIN = {
    "labelColor": INK,
    "titleColor": INK,
    "titleFontWeight": "normal",
    "labelFontSize": 11,
    "titleFontSize": 11,
}


def symbol_legend(values: list[str] | None = None) -> alt.Legend:
    """Make a legend of symbols above the figure, of these values of its scale or of all."""
    return alt.Legend(
        orient="top",
        title=None,
        labelLimit=0,
        symbolSize=80,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        values=values if values is not None else alt.Undefined,
    )


def finish(layers: list[alt.Chart], *, height: int = 220) -> alt.LayerChart:
    """Fit a chart to its container's width and a height in pixels, in the page's ink."""
    sized = alt.LayerChart(layer=layers).properties(width="container", height=height)
    finished: alt.LayerChart = sized.configure(
        background="transparent",
        font="system-ui, sans-serif",
        axis={
            **_PLAIN,
            "gridColor": INK,
            "gridOpacity": 0.12,
            "domainOpacity": 0.4,
            "domainColor": INK,
            "ticks": False,
            "labelPadding": 5,
        },
        legend=_PLAIN,
        view={"stroke": None},
    )
    return finished


def specification(chart: alt.LayerChart, description: str) -> dict[str, Any]:
    """Give a chart's Vega-Lite specification, with what it shows in words.

    Characters of labels and languages that cannot be drawn are written as a backslash, u and their code: one
    of them would cost the figure, and U+FFFE ends the whole process that draws it.
    """
    drawable: dict[str, Any] = _drawable(chart.to_dict() | {"description": description})
    return drawable


def _drawable(part: Any) -> Any:
    if isinstance(part, dict):
        return {_drawable(key): _drawable(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_drawable(value) for value in part]
    if isinstance(part, str):
        return _UNDRAWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", part)
    return part
