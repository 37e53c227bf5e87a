"""The exported model scores texts as the search's cache did."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from huggingface_hub import metadata_load
from sklearn.ensemble import RandomForestClassifier
from transformers import AutoModelForSequenceClassification, pipeline

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.tokens import tokenise
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.export.candidate import ExportInputs, export, read_chosen
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.model import count_votes
from mcbert.finetune.predict import label_texts
from mcbert.finetune.probe_head import fold
from mcbert.pipeline.cli import main
from mcbert.pipeline.stages.export import file_name
from mcbert.results import csv_files
from mcbert.results.schema.search import PREDICTIONS
from mcbert.search.data import Examples
from mcbert.search.fitting.probe import Probe, decide_one_vs_one
from tests.finetune.export.test_cards import code_of

LABELS = ("cancel", "human", "refund")
SMALL = {"knn": "knn={n_neighbors=3}", "mlp": "mlp={hidden_layer_sizes=8}"}


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
        '[extract]\nstorage_dtype = "float32"\n[gridsearch]\nensemble = 0\nlayers = [1, 3]\n'
        '[cluster]\nbackend = "serial"\n'
    )
    return folder


@pytest.fixture
def exported(project, monkeypatch):
    """Export a classifier's winner: (classifier, corpus) -> the run's folder."""
    monkeypatch.chdir(project)

    def make(classifier, corpus="three", *overrides):
        run = re.sub(r"[^A-Za-z0-9]+", "-", "-".join([classifier, corpus, *overrides]))
        run = f"{run[:60]}-{zlib.crc32(repr(overrides).encode()):x}"
        settings = [f"gridsearch.classifiers=['{classifier}']", f"corpus.path={corpus}.csv", *overrides]
        status = main(["export", "--config", "mine.toml", "--run", run, *settings])
        return status, project / "results/runs" / run

    return make


def store_of(folder):
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    return FeatureStore.open(folder.parents[2] / "cache" / digest)


def cached(folder):
    probe = Probe.load(folder / "probe.npz")
    return probe, store_of(folder).states(layers=probe.layers, pooling=probe.pooling).astype(np.float64)


def assert_predicted_as_labelled(folder, saved):
    """The search's predictions are what predict says of the same texts, probabilities included."""
    texts = Corpus.read(folder / "texts.csv").table.set_index("id")
    rows = csv_files.read(PREDICTIONS, folder / "predictions_gridsearch.csv")
    assert rows["text"].tolist() == texts.loc[rows["id"], "text"].tolist()
    said, _ = label_texts(saved, list(zip(rows["text"], rows["text_pair"], strict=True)))
    assert said["label"].tolist() == rows["predicted"].tolist()
    np.testing.assert_allclose(rows["probability"], said["probability"], atol=1e-3)
    return rows["predicted"]


@pytest.mark.parametrize("corpus", ["two", "three"])
@pytest.mark.parametrize("classifier", ["logistic_regression", "linear_svm", "ridge", "lda"])
def test_exported_model_scores_and_decides_as_the_cache_did(exported, classifier, corpus):
    status, folder = exported(classifier, corpus)
    assert status == 0
    saved = load_model(str(folder / "models/probe"))
    assert saved.max_length == 16
    temperature = saved.model.config.probability_temperature
    assert temperature != 1
    texts = Corpus.read(folder / "texts.csv")
    assert saved.labels == texts.labels
    pairs = list(zip(texts.table["text"], texts.table["text_pair"], strict=True))
    logits = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, pairs, saved.max_length))
    probe, X = cached(folder)
    predicted = probe.predict(X)
    assert len(set(predicted.tolist())) == len(texts.labels)
    np.testing.assert_array_equal(logits.argmax(axis=1), predicted)
    scores = (X - probe.mean) / probe.scale @ probe.weights + probe.intercept
    scaled = logits * temperature
    if probe.kind == "linear":
        np.testing.assert_allclose(scaled, scores, atol=1e-3)
    elif corpus == "two":
        np.testing.assert_allclose(scaled[:, 0] - scaled[:, 1], scores[:, 0], atol=1e-3)
    else:
        np.testing.assert_allclose(scaled.sum(axis=1), 3, atol=1e-5)  # votes of three pairs
    assert_predicted_as_labelled(folder, saved)


