"""Charts of runs side by side: accuracies and differences by language, all panels on one stated range.

python -m pytest tests/results/report/test_comparison.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from mcbert.results.report.charts import GREY, INK, MID_BLUE, ORANGE, finish, symbol_legend

BETTER, WORSE, SAME = "better", "worse", "not significantly different"
_COLOURS = [MID_BLUE, ORANGE, GREY, "#2a9d6f", "#a357b8", "#b8860b", "#d0417e", "#3aa6b9"]
_SHAPES = [
    "circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left",
]  # fmt: skip
MOST_RUNS = len(_COLOURS)
"""As many runs as there are colours and shapes."""

_PHONE, _LETTER = 300, 7
"""Pixels for a legend across, and of a letter of it."""

Range = tuple[float, float]


def accuracy_range(percents: Iterable[float], least: float = 20) -> Range:
    """Return a range in fives around percentages, so wide that a point does not look like a collapse."""
    known = [value for value in percents if not math.isnan(value)]
    low, high = 5 * math.floor(min(known) / 5), 5 * math.ceil(max(known) / 5)
    while high - low < least:
        low, high = max(0, low - 5), min(100, high + 5)
    return low, high


def difference_range(points: Iterable[float]) -> Range:
    """Return a range in fives around 0 that holds these differences."""
    most = max((abs(value) for value in points if not math.isnan(value)), default=0)
    end = 5 * max(1, math.ceil(most / 5))
    return -end, end


def accuracies(
    rows: pd.DataFrame, runs: Sequence[str], languages: Sequence[str], within: Range
) -> alt.LayerChart:
    """Draw accuracy by language, a mark per run, identified by colour and shape.

    Parameters
    ----------
    rows : DataFrame
        Columns run, language, percent.
    runs : sequence of str
        All that have a colour, in their order.
    languages : sequence of str
        In their order.
    within : (float, float)
        Range of the axis.
    """
    points = _by_run(rows, runs, languages).mark_point(filled=True, size=70, opacity=0.9)
    tooltip = ["run:N", "language:N", alt.Tooltip("percent:Q", title="test accuracy, %", format=".1f")]
    axis = _axis("percent", "test accuracy, %", within)
    drawn = points.encode(x=axis, shape=_shape(rows, runs), tooltip=tooltip)
    return finish([drawn], height=_height(rows, languages))


def differences(
    rows: pd.DataFrame, runs: Sequence[str], languages: Sequence[str], within: Range
) -> alt.LayerChart:
    """Draw differences by language with their intervals beside 0, a mark per run.

    Parameters
    ----------
    rows : DataFrame
        Columns run, language, points, low, high, verdict.
    runs : sequence of str
        All that have a colour, in their order.
    languages : sequence of str
        In their order.
    within : (float, float)
        Range of the axis.
    """
    base = _by_run(rows, runs, languages).encode(tooltip=_TOLD)
    axis = _axis("low", "difference, points", within)
    bars = base.mark_rule(strokeWidth=2, opacity=0.85).encode(x=axis, x2="high:Q")
    marks = base.mark_point(filled=True, size=60, opacity=1).encode(x="points:Q", shape=_shape(rows, runs))
    return finish([_zero(), bars, marks], height=_height(rows, languages))


def accuracy_strips(
    rows: pd.DataFrame, means: pd.DataFrame, runs: Sequence[str], within: Range
) -> alt.LayerChart:
    """Draw a strip for each run, a tick at each of its many languages' accuracy and a dot at the mean.

    Parameters
    ----------
    rows, means : DataFrame
        Columns run, language, percent.
    runs : sequence of str
        In their order.
    within : (float, float)
        Range of the axis.
    """
    axis = _axis("percent", "test accuracy, %", within)
    tooltip = ["run:N", "language:N", alt.Tooltip("percent:Q", title="test accuracy, %", format=".1f")]
    ticks = alt.Chart(rows).mark_tick(color=MID_BLUE, opacity=0.45, thickness=2)
    dots = alt.Chart(means).mark_point(filled=True, color=ORANGE, size=80, opacity=1)
    layers = [layer.encode(x=axis, y=_runs(runs), tooltip=tooltip) for layer in (ticks, dots)]
    return finish(layers, height=34 * len(runs))


def difference_strips(rows: pd.DataFrame, runs: Sequence[str], within: Range) -> alt.LayerChart:
    """Draw a strip for each run, a tick at each of its many languages' difference, coloured by its verdict.

    Parameters
    ----------
    rows : DataFrame
        Columns run, language, points, low, high, verdict.
    runs : sequence of str
        In their order.
    within : (float, float)
        Range of the axis.
    """
    verdicts = [WORSE, SAME, BETTER]
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=verdicts, range=[ORANGE, GREY, MID_BLUE]),
        legend=symbol_legend(),
    )
    ticks = alt.Chart(rows).mark_tick(opacity=0.7, thickness=2)
    axis = _axis("points", "difference, points", within)
    return finish(
        [_zero(), ticks.encode(x=axis, y=_runs(runs), color=colour, tooltip=_TOLD)], height=34 * len(runs)
    )


_TOLD = [
    alt.Tooltip("run:N"),
    alt.Tooltip("language:N"),
    alt.Tooltip("points:Q", title="difference, points", format="+.1f"),
    alt.Tooltip("low:Q", title="95% interval from", format="+.1f"),
    alt.Tooltip("high:Q", title="to", format="+.1f"),
    alt.Tooltip("verdict:N"),
]


def _by_run(rows: pd.DataFrame, runs: Sequence[str], languages: Sequence[str]) -> alt.Chart:
    chart: alt.Chart = alt.Chart(rows).encode(
        y=alt.Y("language:N", title=None, sort=list(languages)),
        yOffset=alt.YOffset("run:N", sort=list(runs)),
        color=alt.Color(
            "run:N",
            scale=alt.Scale(domain=list(runs), range=_COLOURS[: len(runs)]),
            legend=_legend(rows, runs),
        ),
    )
    return chart


def _shape(rows: pd.DataFrame, runs: Sequence[str]) -> alt.Shape:
    scale = alt.Scale(domain=list(runs), range=_SHAPES[: len(runs)])
    return alt.Shape("run:N", scale=scale, legend=_legend(rows, runs))


def _legend(rows: pd.DataFrame, runs: Sequence[str]) -> alt.Legend:
    """Make a legend of the runs that are drawn, of all that have a colour, that fits a phone."""
    legend = symbol_legend([run for run in runs if run in set(rows["run"])])
    columns = max(1, _PHONE // (_LETTER * max(map(len, runs)) + 30))
    return alt.Legend(**legend.to_dict() | {"columns": columns, "labelLimit": _PHONE - 30})


def _height(rows: pd.DataFrame, languages: Sequence[str]) -> int:
    n = rows["run"].nunique()
    return max(24, 10 * n) * len(languages)


def _runs(runs: Sequence[str]) -> alt.Y:
    return alt.Y("run:N", title=None, sort=list(runs), axis=alt.Axis(labelLimit=110))


def _axis(column: str, title: str, within: Range) -> alt.X:
    scale = alt.Scale(domain=list(within), nice=False)
    return alt.X(f"{column}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, labelFlush=False))


def _zero() -> alt.Chart:
    rule: alt.Chart = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=INK, opacity=0.6)
    return rule.encode(x="zero:Q")
