"""Coordinates, scatter and weights of a feature set are those of its columns."""

import numpy as np
import pytest

from mcbert.search.fitting.kernels import PoolingBlocks, open_rows
from mcbert.search.fitting.representation import Representation


@pytest.fixture
def blocks(make_search, source_of):
    store, _, rows = open_rows(source_of(make_search(n_train=20, n_duplicates=8, hidden_size=8)))
    return PoolingBlocks(store, rows, "max")


@pytest.mark.parametrize("layers", [(2,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("kept", [10_000, 100])
def test_kernels_are_those_of_the_columns_kept_or_not(blocks, monkeypatch, layers, kept):
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", kept)
    r = Representation(blocks, layers)
    r.prepare()
    columns = r.train_columns.astype(np.float64)
    np.testing.assert_allclose(r.gram, columns @ columns.T, atol=1e-6 if r.keeps_gram else 1e-4)
    np.testing.assert_allclose(r.cross, r.eval_columns @ columns.T, atol=1e-3)
    distances = ((r.eval_columns[3:7, None].astype(np.float64) - columns) ** 2).sum(axis=2)
    lengths = (r.eval_columns[3:7].astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(r.closeness(slice(3, 7)), (lengths[:, None] - distances) / 2, atol=1e-3)


@pytest.mark.parametrize(("layers", "by_gram"), [((2,), False), ((1, 2), False), ((1, 2, 3), True)])
def test_gram_matrix_is_chosen_where_texts_are_no_more_than_columns(blocks, monkeypatch, layers, by_gram):
    r = Representation(blocks, layers)  # 20 texts, 8 columns a layer
    assert r.by_gram == r.coordinates().dual == by_gram
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", 399)
    assert not Representation(blocks, layers).by_gram


@pytest.mark.parametrize("keeps", [True, False])
def test_scores_from_weights_over_texts_and_over_columns_agree(blocks, monkeypatch, keeps):
    monkeypatch.setattr("mcbert.search.fitting.representation.KEPT_ENTRIES", 10_000 if keeps else 100)
    r = Representation(blocks, (1, 2, 3))
    dual = np.random.default_rng(0).normal(size=(20, 3))
    expected = r.eval_columns.astype(np.float64) @ r.column_weights(dual)
    np.testing.assert_allclose(r.scores(dual, dual=True), expected, atol=1e-3)
    np.testing.assert_allclose(r.scores(r.column_weights(dual), dual=False), expected, atol=1e-3)


def test_standardised_by_all_train_rows_duplicates_included(blocks):
    rows = blocks[1].train[blocks.rows.train_text]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)
