"""A saved probe predicts what the search predicted, without scikit-learn and without pickle."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from mcbert.features.spec import FeatureSpec
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.probe import Probe, decide_linear, decide_neighbours, decide_one_vs_one
from mcbert.search.fitting.representation import PoolingStates, Representation
from mcbert.search.outcome.artifacts import make_probe
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import open_source
from mcbert.search.space import Candidate
from mcbert.search.task import fit

DEFAULTS = GridsearchSettings(params={"linear_svm": {"C": 0.1}, "logistic_regression": {"C": 0.1}})


@pytest.mark.parametrize("name", DEFAULTS.classifiers)
@pytest.mark.parametrize("layers", [(1, 2), (1, 2, 3)], ids=["columns", "dual"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_saved_probe_predicts_what_the_search_predicted(
    make_search, source_of, tmp_path, name, layers, n_classes
):
    made = make_search(n_train=25, hidden_size=9, n_eval=60, n_classes=n_classes)
    store, corpus, rows = open_source(source_of(made))
    candidate = Candidate(
        features=FeatureSpec.of(layers, "cls"), classifier=name, params=DEFAULTS.values(name)[0]
    )
    representation = Representation(PoolingStates(store, rows, "cls"), layers)
    assert representation.by_gram == (layers == (1, 2, 3))
    fitted = fit(representation, candidate)
    expected = fast_fits.predict(representation, fitted)

    make_probe(representation, fitted, candidate, corpus.labels).save(str(tmp_path / "probe.npz"))
    probe = Probe.load(str(tmp_path / "probe.npz"))
    assert (probe.layers, probe.pooling, probe.labels) == (layers, "cls", corpus.labels)
    X = store.states(layers=layers, pooling="cls", rows=rows.eval_rows)
    assert X.dtype == np.float32
    predicted = probe.predict(X)
    assert predicted.dtype == np.int64
    assert (predicted == expected).mean() >= 0.99
    assert len(set(predicted.tolist())) > 1
    np.testing.assert_array_equal(probe.predict(X[:1]), predicted[:1])
    assert probe.predict(X[:0]).shape == (0,)


def make_linear(**changes):
    values = {
        "kind": "linear",
        "layers": (1,),
        "pooling": "max",
        "labels": ("a", "b"),
        "mean": np.array([1.0, 0.0]),
        "scale": np.array([2.0, 1.0]),
        "weights": np.array([[1.0, -1.0], [0.0, 0.0]]),
        "intercept": np.array([0.0, 0.25]),
        "classes": np.empty(0, dtype=np.int64),
        "counts": np.empty(0, dtype=np.int64),
    }
    return Probe(**(values | changes))


def test_linear_probe_standardises():
    # standardised first column .1 scores .1 and .15; .2 scores .2 and .05
    assert make_linear().predict(np.array([[1.2, 9.0], [1.4, -9.0]], dtype=np.float32)).tolist() == [1, 0]


def test_predicts_in_blocks_of_any_length():
    X = np.random.default_rng(0).normal(1, 2, size=(2500, 2)).astype(np.float32)
    probe = make_linear()
    whole = probe.predict(X)
    assert whole.shape == (2500,)
    np.testing.assert_array_equal(whole[1000:1100], probe.predict(X[1000:1100]))


def test_other_columns_are_refused():
    with pytest.raises(ValueError, match=r"X: got shape \(3, 5\), accepted: \(n, 2\)"):
        make_linear().predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"got shape \(2,\)"):
        make_linear().predict(np.zeros(2))


def test_files_of_another_kind_or_format_are_refused(tmp_path):
    path = tmp_path / "probe.npz"
    make_linear(kind="forest").save(path)
    with pytest.raises(
        ValueError, match=r"got kind 'forest', format 1, accepted: linear, pairwise, neighbours"
    ):
        Probe.load(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"probe.npz: not a probe"):
        Probe.load(path)


def test_decisions_break_ties_towards_the_lower_class():
    assert decide_linear(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist() == [0, 1]
    # pairs (0,1) (0,2) (1,2): 0 beats 1, 2 beats 0, 1 beats 2: one vote each
    assert decide_one_vs_one(np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]])).tolist() == [0, 2]


def test_pairwise_votes_are_libsvms():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 5)), rng.integers(5, size=80)
    machine = SVC(kernel="linear", decision_function_shape="ovo").fit(X, y)
    new = rng.normal(size=(500, 5))
    np.testing.assert_array_equal(decide_one_vs_one(machine.decision_function(new)), machine.predict(new))


@pytest.mark.parametrize("k", [1, 4, 9])
def test_neighbours_are_those_of_the_repeated_rows(k):
    rng = np.random.default_rng(k)
    X, y, counts = rng.normal(size=(30, 4)), rng.integers(3, size=30), rng.integers(1, 4, size=30)
    new = rng.normal(size=(200, 4))
    repeated = np.repeat(np.arange(30), counts)
    plain = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(X[repeated], y[repeated])
    closeness = -((new[:, None] - X) ** 2).sum(axis=2)
    mine = decide_neighbours(closeness, y, counts=counts, n_neighbors=k, n_classes=3)
    np.testing.assert_array_equal(mine, plain.predict(new))


def test_probe_module_needs_numpy_only():
    unwanted = ("sklearn", "scipy", "torch", "pandas")
    code = f"import sys, mcbert.search.fitting.probe; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
