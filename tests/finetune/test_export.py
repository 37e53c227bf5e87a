"""The exported model scores texts as the search's cache did."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from features.corpus import Corpus
from features.encoder.tokens import tokenise
from features.store import FeatureStore
from finetune.evaluation import compute_logits
from finetune.export import ExportInputs, calibrate, export, fold
from finetune.model import count_votes
from finetune.saved import load_model
from pipeline.cli import main
from search.examples import Examples
from search.probe import Probe, decide_pairwise

LABELS = ("cancel", "human", "refund")


@pytest.fixture(scope="module")
def project(tmp_path_factory, encoder_folder, texts_table):
    """A folder with an encoder, and corpora of two labels and of three."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(encoder_folder, folder / "encoder")
    more = texts_table[texts_table["label"] == "refund"].assign(label="human")
    more = more.assign(id="h" + more["id"], text=more["text"].str.replace("money", "human") + " now")
    two = texts_table.drop(columns="text_pair")
    two.to_csv(folder / "two.csv", index=False)
    pd.concat([two, more.drop(columns="text_pair")]).to_csv(folder / "three.csv", index=False)
    (folder / "mine.toml").write_text(
        '[corpus]\npath = "three.csv"\n[encoder]\npath = "encoder"\nmax_length = 16\n'
        '[extract]\nstorage_dtype = "float32"\n[gridsearch]\nlayers = [1, 3]\n[cluster]\nbackend = "serial"\n'
    )
    return folder


@pytest.fixture
def exported(project, monkeypatch):
    """Export a classifier's winner: (classifier, corpus) -> the run's folder."""
    monkeypatch.chdir(project)

    def make(classifier, corpus="three", *overrides):
        run = "-".join([classifier, corpus, *overrides]).replace("=", "-")
        settings = [f"gridsearch.classifiers=['{classifier}']", f"corpus.path={corpus}.csv", *overrides]
        status = main(["export", "--config", "mine.toml", "--run", run, *settings])
        return status, project / "results/runs" / run

    return make


def cached(folder):
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    store = FeatureStore.open(folder.parents[2] / "cache" / digest)
    probe = Probe.load(folder / "probe.npz")
    return probe, store.states(layers=probe.layers, pooling=probe.pooling).astype(np.float64)


@pytest.mark.parametrize("corpus", ["two", "three"])
@pytest.mark.parametrize("classifier", ["logistic_regression", "linear_svm", "ridge", "lda"])
def test_exported_model_scores_and_decides_as_the_cache_did(exported, classifier, corpus):
    status, folder = exported(classifier, corpus)
    assert status == 0
    saved = load_model(str(folder / "models/probe"))
    assert saved.max_length == 16
    assert saved.temperature > 0
    texts = Corpus.read(folder / "texts.csv")
    assert saved.labels == texts.labels
    pairs = list(zip(texts.table["text"], texts.table["text_pair"], strict=True))
    logits = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, pairs, saved.max_length))
    probe, X = cached(folder)
    predicted = probe.predict(X)
    assert len(set(predicted.tolist())) == len(texts.labels)
    np.testing.assert_array_equal(logits.argmax(axis=1), predicted)
    scores = (X - probe.mean) / probe.scale @ probe.weights + probe.intercept
    if probe.kind == "linear":
        np.testing.assert_allclose(logits, scores, atol=1e-3)
    elif corpus == "two":
        np.testing.assert_allclose(logits[:, 0] - logits[:, 1], scores[:, 0], atol=1e-3)
    else:
        np.testing.assert_array_equal(logits.sum(axis=1), 3)  # votes of three pairs
    winners = pd.read_csv(folder / "predictions_gridsearch.csv").set_index("id")["predicted"]
    mine = pd.Series(np.array(saved.labels)[predicted], index=texts.table["id"])
    assert (mine[winners.index] == winners).all()


def test_the_model_loads_in_a_pipeline_and_its_card_tells_how_it_decides(exported):
    _, folder = exported("linear_svm")
    card = (folder / "models/probe/README.md").read_text()
    assert "for each pair of labels votes" in card
    assert "the classifier has none of its own" in card
    assert "| de |" in card
    found = pipeline("text-classification", model=str(folder / "models/probe"))("where is my money")
    assert found[0]["label"] in LABELS


def test_the_encoder_stays_as_it_was(exported, encoder_folder):
    _, folder = exported("ridge")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/probe")
    original = load_state(encoder_folder)
    kept = model.encoder.state_dict()
    assert kept
    assert all(torch.equal(kept[name], original[name]) for name in kept)


def load_state(folder):
    from features.encoder.blocks import load_encoder

    return load_encoder(folder).state_dict()


def test_export_is_made_once_and_again_when_it_is_gone(exported, caplog):
    _, folder = exported("ridge")
    weights = folder / "models/probe/model.safetensors"
    before = weights.stat().st_mtime_ns
    assert exported("ridge")[0] == 0
    assert weights.stat().st_mtime_ns == before
    weights.unlink()
    assert exported("ridge")[0] == 0
    assert weights.is_file()


