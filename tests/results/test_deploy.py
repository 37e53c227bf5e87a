"""The model to deploy is the best on dev by the run's protocol, the simpler of equals; test takes no part."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from mcbert.results import csv_files, deploy
from mcbert.results.deploy import DevScores, Scored, below_probe, dev_scores, order
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE
from mcbert.results.schema.words import STAMP


def predictions(system, right, seed=0):
    """Rows of `system`: right, by (split, language), how many of 10 texts are right."""
    rows = [
        {"system": system, "seed": seed, "id": f"{split}{k}-{language}", "language": language, "split": split,
         "label": "a", "predicted": "a" if k < n else "b", "protocol": "source-dev",
         "text": "", "probability": None}
        for (split, language), n in right.items() for k in range(10)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**dict.fromkeys(STAMP, "x") | {"transfer": "zero-shot"})


@pytest.fixture
def folder(tmp_path):
    probe = {("dev", "en"): 7, ("dev", "de"): 5, ("dev", "fr"): 5, ("test", "en"): 1, ("test", "de"): 1}
    csv_files.write(PREDICTIONS, predictions("probe", probe), tmp_path / "predictions_gridsearch.csv")
    trained = [
        predictions("mcbert", {("dev", "en"): 6, ("dev", "de"): 9, ("dev", "fr"): 2, ("test", "en"): 10}),
        predictions("mcbert", {("dev", "en"): 10, ("dev", "de"): 10, ("dev", "fr"): 10}, seed=1),
        predictions("baseline", {("dev", "en"): 7, ("dev", "de"): 0, ("dev", "fr"): 0}),
    ]
    csv_files.write(PREDICTIONS, pd.concat(trained), tmp_path / "predictions_finetune.csv")
    return tmp_path


def test_dev_of_the_protocol_s_languages_counts_of_the_seed_whose_weights_are_kept(folder):
    of_source = dev_scores(folder, "source-dev", "en")
    assert of_source.scores == {"probe": 0.7, "mcbert": 0.6, "baseline": 0.7}
    assert (of_source.protocol, of_source.metric) == ("source-dev", "f1_micro")
    found = dev_scores(folder, "target-dev", "en")
    assert found.protocol == "target-dev"
    assert found.scores == pytest.approx({"probe": 0.5, "mcbert": 0.55, "baseline": 0.0})
    assert dev_scores(folder, "last", "en") == of_source
    assert dev_scores(folder, "source-dev", "xx").scores == {}


def chosen(system, agreement, log_loss, *, seed=0, sample_of=None):
    """Rows of finetune.csv of a system's kept weights, and of others that were better and not kept."""
    row = dict.fromkeys([column.name for column in FINETUNE.columns], None) | {
        "system": system, "seed": seed, "epoch": 1, "step": 1, "language": "en", "split": "dev",
        "accuracy": 0.5, "loss": 1.0, "n_texts": 10, "sample_of": sample_of, "log_loss": log_loss,
        "agreement": agreement, "frozen_layers": "", "protocol": "agreement", "chosen": True,
    }  # fmt: skip
    better = row | {"agreement": 1.0}
    rows = [row, better | {"epoch": 2, "step": 2, "chosen": False}, better | {"language": "de"}]
    return [one | dict.fromkeys(STAMP, "x") | {"transfer": "zero-shot"} for one in rows]


@pytest.fixture
def agreed(folder):
    """Return a function that gives the models agreement less log-loss: -0.1, 0.3, of the baseline -0.4."""

    def give(baseline=(0.2, 0.6), **more):
        rows = [*chosen("mcbert", 0.9, 0.6), *chosen("mcbert", 1.0, 0.0, seed=1)]
        rows += chosen("baseline", *baseline, **more)
        csv_files.write(FINETUNE, pd.DataFrame(rows), folder / "finetune.csv")
        winner = {"labels": [], "metric": "f1_micro", "protocol": "agreement", "scores": {"score": -0.1}}
        (folder / "winner.json").write_text(json.dumps(winner))
        return folder

    return give


def test_under_agreement_models_are_compared_by_it_less_the_log_loss(agreed):
    folder = agreed()
    found = dev_scores(folder, "agreement", "en")
    assert (found.protocol, found.words) == ("agreement", "agreement less log-loss")
    assert found.scores == pytest.approx({"probe": -0.1, "mcbert": 0.3, "baseline": -0.4})
    assert found.below_probe() == {"mcbert": False, "baseline": True}
    deploy.write(folder, scored(**found.scores), found, {})
    record = deploy.read(folder)
    assert (record["system"], record["protocol"], record["metric"]) == ("mcbert", "agreement", "agreement")


