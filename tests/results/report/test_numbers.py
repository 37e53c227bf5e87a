import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from mcbert.results import summaries
from mcbert.results.report import numbers, report
from mcbert.results.report.numbers import heading
from mcbert.results.report.search_sections import FACTOR_NAMES
from mcbert.results.runs import RunTables
from mcbert.results.schema import TABLES
from mcbert.results.schema.texts import CORPUS


@pytest.fixture(scope="module")
def run(run_dir):
    return RunTables.read(run_dir)


def header(table):
    """Give the words of the headings, and check that just the columns of numbers are flush right."""
    number = re.compile(r"\u2013|\[?[+\u2212]?\d[^a-z]*")
    for k, each in enumerate(table.header[1:], 1):
        assert each.numeric == all(number.fullmatch(row[k]) for row in table.rows)
    return [each.words for each in table.header]


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
    low, high = (f"{first[end] * 100:+.2f}".replace("-", "\u2212") for end in ("effect_low", "effect_high"))
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


def test_the_mean_is_named_by_what_it_is_over():
    assert numbers.spoken("mean") == "mean over target languages"
    assert numbers.spoken("de") == "de"


def test_numbers_are_rounded_once_and_say_when_unknown():
    assert numbers.percent(0.6645) == "66.5"
    assert numbers.points(-0.0131) == "\u22121.3"
    assert numbers.points(0.02) == "+2.0"
    assert numbers.points(0.0123, 2) == "+1.23"
    assert numbers.points(-0.0001) == numbers.points(0.0) == "0.0"
    assert numbers.percent(math.nan) == numbers.points(math.nan) == "\u2013"


NOT_OF_A_TABLE = {"file", "bytes", "SHA-256", "why one might think so", "alike, %"}
OF_LABELS = {*"en ar de es fr ur zh".split(), "mean of targets", "targets"}
"""Headings over the F1 of labels, which no table has as a column."""


class Headings(HTMLParser):
    """The headings of columns with their titles; those over a group of columns left out."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open = tag == "th" and dict(attrs)["scope"] == "col"
        if self.open:
            self.found.append(["", dict(attrs).get("title", ""), dict(attrs).get("class", "").split()])

    def handle_data(self, data):
        if self.open:
            self.found[-1][0] += data

    def handle_endtag(self, tag):
        self.open = False if tag == "th" else self.open


def untitled(html):
    """Give the words of headings without a title; the others' must be of a declared column."""
    declared = {f"{table.file_name}, {column.name}": column for table in TABLES for column in table.columns}
    for words, title, classes in Headings(html).found:
        if title:
            place, _, meaning = title.partition(": ")
            column = declared[place.partition(" (")[0].removesuffix(", counted")]
            assert meaning == column.meaning
            number = column.dtype in ("int", "float") or ", counted" in place
            assert ("n" in classes) == number or words.startswith("mean against")
    return {words for words, title, _ in Headings(html).found if not title}


def test_every_heading_of_the_report_says_what_the_schema_declares(run_dir):
    html = report.build(run_dir)[0].read_text(encoding="utf-8")
    assert untitled(html) == NOT_OF_A_TABLE | OF_LABELS
    assert len(Headings(html).found) > 60


def test_a_unit_is_the_declared_one_as_the_report_shows_it():
    assert [heading(place).unit for place in ("corpus.n_texts", "corpus.tokens_max", "corpus.unknown_share",
                                              "table1.versus_baseline", "sts.spearman")] == [
        CORPUS.column("n_texts").unit, "tokens", "%", "points", "-1 to 1"]  # fmt: skip


def test_a_title_cannot_leave_its_attribute():
    assert (
        '"' not in heading("corpus.n_texts").attributes('a"b').replace(' class="n a&#34;b" title="', "")[:-1]
    )


@pytest.mark.parametrize("place", ["corpus.n_words", "nothing.n_texts", "n_texts", "gridsearch.dev_f2_en"])
def test_what_is_not_declared_is_refused(place):
    with pytest.raises(ValueError, match=f"heading {place}: .*accepted: "):
        heading(place)
