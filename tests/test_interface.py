"""What `import mcbert` offers, through that door: the stages' own figures, and scikit-learn's rules."""

import doctest
import importlib
import json
import logging
import pickle
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted, validate_data

import mcbert
from mcbert.pipeline.cli import main
from mcbert.pipeline.config import load
from tests.conftest import WORDS, save_encoder

TIMES = ["fit_seconds", "score_seconds", "run", "config_digest"]
SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[gridsearch]
layers = [1, 3]
ensemble = 0
classifiers = ["ridge", "linear_svm", "lda"]
[finetune]
systems = ["mcbert_wf"]
seeds = [3]
layers = [1, 3]
pooling = "max"
epochs = 2
batch_size = 8
learning_rate = 1e-3
freeze = { 1 = [1] }
start = "random"
[cluster]
backend = "serial"
"""
TRAINED = {"layers": [1, 3], "pooling": "max", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
TEXTS = ["where is my money", "cancel the order please", "wo ist mein geld", "cancel it now"]
LABELS = ["refund", "cancel", "refund", "cancel"]


@pytest.fixture(scope="module")
def project(tmp_path_factory, texts_table):
    """A corpus and an encoder in a folder, with a configuration."""
    folder = tmp_path_factory.mktemp("project")
    save_encoder(folder / "encoder")
    texts_table.to_csv(folder / "texts.csv", index=False)
    (folder / "mine.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def encoder(project):
    return project / "encoder"


@pytest.fixture(scope="module")
def corpus(project):
    return mcbert.read_corpus(project / "texts.csv")


@pytest.fixture(scope="module")
def states(corpus, encoder, project):
    return mcbert.extract(corpus, encoder, max_length=16, cache=project / "cache")


@pytest.fixture(scope="module")
def make(encoder, project):
    """Make a classifier over the tiny encoder."""
    return lambda **given: mcbert.MCBertClassifier(
        encoder, **{**TRAINED, "threads": 1, "max_length": 16, "cache": project / "cache", **given}
    )


@pytest.fixture(scope="module")
def pooled(encoder, project):
    return lambda **given: mcbert.PooledStates(
        encoder, **{"layers": [1], "max_length": 16, "cache": project / "cache", **given}
    )


# ------------------------------------------------------------------- the package


def test_import_is_quick_and_loads_nothing_heavy():
    heavy = ("torch", "transformers", "sklearn", "pandas", "numpy", "h5py")
    code = (
        "import sys, time; began = time.monotonic(); import mcbert; seconds = time.monotonic() - began; "
        f"dir(mcbert); print([name for name in {heavy} if name in sys.modules], seconds < 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


def test_there_are_at_most_fifteen_names_and_each_says_what_it_is():
    assert len(mcbert.__all__) <= 15
    assert dir(mcbert) == sorted(mcbert.__all__)
    for name in set(mcbert.__all__) - {"__version__", "SAMPLES"}:
        assert len(getattr(mcbert, name).__doc__) > 40, name
    with pytest.raises(AttributeError, match="module 'mcbert' has no attribute 'Layersearch'"):
        _ = mcbert.Layersearch


@pytest.mark.parametrize(
    "module",
    [
        *(f"interface.{name}" for name in ("corpus", "extraction", "pooled_states", "layer_search")),
        *("interface.classifier", "interface.sentence_encoder", "features.cache.read", "results.runs"),
    ],
)
def test_examples_of_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(f"mcbert.{module}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 2
    assert found.failed == 0


# ------------------------------------------------------------------- texts and states


def test_a_corpus_is_read_from_a_file_or_a_frame(project, corpus, texts_table):
    pd.testing.assert_frame_equal(mcbert.read_corpus(texts_table), corpus)
    renamed = texts_table.rename(columns={"label": "intent"}).drop(columns="text_pair")
    given = mcbert.read_corpus(renamed, columns={"label": "intent"}, languages=["en"])
    assert set(given["language"]) == {"en"}
    assert list(corpus.columns) == ["id", "text", "text_pair", "label", "language", "split"]
    assert all(corpus.dtypes == "str")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "path: row 1: column label: got None"),
        (
            {"split": "validation"},
            "column split: got validation|got 'validation', accepted: train, dev, test",
        ),
        ({"text": ""}, "path: row 1: column text: it is empty"),
    ],
)
def test_a_frame_that_is_no_corpus_is_refused(texts_table, change, message):
    wrong = texts_table.astype(object)
    for column, value in change.items():
        wrong.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        mcbert.read_corpus(wrong)


def test_arguments_are_named_as_they_are_called(project, corpus, encoder, tmp_path):
    for call, message in (
        (lambda: mcbert.read_corpus(corpus, on_bad="no"), r"^on_bad: got 'no', accepted: error, skip"),
        (
            lambda: mcbert.read_corpus(corpus, onbad="no"),
            r"^onbad: no such argument \(did you mean on_bad\?\); accepted: path, format",
        ),
        (
            lambda: mcbert.prepare_corpus("raw.csv", labeled={}),
            r"^labeled: no such argument \(did you mean labelled\?\); accepted: top_labels, .*on_bad",
        ),
        (
            lambda: mcbert.prepare_corpus("raw.csv", source_language="de"),
            "^source_language: no such argument",
        ),
        (
            lambda: mcbert.extract(TEXTS, encoder, maxlength=8),
            r"^maxlength: no such argument \(did you mean max_length\?\); accepted: revision, .*dtype",
        ),
        (lambda: mcbert.read_corpus(corpus.drop(columns="id")), "^path: column id: missing; present: text"),
        (lambda: mcbert.extract(TEXTS, encoder, layers=[9], cache=tmp_path), "^layers: got 9; accepted: 0 "),
        (lambda: mcbert.extract(TEXTS, encoder, poolings=["sum"]), "^poolings: got 'sum', accepted: max"),
        (
            lambda: mcbert.extract(TEXTS, "none/there", cache=tmp_path),
            "^encoder: 'none/there' is not a folder",
        ),
        (lambda: mcbert.extract(["a", 3], encoder), "^corpus: row 2: column text: got 3, accepted: text$"),
        (lambda: mcbert.extract([1, 2], encoder), r"row 2: column text: got 2, accepted: text \(2 rows\)$"),
        (
            lambda: mcbert.SentenceEncoder.from_pretrained(encoder),
            "^name: .*: a plain encoder; accepted: with",
        ),
        (lambda: mcbert.MCBertClassifier.from_pretrained(encoder), "^name: .*: not a |^name: .*missing"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_states_are_cached_and_found_again(corpus, encoder, project, states, caplog):
    with caplog.at_level(logging.INFO):
        again = mcbert.extract(corpus, str(encoder), max_length=16, cache=project / "cache")
    assert "already exists" in caplog.text
    assert again.folder == states.folder
    assert states.n_rows == len(corpus)


def test_an_interrupted_extraction_goes_on(corpus, encoder, tmp_path, monkeypatch, states, caplog):
    from mcbert.features.extraction.encode import UnitEncoder

    encode, seen = UnitEncoder.encode, []

    def interrupted(*args):
        seen.append(1)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return encode(*args)

    small = {"max_length": 16, "unit_rows": 8, "cache": tmp_path}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(UnitEncoder, "encode", interrupted)
        mcbert.extract(corpus, encoder, **small)
    caplog.clear()  # where another test has set the level, it tells of the first call, too
    with caplog.at_level(logging.INFO):
        found = mcbert.extract(corpus, encoder, **small)
    total, left = (int(text.split()[0]) for text in (caplog.messages[0].split("extract: ")[1],
                                                     caplog.messages[0].split(", ")[1]))  # fmt: skip
    assert 0 < left < total
    wanted = states.states(layers=[1, 4], pooling="mean")
    np.testing.assert_allclose(found.states(layers=[1, 4], pooling="mean"), wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("layers", "pooling", "extra"),
    [
        ([1, 3], "max", {}),
        ([3, 1], "mean", {"storage_dtype": "float32"}),
        ([2, 2], "max+mean", {"prompt": "query: "}),
        ([0, 4], "mean", {"special_tokens": "exclude"}),
    ],
)
def test_pooled_states_are_those_of_the_cache(pooled, encoder, tmp_path, layers, pooling, extra, corpus):
    texts = [*corpus["text"][:20], ("where is it", "the order"), corpus["text"][0]]
    store = mcbert.extract(texts, encoder, max_length=16, cache=tmp_path, **extra)
    X = pooled(layers=layers, pooling=pooling, **extra).fit_transform(texts)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, store.states(layers=layers, pooling=pooling))


def test_texts_come_in_any_form(pooled, corpus):
    X = pooled().transform(corpus["text"].tolist())
    for form in (corpus["text"], corpus, corpus["text"].to_numpy(), [(text, "") for text in corpus["text"]]):
        np.testing.assert_array_equal(pooled().transform(form), X)


# ------------------------------------------------------------------- the search


@pytest.fixture(scope="module")
def searched(states, corpus):
    classifiers = ["ridge", "linear_svm", "lda"]
    return mcbert.LayerSearch(layers=np.array([1, 3]), classifiers=classifiers, ensemble=0).fit(
        states, corpus
    )


def test_the_search_is_the_stage(project, searched, monkeypatch, states):
    monkeypatch.chdir(project)
    assert main(["gridsearch", "--config", "mine.toml", "--run", "r", "--cache", "cache"]) == 0
    assert json.loads((project / "results/runs/r/cache.json").read_text())["digest"] == states.folder.name
    stage = mcbert.read_results("gridsearch", "r")
    pd.testing.assert_frame_equal(searched.results_.drop(columns=TIMES), stage.drop(columns=TIMES))
    winner = json.loads((project / "results/runs/r/winner.json").read_text())
    assert list(searched.best_params_["layers"]) == winner["layers"]
    assert searched.best_score_ == stage["score"][searched.best_index_]


def test_the_best_estimator_labels_texts_as_the_winner_does(searched, corpus):
    measured = mcbert.read_results("predictions", searched.folder_).set_index("id")["predicted"]
    held_out = corpus[corpus["split"].ne("train")].set_index("id")
    np.testing.assert_array_equal(searched.predict(held_out), measured[held_out.index])
    assert set(searched.classes_) == set(corpus["label"])
    german = held_out[held_out["split"].eq("test") & held_out["language"].eq("de")]
    assert searched.score(german, german["label"]) == searched.results_["test_f1_micro_de"][0]
    anew = clone(searched.best_estimator_).fit(
        *(corpus[corpus["split"].eq("train")][["text", "label"]].T.values)
    )
    np.testing.assert_array_equal(anew.predict(held_out), searched.predict(held_out))


def test_the_best_estimator_takes_the_encoder_that_the_states_are_of(corpus, encoder, tmp_path):
    states = mcbert.extract(
        corpus, encoder, layers=[1], revision="0123abc", prompt="query: ", max_length=16, cache=tmp_path
    )
    search = mcbert.LayerSearch(layers=[1], classifiers=["ridge"]).fit(states, corpus)
    taken = search.best_estimator_["states"].get_params()
    assert (taken["encoder"], taken["revision"]) == (str(encoder), "0123abc")
    assert (taken["prompt"], taken["max_length"]) == ("query: ", 16)


def test_a_search_has_probabilities_where_its_winner_has(states, corpus, searched):
    alone = {"layers": [1], "poolings": ["max"], "ensemble": 0}
    search = mcbert.LayerSearch(**alone, classifiers=["lda"]).fit(states, corpus)
    assert search.predict_proba(TEXTS).shape == (4, 2)
    svm = mcbert.LayerSearch(**alone, classifiers=["ridge"]).fit(states, corpus)
    assert not hasattr(svm, "predict_proba")


@pytest.mark.parametrize("labels", [2, 3])
def test_the_mean_of_many_is_one_estimator_that_labels_as_the_search_did(states, corpus, labels):
    """A third label is given to every fourth text, so that scores of three labels are added up, too."""
    if labels == 3:
        numbers = corpus.groupby(["split", "language"]).cumcount()
        corpus = corpus.assign(label=corpus["label"].where(numbers % 4 != 0, "other"))
    classifiers = ["logistic_regression", "ridge", "lda", "knn"]
    search = mcbert.LayerSearch(layers=[1, 3], classifiers=classifiers, ensemble=20).fit(states, corpus)
    assert search.best_params_["classifier"] == "ensemble"
    assert search.best_params_["params"] == {"members": 20}
    assert search.best_score_ == search.results_["score"][0]
    held_out = corpus[corpus["split"].ne("train")].set_index("id")
    measured = mcbert.read_results("predictions", search.folder_).set_index("id")["predicted"]
    np.testing.assert_array_equal(search.predict(held_out), measured[held_out.index])
    shares = search.predict_proba(held_out)
    assert shares.shape == (len(held_out), labels)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(search.classes_[shares.argmax(axis=1)], search.predict(held_out))
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(held_out), search.predict(held_out))


def test_a_search_in_processes_is_the_same(states, corpus, searched, tmp_path):
    search = clone(searched).set_params(n_jobs=2, folder=tmp_path / "mine").fit(states, corpus)
    pd.testing.assert_frame_equal(search.results_.drop(columns=TIMES), searched.results_.drop(columns=TIMES))
    assert (tmp_path / "mine" / "gridsearch.csv").is_file()
    here = clone(searched).set_params(cluster={"backend": "serial"}).fit(states, corpus)
    pd.testing.assert_frame_equal(here.results_.drop(columns=TIMES), searched.results_.drop(columns=TIMES))


def test_an_interrupted_search_keeps_what_is_done(states, corpus, searched, monkeypatch):
    from mcbert.pipeline.stages import gridsearch

    def interrupted(items, *_):
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield item

    search = clone(searched)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(gridsearch, "track", interrupted)
        search.fit(states, corpus)
    assert not hasattr(search, "results_")
    done = []
    monkeypatch.setattr(gridsearch, "track", lambda items, n, *_: done.append(n) or items)
    search.fit(states, corpus)
    assert done == [7]  # of 3 subsets x 3 poolings
    pd.testing.assert_frame_equal(search.results_.drop(columns=TIMES), searched.results_.drop(columns=TIMES))


def test_a_notebook_shows_the_head_of_the_results_beside_the_diagram(searched):
    page = searched._repr_html_()
    assert "sk-estimator" in page
    assert f"{len(searched.results_)} candidates, the best 5" in page
    assert page.count("<tr") - page.split("<p>")[0].count("<tr") == 6
    assert "candidates, the best" not in clone(searched)._repr_html_()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": [9]}, "^layers: got 9, accepted: what the feature cache has, 0, 1"),
        ({"layers": ["a"]}, r"^layers: got \['a'\], accepted: whole numbers"),
        ({"protocol": "none"}, "^protocol: got 'none', accepted: auto"),
        ({"n_jobs": 0}, "^n_jobs: got 0, accepted: 1 or more, -1"),
        ({"n_jobs": 2, "cluster": {"workers": 2}}, "^n_jobs: got 2 beside cluster, accepted: either of them"),
        ({"cluster": {"host": "a"}}, "^host: no such argument; accepted: backend, workers"),
        ({"cluster": {"scheduler": "tls://a:1"}}, "^tls_ca: a tls:// scheduler needs tls_ca, tls_cert"),
        ({"source_language": "fr"}, "^corpus: column language: the source language 'fr' has no dev rows"),
    ],
)
def test_a_search_that_cannot_be_is_refused(states, corpus, given, message):
    with pytest.raises(ValueError, match=message):
        mcbert.LayerSearch(**{"layers": [1], **given}).fit(states, corpus)


def test_states_of_other_texts_are_refused(states, corpus):
    other = corpus.assign(text=corpus["text"] + " now")
    with pytest.raises(ValueError, match=r"^states: got \d+ rows, .*accepted: "):
        mcbert.LayerSearch(layers=[1]).fit(states, other)
    with pytest.raises(ValueError, match="^states: got a list, accepted: what extract returns"):
        mcbert.LayerSearch(layers=[1]).fit([], corpus)


# ------------------------------------------------------------------- the classifier


def test_the_classifier_is_the_stage_s_model(project, make, corpus, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    assert main(["finetune", "--config", "mine.toml", "--run", "f", "--cache", "cache"]) == 0
    stage = mcbert.MCBertClassifier.from_pretrained("results/runs/f/models/mcbert_wf")
    train, dev = (corpus[corpus["split"].eq(split)] for split in ("train", "dev"))
    mine = make(freeze={1: [1]}, seed=3).fit(train, train["label"], dev=dev)
    test = corpus[corpus["split"].eq("test")]
    np.testing.assert_array_equal(mine.predict(test), stage.predict(test))
    np.testing.assert_array_equal(mine.predict_proba(test), stage.predict_proba(test))
    measured = mcbert.read_results("finetune", "f")
    measured = measured[measured["split"].eq("dev")].reset_index(drop=True)
    for name in ("epoch", "step", "language", "accuracy", "loss", "frozen_layers"):
        assert mine.history_[name].tolist() == measured[name].tolist()
    assert mine.freezing_[["epoch", "layers"]].to_dict("list") == {"epoch": [1], "layers": ["1"]}
    mine.save_pretrained(tmp_path / "model")
    test[["id", "text"]].to_csv(tmp_path / "in.csv", index=False)
    command = ["predict", "--model", str(tmp_path / "model"), "--input", str(tmp_path / "in.csv")]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["label"].tolist() == mine.predict(test).tolist()


@pytest.fixture(scope="module")
def fitted(make):
    return make(epochs=1).fit(TEXTS, LABELS)


def test_a_saved_model_is_the_model(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    loaded = mcbert.MCBertClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert loaded.get_params()["layers"] == (1, 3)
    vectors = mcbert.SentenceEncoder.from_pretrained(tmp_path / "model").encode(TEXTS)
    assert vectors.shape == (4, 64)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="accepted: a new folder"):
        fitted.save_pretrained(tmp_path / "other")


def test_labels_and_parameters_may_be_numpy_s_numbers(make):
    model = make(epochs=np.int64(1), layers=np.array([1, 3]), dropout=np.float32(0.5)).fit(
        TEXTS, np.array([10, 9, 10, 9])
    )
    assert model.classes_.tolist() == [9, 10]
    assert model.predict(TEXTS).dtype == model.classes_.dtype
    shares = model.predict_proba(TEXTS)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (model.predict(TEXTS) == model.classes_[shares.argmax(axis=1)]).all()


def test_what_was_trained_on_pairs_labels_pairs_and_what_was_not_single_texts(make, tmp_path, caplog):
    pairs = [(text, "the order") for text in TEXTS]
    model = make().fit(pairs, LABELS)
    with pytest.raises(ValueError, match="X: row 2: no second text"):
        model.predict([pairs[0], TEXTS[1]])
    model.save_pretrained(tmp_path / "pairs")
    with pytest.raises(ValueError, match="X: row 1: no second text"):
        mcbert.MCBertClassifier.from_pretrained(tmp_path / "pairs").predict(TEXTS)
    single = make().fit(TEXTS, LABELS)
    np.testing.assert_array_equal(single.predict_proba(pairs), single.predict_proba(TEXTS))
    assert "second texts of 4 rows are not read" in caplog.text


def test_a_training_goes_on_from_its_checkpoint(make, monkeypatch, tmp_path, caplog):
    from mcbert.finetune.training.resumable import ResumableTrainer

    step, seen = ResumableTrainer.training_step, []

    def interrupted(self, *args):
        seen.append(1)
        if len(seen) == 2:  # an epoch has one step
            raise KeyboardInterrupt
        return step(self, *args)

    model = make(folder=tmp_path / "kept")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ResumableTrainer, "training_step", interrupted)
        model.fit(TEXTS, LABELS)
    assert not hasattr(model, "classes_")
    with caplog.at_level(logging.INFO):
        model.fit(TEXTS, LABELS)
    assert "resumed at step 1" in caplog.text
    np.testing.assert_array_equal(model.predict_proba(TEXTS), make().fit(TEXTS, LABELS).predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": [9]}, "^layers: got 9; accepted: 0 .embeddings. to 4"),
        ({"pooling": "sum"}, "^pooling: got 'sum' for 2 layers, accepted: max, mean"),
        ({"freeze": {1: [4]}}, "^freeze: epoch 1: layer 4 feeds nothing"),
        ({"protocol": "source-dev"}, "^dev: got None with protocol source-dev, accepted: a DataFrame"),
        ({"freeze": [1]}, r"^freeze: got \[1\], accepted: epochs with layers"),
        ({"seed": "a"}, r"^seed: got \['a'\], accepted: whole numbers"),
        ({"epochs": 0}, "^epochs: got 0, accepted: a whole number from 1"),
        ({"encoder": "none/there"}, "^encoder: 'none/there' is not a folder"),
    ],
)
def test_a_training_that_cannot_be_is_refused(make, given, message):
    with pytest.raises(ValueError, match=message):
        make().set_params(**given).fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a"] * 4, "^y: got 1 class, .*'a'.*, accepted: at least two"),
        (["a", "b"], "^y: got 2 labels for 4 texts"),
        (["a", None, "b", "b"], "^y: row 2: got None, accepted: a label"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(make, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y)


def test_dev_texts_that_say_nothing_are_refused(make, corpus):
    train, dev = (corpus[corpus["split"].eq(split)] for split in ("train", "dev"))
    english = dev[dev["language"].eq("en")]
    for given, frame, message in (
        ({"protocol": "target-dev"}, english, "^dev: got texts in en, too few for protocol target-dev"),
        ({}, dev.assign(label="new"), "^dev: got the label 'new', accepted: cancel, refund"),
        ({}, dev.drop(columns="label"), "^dev: got the columns .*, accepted: text, label"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**given).fit(train, train["label"], dev=frame)


# ------------------------------------------------------------------- scikit-learn's rules


def test_estimators_take_part_in_scikit_learn(pooled, make, corpus):
    train = corpus[corpus["split"].eq("train")]
    X, y = train["text"].tolist(), train["label"].to_numpy(dtype=object)
    pipeline = make_pipeline(pooled(), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=2).mean() > 0.9
    found = GridSearchCV(pipeline, {"pooledstates__layers": [[1], range(2, 4)]}, cv=2).fit(X, y)
    assert found.best_score_ > 0.9
    tried = GridSearchCV(make(epochs=1), {"layers": [[1], [1, 2]]}, cv=2, error_score="raise").fit(X, y)
    assert tried.predict(X[:3]).shape == (3,)


def test_what_is_pickled_is_the_same(pooled, fitted, searched, tmp_path, corpus):
    texts = corpus["text"][:9].tolist()
    for name, one, method in (
        ("pooled", make_pipeline(pooled(), LogisticRegression()).fit(TEXTS, LABELS), "predict_proba"),
        ("fitted", fitted, "predict_proba"),
        ("searched", searched, "predict"),
    ):
        joblib.dump(one, tmp_path / name)
        there = joblib.load(tmp_path / name)
        np.testing.assert_array_equal(getattr(there, method)(texts), getattr(one, method)(texts))


def as_texts(estimator, X, *, reset):
    if not reset:
        check_is_fitted(estimator)
    X = validate_data(estimator, X, reset=reset)
    return [" ".join(WORDS[min(len(WORDS) - 1, max(0, int(4 * v) + 8))] for v in row) for row in X]


class OfNumbers:
    """An estimator of texts that scikit-learn's checks may give numbers: each is written as a word."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags

    def fit(self, X, y=None, **given):
        return super().fit(as_texts(self, X, reset=True), y, **given)


