import re

import pandas as pd
import pytest

from mcbert.results import summaries
from mcbert.results.report import numbers, report
from mcbert.results.report.search_sections import FACTOR_NAMES


@pytest.fixture(scope="module")
def run(run_dir):
    return report.read_run(run_dir)


def header(table):
    """Give the words of the headings, and check that just the columns of numbers are flush right."""
    number = re.compile(r"\u2013|\[?[+\u2212]?\d[^a-z]*")
    for k, heading in enumerate(table.header[1:], 1):
        assert heading.numeric == all(number.fullmatch(row[k]) for row in table.rows)
    return [heading.words for heading in table.header]


def test_heat_maps_have_a_row_per_language_and_pooling_and_a_dash_where_nothing_was_tried():
    cells = {
        "mean": pd.DataFrame({"layer": [6, 11], "pooling": ["max", "cls"], "f1": [0.5, 0.25]}),
        "zh": pd.DataFrame({"layer": [6], "pooling": ["mean"], "f1": [0.125]}),
    }
    table = numbers.heat_maps(cells)
    assert header(table) == ["language", "pooling", "layer 6", "layer 11"]
    assert table.rows == [
        ["mean over target languages", "max", "50.0", "\u2013"],
        ["mean over target languages", "cls", "\u2013", "25.0"],
        ["zh", "mean", "12.5", "\u2013"],
    ]


def test_effects_have_their_intervals(run):
    rows = summaries.effects(run.tables["effects"], "en")
    table = numbers.effects(rows, FACTOR_NAMES)
    assert len(table.rows) == len(rows)
    assert header(table) == ["choice", "level", "split", "effect", "95% interval", "comparisons"]
    first = rows.iloc[0]
    assert table.rows[0][:3] == ["layer", first["level"], first["split"]]
    low, high = (f"{first[end] * 100:+.2f}".replace("-", "\u2212") for end in ("low", "high"))
    assert table.rows[0][4] == f"[{low}, {high}]"


def test_sizes_have_best_and_median_side_by_side(run):
    rows = summaries.by_n_layers(run.tables["gridsearch"])
    table = numbers.sizes(rows)
    assert header(table) == ["number of layers", "best", "median", "candidates"]
    assert [row[0] for row in table.rows] == ["1", "2", "3"]
    assert all(float(best) >= float(median) for _, best, median, _ in table.rows)
    assert sum(int(row[3]) for row in table.rows) == (run.tables["gridsearch"]["status"] == "ok").sum()


def test_confusion_matrices_keep_every_text(run):
    cells = summaries.confusion_of(run.tables["confusion"])
    table = numbers.confusion(cells, ["en", "zh"])
    assert [row[0] for row in table.rows] == ["en"] * 4 + ["zh"] * 4
    assert sum(int(cell) for row in table.rows[:4] for cell in row[2:]) == 60
    assert header(table)[2:] == sorted(cells["label"].unique())


def test_curves_have_worst_and_best_seed_where_there_are_several(run):
    rows = summaries.training_curves(run.tables["finetune"], "en")
    table = numbers.curves(rows, ["mean", "en"])
    assert len(table.rows) == 2 * 3
    assert header(table) == ["language", "system", *(f"epoch {epoch}" for epoch in range(6))]
    mean, low, high = (float(part.strip("[],")) for part in table.rows[0][2].split())
    assert low < mean < high
    alone = summaries.training_curves(run.tables["finetune"].query("seed == 0 and epoch < 2"), "en")
    assert "[" not in numbers.curves(alone, ["mean"]).rows[0][2]
    later = alone[(alone["system"] != "mcbert") | (alone["epoch"] > 0)]
    assert numbers.curves(later, ["mean"]).rows[1][2] == "\u2013"


def test_runs_stand_side_by_side():
    rows = pd.DataFrame(
        {"run": ["a", "b", "a"], "language": ["mean", "mean", "zh"], "accuracy": [0.5, 0.25, 1.0]}
    )
    table = numbers.by_run(rows, ["a", "b"], ["mean", "zh"])
    assert header(table) == ["language", "a", "b"]
    assert table.rows == [["mean over target languages", "50.0", "25.0"], ["zh", "100.0", "\u2013"]]
