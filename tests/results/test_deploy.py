"""The model to deploy is the best on dev by the run's protocol, the simpler of equals; test takes no part."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from results import deploy, tables
from results.deploy import Scored, below_probe, dev_accuracies, order
from results.schema import PREDICTIONS, STAMP


def predictions(system, right, seed=0):
    """Rows of `system`: right, by (split, language), how many of 10 texts are right."""
    rows = [
        {"system": system, "seed": seed, "id": f"{split}{k}-{language}", "language": language, "split": split,
         "label": "a", "predicted": "a" if k < n else "b", "protocol": "source-dev"}
        for (split, language), n in right.items() for k in range(10)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**dict.fromkeys(STAMP, "x") | {"transfer": "zero-shot"})


@pytest.fixture
def folder(tmp_path):
    probe = {("dev", "en"): 7, ("dev", "de"): 5, ("dev", "fr"): 5, ("test", "en"): 1, ("test", "de"): 1}
    tables.write(PREDICTIONS, predictions("probe", probe), tmp_path / "predictions_gridsearch.csv")
    trained = [
        predictions("mcbert", {("dev", "en"): 6, ("dev", "de"): 9, ("dev", "fr"): 2, ("test", "en"): 10}),
        predictions("mcbert", {("dev", "en"): 10, ("dev", "de"): 10, ("dev", "fr"): 10}, seed=1),
        predictions("baseline", {("dev", "en"): 7, ("dev", "de"): 0, ("dev", "fr"): 0}),
    ]
    tables.write(PREDICTIONS, pd.concat(trained), tmp_path / "predictions_finetune.csv")
    return tmp_path


def test_dev_of_the_protocol_s_languages_counts_of_the_seed_whose_weights_are_kept(folder):
    assert dev_accuracies(folder, "source-dev", "en") == {"probe": 0.7, "mcbert": 0.6, "baseline": 0.7}
    found = dev_accuracies(folder, "target-dev", "en")
    assert found == pytest.approx({"probe": 0.5, "mcbert": 0.55, "baseline": 0.0})
    assert dev_accuracies(folder, "last", "en") == dev_accuracies(folder, "source-dev", "en")
    assert dev_accuracies(folder, "source-dev", "xx") == {}


def test_models_are_compared_on_the_texts_that_the_classifier_labelled(folder):
    path = folder / "predictions_gridsearch.csv"
    rows = tables.read(PREDICTIONS, path)
    tables.write(PREDICTIONS, rows[~rows["id"].isin(["dev0-en", "dev1-en"])], path)
    found = dev_accuracies(folder, "source-dev", "en")
    assert found == pytest.approx({"probe": 5 / 8, "mcbert": 4 / 8, "baseline": 5 / 8})


def test_one_of_the_two_tables_is_enough(folder):
    (folder / "predictions_finetune.csv").unlink()
    assert dev_accuracies(folder, "source-dev", "en") == {"probe": 0.7}
    (folder / "predictions_gridsearch.csv").unlink()
    assert dev_accuracies(folder, "source-dev", "en") == {}


def scored(**accuracies):
    return [
        Scored(system=system, model=f"models/{system}", accuracy=score, there=True)
        for system, score in accuracies.items()
    ]


def test_the_best_comes_first_and_of_equals_the_simpler():
    names = [one.system for one in order(scored(mcbert_wf=0.7, mcbert=0.7, baseline=0.8, probe=0.7))]
    assert names == ["baseline", "probe", "mcbert", "mcbert_wf"]


def test_what_is_below_the_classifier_is_told():
    assert below_probe({"probe": 0.7, "mcbert": 0.6, "baseline": 0.7}) == {"mcbert": True, "baseline": False}
    assert below_probe({"mcbert": 0.6}) == {}


def test_the_file_names_the_model_and_what_it_was_compared_with(tmp_path):
    deploy.write(tmp_path, scored(mcbert=0.6, probe=0.7), "last", {"run": "r"})
    record = deploy.read(tmp_path)
    assert record == json.loads((tmp_path / "deploy.json").read_text())
    assert (record["model"], record["accuracy"], record["protocol"]) == ("models/probe", 0.7, "source-dev")
    assert [one["system"] for one in record["compared"]] == ["probe", "mcbert"]
    assert record["run"] == "r"
    deploy.write(tmp_path, [], "last", {})
    assert deploy.read(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 1, "there": 1, "protocol": 1}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "deploy.json").write_text(content)
    with pytest.raises(ValueError, match=r"deploy.json: damaged"):
        deploy.read(tmp_path)
