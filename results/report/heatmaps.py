"""Figures made of tiles: an amount is the opacity of one blue, and stands in the tile as a number.

python -m pytest tests/results/report/test_heatmaps.py
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from mcbert.features.spec import POOLINGS
from mcbert.results.report.charts import BLUE, INK, finish

_SHADES = (0.06, 0.72)
"""Opacities of the blue from none to all: at any of them the page's ink is easily read, on light and dark."""


def heat_map(cells: pd.DataFrame, domain: tuple[float, float], *, digits: int = 1) -> alt.LayerChart:
    """Draw layer (across) by pooling (down), the dev micro-F1 in percent in each cell, the best framed.

    Parameters
    ----------
    cells : DataFrame
        From `results.summaries.layer_by_pooling`.
    domain : pair of float
        The scores drawn faintest and strongest.
    digits : int
        Decimals of the percentages.
    """
    poolings = [pooling for pooling in POOLINGS if pooling in set(cells["pooling"])]
    low, high = domain
    place = (cells["f1"] - low) / (high - low if high > low else 1)
    frame = cells.assign(percent=cells["f1"] * 100, shade=_shade(place))
    base = alt.Chart(frame).encode(
        x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("pooling:N", title=None, sort=poolings),
        tooltip=[
            alt.Tooltip("layer:O"),
            alt.Tooltip("pooling:N"),
            alt.Tooltip("classifier:N", title="best classifier"),
            alt.Tooltip("percent:Q", title="dev micro-F1, %", format=".2f"),
        ],
    )
    frame_of_best = base.transform_filter("datum.best").mark_rect(filled=False, stroke=INK, strokeWidth=2)
    return finish(
        [_tiles(base), _numbers(base, f".{digits}f", "percent:Q"), frame_of_best], height=34 * len(poolings)
    )


def confusion(cells: pd.DataFrame) -> alt.LayerChart:
    """Draw one language's matrix: true labels down, predicted across, counts shaded by their row share.

    Parameters
    ----------
    cells : DataFrame
        Rows of one language from `results.summaries.confusion_of`.
    """
    labels = sorted({*cells["label"], *cells["predicted"]})
    every = pd.MultiIndex.from_product([labels, labels], names=["label", "predicted"])
    counts = cells.set_index(["label", "predicted"])[["n", "share"]]
    cells = counts.reindex(every, fill_value=0).reset_index()
    frame = cells.assign(shade=_shade(cells["share"]), percent=cells["share"] * 100)
    base = alt.Chart(frame).encode(
        x=alt.X("predicted:N", title="predicted", sort=labels, axis=_names_across(labels)),
        y=alt.Y("label:N", title="true", sort=labels, axis=alt.Axis(labelLimit=110)),
        tooltip=[
            alt.Tooltip("label:N", title="true"),
            alt.Tooltip("predicted:N"),
            alt.Tooltip("n:Q", title="texts", format=",d"),
            alt.Tooltip("percent:Q", title="% of the true label", format=".1f"),
        ],
    )
    return finish(
        [_tiles(base), _numbers(base, ",d", "n:Q")],
        height=round(len(labels) * min(30, max(14, 420 / len(labels)))),
    )


def classes(shares: pd.DataFrame) -> alt.LayerChart:
    """Draw the share of each label (across) in the texts of each language (down), in percent.

    Parameters
    ----------
    shares : DataFrame
        Rows of one split from `results.summaries.label_shares`.
    """
    labels, languages = sorted(shares["label"].unique()), shares["language"].unique().tolist()
    most = shares[
        "share"
    ].max()  # of 34 labels none has a tenth: on a scale up to all of them nothing is seen
    frame = shares.assign(shade=_shade(shares["share"] / (most or 1)), percent=shares["share"] * 100)
    base = alt.Chart(frame).encode(
        x=alt.X("label:N", title=None, sort=labels, axis=_names_across(labels)),
        y=alt.Y("language:N", title=None, sort=languages, axis=alt.Axis(labelLimit=110)),
        tooltip=[
            alt.Tooltip("language:N"),
            alt.Tooltip("label:N"),
            alt.Tooltip("n_texts:Q", title="texts", format=",d"),
            alt.Tooltip("percent:Q", title="% of the texts", format=".1f"),
        ],
    )
    return finish([_tiles(base), _numbers(base, ".0f", "percent:Q")], height=24 * len(languages))


def _tiles(base: alt.Chart) -> alt.Chart:
    tile = base.mark_rect(color=BLUE, stroke=INK, strokeOpacity=0.12, strokeWidth=1)
    shaded: alt.Chart = tile.encode(fillOpacity=alt.FillOpacity("shade:Q", scale=None, legend=None))
    return shaded


def _names_across(labels: list[str]) -> alt.Axis:
    """Return an axis of labels: aslant, or where they are many upright."""
    many = len(labels) > 12
    return alt.Axis(labelAngle=-90 if many else -35, labelLimit=110, labelOverlap="parity" if many else False)


def _numbers(base: alt.Chart, number_format: str, field: str) -> alt.Chart:
    """Write the numbers as large as the tiles are wide for them; into the narrowest nothing is written."""
    size = {"expr": "bandwidth('x') < 16 ? 0 : min(11, bandwidth('x') / 2.6)"}
    numbers: alt.Chart = base.mark_text(fontSize=alt.ExprRef(**size), color=INK).encode(
        text=alt.Text(field, format=number_format)
    )
    return numbers


def _shade(share: pd.Series) -> pd.Series:
    faint, strong = _SHADES
    shades: pd.Series = share.clip(0, 1) * (strong - faint) + faint
    return shades
