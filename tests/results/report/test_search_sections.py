import json
import re

import pytest

from mcbert.results.report import headline, report, search_sections
from mcbert.results.report.search_sections import N_SHOWN, candidates
from mcbert.results.runs import RunTables
from tests.results import synthetic


@pytest.fixture(scope="module")
def run(run_dir):
    return RunTables.read(run_dir)


def add(name, _chart, _description):
    return name


def changed(run, **tables):
    return RunTables(run.name, {**run.tables, **tables}, run.winner, run.source_language)


def only(table, split):
    return table[table["split"] == split]


def test_absent_tables_are_none():
    empty = RunTables("x", {}, {}, "en")
    parts = [search_sections.search(empty, add), search_sections.effects(empty, add)]
    assert [*parts, search_sections.top(empty), search_sections.protocols(empty)] == [None] * 4


def test_protocols_say_what_each_chose_and_what_it_costs(run):
    found = search_sections.protocols(run)
    by_name = {row["protocol"]: row for row in found["rows"]}
    assert list(by_name) == ["source-dev", "target-dev", "reference", "random"]
    assert found["missing"] == ["agreement", "last"]
    assert [name for name, row in by_name.items() if row["used"]] == ["target-dev"]
    best = run.tables["gridsearch"].iloc[0]
    assert by_name["target-dev"]["choice"]["layers"] == best["layers"]
    assert by_name["random"]["choice"] is None
    assert by_name["random"]["main"]["versus_oracle_high"] < 0  # the search is worth something here
    table = run.tables["protocols"].set_index(["protocol", "split", "language"])
    assert by_name["source-dev"]["main"]["score"] == table.loc[("source-dev", "test", "mean"), "score"]
    assert (
        by_name["source-dev"]["by_language"]["zh"]["score"]
        == table.loc[("source-dev", "test", "zh"), "score"]
    )
    assert found["languages"] == ["en", "ar", "de", "es", "fr", "ur", "zh"]


def test_without_test_rows_dev_is_shown(run):
    tables = {name: only(run.tables[name], "dev") for name in ("top", "effects", "protocols")}
    dev = changed(run, **tables)
    assert search_sections.protocols(dev)["split"] == "dev"
    assert search_sections.protocols(dev)["rows"][0]["main"]["split"] == "dev"
    assert search_sections.effects(dev, add)["split"] == "dev"
    assert search_sections.top(dev)["splits"] == ["dev"]


def test_without_targets_the_source_language_is_shown(run):
    tables = {
        name: run.tables[name][run.tables[name]["language"] == "en"]
        for name in ("top", "effects", "protocols")
    }
    alone = changed(run, **tables)
    assert search_sections.protocols(alone)["shown"] == "en"
    assert search_sections.effects(alone, add)["language"] == "en"
    assert all(row["test"]["language"] == "en" for row in search_sections.top(alone)["by_id"].values())


def test_effects_are_sorted_into_help_harm_and_unclear(run):
    factors = {row["factor"]: row for row in search_sections.effects(run, add)["factors"]}
    assert list(factors) == ["layer", "pooling", "classifier", "number of layers"]
    pooling = factors["pooling"]
    assert "max" in [row["level"] for row in pooling["helps"]]
    assert [row["level"] for row in pooling["harms"]] == ["cls"]
    told = [row["level"] for row in pooling["helps"] + pooling["harms"]] + pooling["unclear"]
    assert sorted(told) == ["cls", "max", "mean"]
    assert pooling["chart"] == "effect-pooling"


def test_the_standings_are_counted_without_the_winner(run):
    found = search_sections.top(run)
    table = run.tables["top"]
    means = table[(table["language"] == "mean") & (table["split"] == "test") & (table["rank"] > 1)]
    assert found["standings"]["test"]["counts"]["tied"] == means["standing"].eq("tied").sum() > 0
    assert sum(found["standings"]["test"]["counts"].values()) == found["n_others"] == 19


def test_where_the_targets_have_no_dev_texts_the_source_stands_for_them(run, run_dir):
    table, gridsearch = run.tables["top"], run.tables["gridsearch"]
    top = table[(table["split"] == "test") | (table["language"] == "en")]
    dev = [name for name in gridsearch if name.startswith("dev_f1_micro_") and name != "dev_f1_micro_en"]
    alone = changed(run, top=top, gridsearch=gridsearch.assign(**dict.fromkeys(dev, float("nan"))))
    found = search_sections.top(alone)["standings"]
    assert {split: said["language"] for split, said in found.items()} == {"dev": "en", "test": "mean"}
    assert sum(found["dev"]["counts"].values()) == 19
    won = [(score["split"], score["language"]) for score in headline.headline(alone)["scores"]]
    assert won == [("dev", "en"), ("test", "mean")]
    page = " ".join(report.render(alone, report.provenance(run_dir, alone))[0].split())
    head = page.split('class="headline"')[1].split("</section>")[0]
    assert f"micro-F1 {gridsearch['dev_f1_micro_en'].iloc[0] * 100:.1f}% on dev texts of en and " in head
    assert "–%" not in head
    assert "Beside the winner, en: on dev " in page  # where the language is chosen; the mean is first