@pytest.mark.parametrize("lacking", [{"sample_of": 20}, {"baseline": (None, 0.6)}])
def test_agreement_that_a_model_lacks_or_has_of_a_sample_compares_none(agreed, lacking):
    folder = agreed(**lacking)
    assert dev_scores(folder, "agreement", "en") == dev_scores(folder, "source-dev", "en")


def test_a_search_that_chose_by_no_agreement_is_not_compared_by_it(agreed):
    folder = agreed()
    winner = json.loads((folder / "winner.json").read_text()) | {"protocol": "source-dev"}
    (folder / "winner.json").write_text(json.dumps(winner))
    assert dev_scores(folder, "agreement", "en").protocol == "source-dev"


def test_models_are_compared_on_the_texts_that_the_classifier_labelled(folder):
    path = folder / "predictions_gridsearch.csv"
    rows = csv_files.read(PREDICTIONS, path)
    csv_files.write(PREDICTIONS, rows[~rows["id"].isin(["dev0-en", "dev1-en"])], path)
    found = dev_scores(folder, "source-dev", "en").scores
    assert found == pytest.approx({"probe": 5 / 8, "mcbert": 4 / 8, "baseline": 5 / 8})


def answers(system, given):
    """Dev rows of `system` in English: (label, predicted) each."""
    rows = predictions(system, {("dev", "en"): len(given)}).iloc[: len(given)]
    return rows.assign(label=[label for label, _ in given], predicted=[answer for _, answer in given])


@pytest.fixture
def rare(tmp_path):
    """Hold a run in which accuracy prefers what never gives the rare label, and macro-F1 what finds it."""
    common = [("a", "a")] * 7
    always = answers("probe", [*common, ("a", "a"), ("b", "a"), ("b", "a")])
    finds = answers("mcbert", [*common[1:], ("a", "b"), ("a", "b"), ("b", "b"), ("b", "a")])
    csv_files.write(PREDICTIONS, always, tmp_path / "predictions_gridsearch.csv")
    csv_files.write(PREDICTIONS, finds, tmp_path / "predictions_finetune.csv")
    return tmp_path


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "accuracy", None])
def test_models_are_compared_by_the_metric_that_the_search_chose_by(rare, metric):
    labels = ["a", "b", "c"]
    if metric:
        (rare / "winner.json").write_text(json.dumps({"labels": labels, "metric": metric}))
    compared = dev_scores(rare, "source-dev", "en")
    found = compared.scores
    for system, name in (("probe", "gridsearch"), ("mcbert", "finetune")):
        rows = csv_files.read(PREDICTIONS, rare / f"predictions_{name}.csv")
        given = list(rows["label"]), list(rows["predicted"])
        if metric == "f1_macro":
            expected = f1_score(*given, labels=labels, average="macro", zero_division=0)
        else:
            expected = accuracy_score(*given)
        assert found[system] == pytest.approx(expected)
    assert max(found, key=found.get) == ("mcbert" if metric == "f1_macro" else "probe")
    assert compared.level == {"mcbert"}, "ten texts do not tell them apart"
    deploy.write(rare, scored(**found), compared, {})
    assert (deploy.read(rare)["system"], deploy.read(rare)["metric"]) == ("probe", metric or "f1_micro")


def test_a_winner_chosen_by_what_is_no_metric_is_refused(rare):
    (rare / "winner.json").write_text('{"labels": [], "metric": "auc"}')
    with pytest.raises(
        ValueError, match=r"winner.json: metric: got 'auc', accepted: f1_micro, f1_macro, acc"
    ):
        dev_scores(rare, "source-dev", "en")


def test_a_file_from_when_accuracy_was_the_only_measure_is_still_read(tmp_path):
    one = {"system": "probe", "model": "models/probe", "accuracy": 0.7, "there": False}
    old = {**one, "protocol": "source-dev", "split": "dev", "compared": [one]}
    (tmp_path / "deploy.json").write_text(json.dumps(old))
    found = deploy.read(tmp_path)
    assert (found["score"], found["metric"], found["compared"][0]["score"]) == (0.7, "accuracy", 0.7)
    assert deploy.told(found) == "models/probe (mcbert export makes it)"
    assert deploy.told(found | {"there": True}) == "models/probe"
    assert deploy.told({}) == ""


