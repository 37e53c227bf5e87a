import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.results import summaries
from mcbert.results.report import charts
from tests.results import synthetic


def drawn():
    gridsearch = synthetic.gridsearch()
    finetune, freezing = synthetic.finetune()
    effects = summaries.effects(synthetic.evidence(gridsearch)["effects"], "en")
    curves = summaries.training_curves(finetune, "en").query("language == 'zh'")
    events = summaries.freeze_events(freezing)
    return {
        "effects": charts.effects(effects[effects["factor"] == "layer"], "layer", legend=True),
        "quiet effects": charts.effects(effects[effects["factor"] == "pooling"], "pooling", legend=False),
        "by_n_layers": charts.by_n_layers(summaries.by_n_layers(gridsearch)),
        "curves": charts.curves(curves, events, legend=True, span=(40, 100)),
        "quiet curves": charts.curves(curves, events.iloc[:0], legend=False, span=(40, 100)),
    }


CHARTS = drawn()


@pytest.mark.parametrize("name", CHARTS)
def test_valid_and_sized_by_the_page(name):
    spec = CHARTS[name].to_dict()
    assert spec["width"] == "container"
    assert "http" not in json.dumps({key: value for key, value in spec.items() if key != "$schema"})


@pytest.mark.parametrize("name", CHARTS)
def test_text_and_lines_take_the_pages_colour(name):
    config = CHARTS[name].to_dict()["config"]
    assert config["axis"]["labelColor"] == "currentColor"
    assert config["background"] == "transparent"


def values(chart):
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_freeze_events_do_not_write_over_each_other():
    events = pd.DataFrame(
        {"system": "mcbert_wf", "epoch": [1, 1, 4], "layers": ["9", "8", "0+1"], "reason": ""}
    )
    rows = summaries.training_curves(synthetic.finetune()[0], "en")
    curves = charts.curves(rows, events, legend=True, span=(0, 100))
    lines = {row["text"]: row["line"] for row in values(curves) if "text" in row}
    assert lines == {"freeze 9": 0, "freeze 8": 1, "freeze 0+1": 2}
    texts = [layer for layer in curves.to_dict()["layer"] if layer["mark"]["type"] == "text"]
    assert {layer["encoding"]["y"]["value"] for layer in texts} == {2, 15, 28}
    assert {layer["mark"]["align"] for layer in texts} == {"left", "right"}


def marks(chart):
    return [layer["mark"]["type"] for layer in chart.to_dict()["layer"]]


def test_effects_show_both_splits_by_colour_and_shape_and_name_them_once():
    bars, dots = CHARTS["effects"].to_dict()["layer"][1:]
    assert bars["mark"]["type"] == "rule"
    for name in ("color", "shape"):
        assert dots["encoding"][name]["scale"]["domain"] == ["dev", "test"]
        assert len(set(dots["encoding"][name]["scale"]["range"])) == 2
    assert dots["encoding"]["color"]["legend"]
    assert CHARTS["quiet effects"].to_dict()["layer"][2]["encoding"]["color"]["legend"] is None
    drawn = [row for row in values(CHARTS["effects"]) if "level" in row]
    assert {(row["level"], row["split"]) for row in drawn} == {
        (level, split) for level in ("6", "8", "11") for split in ("dev", "test")
    }
    assert all(row["left"] <= row["points"] <= row["right"] for row in drawn)


def test_effects_of_one_split_alone():
    rows = pd.DataFrame(
        {
            "level": ["max"],
            "split": ["dev"],
            "effect": [0.01],
            "effect_low": [0.0],
            "effect_high": [0.02],
            "n": [3],
        }
    )
    dots = charts.effects(rows, "pooling", legend=True).to_dict()["layer"][2]
    assert dots["encoding"]["color"]["scale"]["domain"] == ["dev"]


def test_freeze_events_are_vertical_rules_with_their_layers():
    assert "rule" in marks(CHARTS["curves"])
    assert "text" in marks(CHARTS["curves"])
    assert "rule" not in marks(CHARTS["quiet curves"])
    assert any(row.get("text") == "freeze 9+11" for row in values(CHARTS["curves"]))


def test_systems_differ_in_colour_shape_and_dash():
    line, points = CHARTS["curves"].to_dict()["layer"][-2:]
    for encoding in (
        line["encoding"]["strokeDash"],
        points["encoding"]["shape"],
        points["encoding"]["color"],
    ):
        assert len({str(value) for value in encoding["scale"]["range"]}) == 3


def test_the_curves_legend_names_the_systems_that_were_trained():
    rows = summaries.training_curves(synthetic.finetune()[0], "en").query("system == 'mcbert'")
    drawn = charts.curves(rows, synthetic.finetune()[1].iloc[:0], legend=True, span=(0, 100))
    points = drawn.to_dict()["layer"][-1]
    assert points["encoding"]["color"]["legend"]["values"] == ["MC-BERT"]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.501, 0.509), (45, 65)),  # less than a point apart is no collapse
        ((0.42, 0.88), (40, 90)),
        ((0.0, 0.0), (0, 20)),
        ((1.0, 1.0), (80, 100)),
        ((0.0152, 0.0152), (0, 20)),
        ((0.98, 0.99), (80, 100)),
    ],
)
def test_an_axis_shows_a_span_that_small_differences_do_not_fill(shares, expected):
    assert charts.percent_range(pd.Series(shares)) == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_whatever_the_shares_they_are_on_the_axis(shares):
    low, high = charts.percent_range(pd.Series(shares))
    assert 0 <= low <= min(shares) * 100 + 1e-9
    assert max(shares) * 100 - 1e-9 <= high <= 100
    assert high - low >= 20
