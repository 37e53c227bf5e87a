import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from mcbert.results import summaries
from mcbert.results.report import figures, heatmaps
from mcbert.results.report.charts import BLUE
from tests.results import synthetic


def drawn():
    cells = summaries.confusion_of(synthetic.confusion()).query("language == 'zh'")
    shares = summaries.label_shares(synthetic.corpus(), "en").query("split == 'dev'")
    return {
        "heat_map": heatmaps.heat_map(summaries.layer_by_pooling(synthetic.gridsearch(), "mean"), (0.5, 0.9)),
        "confusion": heatmaps.confusion(cells),
        "classes": heatmaps.classes(shares),
    }


CHARTS = drawn()


@pytest.mark.parametrize("name", CHARTS)
def test_sized_by_the_page_and_in_its_colour(name):
    spec = CHARTS[name].to_dict()
    assert spec["width"] == "container"
    assert "http" not in json.dumps({key: value for key, value in spec.items() if key != "$schema"})
    assert spec["config"]["axis"]["labelColor"] == "currentColor"


def values(chart):
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_heat_map_shades_from_faint_to_strong_within_the_domain():
    cells = pd.DataFrame(
        {"layer": [6, 7, 8], "pooling": "max", "classifier": "lda", "f1": [0.5, 0.7, 0.9], "best": [0, 0, 1]}
    )
    shades = [row["shade"] for row in values(heatmaps.heat_map(cells, (0.5, 0.9)))]
    assert shades == pytest.approx([0.06, 0.39, 0.72])
    assert [row["shade"] for row in values(heatmaps.heat_map(cells.iloc[:1], (0.5, 0.5)))] == pytest.approx(
        [0.06]
    )


def luminance(colour):
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_are_legible_on_every_shade(scheme):
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5, of the page's ink on blue let through by the page."""
    sheet = (Path(heatmaps.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    page, ink, blue = (
        [int(found[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        for found in (
            *(re.findall(rf"--{name}: (#\w+)", sheet)[scheme == "dark"] for name in ("page", "ink")),
            BLUE,
        )
    )
    cells = pd.DataFrame({"layer": range(50), "pooling": "max", "classifier": "lda", "best": False})
    drawn = heatmaps.heat_map(cells.assign(f1=cells["layer"] / 49), (0, 1))
    for shade in [row["shade"] for row in values(drawn)]:
        tile = [shade * over + (1 - shade) * under for over, under in zip(blue, page, strict=True)]
        dim, bright = sorted([luminance(tile), luminance(ink)])
        assert (bright + 0.05) / (dim + 0.05) >= 4.5
    assert drawn.to_dict()["layer"][1]["mark"]["color"] == "currentColor"


def test_class_shares_have_a_row_per_language_and_a_column_per_label():
    shares = summaries.label_shares(synthetic.corpus(), "en").query("split == 'dev'")
    rows = values(heatmaps.classes(shares))
    assert len(rows) == len(synthetic.LANGUAGES) * len(synthetic.LABELS)
    assert {row["percent"] for row in rows} == {25.0}


def test_shares_of_many_labels_are_seen():
    shares = pd.DataFrame({"label": [f"l{i}" for i in range(50)], "language": "en", "n_texts": 1})
    few_and_many = shares.assign(share=[0.03] + [0.97 / 49] * 49)
    shades = sorted({row["shade"] for row in values(heatmaps.classes(few_and_many))})
    assert shades[-1] == pytest.approx(0.72)
    assert shades[0] < shades[-1]
    assert {row["shade"] for row in values(heatmaps.classes(shares.assign(share=0.0)))} == {0.06}


@pytest.mark.parametrize(("n_layers", "sizes"), [(8, (11, 11)), (25, (7, 9)), (60, (0, 0))])
def test_numbers_are_as_large_as_the_tiles_are_wide_and_never_overlap(n_layers, sizes):
    cells = pd.DataFrame({"layer": range(n_layers), "pooling": "max", "classifier": "lda", "best": False})
    svg = figures.draw(heatmaps.heat_map(cells.assign(f1=0.5), (0.4, 0.6)).to_dict())
    written = {float(size) for size in re.findall(r'font-size="([\d.]+)px"[^>]*>50\.0<', svg)}
    assert len(written) == 1
    assert sizes[0] <= written.pop() <= sizes[1]


@pytest.mark.parametrize("n_labels", [2, 12, 30])
def test_matrices_of_many_labels_stay_on_a_page(n_labels):
    names = [f"label {at:02}" for at in range(n_labels)]
    rows = [{"label": true, "predicted": other, "n": 1, "share": 0.5} for true in names for other in names]
    spec = heatmaps.confusion(pd.DataFrame(rows)).to_dict()
    assert spec["height"] == min(30 * n_labels, 420)


@pytest.mark.parametrize("n_labels", [4, 12])
def test_every_label_of_a_matrix_is_named_on_both_sides(n_labels):
    names = [f"a label with a long name {at}" for at in range(n_labels)]
    rows = [{"label": true, "predicted": other, "n": 1, "share": 0.5} for true in names for other in names]
    root = ET.fromstring(figures.draw(heatmaps.confusion(pd.DataFrame(rows)).to_dict()))
    texts = [element for element in root.iter() if (element.text or "").startswith("a label")]
    assert len(texts) == 2 * n_labels
    assert all(element.get("opacity") != "0" for element in texts)
