import re
import shutil

import pytest

from mcbert.results import csv_files
from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.leaderboard import leaderboard
from mcbert.results.report import comparison
from mcbert.results.runs import KINDS, RunTables
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import TABLE1
from tests.results.report.test_numbers import untitled
from tests.results.test_runs import texts


@pytest.fixture(scope="module")
def runs(run_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    for name in ("first", "second"):
        shutil.copytree(run_dir, root / name)
        csv_files.write(TEXTS, texts(), root / name / "texts.csv")
    path = root / "second" / "predictions_finetune.csv"
    rows = csv_files.read(PREDICTIONS, path)
    wrong = rows["system"].eq("mcbert") & rows["language"].ne("en") & rows["id"].str.contains("t1")
    csv_files.write(PREDICTIONS, rows.assign(predicted=rows["predicted"].mask(wrong, "none")), path)
    return [root / "first", root / "second"]


@pytest.fixture(scope="module")
def html(runs):
    path = runs[0].parent / "comparison.html"
    return comparison.build(runs, leaderboard(runs), path).read_text(encoding="utf-8")


def test_systems_are_paired_over_the_same_texts(runs):
    loaded = [RunTables.read(folder) for folder in runs]
    found = {row["name"]: row for row in comparison.paired(runs, loaded)}
    assert found["MC-BERT"]["high"] < 0
    assert found["MC-BERT-WF"]["difference"] == found["Probe (frozen)"]["difference"] == 0
    assert {row["run"] for row in found.values()} == {"second"}


def test_the_page_says_which_differences_are_significant(html):
    told = html.split('id="paired"')[1].split("</table>")[0]
    assert told.count("<td>worse</td>") == 1
    assert told.count("the 95% interval includes 0") == 3
    assert "The runs differ in" not in html


def test_every_figure_stands_there_as_numbers_too(html):
    assert html.count('<details class="numbers">') == html.count("data-spec=") == 4
    wf = html.split('aria-label="Test accuracy by language of MC-BERT-WF as numbers"')[1].split("</table>")[0]
    assert wf.count("<tr>") == 1 + 1 + 7


def test_verdicts_stand_side_by_side(html, runs):
    loaded = [RunTables.read(folder) for folder in runs]
    rows = comparison.conclusions(loaded)
    assert [row["claim"] for row in rows] == [claim.words for claim in CLAIMS.values()]
    assert rows[1]["verdicts"] == {"first": "supported", "second": "supported"}
    assert html.count('class="verdict supported"') >= 2


def test_every_figure_lies_beside_the_page(html, runs):
    drawn = sorted(path.name for path in (runs[0].parent / "comparison-figures").iterdir())
    systems = sorted(set(re.findall(r'"(system-\w+)":', html)))
    assert drawn == sorted(f"{name}.{kind}" for name in systems for kind in ("png", "svg"))
    assert len(systems) == 4


def test_headings_of_the_schema_s_columns_say_what_it_declares(html):
    assert untitled(html) == {"first", "second", "run", "system", "difference", "significant"}
    assert html.count('scope="row" title="runs*.csv, ') >= 8


def test_what_is_unlike_is_said_first_and_nothing_is_paired(runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    csv_files.write(TEXTS, texts(label="b"), other / "texts.csv")
    table = csv_files.read_with_sums(TABLE1, other / "table1.csv")
    csv_files.write_with_sums(
        TABLE1, table.replace({"protocol": {"last": "source-dev"}}), other / "table1.csv"
    )
    both = [runs[0], other]
    page = comparison.build(both, leaderboard(both), tmp_path / "c.html").read_text(encoding="utf-8")
    assert f"The runs differ in {KINDS['protocol']}." in page
    assert f"The runs differ in {KINDS['texts']}." in page
    assert "<td>" not in page.split('id="paired"')[1].split("</section>")[0]


def test_runs_of_a_search_alone_have_no_figures(runs, tmp_path):
    both = []
    for folder in runs:
        (tmp_path / folder.name).mkdir()
        shutil.copy(folder / "gridsearch.csv", tmp_path / folder.name)
        both.append(tmp_path / folder.name)
    page = comparison.build(both, leaderboard(both), tmp_path / "c.html").read_text(encoding="utf-8")
    assert "None of the runs has a table1.csv" in page
    assert "<script" not in page


def test_one_run_or_more_than_marks_are_refused(runs):
    with pytest.raises(ValueError, match="got 1 to compare, accepted: 2 to 6"):
        comparison.build(runs[:1], leaderboard(runs[:1]), runs[0] / "c.html")
