"""The routes return what the plain scikit-learn estimator returns on standardised, stacked columns."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from mcbert.search.data import Examples, select_rows
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.classifiers import CLASSIFIERS
from mcbert.search.fitting.representation import PoolingStates, Representation
from mcbert.search.task import fit

PARAMS = {
    "logistic_regression": [{"C": 0.01}, {"C": 0.1}],
    "linear_svm": [{"C": 0.01}, {"C": 1.0}],
    "ridge": [{"alpha": 1.0}, {"alpha": 1000.0}],
    "lda": [{"shrinkage": 0.05}, {"shrinkage": 1.0}],
    "knn": [{"n_neighbors": 1}, {"n_neighbors": 20}],
}
WEIGHTED = [
    (name, params | {"class_weight": "balanced"})
    for name in ("logistic_regression", "linear_svm", "ridge")
    for params in PARAMS[name]
]
CASES = [(name, params) for name, several in PARAMS.items() for params in several]


class ArrayStore:
    """The store's duck type over arrays of shape (n_texts, n_layers, hidden_size)."""

    def __init__(self, states, index):
        self.values, self.index = states, index

    def states(self, *, layers, pooling, rows=None):
        assert pooling == "max"
        wanted = self.index if rows is None else self.index[rows]
        return np.concatenate([self.values[wanted, layer] for layer in layers], axis=1)


def problem(n_texts, n_classes, hidden_size, *, conflicting=False, n_eval=1500, seed=0):
    """Texts with structure and unequal classes, 40% of the train rows and 10% of the others twice."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.choice(n_classes, size=n_texts + n_eval - n_classes)])
    latent = rng.normal(size=(n_texts + n_eval, 12)) + 1.2 * np.eye(12)[labels]
    states = np.stack(
        [
            2 + latent @ rng.normal(size=(12, hidden_size)) + rng.normal(size=(len(latent), hidden_size))
            for _ in range(4)
        ],
        axis=1,
    ).astype(np.float32)
    states[:, 1, 3] = 0.25  # a constant column
    again, twice = rng.integers(n_texts, size=int(0.4 * n_texts)), rng.integers(n_eval, size=n_eval // 10)
    index = np.concatenate([np.arange(n_texts), again, n_texts + np.arange(n_eval), n_texts + twice])
    y = labels[index]
    if conflicting:  # the same text with another label
        y[n_texts : n_texts + 5] = (y[n_texts : n_texts + 5] + 1) % n_classes
    n_train = n_texts + len(again)
    split = np.where(np.arange(len(index)) < n_train, "train", "dev")
    corpus = Examples(
        y=y.astype(np.int64),
        language=np.full(len(y), "en"),
        split=split,
        ids=split,
        labels=tuple("abcd"[:n_classes]),
        source_language="en",
        digest="",
    )
    store = ArrayStore(states, index)
    return store, corpus, PoolingStates(store, select_rows(corpus, index, ("en",)), "max")


def both(store, corpus, blocks, layers, name, params):
    """Predictions of the route and of the plain way for every scored row, and the latter's margins."""
    from mcbert.features.spec import FeatureSpec
    from mcbert.search.space import Candidate

    candidate = Candidate(
        features=FeatureSpec.of(layers, "max"), classifier=name, params=tuple(params.items())
    )
    representation = Representation(blocks, layers)
    fitted = fit(representation, candidate)
    routed = fast_fits.predict(representation, fitted)[blocks.rows.scored_text]

    X = store.states(layers=layers, pooling="max").astype(np.float64)
    train = corpus.split == "train"
    scaler = StandardScaler().fit(X[train])
    plain = CLASSIFIERS[name].factory(**params).fit(scaler.transform(X[train]), corpus.y[train])
    evaluation = scaler.transform(X[~train])
    if not hasattr(plain, "decision_function"):
        return routed, plain.predict(evaluation), None
    scores = plain.decision_function(evaluation)
    scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    top = np.sort(scores, axis=1)
    return routed, plain.predict(evaluation), (top[:, -1] - top[:, -2]) / np.std(scores)


def unbalanced(n_texts, n_classes, hidden_size, **options):
    """The same problem with two thirds of the texts given to the first class."""
    store, corpus, _ = problem(n_texts, n_classes, hidden_size, **options)
    y = corpus.y.copy()
    y[(store.index % 3 > 0) & (store.index >= 4 * n_classes)] = 0  # copies have their text's label
    corpus = replace(corpus, y=y)
    return store, corpus, PoolingStates(store, select_rows(corpus, store.index, ("en",)), "max")


def near_ties_alone_differ(name, routed, plain, margins):
    """Whether at most 3 of 1,650 predictions differ, each within what the plain solver's tolerance leaves."""
    differ = routed != plain
    if margins is None or (name == "linear_svm" and len(set(plain)) > 2):
        return differ.mean() <= 0.001  # the decision function of several classes is not what the SVM votes by
    return differ.mean() <= 0.002 and (margins[differ] < 0.01).all()


@pytest.mark.parametrize(("name", "params"), CASES, ids=str)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("layers", [(2,), (1, 3), (0, 1, 2, 3)], ids=lambda layers: f"{len(layers)}-layers")
def test_route_predicts_what_the_plain_estimator_predicts(name, params, n_classes, layers):
    # 90 train texts against 40, 80 and 160 columns: both sides of the border
    store, corpus, blocks = problem(90, n_classes, 40)
    assert Representation(blocks, layers).by_gram == (len(layers) == 4)
    routed, plain, margins = both(store, corpus, blocks, layers, name, params)
    assert near_ties_alone_differ(name, routed, plain, margins)
    assert len(set(plain.tolist())) == n_classes  # the comparison says something


