import json

import pytest

from mcbert.pipeline.stages.report import comparer, write_conclusions
from mcbert.results import csv_files
from mcbert.results.schema.runs import CONCLUSIONS
from mcbert.results.schema.search import GRIDSEARCH
from tests.results import synthetic
from tests.search.answers import make_predictions

RIGHT = [[0.9, 0.8, 0.7], [0.9, 0.5, 0.6]]


def test_a_contrast_is_of_the_mean_over_the_targets():
    found = comparer(make_predictions(RIGHT))([{"c0": 1.0, "c1": -1.0}, {"c1": 1.0, "c0": -1.0}])
    first, second = found.intervals
    assert first.difference == pytest.approx(0.2)
    assert 0 < first.low < 0.2 < first.high
    assert second.difference == pytest.approx(-0.2)
    assert found.n_texts == 200


def test_without_targets_it_is_of_the_source():
    found = comparer(make_predictions([[0.9], [0.6]], languages=("en",)))([{"c0": 1.0, "c1": -1.0}])
    assert found.intervals[0].difference == pytest.approx(0.3)


def test_without_test_texts_there_is_nothing_to_measure():
    assert comparer(make_predictions(RIGHT, splits=("dev",)))([{"c0": 1.0, "c1": -1.0}]) is None


def test_the_table_is_written_again_from_what_is_there(tmp_path):
    searched = synthetic.gridsearch()
    csv_files.write(GRIDSEARCH, searched, tmp_path / "gridsearch.csv")
    (tmp_path / "conclusions.csv").write_text("of an earlier version\n")
    path = write_conclusions(tmp_path, synthetic.STAMP)
    assert set(csv_files.read(CONCLUSIONS, path)["verdict"]) == {"not tested here"}
    synthetic.answers(searched).save(tmp_path / "predictions.npz")
    first = write_conclusions(tmp_path, synthetic.STAMP).read_bytes()
    rows = csv_files.read(CONCLUSIONS, path)
    assert rows.loc[rows["number"] == 3, "verdict"].tolist() == ["supported", "supported"]
    assert write_conclusions(tmp_path, synthetic.STAMP).read_bytes() == first


def test_a_sample_of_the_search_judges_nothing(tmp_path):
    searched = synthetic.gridsearch()
    csv_files.write(GRIDSEARCH, searched, tmp_path / "gridsearch.csv")
    synthetic.answers(searched).save(tmp_path / "predictions.npz")
    tried = {"n": len(searched), "of": 3825, "pooling": {}, "classifier": {}, "n_layers": {}}
    for found, verdict in ((None, "supported"), (tried, "not tested here")):
        (tmp_path / "winner.json").write_text(json.dumps({"source_language": "en", "tried": found}))
        rows = csv_files.read(CONCLUSIONS, write_conclusions(tmp_path, synthetic.STAMP))
        assert set(rows.loc[rows["number"] == 3, "verdict"]) == {verdict}
    why = f"a budget let the search try {len(searched):,} of 3,825 candidates, a sample; tested by"
    assert rows.loc[rows["number"].isin([3, 5]), "why"].str.startswith(why).all()
    assert set(rows["verdict"]) == {"not tested here"}