@pytest.mark.parametrize("corpus", ["two", "three"])
def test_an_exported_ensemble_labels_as_the_search_did_and_is_made_again_by_its_name(exported, corpus):
    classifiers = "gridsearch.classifiers=['logistic_regression','linear_svm','ridge','lda','knn']"
    status, folder = exported("ridge", corpus, "gridsearch.ensemble=30", classifiers)
    assert status == 0
    saved = load_model(str(folder / "models/probe"))
    texts = Corpus.read(folder / "texts.csv")
    pairs = list(zip(texts.table["text"], texts.table["text_pair"], strict=True))
    logits = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, pairs, saved.max_length))
    probe, X = cached(folder)
    np.testing.assert_array_equal(logits.argmax(axis=1), probe.predict(X))
    assert_predicted_as_labelled(folder, saved)
    assert "the mean of 30 linear classifiers" in (folder / "models/probe/README.md").read_text()
    weights = (folder / "models/probe/model.safetensors").read_bytes()
    arguments = ["export", "--config", "mine.toml", "--run", folder.name, f"corpus.path={corpus}.csv"]
    arguments += ["gridsearch.ensemble=30", classifiers, "--candidate", "ensemble-members=30"]
    assert main(arguments) == 0
    (again,) = [path for path in (folder / "models").iterdir() if "ensemble" in path.name]
    assert (again / "model.safetensors").read_bytes() == weights


def test_the_model_loads_in_a_pipeline_and_its_card_tells_how_it_decides(exported):
    _, folder = exported("linear_svm")
    card = (folder / "models/probe/README.md").read_text()
    assert "one-vs-one" in card
    assert re.search(r"softmax\(logits\); the logits are the votes divided by T, T = [\d.]+, fitted to", card)
    assert re.search(r"calibration error is 0\.\d{3} with T = 1 and 0\.\d{3} with this T", card)
    assert re.search(r"\| 0\.6 \| [01]\.\d{3} \| ([01]\.\d{3}|-) \|", card)
    assert "| de |" in card
    metadata = metadata_load(folder / "models/probe/README.md")
    assert metadata["language"][0] == "en"
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["type"] == "f1"
    assert "names no licence" in card
    exec(code_of(card, folder / "models/probe"), {})
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
    from mcbert.features.encoder.loading import load_encoder

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


@pytest.mark.parametrize(("classifier", "kind"), [("knn", "KNeighborsClassifier"), ("mlp", "MLPClassifier")])
def test_what_is_no_head_of_weights_is_kept_by_skops_and_decides_as_the_cache_did(exported, classifier, kind):
    status, folder = exported(classifier, "three", f"gridsearch.params={{{SMALL[classifier]}}}")
    assert status == 0
    assert not (folder / "models/probe").exists()
    saved = load_model(str(folder / "models/probe-skops"))
    assert type(saved.estimator.fitted[-1]).__name__ == kind
    texts = Corpus.read(folder / "texts.csv")
    frame, _ = label_texts(saved, list(zip(texts.table["text"], texts.table["text_pair"], strict=True)))
    assert set(assert_predicted_as_labelled(folder, saved)) == set(texts.labels)
    shares = frame[[f"probability_{label}" for label in texts.labels]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    record = json.loads((folder / "winner.json").read_text())
    states = store_of(folder).states(layers=record["layers"], pooling=record["pooling"])
    own = saved.estimator.fitted.predict_proba(states)
    powers = np.maximum(own, 1e-3 / 3) ** (1 / saved.estimator.temperature)
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), shares, atol=1e-4)
    card = (folder / "models/probe-skops/README.md").read_text()
    assert "model.skops" in card
    exec(code_of(card, folder / "models/probe-skops"), {})
    assert re.search(r"the logarithm of predict_proba, T = \d", card)


