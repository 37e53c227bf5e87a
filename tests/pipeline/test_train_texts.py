"""gridsearch.train_texts: phase one encodes and fits on some train texts, phase two trains on all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.stratified import drawn_train
from mcbert.pipeline.cli import main
from mcbert.search.data import Examples

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[gridsearch]
layers = [1, 3]
poolings = ["mean"]
classifiers = ["ridge", "lda"]
[finetune]
systems = ["mcbert"]
seeds = [0]
epochs = 1
[cluster]
backend = "serial"
"""
SAMPLED = "gridsearch.train_texts=10"


@pytest.fixture(scope="module")
def project(make_project):
    return make_project(SETTINGS)


@pytest.fixture
def run(project, monkeypatch):
    """Run a stage: (stage, name, overrides) -> status, the run's folder."""
    monkeypatch.chdir(project)

    def run(stage, name, *overrides):
        folder = project / "results/runs" / name
        return main([stage, "--config", "mine.toml", "--run", name, *overrides]), folder

    return run


def store_of(folder):
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    return FeatureStore.open(folder.parents[2] / "cache" / digest)


def untimed(path):
    return pd.read_csv(path).drop(columns=["fit_seconds", "score_seconds"])


def test_phase_one_is_that_of_a_corpus_of_the_texts_drawn(run, project, texts_table):
    """The plain way: the other train rows are not in the corpus."""
    status, folder = run("export", "sampled", SAMPLED)
    assert status == 0
    kept = texts_table[drawn_train(texts_table, "en", 10, seed=0, key="")]
    kept.drop(columns="text_pair").to_csv(project / "kept.csv", index=False)
    status, plain = run("export", "plain", f"corpus.path={project / 'kept.csv'}")
    assert status == 0
    assert store_of(folder).n_rows == len(kept)
    assert store_of(folder).digest == store_of(plain).digest
    pd.testing.assert_frame_equal(untimed(folder / "gridsearch.csv"), untimed(plain / "gridsearch.csv"))
    for name in ("predictions.npz", "probe.npz", "models/probe/model.safetensors"):
        assert (folder / name).read_bytes() == (plain / name).read_bytes()
    temperatures = [
        json.loads((one / "models/probe/config.json").read_text())["probability_temperature"]
        for one in (folder, plain)
    ]
    assert temperatures[0] == temperatures[1]
    counts = pd.read_csv(folder / "corpus.csv").query("split == 'train'")["n_texts"]
    assert counts.sum() == 24  # of the whole corpus
    assert json.loads((folder / "winner.json").read_text())["n_train"] == 10
    assert "(10 with their translations)" in (folder / "models/probe/README.md").read_text()


def test_any_candidate_is_fitted_on_the_texts_drawn(run):
    status, folder = run("export", "sampled", SAMPLED, "--candidate", "2")
    assert status == 0
    assert len(list((folder / "models").glob("*/config.json"))) == 2


def test_phase_two_trains_on_all_texts_from_the_probe_of_some(run, caplog):
    status, folder = run("finetune", "sampled", SAMPLED, "finetune.start=probe")
    assert status == 0
    job = json.loads((folder / "jobs/mcbert-0.json").read_text())
    curves = pd.read_csv(folder / "finetune.csv")
    row = (
        pd.read_csv(folder / "gridsearch.csv")
        .set_index("candidate_id")
        .loc[pd.read_csv(folder / "trainings.csv")["start"][0]]
    )
    before = curves.query("epoch == 0").set_index("language")["accuracy"]
    assert before["de"] == pytest.approx(row["dev_f1_micro_de"])
    assert job["finetune"]
    assert "| en | 24 |" in (folder / "models/mcbert/README.md").read_text()


def test_the_report_says_on_how_many(run):
    assert run("report", "sampled", SAMPLED)[0] == 0
    page = Path("results/runs/sampled/report.html").read_text()
    assert "Phase one on 10 of 24 train texts" in page
    assert run("gridsearch", "whole")[0] == 0
    assert run("report", "whole")[0] == 0
    assert "Phase one on" not in Path("results/runs/whole/report.html").read_text()


def test_more_than_there_are_means_all_and_no_text_is_encoded_again(run, capsys):
    status, whole = run("gridsearch", "whole")
    assert status == 0
    capsys.readouterr()
    status, folder = run("gridsearch", "many", "gridsearch.train_texts=1000")
    said = capsys.readouterr().err
    assert status == 0
    assert "all 24 train texts are taken" in said
    assert "already exists" in said
    assert store_of(folder).folder == store_of(whole).folder
    pd.testing.assert_frame_equal(untimed(folder / "gridsearch.csv"), untimed(whole / "gridsearch.csv"))


def test_a_budget_samples_candidates_not_texts(run):
    status, folder = run("gridsearch", "budget", SAMPLED, "--budget", "3")
    assert status == 0
    winner = json.loads((folder / "winner.json").read_text())
    assert (winner["tried"]["n"], winner["n_train"]) == (3, 10)


def test_the_first_seed_draws(run):
    drawn = []
    for seed in (0, 1):
        status, folder = run("gridsearch", f"seed-{seed}", SAMPLED, f"gridsearch.seeds=[{seed}]")
        assert status == 0
        examples = Examples.read(folder / "examples.npz")
        drawn.append(set(examples.ids[examples.rows("train")].tolist()))
        assert set(np.unique(examples.y[examples.rows("train")]).tolist()) == {0, 1}
    assert drawn[0] != drawn[1]


def test_a_run_has_one_sample(run, capsys):
    assert run("gridsearch", "sampled", SAMPLED)[0] == 0
    assert run("gridsearch", "sampled", "gridsearch.train_texts=12")[0] == 2
    assert "train_texts.n: 10 -> 12" in capsys.readouterr().err


def test_too_few_texts_are_told_before_any_is_encoded(run, capsys):
    status, folder = run("gridsearch", "few", "gridsearch.train_texts=3")
    assert status == 2
    assert "gridsearch.train_texts: got 3, accepted: 0 (all), or at least 4" in capsys.readouterr().err
    assert not (folder / "cache.json").exists()


def test_translated_train_texts_follow_their_source(run, project, texts_table):
    train = texts_table.query("split == 'train'")
    german = train.assign(id=train["id"].str.replace("-en", "-de"), language="de", text=train["text"] + " wo")
    both = pd.concat([texts_table, german], ignore_index=True).drop(columns="text_pair")
    both.to_csv(project / "both.csv", index=False)
    status, folder = run(
        "gridsearch", "translated", SAMPLED, f"corpus.path={project / 'both.csv'}",
        "prepare.transfer=translate-train",
    )  # fmt: skip
    assert status == 0
    examples = Examples.read(folder / "examples.npz")
    found = examples.rows("train")
    assert pd.Series(examples.language[found]).value_counts().to_dict() == {"en": 10, "de": 10}
    texts = Corpus.read(folder / "texts.csv")
    assert len(texts.rows(split="train")) == 48
