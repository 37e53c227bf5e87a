import json

import pytest

from mcbert.results.report import report, sections
from mcbert.results.report.candidates import N_SHOWN, candidates
from tests.results import synthetic


@pytest.fixture(scope="module")
def run(run_dir):
    return report.read_run(run_dir)


def test_without_a_search_there_is_none(run):
    assert candidates(sections.Run("x", {}, {}, "en")) is None
    failed = run.tables["gridsearch"].assign(status="error")
    assert candidates(sections.Run("x", {"gridsearch": failed}, {}, "en")) is None


def test_all_candidates_that_did_not_fail_are_data_with_every_score(run):
    table, found = run.tables["gridsearch"], candidates(run)
    data = found["data"]
    assert found["n"] == len(data["rows"]) == len(table) - 1
    assert data["languages"] == ["mean", *synthetic.LANGUAGES]
    rank, layers, pooling, classifier, words, *scores = data["rows"][0]
    best = table.iloc[0]
    assert (rank, layers, pooling, classifier) == (1, best["layers"], best["pooling"], best["classifier"])
    assert words == "C 1.0"
    expected = [best[f"{split}_f1_{name}"] for split in data["splits"] for name in data["languages"]]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_the_first_rows_stand_in_the_page_with_their_distance_from_the_winner(run):
    rows = candidates(run)["rows"]
    assert [int(row["rank"]) for row in rows] == list(range(1, N_SHOWN + 1))
    assert rows[0]["beside"] == {}
    top = run.tables["top"].query("rank == 2 and language == 'mean' and split == 'test'").iloc[0]
    difference, low, high, standing = rows[1]["beside"]["test"]
    assert (difference, standing) == (pytest.approx(top["versus_winner"], abs=1e-6), top["standing"])
    assert low <= difference <= high


def test_without_target_languages_the_source_is_shown(run):
    alone = run.tables["gridsearch"].assign(dev_f1_mean=float("nan"), test_f1_mean=float("nan"))
    found = candidates(sections.Run("x", {"gridsearch": alone}, {}, "en"))
    assert found["languages"][0] == ("en", "en")


def test_missing_scores_are_null_in_the_data(run):
    table = run.tables["gridsearch"]
    partly = table.assign(test_f1_zh=float("nan"))
    found = candidates(sections.Run("x", {"gridsearch": partly}, {}, "en"))
    assert found["data"]["rows"][0][-1] is None
    assert "NaN" not in json.dumps(found["data"])


def test_distances_that_are_not_known_are_no_data(run):
    top = run.tables["top"].copy()
    top.loc[top["rank"] == 2, "versus_winner_low"] = float("nan")
    data = candidates(sections.Run("x", run.tables | {"top": top}, {}, "en"))["data"]
    assert {2, 3} & data["beside"].keys() == {3}
    json.dumps(data, allow_nan=False)