@pytest.mark.parametrize("corpus", ["two", "three"])
def test_a_user_s_classifier_without_probabilities_gets_a_temperature(exported, corpus):
    status, folder = exported("mine", corpus, "gridsearch.factories={mine='sklearn.svm:LinearSVC'}")
    assert status == 0
    saved = load_model(str(folder / "models/probe-skops"))
    assert saved.estimator.temperature != 1
    assert (
        "softmax(scores / T); the scores are decision_function"
        in (folder / "models/probe-skops/README.md").read_text()
    )
    frame, _ = label_texts(saved, [("where is my money", ""), ("cancel it", "")])
    shares = frame[[f"probability_{label}" for label in saved.labels]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert frame["label"].tolist() == [saved.labels[code] for code in shares.argmax(axis=1)]
    assert frame["label"].nunique() == 2


def test_a_type_that_would_have_to_be_trusted_is_refused_with_what_to_do(exported, capsys):
    """A tree of scikit-learn restores its memory from bytes that nothing checks."""
    overrides = ("gridsearch.factories={forest='sklearn.ensemble:RandomForestClassifier'}",)
    overrides += ("gridsearch.params={forest={n_estimators=5}}", "gridsearch.protocol=last")
    status, folder = exported("forest','ridge", "three", *overrides)
    assert status == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "got a sklearn.tree._tree.Tree" in err
    assert "the best linear candidate is 3-cls-ridge-alpha=1000.0: export it by --candidate 2" in err
    assert not (folder / "models").exists()


def test_without_skops_it_is_said_what_to_install_and_what_does_without(exported, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    status, folder = exported("knn", "three", "gridsearch.params={knn={n_neighbors=4}}")
    assert status == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "needs skops, which is not installed: pip install 'mcbert[skops]'" in err
    assert "no candidate is linear; search with one of logistic_regression" in err
    assert not (folder / "models").exists()


@pytest.mark.parametrize("by", ["id", "rank"])
def test_another_candidate_is_exported_by_its_id_or_rank(project, monkeypatch, capsys, by):
    monkeypatch.chdir(project)
    command = ["--config", "mine.toml", "--run", "others", "gridsearch.params={knn={n_neighbors=3}}"]
    assert main(["export", *command]) == 0
    folder = project / "results/runs/others"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    frame = pd.read_csv(folder / "gridsearch.csv").set_index("candidate_id")
    name = frame.index[frame["classifier"].eq("lda" if by == "id" else "linear_svm")][-1]
    given = name if by == "id" else str(frame.loc[name, "rank"])
    assert main(["export", *command, "--candidate", given]) == 0
    texts = Corpus.read(folder / "texts.csv")
    saved = load_model(str(folder / "models" / name))
    labelled, _ = label_texts(saved, list(zip(texts.table["text"], texts.table["text_pair"], strict=True)))
    groups = [texts.table["split"], texts.table["language"]]
    for (split, language), share in (
        (labelled["label"] == texts.table["label"]).groupby(groups).mean().items()
    ):
        if split != "train":
            assert share == pytest.approx(frame.loc[name, f"{split}_f1_micro_{language}"])
    assert (
        f"number {frame.loc[name, 'rank']} of the search by the protocol"
        in (folder / "models" / name / "README.md").read_text()
    )
    assert {p: p.read_bytes() for p in before} == before
    capsys.readouterr()
    assert main(["export", *command, "--candidate", given]) == 0
    assert "up to date" in capsys.readouterr().err.splitlines()[-2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0", "--candidate: got '0', accepted: a candidate_id of"),
        ("999", "or a rank, 1 to "),
        ("1-max-ridge-alpha=100.0", "(nearest: 1-max-ridge-alpha=1000.0)"),
    ],
)
def test_a_candidate_that_is_not_there(exported, project, capsys, given, said):
    _, folder = exported("ridge")
    overrides = ["gridsearch.classifiers=['ridge']", "corpus.path=three.csv", "--candidate", given]
    assert main(["export", "--config", "mine.toml", "--run", folder.name, *overrides]) == 2
    assert said in capsys.readouterr().err


def test_a_failed_candidate_is_refused_with_its_reason(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    command = ["--config", "mine.toml", "--run", "failed", "gridsearch.layers=[0,1]"]
    command += ["gridsearch.classifiers=['ridge']"]
    assert main(["gridsearch", *command]) == 0
    assert main(["export", *command, "--candidate", "0-cls-ridge-alpha=1000.0"]) == 2
    assert "0-cls-ridge-alpha=1000.0 failed: ValueError: constant features" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1-max-svm-kernel='a/b'", "1-max-x-" + "y" * 300, "../../x"])
def test_an_id_that_is_no_folder_s_name_is_made_one(name):
    made = file_name(name)
    assert len(made) < 140
    assert "/" not in made
    assert made != file_name(name + "z")
    assert not any(file_name(name).startswith(".") for name in (".", "..", ".x"))
    assert file_name("6+8-max+cls-ridge-alpha=1000.0") == "6+8-max+cls-ridge-alpha=1000.0"


def damaged(folder, tmp_path, change):
    shutil.copytree(folder / "models/probe-skops", tmp_path / "model")
    (tmp_path / "model/checksums.json").unlink()
    path = tmp_path / "model/model.skops"
    change(path)
    with pytest.raises(EncoderError) as caught:
        load_model(str(tmp_path / "model"))
    return str(caught.value)


def test_a_classifier_s_file_that_is_damaged_or_holds_other_types_is_refused(exported, tmp_path):
    import skops.io

    _, folder = exported("knn", "three", "gridsearch.params={knn={n_neighbors=3}}", "gridsearch.layers=[1]")
    said = damaged(folder, tmp_path / "a", lambda path: path.write_bytes(path.read_bytes()[:200]))
    assert "model.skops: not a classifier that export wrote (" in said
    forest = RandomForestClassifier(2).fit(np.eye(4), [0, 1, 0, 1])
    said = damaged(folder, tmp_path / "b", lambda path: skops.io.dump(forest, path))
    assert "model.skops: got a sklearn.tree._tree.Tree, accepted: types of scikit-learn" in said


def test_another_version_of_scikit_learn_is_warned_of(exported, tmp_path, capsys):
    _, folder = exported("knn", "three", "gridsearch.params={knn={n_neighbors=3}}", "gridsearch.layers=[1]")
    shutil.copytree(folder / "models/probe-skops", tmp_path / "model")
    (tmp_path / "model/checksums.json").unlink()
    config = tmp_path / "model/config.json"
    config.write_text(config.read_text().replace(sklearn.__version__, "1.0"))
    load_model(str(tmp_path / "model"))
    assert "made with scikit-learn 1.0, this is" in capsys.readouterr().err


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
    read = (inputs.winner, inputs.corpus, inputs.encoder_name)
    with pytest.raises(ValueError, match=r"probe.npz: not a probe of gridsearch"):
        read_chosen(*read)
    (tmp_path / "probe.npz").unlink()
    with pytest.raises(ValueError, match=r"probe.npz: .*No such file"):
        read_chosen(*read)


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
    np.testing.assert_array_equal(head.logits(X, 4).argmax(axis=1), decide_one_vs_one(scores))
    np.testing.assert_allclose(X @ head.weights + head.bias, scores)


def test_votes_are_counted_as_the_probe_counts_them():
    scores = np.random.default_rng(1).normal(size=(500, 10))
    votes = count_votes(torch.from_numpy(scores), 5).numpy()
    np.testing.assert_array_equal(votes.sum(axis=1), 10)
    np.testing.assert_array_equal(votes.argmax(axis=1), decide_one_vs_one(scores))


def test_a_winner_with_a_pooling_for_each_layer_is_exported(exported, tmp_path):
    """The searched winner, replaced by a mixed one in its two files."""
    from mcbert.search.fitting.representation import clear_cache, represent
    from mcbert.search.outcome.artifacts import make_probe
    from mcbert.search.source import Source
    from mcbert.search.space import Candidate
    from mcbert.search.task import fit

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
        features=FeatureSpec.of((1, 3, 3), "cls+max+mean"), classifier="ridge", params=(("alpha", 1000.0),)
    )
    representation = represent(source, candidate.features)
    probe = make_probe(representation, fit(representation, candidate), candidate, texts.labels)
    clear_cache()
    probe.save(tmp_path / "probe.npz")
    winner = json.loads((folder / "winner.json").read_text())
    mixed = {"layers": [1, 3, 3], "pooling": "cls+max+mean", "candidate_id": candidate.id}
    (tmp_path / "winner.json").write_text(json.dumps(winner | mixed))
    inputs = ExportInputs(
        winner=tmp_path / "winner.json",
        store=store.folder,
        corpus=texts,
        encoder=folder.parents[2] / "encoder",
        encoder_name=winner["encoder"],
        max_length=16,
    )
    export(inputs, read_chosen(inputs.winner, texts, inputs.encoder_name), tmp_path / "models/probe")
    saved = load_model(str(tmp_path / "models/probe"))
    pairs = list(zip(texts.table["text"], texts.table["text_pair"], strict=True))
    logits = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, pairs, saved.max_length))
    X = np.concatenate(
        [store.states(layers=(n,), pooling=name) for n, name in ((1, "cls"), (3, "max"), (3, "mean"))], axis=1
    )
    scores = (X - probe.mean) / probe.scale @ probe.weights + probe.intercept
    np.testing.assert_allclose(logits * saved.model.config.probability_temperature, scores, atol=1e-3)
    assert "layers 1, 3, 3 by cls, max, mean" in (tmp_path / "models/probe/README.md").read_text()
