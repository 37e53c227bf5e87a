"""Gram matrices, kernels and columns of a feature set, of one pooling or several; which a worker keeps."""

import numpy as np
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.search.data import select_rows
from mcbert.search.fitting.fast_fits import linear_solver
from mcbert.search.fitting.representation import (
    LayerStates,
    PoolingStates,
    Representation,
    clear_cache,
    open_mixed,
    open_pooling,
    represent,
)
from mcbert.search.source import open_source
from mcbert.search.space import Candidate
from mcbert.search.task import Task, fit, run


@pytest.fixture
def states(make_search, source_of):
    store, _, rows = open_source(source_of(make_search(n_train=20, n_duplicates=8, hidden_size=8)))
    return PoolingStates(store, rows, "max")


@pytest.mark.parametrize("layers", [(2,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("kept", [10_000, 100])
def test_kernels_are_those_of_the_columns_kept_or_not(states, monkeypatch, layers, kept):
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", kept)
    r = Representation(states, layers)
    r.prepare()
    columns = r.train_columns.astype(np.float64)
    np.testing.assert_allclose(r.gram, columns @ columns.T, atol=1e-6 if r.keeps_gram else 1e-4)
    np.testing.assert_allclose(r.cross, r.eval_columns @ columns.T, atol=1e-3)
    distances = ((r.eval_columns[3:7, None].astype(np.float64) - columns) ** 2).sum(axis=2)
    lengths = (r.eval_columns[3:7].astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(r.closeness(slice(3, 7)), (lengths[:, None] - distances) / 2, atol=1e-3)


@pytest.mark.parametrize(("layers", "by_gram"), [((2,), False), ((1, 2), False), ((1, 2, 3), True)])
def test_gram_matrix_is_chosen_where_texts_are_no_more_than_columns(states, monkeypatch, layers, by_gram):
    r = Representation(states, layers)  # 20 texts, 8 columns a layer
    assert r.by_gram == linear_solver(r).dual == by_gram
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", 399)
    assert not Representation(states, layers).by_gram


@pytest.mark.parametrize("keeps", [True, False])
def test_scores_from_weights_over_texts_and_over_columns_agree(states, monkeypatch, keeps):
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", 10_000 if keeps else 100)
    r = Representation(states, (1, 2, 3))
    dual = np.random.default_rng(0).normal(size=(20, 3))
    expected = r.eval_columns.astype(np.float64) @ r.column_weights(dual)
    np.testing.assert_allclose(r.scores(dual, dual=True), expected, atol=1e-3)
    np.testing.assert_allclose(r.scores(r.column_weights(dual), dual=False), expected, atol=1e-3)


def test_standardised_by_all_train_rows_duplicates_included(states):
    rows = states[1].train[states.rows.train_text]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_gram_of_a_concatenation_is_the_sum_over_layers():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(9, 4)).astype(np.float32) for _ in range(3)]
    layers = [LayerStates(part, part[:5], np.arange(9)) for part in parts]
    whole = LayerStates(np.concatenate(parts, axis=1), np.concatenate(parts, axis=1)[:5], np.arange(9))
    np.testing.assert_allclose(sum(layer.gram for layer in layers), whole.gram, atol=1e-8)
    np.testing.assert_allclose(sum(layer.cross for layer in layers), whole.cross, atol=1e-5)


def test_constant_column_has_scale_one():
    states = np.full((5, 2), 7.25, dtype=np.float32)
    states[:, 1] = np.arange(5)
    layer = LayerStates(states, states, np.arange(5))
    assert layer.scale[0] == 1
    assert (layer.train[:, 0] == 0).all()


def test_states_that_are_not_finite_are_refused_by_row(make_search, source_of):
    store, corpus, _ = open_source(source_of(make_search()))

    class Broken:
        index = store.index

        def states(self, *, layers, pooling, rows=None):
            states = store.states(layers=layers, pooling=pooling, rows=rows)
            states[3, 0] = np.nan
            return states

    rows = select_rows(corpus, store.index, ("en",))
    with pytest.raises(ValueError, match=r"layer 2, pooling max, corpus row 3: "):
        PoolingStates(Broken(), rows, "max")[2]


SET = FeatureSpec.of("1+2+2+3", "cls+max+cls+max")


@pytest.fixture
def source(make_search, source_of):
    yield source_of(make_search(n_train=20, n_duplicates=5, hidden_size=8))
    clear_cache()


def test_sums_and_columns_are_those_of_the_layers(source):
    r = represent(source, SET)
    alone = {pooling: represent(source, FeatureSpec.of((1, 2, 3), pooling)) for pooling in ("max", "cls")}
    expected = [alone[pooling].layers[layer - 1].train for layer, pooling in SET.blocks]
    columns = np.concatenate(expected, axis=1)
    np.testing.assert_array_equal(r.train_columns, columns)
    assert r.n_columns == 4 * 8
    np.testing.assert_allclose(r.gram, columns.astype(np.float64) @ columns.T, atol=1e-4)
    np.testing.assert_allclose(r.cross, r.eval_columns @ columns.T, atol=1e-3)


def test_a_set_of_one_pooling_is_the_same_where_all_are_kept(source):
    features = FeatureSpec.of((1, 3), "max")
    one, through = represent(source, features), represent(source, features, mixed=True)
    np.testing.assert_allclose(one.gram, through.gram, rtol=1e-12, atol=1e-9)


def test_a_mixed_step_keeps_all_poolings_and_lets_the_single_one_go(source):
    first = open_pooling(source, "max")
    kept = open_mixed(source)
    represent(source, FeatureSpec.of((1,), "max"), mixed=True)
    represent(source, SET)
    assert open_mixed(source) is kept
    assert open_pooling(source, "max") is not first


@pytest.mark.parametrize("classifier", ["logistic_regression", "linear_svm", "ridge", "lda", "knn", "mlp"])
def test_every_classifier_takes_a_mixed_set(source, classifier):
    from mcbert.search.fitting.classifiers import CLASSIFIERS

    defaults = tuple((name, p.default) for name, p in CLASSIFIERS[classifier].parameters.items())
    candidate = Candidate(features=SET, classifier=classifier, params=defaults)
    rows = run(Task(source=source, features=SET, candidates=(candidate,), mixed=True))
    assert [row["status"] for row in rows] == ["ok"]
    assert rows[0]["candidate_id"].startswith("1+2+2+3-cls+max+cls+max-")


def test_a_mixed_ridge_is_scikit_learns_on_the_stacked_columns(source):
    from mcbert.search.fitting import fast_fits
    from mcbert.search.fitting.classifiers import CLASSIFIERS

    r = represent(source, SET)
    candidate = Candidate(features=SET, classifier="ridge", params=(("alpha", 10.0),))
    rows = r.rows
    plain = CLASSIFIERS["ridge"].factory(alpha=10.0).fit(r.train_columns[rows.train_text], rows.train_y)
    np.testing.assert_array_equal(fast_fits.predict(r, fit(r, candidate)), plain.predict(r.eval_columns))
