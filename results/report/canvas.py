"""What all figures share: colours, the page's ink, legends, and how a chart fits its place.

python -m pytest tests/results/report/test_charts.py
"""

from __future__ import annotations

import altair as alt

BLUE = "#1b5fa8"
MID_BLUE = "#2f7fd0"
"""For lines and bars, readable on white and on dark."""
ORANGE = "#d9691a"
GREY = "#808790"
INK = "currentColor"
"""The colour of the page's text."""

_PLAIN = {
    "labelColor": INK,
    "titleColor": INK,
    "titleFontWeight": "normal",
    "labelFontSize": 11,
    "titleFontSize": 11,
}


def symbol_legend() -> alt.Legend:
    """Make a legend of symbols above the figure."""
    return alt.Legend(
        orient="top", title=None, labelLimit=0, symbolSize=80, symbolOpacity=1, symbolStrokeWidth=0
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
