"""The report's charts in Altair, as pure functions of the small frames of `results.summaries`.

    python -m pytest tests/results/report/test_charts.py

Texts and lines take the page's own colour (`currentColor`), and amounts are opacities of one blue, so that a
figure is readable on light, dark and printed pages. What colour tells, a shape, dash or number tells too.
"""

from __future__ import annotations

import math
import re
from typing import Any

import altair as alt
import pandas as pd

BLUE = "#1b5fa8"
MID_BLUE = "#2f7fd0"
"""Colours of lines and bars, readable on white and on dark."""
ORANGE = "#d9691a"
GREY = "#808790"
INK = "currentColor"
"""The colour of the page's text."""

_UNDRAWABLE = re.compile("[^\t\n\r -\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SVG excludes (XML 1.0, 2.2), and line ends at which Vega's expression parser stops."""

_PLAIN = {
    "labelColor": INK,
    "titleColor": INK,
    "titleFontWeight": "normal",
    "labelFontSize": 11,
    "titleFontSize": 11,
}

MOST_NAMED = 60
"""Names along an axis that can be read."""

SYSTEM_NAMES = {
    "probe": "Probe (frozen)",
    "baseline": "[CLS] baseline",
    "mcbert": "MC-BERT",
    "mcbert_wf": "MC-BERT-WF",
}
"""Names of the systems in the report."""

_TUNED = [SYSTEM_NAMES[name] for name in ("baseline", "mcbert", "mcbert_wf")]
_COLOURS = [GREY, MID_BLUE, ORANGE]
_SHAPES = ["circle", "square", "triangle-up"]
_DASHES = [[2, 3], [1, 0], [6, 5]]


def effects(rows: pd.DataFrame, title: str, *, legend: bool) -> alt.LayerChart:
    """Draw one factor's main effects: for each level and split a mark with its 95% interval.

    Parameters
    ----------
    rows : DataFrame
        Rows of one factor from `results.summaries.effects`.
    title : str
        Name of the levels.
    legend : bool
        Whether to name the splits.
    """
    frame = rows.assign(
        points=rows["effect"] * 100, left=rows["effect_low"] * 100, right=rows["effect_high"] * 100
    )
    splits = [split for split in ("dev", "test") if split in set(frame["split"])]
    base = alt.Chart(frame).encode(
        y=alt.Y("level:N", title=None, sort=frame["level"].drop_duplicates().tolist()),
        yOffset=alt.YOffset("split:N", sort=splits),
        tooltip=[
            alt.Tooltip("level:N", title=title),
            alt.Tooltip("split:N"),
            alt.Tooltip("points:Q", title="effect, points", format="+.2f"),
            alt.Tooltip("left:Q", title="95% interval from", format="+.2f"),
            alt.Tooltip("right:Q", title="to", format="+.2f"),
            alt.Tooltip("n:Q", title="comparisons", format=",d"),
        ],
    )
    axis = alt.X("left:Q", title="points of micro-F1", axis=_signed())
    shown = symbol_legend() if legend else None
    colours = {"dev": _COLOURS[2], "test": MID_BLUE}
    colour = alt.Color(
        "split:N", scale=alt.Scale(domain=splits, range=[colours[split] for split in splits]), legend=shown
    )
    forms = {"dev": "circle", "test": "square"}
    shape = alt.Shape(
        "split:N", scale=alt.Scale(domain=splits, range=[forms[split] for split in splits]), legend=shown
    )
    bars = base.mark_rule(strokeWidth=2, opacity=0.85).encode(x=axis, x2="right:Q", color=colour)
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(x="points:Q", color=colour, shape=shape)
    return finish([_zero(), bars, dots], height=28 * frame["level"].nunique())


def by_n_layers(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw the best and the median score by the number of layers (`results.summaries.by_n_layers`)."""
    frame, scale = rows.assign(percent=rows["f1"] * 100), alt.Scale(domain=list(percent_range(rows["f1"])))
    base = alt.Chart(frame).encode(
        x=alt.X("n_layers:O", title="number of layers", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("percent:Q", title="dev micro-F1, %", scale=scale),
        tooltip=[
            "n_layers:O",
            "which:N",
            alt.Tooltip("percent:Q", format=".2f"),
            alt.Tooltip("n:Q", format=",d"),
        ],
    )
    both = ["best", "median"]
    legend = alt.Legend(
        orient="top",
        title=None,
        symbolSize=80,
        symbolFillColor=MID_BLUE,
        symbolStrokeColor=MID_BLUE,
        symbolOpacity=1,
    )
    dash = alt.StrokeDash("which:N", scale=alt.Scale(domain=both, range=[[1, 0], [4, 3]]), legend=legend)
    shape = alt.Shape("which:N", scale=alt.Scale(domain=both, range=["circle", "square"]), legend=legend)
    lines = base.mark_line(color=MID_BLUE, strokeWidth=2).encode(strokeDash=dash)
    points = base.mark_point(filled=True, size=55, color=MID_BLUE, opacity=1).encode(shape=shape)
    return finish([lines, points])


def percent_range(shares: pd.Series, *, least: int = 20) -> tuple[int, int]:
    """Return the percentages between which an axis shows shares: multiples of 5, at least `least` apart.

    A span of its own for each figure would draw differences of less than a point as large as collapses.
    """
    low, high = 5 * math.floor(shares.min() * 20), 5 * math.ceil(shares.max() * 20)
    missing = max(0, least - (high - low))
    high = min(100, high + 5 * math.ceil(missing / 10))
    low = max(0, min(low, high - least))
    return low, max(high, low + least)


def curves(
    rows: pd.DataFrame, events: pd.DataFrame, *, legend: bool, span: tuple[int, int]
) -> alt.LayerChart:
    """Draw accuracy by epoch: a line per system, a band from worst to best seed, a rule at each freeze event.

    Parameters
    ----------
    rows : DataFrame
        Rows of one language from `results.summaries.training_curves`.
    events : DataFrame
        From `results.summaries.freeze_events`; may be empty.
    legend : bool
        Whether to draw the legend and name the layers at the rules (once is enough on a page of many panels).
    span : pair of int
        The percentages that the axis shows, those of all panels (`percent_range`).
    """
    frame = rows.assign(
        name=rows["system"].map(SYSTEM_NAMES),
        percent=rows["accuracy"] * 100,
        worst=rows["low"] * 100,
        most=rows["high"] * 100,
    )
    shown = symbol_legend([name for name in _TUNED if name in set(frame["name"])]) if legend else None
    base = alt.Chart(frame).encode(
        x=_epochs(rows),
        color=alt.Color("name:N", scale=alt.Scale(domain=_TUNED, range=_COLOURS), legend=shown),
        tooltip=[
            alt.Tooltip("name:N", title="system"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("percent:Q", title="dev accuracy, %", format=".2f"),
            alt.Tooltip("worst:Q", title="worst seed", format=".2f"),
            alt.Tooltip("most:Q", title="best seed", format=".2f"),
            alt.Tooltip("n_seeds:Q", title="seeds"),
        ],
    )
    scale = alt.Scale(domain=list(span), nice=False)
    band = base.mark_area(opacity=0.16).encode(
        y=alt.Y("worst:Q", title="dev accuracy, %", scale=scale), y2="most:Q"
    )
    dash = alt.StrokeDash("name:N", scale=alt.Scale(domain=_TUNED, range=_DASHES), legend=shown)
    shape = alt.Shape("name:N", scale=alt.Scale(domain=_TUNED, range=_SHAPES), legend=shown)
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y("percent:Q", scale=scale), strokeDash=dash)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y="percent:Q", shape=shape)
    middle = (rows["epoch"].min() + rows["epoch"].max()) / 2
    layers = [band, *_event_layers(events, middle, named=legend), line, points]
    return finish(layers, height=260 if legend else 150)


def strip(rows: pd.DataFrame, title: str, *, percent: bool = True) -> alt.LayerChart:
    """Draw a point for each of many names, in the order of the first series' values, the lowest first.

    Parameters
    ----------
    rows : DataFrame
        Columns name, series (few; told by colour and shape), value: a share, or without `percent` a number.
    title : str
        Of the values.
    percent : bool
        Whether values are shares, shown in percent from 0 to 100.
    """
    series = rows["series"].drop_duplicates().tolist()
    first = rows[rows["series"] == series[0]].sort_values(["value", "name"])
    frame = rows.assign(shown=rows["value"] * (100 if percent else 1))
    named = len(first) <= MOST_NAMED
    legend = symbol_legend(series) if len(series) > 1 else None
    scale = alt.Scale(domain=series, range=[_COLOURS[(k + 1) % 3] for k in range(len(series))])
    forms = alt.Scale(domain=series, range=[_SHAPES[k % 3] for k in range(len(series))])
    base = alt.Chart(frame).encode(
        x=alt.X(
            "name:N",
            title=None,
            sort=first["name"].tolist(),
            axis=alt.Axis(labels=named, labelAngle=-90, labelLimit=110),
        ),
        y=alt.Y("shown:Q", title=title, scale=alt.Scale(domain=[0, 100]) if percent else alt.Undefined),
        color=alt.Color("series:N", scale=scale, legend=legend),
        shape=alt.Shape("series:N", scale=forms, legend=legend),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("series:N"),
            alt.Tooltip("shown:Q", title=title, format=".1f" if percent else ",d"),
        ],
    )
    return finish([base.mark_point(filled=True, size=40, opacity=0.9)])


def forest(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw effects with their intervals beside 0: a mark per comparison, formed and coloured by its verdict.

    Parameters
    ----------
    rows : DataFrame
        Columns mark (what stands beside the row), comparison, effect, low, high (shares), verdict.
    """
    frame = rows.assign(
        points=rows["effect"] * 100, left=rows["effect_low"] * 100, right=rows["effect_high"] * 100
    )
    forms = {"supported": (MID_BLUE, "circle"), "not supported": (ORANGE, "diamond")}
    verdicts = [verdict for verdict in forms if verdict in set(frame["verdict"])]
    colours, shapes = ([forms[verdict][k] for verdict in verdicts] for k in (0, 1))
    base = alt.Chart(frame).encode(
        y=alt.Y("mark:N", title=None, sort=frame["mark"].tolist()),
        tooltip=[
            alt.Tooltip("comparison:N"),
            alt.Tooltip("points:Q", title="effect, points", format="+.2f"),
            alt.Tooltip("left:Q", title="95% interval from", format="+.2f"),
            alt.Tooltip("right:Q", title="to", format="+.2f"),
            alt.Tooltip("verdict:N"),
        ],
    )
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=verdicts, range=colours), legend=symbol_legend())
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=verdicts, range=shapes), legend=symbol_legend())
    axis = alt.X("left:Q", title="points of accuracy; above 0 supports the conclusion", axis=_signed())
    bars = base.mark_rule(strokeWidth=2, opacity=0.85).encode(x=axis, x2="right:Q", color=colour)
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x="points:Q", color=colour, shape=shape)
    return finish([_zero(), bars, dots], height=26 * len(frame))