@pytest.mark.parametrize(("name", "params"), WEIGHTED, ids=str)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("layers", [(2,), (1, 3), (0, 1, 2, 3)], ids=lambda layers: f"{len(layers)}-layers")
def test_balanced_classes_are_weighed_as_by_the_plain_estimator(name, params, n_classes, layers):
    store, corpus, blocks = unbalanced(90, n_classes, 40)
    counts = np.bincount(corpus.y[corpus.split == "train"])
    assert counts[0] > 1.8 * counts[1:].max()
    routed, plain, margins = both(store, corpus, blocks, layers, name, params)
    assert near_ties_alone_differ(name, routed, plain, margins)
    alike, _, _ = both(store, corpus, blocks, layers, name, {**params, "class_weight": "none"})
    if name != "linear_svm":  # where it parts the train texts, weights change nothing
        assert (alike != routed).mean() > 0.01
        assert (routed == 0).mean() < (alike == 0).mean()


@pytest.mark.parametrize(("name", "params"), WEIGHTED[::2], ids=str)
@pytest.mark.parametrize("layers", [(0,), (0, 1, 2)])
def test_weights_of_texts_with_two_labels_and_beyond_the_limits_of_kernels(monkeypatch, name, params, layers):
    store, corpus, blocks = problem(60, 3, 30, conflicting=True)
    assert near_ties_alone_differ(name, *both(store, corpus, blocks, layers, name, params))
    for limit, value in (("GRAM_TEXTS", 59), ("KEPT_ENTRIES", 100)):
        monkeypatch.setattr(f"mcbert.search.fitting.representation.{limit}", value)
    assert near_ties_alone_differ(name, *both(store, corpus, blocks, layers, name, params))


@pytest.mark.parametrize("name", PARAMS)
def test_a_train_text_with_two_labels_counts_for_both(name):
    store, corpus, blocks = problem(60, 3, 30, conflicting=True)
    assert len(blocks.rows.pair_text) > len(blocks.rows.train_rows)
    for layers in ((0,), (0, 1, 2)):
        routed, plain, _ = both(store, corpus, blocks, layers, name, PARAMS[name][1])
        # equal distances with different labels at the last neighbour: scikit-learn picks either
        assert (routed == plain).mean() >= (0.98 if name == "knn" else 0.999)


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("layers", [(0,), (0, 1, 2, 3)])
@pytest.mark.parametrize(("limit", "value"), [("GRAM_TEXTS", 59), ("KEPT_ENTRIES", 100)])
def test_beyond_the_limits_of_kernels_the_predictions_stay(monkeypatch, name, layers, limit, value):
    store, corpus, blocks = problem(60, 3, 30)
    usual = Representation(blocks, layers)
    monkeypatch.setattr(f"mcbert.search.fitting.representation.{limit}", value)
    limited = Representation(blocks, layers)
    assert (usual.has_gram, usual.keeps_cross) != (limited.has_gram, limited.keeps_cross)
    assert near_ties_alone_differ(name, *both(store, corpus, blocks, layers, name, PARAMS[name][1]))


def test_weak_penalties_are_left_to_scikit_learn():
    # weights over texts cancel in float32, and scikit-learn itself stops far from the minimum
    store, corpus, blocks = problem(90, 3, 60)
    routed, plain, _ = both(store, corpus, blocks, (0, 1, 2, 3), "logistic_regression", {"C": 1e5})
    assert (routed == plain).mean() >= 0.999


def test_an_added_classifier_takes_the_plain_route(monkeypatch):
    added = type(CLASSIFIERS["knn"])(factory=GaussianNB, parameters={})
    monkeypatch.setitem(CLASSIFIERS, "naive_bayes", added)
    store, corpus, blocks = problem(90, 3, 20)
    routed, plain, _ = both(store, corpus, blocks, (0, 2), "naive_bayes", {})
    assert (routed == plain).mean() >= 0.999


def test_neighbours_vote_with_every_duplicate():
    # one nearest text stands for three train rows of class 1 and outvotes the two next ones of class 0
    from mcbert.search.fitting.probe import decide_neighbours

    closeness = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    classes, counts = np.array([1, 0, 0]), np.array([3, 1, 1])
    vote = decide_neighbours(closeness, classes, counts=counts, n_neighbors=5, n_classes=2)
    assert vote.tolist() == [1, 1]
    vote = decide_neighbours(closeness, classes, counts=counts, n_neighbors=4, n_classes=2)
    assert vote.tolist() == [1, 0]  # second row: two of class 0, two of class 1: the lower class wins


def test_constant_layer_is_fitted_not_refused():
    store, corpus, blocks = problem(50, 3, 60)
    store.values[:] = 1.0
    with sklearn.config_context(assume_finite=True):
        for name, (_, params) in PARAMS.items():
            routed, plain, _ = both(store, corpus, blocks, (0, 1), name, params)
            assert len(set(routed.tolist())) == 1
            if name in ("ridge", "logistic_regression"):
                assert (routed == plain).all()