class PooledStates(OfNumbers, mcbert.PooledStates):
    def transform(self, X):
        return super().transform(as_texts(self, X, reset=False))


class MCBertClassifier(OfNumbers, mcbert.MCBertClassifier):
    def predict(self, X):
        return super().predict(as_texts(self, X, reset=False))

    def predict_proba(self, X):
        return super().predict_proba(as_texts(self, X, reset=False))


class LayerSearch(mcbert.LayerSearch):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags


ARRAYS = "fits arrays of numbers; a search is fitted to a store of states and a table of their texts"
LEFT_OUT = {
    PooledStates: {
        "check_array_api_input": "scikit-learn leaves it out itself unless SCIPY_ARRAY_API is set"
    },
    MCBertClassifier: {
        "check_array_api_input": "scikit-learn leaves it out itself unless SCIPY_ARRAY_API is set",
        "check_class_weight_classifiers": "gives class_weight as a mapping; the setting is none or balanced",
    },
    LayerSearch: dict.fromkeys(
        (
            "check_array_api_input check_class_weight_classifiers check_classifier_data_not_an_array "
            "check_classifiers_classes check_classifiers_one_label check_classifiers_regression_target "
            "check_classifiers_train check_complex_data check_dict_unchanged check_dont_overwrite_parameters "
            "check_dtype_object check_estimator_sparse_array check_estimator_sparse_matrix "
            "check_estimator_sparse_tag check_estimators_dtypes check_estimators_empty_data_messages "
            "check_estimators_fit_returns_self check_estimators_nan_inf check_estimators_overwrite_params "
            "check_estimators_pickle check_f_contiguous_array_estimator check_fit2d_1feature "
            "check_fit2d_1sample check_fit2d_predict1d check_fit_check_is_fitted check_fit_idempotent "
            "check_fit_score_takes_y check_methods_sample_order_invariance check_methods_subset_invariance "
            "check_n_features_in check_n_features_in_after_fitting check_pipeline_consistency "
            "check_positive_only_tag_during_fit check_readonly_memmap_input check_requires_y_none "
            "check_supervised_y_2d"
        ).split(),
        ARRAYS,
    ),
}
"""Checks of scikit-learn that are not made, with the reason."""


