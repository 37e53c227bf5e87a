import math

import pytest

from results import report, sections


@pytest.fixture(scope="module")
def run(run_dir):
    return report.read_run(run_dir)


def add(name, _chart, _description):
    return name


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.2, "better than"), (-0.1, 0.1, "not told apart from"), (-0.2, -0.1, "worse than")],
)
def test_verdict(low, high, words):
    assert sections.verdict(low, high).startswith(words)


def test_numbers_are_rounded_once_and_say_when_unknown():
    assert sections.percent(0.6645) == "66.5"
    assert sections.points(-0.0131) == "\u22121.3"
    assert sections.points(0.02) == "+2.0"
    assert sections.points(0.0123, 2) == "+1.23"
    assert sections.points(-0.0001) == sections.points(0.0) == "0.0"
    assert sections.percent(math.nan) == sections.points(math.nan) == "\u2013"


def test_headline_names_winner_and_best_system(run):
    headline = sections.headline(run)
    assert headline["winner"]["rank"] == 1
    assert headline["best"]["system"] == "mcbert_wf"
    assert headline["targets"] == ["ar", "de", "es", "fr", "ur", "zh"]
    assert [row["system"] for row in headline["systems"]] == ["probe", "baseline", "mcbert", "mcbert_wf"]


def test_languages_near_chance_are_named(run):
    table = run.tables["confusion"]
    table = table.assign(
        n=table["n"].where(table["language"] != "ur", (table["predicted"] == "cancel order") * 15)
    )
    panels = sections.confusion(sections.Run("x", {"confusion": table}, {}, "en"), add)
    assert [panel["language"] for panel in panels if panel["near_chance"]] == ["ur"]
    assert panels[0]["language"] == "en"


def test_an_alarm_is_of_the_test_rows_where_there_are_any(run):
    top = run.tables["top"]
    ur = (top["language"] == "ur") & (top["rank"] == 1)
    failed = top.assign(score=top["score"].where(~ur, top["chance"]))

    def alarms(table):
        return sections.headline(sections.Run("x", {"top": table}, {}, "en"))["alarms"]

    assert alarms(top) == []
    assert [(row["language"], row["split"], row["alarm"]) for row in alarms(failed)] == [("ur", "test", True)]
    assert [row["split"] for row in alarms(failed[failed["split"] == "dev"])] == ["dev"]


def test_absent_tables_are_none():
    empty = sections.Run("x", {}, {}, "en")
    parts = [sections.confusion(empty, add), sections.training(empty, add)]
    parts += [sections.table1(empty), sections.corpus(empty)]
    assert parts == [None] * 4


def test_table1_keeps_measured_and_published_apart(run):
    table = sections.table1(run)
    assert table["groups"]["measured"][0]["name"] == "Probe (frozen)"
    assert len(table["groups"]["published"]) == 13
    assert len(table["citations"]) == len(set(table["citations"])) == 13
    assert table["languages"][0] == "en"