def test_neighbours_are_refused_with_what_to_do(exported, capsys):
    status, folder = exported("knn")
    assert status == 2
    err = capsys.readouterr().err
    assert "winner.json: classifier: got 'knn', which decides by neighbours" in err
    assert "leave it out of gridsearch.classifiers" in err
    assert not (folder / "models").exists()


def test_states_without_special_tokens_are_refused(exported, capsys):
    assert exported("lda", "two", "extract.special_tokens=exclude")[0] == 2
    assert 'searched with extract.special_tokens = "exclude"' in capsys.readouterr().err


def test_a_damaged_probe_is_named(exported, tmp_path):
    _, folder = exported("lda")
    shutil.copy(folder / "winner.json", tmp_path)
    (tmp_path / "probe.npz").write_bytes(b"PK")
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    inputs = ExportInputs(
        winner=tmp_path / "winner.json",
        store=folder.parents[2] / "cache" / digest,
        corpus=Corpus.read(folder / "texts.csv"),
        encoder=folder.parents[2] / "encoder",
        encoder_name=json.loads((folder / "winner.json").read_text())["encoder"],
        max_length=16,
    )
    with pytest.raises(ValueError, match=r"probe.npz: not a probe of gridsearch"):
        export(inputs, tmp_path)
    (tmp_path / "probe.npz").unlink()
    with pytest.raises(ValueError, match=r"probe.npz: not a probe of gridsearch \(.*No such file"):
        export(inputs, tmp_path)
    assert not (tmp_path / "models").exists()


def test_folding_gives_the_scores_of_standardised_states():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(20, 5))
    probe = {
        "kind": np.asarray("pairwise"), "mean": X.mean(axis=0), "scale": X.std(axis=0),
        "weights": rng.normal(size=(5, 6)), "intercept": rng.normal(size=6),
    }  # fmt: skip
    scores = (X - probe["mean"]) / probe["scale"] @ probe["weights"] + probe["intercept"]
    head = fold(probe)
    assert head.decision == "pairwise"
    np.testing.assert_array_equal(head.logits(X, 4).argmax(axis=1), decide_pairwise(scores))
    np.testing.assert_allclose(X @ head.weights + head.bias, scores)


def test_votes_are_counted_as_the_probe_counts_them():
    scores = np.random.default_rng(1).normal(size=(500, 10))
    votes = count_votes(torch.from_numpy(scores), 5).numpy()
    np.testing.assert_array_equal(votes.sum(axis=1), 10)
    np.testing.assert_array_equal(votes.argmax(axis=1), decide_pairwise(scores))


def test_calibration_finds_the_temperature_that_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    shares = np.exp(logits / 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    y = (rng.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert calibrate(logits, y) == pytest.approx(0.5, rel=0.05)
    certain = calibrate(10 * np.eye(3)[y], y)
    assert 0.1 < certain < 10  # finite, though the logits are right everywhere


def test_a_winner_with_a_pooling_for_each_layer_is_exported(exported, tmp_path):
    """The searched winner, replaced by a mixed one in its two files."""
    from search.artifacts import make_probe
    from search.kernels import Source
    from search.mixture import close, represent
    from search.space import Candidate
    from search.task import fit

    _, folder = exported("ridge")
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    store = FeatureStore.open(folder.parents[2] / "cache" / digest)
    texts = Corpus.of(pd.read_csv(folder / "texts.csv", dtype=str, keep_default_na=False), "en", "texts.csv")
    examples = Examples.read(folder / "examples.npz")
    source = Source(
        store=store.folder,
        examples=folder / "examples.npz",
        languages=("en", "de"),
        digests=(store.digest, examples.digest),
    )
    candidate = Candidate(
        layers=(1, 3, 3), pooling="cls+max+mean", classifier="ridge", params=(("alpha", 1000.0),)
    )
    representation = represent(source, (candidate.layers, candidate.pooling))
    probe = make_probe(representation, fit(representation, candidate), candidate, texts.labels)
    close()
    probe.save(tmp_path / "probe.npz")
    winner = json.loads((folder / "winner.json").read_text())
    mixed = {"layers": [1, 3, 3], "pooling": "cls+max+mean", "candidate_id": candidate.id}
    (tmp_path / "winner.json").write_text(json.dumps(winner | mixed))
    export(
        ExportInputs(
            winner=tmp_path / "winner.json",
            store=store.folder,
            corpus=texts,
            encoder=folder.parents[2] / "encoder",
            encoder_name=winner["encoder"],
            max_length=16,
        ),
        tmp_path,
    )
    saved = load_model(str(tmp_path / "models/probe"))
    pairs = list(zip(texts.table["text"], texts.table["text_pair"], strict=True))
    logits = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, pairs, saved.max_length))
    X = np.concatenate(
        [store.states(layers=(n,), pooling=name) for n, name in ((1, "cls"), (3, "max"), (3, "mean"))], axis=1
    )
    scores = (X - probe.mean) / probe.scale @ probe.weights + probe.intercept
    np.testing.assert_allclose(logits, scores, atol=1e-3)
    assert "layers 1, 3, 3 by cls, max, mean" in (tmp_path / "models/probe/README.md").read_text()