def test_one_of_the_two_tables_is_enough(folder):
    (folder / "predictions_finetune.csv").unlink()
    assert dev_scores(folder, "source-dev", "en").scores == {"probe": 0.7}
    (folder / "predictions_gridsearch.csv").unlink()
    assert dev_scores(folder, "source-dev", "en").scores == {}


def scored(**accuracies):
    return [
        Scored(system=system, model=f"models/{system}", score=score, there=True)
        for system, score in accuracies.items()
    ]


def test_the_best_comes_first_and_of_equals_the_simpler():
    names = [one.system for one in order(scored(mcbert_wf=0.7, mcbert=0.7, baseline=0.8, probe=0.7))]
    assert names == ["baseline", "probe", "mcbert", "mcbert_wf"]


def test_what_is_level_with_the_classifier_comes_after_it_whatever_its_score():
    models = scored(mcbert=0.9, mcbert_wf=0.8, baseline=0.6, probe=0.7)
    names = [one.system for one in order(models, level={"mcbert", "baseline"})]
    assert names == ["mcbert_wf", "probe", "mcbert", "baseline"]
    assert [one.system for one in order(scored(mcbert=0.9, baseline=0.6), level=())] == ["mcbert", "baseline"]


def of_source(tmp_path, n, *, probe, mcbert):
    """Write dev answers of two systems in English, n texts, of which so many are right."""
    for system, right, name in (("probe", probe, "gridsearch"), ("mcbert", mcbert, "finetune")):
        rows = predictions(system, {("dev", "en"): 10})
        rows = pd.concat([rows.assign(id=[f"{k}-{i}" for i in rows["id"]]) for k in range(n // 10)])
        rows = rows.assign(predicted=["a" if k < right else "b" for k in range(n)])
        csv_files.write(PREDICTIONS, rows, tmp_path / f"predictions_{name}.csv")


@pytest.mark.parametrize(
    ("mcbert", "chosen"),
    [(72, "probe"), (75, "probe"), (76, "mcbert"), (90, "mcbert")],  # 6 unlike texts of one side: p = 0.03
)
def test_a_trained_model_is_taken_on_source_dev_alone_where_it_is_above_by_more_than_chance(
    tmp_path, mcbert, chosen
):
    of_source(tmp_path, 100, probe=70, mcbert=mcbert)
    found = dev_scores(tmp_path, "source-dev", "en")
    assert found.level == ({"mcbert"} if chosen == "probe" else frozenset())
    deploy.write(tmp_path, scored(**found.scores), found, {})
    record = deploy.read(tmp_path)
    assert record["system"] == chosen
    assert [one["system"] for one in record["compared"]] == [chosen, *({"probe", "mcbert"} - {chosen})]
    assert dev_scores(tmp_path, "target-dev", "xx").level == frozenset()


def test_what_is_below_the_classifier_is_told():
    assert below_probe({"probe": 0.7, "mcbert": 0.6, "baseline": 0.7}) == {"mcbert": True, "baseline": False}
    assert below_probe({"mcbert": 0.6}) == {}


def test_the_file_names_the_model_and_what_it_was_compared_with(tmp_path):
    found = DevScores("source-dev", "f1_micro", {})
    deploy.write(tmp_path, scored(mcbert=0.6, probe=0.7), found, {"run": "r"})
    record = deploy.read(tmp_path)
    assert record == json.loads((tmp_path / "deploy.json").read_text())
    assert (record["model"], record["score"], record["protocol"]) == ("models/probe", 0.7, "source-dev")
    assert [one["system"] for one in record["compared"]] == ["probe", "mcbert"]
    assert (record["run"], record["metric"]) == ("r", "f1_micro")
    deploy.write(tmp_path, [], found, {})
    assert deploy.read(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"model": 1, "there": 1, "protocol": 1}',
        '{"model": 1, "there": 1, "protocol": "", "accuracy": 1, "compared": [3]}',
        '{"model": 1, "there": 1, "protocol": "", "score": 1, "metric": "auc", "compared": []}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "deploy.json").write_text(content)
    with pytest.raises(ValueError, match=r"deploy.json: damaged"):
        deploy.read(tmp_path)