def name_of(check):
    while not hasattr(check, "__name__"):
        check = check.func
    return check.__name__


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(LEFT_OUT), ids=lambda kind: kind.__name__)
def test_scikit_learn_s_own_checks(kind, encoder, project):
    given = {"encoder": encoder, "layers": [1], "cache": project / "cache"}
    if kind is MCBertClassifier:
        given |= {"epochs": 2, "learning_rate": 0.01, "threads": 1}
    made = kind(layers=[1]) if kind is LayerSearch else kind(**given)
    left_out = LEFT_OUT[kind]
    seen = set()
    for estimator, check in estimator_checks_generator(made):
        seen.add(name_of(check))
        if name_of(check) not in left_out:
            check(estimator)
    assert left_out.keys() <= seen
    assert len(seen - left_out.keys()) >= 17


def test_nothing_is_predicted_before_a_fit(make):
    with pytest.raises(NotFittedError, match="MCBertClassifier instance is not fitted yet"):
        make().predict(TEXTS)
    search = mcbert.LayerSearch()
    for method in (search.predict, search.predict_proba, lambda X: search.score(X, LABELS)):
        with pytest.raises(NotFittedError, match="LayerSearch instance is not fitted yet"):
            method(TEXTS)


@pytest.mark.parametrize("kind", ["LayerSearch", "MCBertClassifier", "PooledStates"])
def test_parameters_are_the_settings_by_name(kind):
    known = {name for section in load("demo").settings.values() for name in section}
    own = {"encoder", "cache", "folder", "n_jobs", "cluster", "pooling", "seed"}
    assert set(getattr(mcbert, kind)().get_params()) <= known | own
