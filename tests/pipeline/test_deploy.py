"""A run names the model to deploy after every stage that makes models, and tells a training that failed."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from sklearn.metrics import f1_score

from mcbert.finetune.export.saved import load_model
from mcbert.pipeline.cli import main
from mcbert.results import csv_files, deploy
from mcbert.results.report.report import build
from mcbert.results.schema.training import TABLE1

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[extract]
storage_dtype = "float32"
[gridsearch]
ensemble = 0
layers = [1, 3]
poolings = ["max"]
classifiers = ["ridge"]
protocol = "source-dev"
[finetune]
systems = ["mcbert"]
seeds = [0]
epochs = 1
learning_rate = 1e-9
start = "random"
[cluster]
backend = "serial"
"""


@pytest.fixture(scope="module")
def project(make_project):
    return make_project(SETTINGS)


@pytest.fixture
def run(project, monkeypatch):
    """Run a stage: (stage, name, overrides) -> the run's folder."""
    monkeypatch.chdir(project)

    def run(stage, name, *overrides):
        assert main([stage, "--config", "mine.toml", "--run", name, *overrides]) == 0
        return project / "results/runs" / name

    return run


def test_the_name_follows_what_was_run(run, capsys):
    folder = run("gridsearch", "all")
    found = deploy.read(folder)
    assert (found["model"], found["there"], found["protocol"]) == ("models/probe", False, "source-dev")
    grid = pd.read_csv(folder / "gridsearch.csv")
    assert found["score"] == pytest.approx(grid.iloc[0]["dev_f1_micro_en"])
    assert (found["made_by"], found["metric"]) == ("mcbert export", "f1_micro")
    assert "models/probe, micro-F1 " in (said := capsys.readouterr().err)
    assert "not there yet, mcbert export makes it" in said
    assert main(["runs", "all"]) == 0
    assert "models/probe (mcbert export makes it)" in capsys.readouterr().out
    run("export", "all")
    assert (deploy.read(folder)["there"], deploy.read(folder)["made_by"]) == (True, "")
    assert main(["runs", "all"]) == 0
    assert "models/probe  " in capsys.readouterr().out
    assert load_model(folder / deploy.read(folder)["model"]).labels == ("cancel", "refund")
    (folder / "deploy.json").unlink()
    run("gridsearch", "all")
    assert deploy.read(folder)["there"]
    shutil.rmtree(folder / "models")
    run("gridsearch", "all")
    assert not deploy.read(folder)["there"]


def test_a_search_that_went_on_to_another_winner_has_no_exported_one(run):
    folder = run("export", "more", "gridsearch.layers=[1,2,3]", "gridsearch.budget=1")
    first = (folder / "winner.json").read_text()
    assert deploy.read(folder)["there"]
    run("gridsearch", "more", "gridsearch.layers=[1,2,3]", "gridsearch.budget=0")
    assert deploy.read(folder)["there"] == ((folder / "winner.json").read_text() == first)


def test_models_are_compared_by_the_search_s_own_metric(run, capsys):
    folder = run("finetune", "macro", "gridsearch.metric=f1_macro")
    assert "finetune: mcbert is below the search's classifier on dev by source-dev, macro-F1 " in (
        capsys.readouterr().err
    )
    found, searched = deploy.read(folder), json.loads((folder / "winner.json").read_text())
    assert (found["metric"], found["system"]) == ("f1_macro", "probe")
    assert found["score"] == pytest.approx(searched["scores"]["score"])
    trained = pd.read_csv(folder / "predictions_finetune.csv").query("split == 'dev' and language == 'en'")
    expected = f1_score(trained["label"], trained["predicted"], average="macro")
    assert {one["system"]: one["score"] for one in found["compared"]}["mcbert"] == pytest.approx(expected)
    assert "(macro-F1)" in (folder / "models/mcbert/README.md").read_text()
    build(folder)
    assert "% macro-F1 on dev texts under" in (folder / "report.html").read_text()


def test_a_training_that_is_worse_is_said_everywhere_and_another_model_is_named(run, capsys):
    folder = run("finetune", "failed")
    err = capsys.readouterr().err
    assert "finetune: mcbert is below the search's classifier on dev by source-dev, " in err
    found = deploy.read(folder)
    assert (found["system"], found["model"]) == ("probe", "models/probe")
    scores = {one["system"]: one["score"] for one in found["compared"]}
    assert list(scores) == ["probe", "mcbert"]
    assert scores["mcbert"] < scores["probe"]
    table = csv_files.read_with_sums(TABLE1, folder / "table1.csv")
    rows = table[table["system"] == "mcbert"].set_index("language")
    assert set(rows["below_probe"]) == {"yes"}
    assert rows.loc["en", "dev_versus_probe"] == pytest.approx(scores["mcbert"] - scores["probe"])
    assert rows["dev_versus_probe"].notna().all()
    assert set(table.loc[table["system"] == "probe", "below_probe"]) == {""}
    card = (folder / "models/mcbert/README.md").read_text()
    assert f"On dev by source-dev these weights score {scores['mcbert']:.3f} (micro-F1)" in card
    assert "Training made it worse" in card
    build(folder)
    page = (folder / "report.html").read_text()
    assert "deploy: <strong><code>models/probe</code></strong>" in page
    assert "<strong>MC-BERT scores below the search's classifier.</strong>" in page
    assert "It does not exist yet: <code>" in page
    capsys.readouterr()
    assert main(["runs", "failed"]) == 0
    assert "models/probe" in capsys.readouterr().out
    assert main(["validate", "failed"]) == 0


def test_a_training_that_is_as_good_is_not_called_worse_and_the_simpler_is_named(run, capsys):
    folder = run("finetune", "kept", "finetune.start=probe")
    assert "is below the search's classifier" not in capsys.readouterr().err
    found = deploy.read(folder)
    scores = {one["system"]: one["score"] for one in found["compared"]}
    assert scores["mcbert"] == scores["probe"]
    assert found["system"] == "probe"
    assert "Training made it worse" not in (folder / "models/mcbert/README.md").read_text()
    table = csv_files.read_with_sums(TABLE1, folder / "table1.csv")
    assert set(table.loc[table["system"] == "mcbert", "below_probe"]) == {"no"}


def test_without_a_search_the_trained_model_is_named(run):
    folder = run("finetune", "alone", "finetune.layers=[2]", "finetune.pooling=max")
    found = deploy.read(folder)
    assert (found["model"], found["there"]) == ("models/mcbert", True)
    table = csv_files.read_with_sums(TABLE1, folder / "table1.csv")
    assert set(table["below_probe"]) == {""}
    assert table["dev_versus_probe"].isna().all()
