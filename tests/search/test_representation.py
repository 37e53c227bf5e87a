"""Coordinates, scatter and weights of a feature set are those of its columns."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from search.kernels import PoolingBlocks, open_rows
from search.representation import Representation, _factor


@pytest.fixture
def blocks(make_search, source_of):
    store, _, rows = open_rows(source_of(make_search(n_train=20, n_duplicates=8, hidden_size=8)))
    return PoolingBlocks(store, rows, "max")


@pytest.mark.parametrize(("layers", "by_columns"), [((2,), True), ((1, 2), True), ((1, 2, 3), False)])
def test_coordinates_keep_inner_products(blocks, layers, by_columns):
    r = Representation(blocks, layers)
    assert r.by_columns == by_columns
    assert r.z.shape == (20, min(20, 8 * len(layers)))
    columns = r.train_columns.astype(np.float64)
    np.testing.assert_allclose(r.z @ r.z.T, columns @ columns.T, atol=1e-6)
    np.testing.assert_allclose(r.gram, columns @ columns.T, atol=1e-6)
    np.testing.assert_allclose(r.cross, r.eval_columns @ columns.T, atol=1e-3)


@pytest.mark.parametrize("layers", [(2,), (1, 2, 3)])
def test_scatter_is_that_of_all_train_rows(blocks, layers):
    r = Representation(blocks, layers)
    every_row = r.z[r.rows.train_text]
    np.testing.assert_allclose(np.tril(r.scatter), np.tril(every_row.T @ every_row), atol=1e-8)


@pytest.mark.parametrize("layers", [(2,), (1, 2, 3)])
def test_weights_from_coordinates_and_from_dual_agree(blocks, layers):
    r = Representation(blocks, layers)
    dual = np.random.default_rng(0).normal(size=(20, 3))
    expected = r.eval_columns.astype(np.float64) @ r.column_weights(dual)
    np.testing.assert_allclose(r.scores(r.weights_from_dual(dual)), expected, atol=1e-3)
    np.testing.assert_allclose(r.scores(r.weights(r.z.T @ dual)), expected, atol=1e-3)


def test_standardised_by_all_train_rows_duplicates_included(blocks):
    rows = blocks[1].train[blocks.rows.train_text]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_factor_of_a_singular_matrix_is_close_and_of_an_indefinite_one_refused():
    half = np.random.default_rng(0).normal(size=(6, 3))
    gram = half @ half.T  # rank 3 of 6
    factor = _factor(gram)
    np.testing.assert_allclose(factor @ factor.T, gram, atol=1e-6)
    np.testing.assert_allclose(_factor(np.zeros((3, 3))), np.eye(3) * 1e-5)
    with pytest.raises(LinAlgError, match="not positive semidefinite"):
        _factor(-np.eye(3))
