import pytest

from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.report import conclusion_sections, report, sections


@pytest.fixture(scope="module")
def run(run_dir):
    return report.read_run(run_dir)


def test_absent_conclusions_are_none():
    assert conclusion_sections.conclusions(sections.Run("x", {}, {}, "en"), None) is None


def test_every_conclusion_has_its_verdict_and_its_comparisons(run):
    charts = {}

    def add(name, chart, _description):
        charts[name] = chart
        return name

    found = conclusion_sections.conclusions(run, add)
    told = [(group["number"], group["claim"]) for group in found["groups"]]
    assert told == [(claim.number, claim.words) for claim in CLAIMS.values()]
    assert sum(found["counts"].values()) == len(CLAIMS)
    (spec,) = charts.values()
    drawn = [row for rows in spec.to_dict()["datasets"].values() for row in rows if "mark" in row]
    table = run.tables["conclusions"]
    assert len(drawn) == table["effect"].notna().sum()
    assert all(row["left"] <= row["points"] <= row["right"] for row in drawn)


def test_marks_number_the_comparisons_of_a_conclusion(run):
    table = run.tables["conclusions"]
    marks = conclusion_sections.marked(table).set_index("number")["mark"]
    assert marks.loc[7] == "7"
    assert marks.loc[3].tolist() == ["3a", "3b"]
    assert marks.loc[4].tolist() == ["4a", "4b"]


def test_without_any_test_there_is_no_figure(run):
    table = run.tables["conclusions"]
    none = table[table["effect"].isna()]
    assert (
        conclusion_sections.conclusions(sections.Run("x", {"conclusions": none}, {}, "en"), None)["chart"]
        is None
    )


def test_trials_are_told_in_words_best_first_beside_the_settings_as_they_are(run):
    found = conclusion_sections.tune(run)
    assert [trial["words"] for trial in found["trials"]] == ["as they are", "dropout 0.0"]
    assert [trial["language"] for trial in found["trials"]] == ["mean", "mean"]
    assert found["trials"][1]["source"]["accuracy"] == pytest.approx(0.84)
    assert [row["words"] for row in found["failed"]] == ["epochs 900"]
    assert conclusion_sections.tune(sections.Run("x", {}, {}, "en")) is None


def test_trials_that_all_failed_are_told(run):
    table = run.tables["tune"]
    failed = sections.Run("x", {"tune": table[table["status"] == "error"]}, {}, "en")
    assert conclusion_sections.tune(failed)["trials"] == []
    assert len(conclusion_sections.tune(failed)["failed"]) == 1
