import dataclasses
import math

import pytest

from mcbert.results.report import systems
from mcbert.results.runs import RunTables
from tests.results import synthetic


@pytest.fixture(scope="module")
def run(run_dir):
    return RunTables.read(run_dir)


def test_every_measured_system_has_a_row_with_intervals_in_every_language(run):
    found = systems.systems(run)
    assert found["languages"] == list(synthetic.LANGUAGES)
    assert [row["system"] for row in found["rows"]] == ["probe", "baseline", "mcbert", "mcbert_wf"]
    for row in found["rows"]:
        assert set(row["cells"]) == {*synthetic.LANGUAGES, "mean"}
        assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in row["cells"].values())
        assert all(math.isnan(cell["sd"]) == (row["system"] == "probe") for cell in row["cells"].values())
    assert found["best"]["en"] == max(row["cells"]["en"]["value"] for row in found["rows"])


def test_beside_them_stand_the_reference_and_the_most_frequent_label(run):
    reference, majority = systems.systems(run)["beside"]
    choices = (
        run.tables["protocols"].query("protocol == 'reference' and split == 'test'").set_index("language")
    )
    assert reference["cells"]["de"]["value"] == choices.loc["de", "score"]
    assert reference["cells"]["mean"]["low"] == choices.loc["mean", "score_low"]
    texts = synthetic.test_texts().query("language == 'de'")["label"].value_counts(normalize=True)
    assert majority["cells"]["de"]["value"] == pytest.approx(texts.max())


def test_without_predictions_scores_stand_without_intervals(run):
    bare = dataclasses.replace(run, folder=None)
    assert {name: cells["de"]["value"] for name, cells in systems.measured(bare).items()} == pytest.approx(
        {name: cells["de"]["value"] for name, cells in systems.measured(run).items()}
    )
    assert all(math.isnan(cells["de"]["low"]) for cells in systems.measured(bare).values())
    searched = RunTables("x", {"gridsearch": run.tables["gridsearch"]}, {}, "en")
    winner = run.tables["gridsearch"].iloc[0]
    assert systems.measured(searched)["probe"]["de"]["value"] == winner["test_f1_micro_de"]
    assert systems.systems(RunTables("x", {}, {}, "en")) is None


def test_errors_are_read_of_the_model_to_deploy_else_of_the_highest_mean(run):
    assert systems.best(run) == "mcbert_wf"
    assert systems.best(dataclasses.replace(run, deploy={"system": "probe"})) == "probe"
    assert systems.best(RunTables("x", {}, {}, "en")) == ""