def _signed() -> alt.Axis:
    return alt.Axis(format="+.3~f", tickCount=5, labelExpr="datum.value == 0 ? '0' : datum.label")


def _zero() -> alt.Chart:
    rule: alt.Chart = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=INK, opacity=0.6)
    return rule.encode(x="zero:Q")


def _epochs(rows: pd.DataFrame) -> alt.X:
    """Return an axis with a tick at every epoch and room for the marks of the first and last."""
    first, last = int(rows["epoch"].min()), int(rows["epoch"].max())
    ticks = list(range(first, last + 1, 1 + (last - first) // 12))
    return alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(domain=[first - 0.2, last + 0.2], nice=False),
        axis=alt.Axis(values=ticks, format="d", grid=False, labelFlush=False),
    )


def _event_layers(events: pd.DataFrame, middle: float, *, named: bool) -> list[alt.Chart]:
    if events.empty:
        return []
    frame = _labelled(events)
    base = alt.Chart(frame).encode(
        x="epoch:Q",
        tooltip=["system:N", "epoch:Q", alt.Tooltip("layers:N", title="layers frozen"), "reason:N"],
    )
    rules = base.mark_rule(color=INK, strokeDash=[5, 3], strokeWidth=1.2, opacity=0.75)
    if not named:
        return [rules]
    # a text at the right end would be cut: it stands left of its rule
    early, late = (base.transform_filter(f"datum.epoch {side} {middle}") for side in ("<=", ">"))
    sides = (
        early.mark_text(align="left", dx=5, baseline="top", fontSize=11, color=INK),
        late.mark_text(align="right", dx=-5, baseline="top", fontSize=11, color=INK),
    )
    texts = [
        side.transform_filter(f"datum.line == {line}").encode(text="text:N", y=alt.value(2 + 13 * line))
        for side in sides
        for line in frame["line"].unique()
    ]
    return [rules, *texts]


def _labelled(events: pd.DataFrame) -> pd.DataFrame:
    """Return each event its text and a line of its own to stand on, as far as four lines go."""
    ordered = events.sort_values("epoch", kind="stable")
    return ordered.assign(text="freeze " + ordered["layers"], line=[at % 4 for at in range(len(ordered))])


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
    """Return a chart's Vega-Lite specification, with its description.

    Characters of labels and languages that cannot be drawn are written as a backslash, u and their code: one
    of them would cost the figure, and U+FFFE ends the whole process that draws it.
    """
    with alt.data_transformers.disable_max_rows():  # what is drawn is bounded where it is chosen
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