def test_the_page_says_what_a_budget_left_out(run, run_dir):
    tried = {
        "n": 60, "of": 3825, "pooling": {"max": [20, 1275], "cls": [40, 1275]},
        "classifier": {"linear_svm": [60, 3825]}, "n_layers": {"1": [8, 120], "2": [52, 420]},
    }  # fmt: skip
    some = RunTables(run.name, run.tables, {**run.winner, "tried": tried}, run.source_language)
    page, whole = (
        " ".join(report.render(each, report.provenance(run_dir, each))[0].split()) for each in (some, run)
    )
    assert "60 of 3,825 candidates" in page
    assert "excluded 3,765" in page
    assert re.search(
        r"pooling .*max: 20 of 1,275.*cls: 40 of 1,275.*linear svm: 60 of 3,825.*1: 8 of 120", page
    )
    headline = page.split('class="headline"')[1].split("</section>")[0]
    assert "of 3,825 candidates" in headline
    assert "3,825" not in whole.split('<section id="search">')[1].split("<h3>")[0]


def test_without_a_search_there_is_none(run):
    assert candidates(RunTables("x", {}, {}, "en")) is None
    failed = run.tables["gridsearch"].assign(status="error")
    assert candidates(RunTables("x", {"gridsearch": failed}, {}, "en")) is None


def test_all_candidates_that_did_not_fail_are_data_with_every_score(run):
    table, found = run.tables["gridsearch"], candidates(run)
    data = found["data"]
    assert found["n"] == len(data["rows"]) == len(table) - 1
    assert data["languages"] == ["mean", *synthetic.LANGUAGES]
    rank, layers, pooling, classifier, words, *scores = data["rows"][0]
    best = table.iloc[0]
    assert (rank, layers, pooling, classifier) == (1, best["layers"], best["pooling"], best["classifier"])
    assert words == "C 1.0"
    expected = [best[f"{split}_f1_micro_{name}"] for split in data["splits"] for name in data["languages"]]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_the_first_rows_stand_in_the_page_with_their_distance_from_the_winner(run):
    rows = candidates(run)["rows"]
    assert [int(row["rank"]) for row in rows] == list(range(1, N_SHOWN + 1))
    assert rows[0]["beside"] == {}
    top = run.tables["top"].query("rank == 2 and language == 'mean' and split == 'test'").iloc[0]
    difference, low, high, standing = rows[1]["beside"]["test"]
    assert (difference, standing) == (pytest.approx(top["versus_winner"], abs=1e-6), top["standing"])
    assert low <= difference <= high


def test_languages_without_dev_texts_offer_their_test_scores(run):
    dev = [f"dev_f1_micro_{name}" for name in ("mean", *synthetic.TARGETS)]
    gridsearch = run.tables["gridsearch"].assign(**dict.fromkeys(dev, float("nan")))
    found = candidates(RunTables("x", run.tables | {"gridsearch": gridsearch}, {}, "en"))
    assert [name for name, _ in found["languages"]] == ["mean", *synthetic.LANGUAGES]
    assert found["splits"] == ["dev", "test"]


def test_the_standings_are_those_of_the_language_shown(run):
    found = candidates(run)["data"]["standings"]
    rows = run.tables["top"].query("language == 'de' and split == 'test' and rank > 1")["standing"]
    counts = [f"{(rows == name).sum()} {name}" for name in ("better", "tied", "worse")]
    assert found["de"].startswith("Beside the winner, de: on dev ")
    assert f"on test {', '.join(counts)} ({len(rows)} compared)" in found["de"]
    assert set(found) == {"mean", *synthetic.LANGUAGES}


def test_a_table_without_the_ensemble_says_where_it_begins(run, run_dir):
    table = run.tables["gridsearch"]
    ensemble = table.assign(classifier=table["classifier"].where(table["rank"] != 1, "ensemble"))
    tables = run.tables | {"gridsearch": ensemble}
    found = candidates(RunTables("x", tables, {}, "en"))
    assert (found["begins"], int(found["rows"][0]["rank"])) == (2, 2)
    page = report.environment().get_template("candidates.html").render(candidates=found)
    assert "The table begins with rank 2" in page
    assert "The table begins" not in report.render(run, report.provenance(run_dir, run))[0]


def test_without_target_languages_the_source_is_shown(run):
    alone = run.tables["gridsearch"].assign(dev_f1_micro_mean=float("nan"), test_f1_micro_mean=float("nan"))
    found = candidates(RunTables("x", {"gridsearch": alone}, {}, "en"))
    assert found["languages"][0] == ("en", "en")


def test_missing_scores_are_null_in_the_data(run):
    table = run.tables["gridsearch"]
    partly = table.assign(test_f1_micro_zh=float("nan"))
    found = candidates(RunTables("x", {"gridsearch": partly}, {}, "en"))
    assert found["data"]["rows"][0][-1] is None
    assert "NaN" not in json.dumps(found["data"])


def test_distances_that_are_not_known_are_no_data(run):
    top = run.tables["top"].copy()
    top.loc[top["rank"] == 2, "versus_winner_low"] = float("nan")
    data = candidates(RunTables("x", run.tables | {"top": top}, {}, "en"))["data"]
    assert {2, 3} & data["beside"].keys() == {3}
    json.dumps(data, allow_nan=False)
