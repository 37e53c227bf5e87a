"""The primal and the dual solver agree about weights over columns."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from mcbert.search.fitting.representation import LayerStates
from mcbert.search.fitting.solvers import DualSolver, PrimalSolver, factorized


@pytest.fixture(params=[(12, 5), (12, 20)], ids=["n>d", "n<d"])
def both(request):
    """Columns of two layers, counts, and the two solvers in float64."""
    n_texts, hidden_size = request.param
    rng = np.random.default_rng(0)
    train_text = np.concatenate([np.arange(n_texts), rng.integers(n_texts, size=7)])
    states = rng.normal(size=(2, n_texts, hidden_size)).astype(np.float32)
    layers = [LayerStates(part, part[:1], train_text) for part in states]
    columns = np.concatenate([layer.train for layer in layers], axis=1).astype(np.float64)
    counts = np.bincount(train_text)
    gram = sum(layer.gram for layer in layers)
    return columns, counts, DualSolver(gram, counts), PrimalSolver(layers, np.float64)


def test_weights_scores_and_inner_products_are_those_of_the_columns(both):
    columns, _, texts, over_columns = both
    dual = np.random.default_rng(1).normal(size=(2, len(columns)))
    weights = dual @ columns
    for system, as_columns in ((texts, lambda w: w @ columns), (over_columns, lambda w: w)):
        made = system.from_dual(dual)
        np.testing.assert_allclose(as_columns(made), weights, atol=1e-5)
        np.testing.assert_allclose(system.scores(made), weights @ columns.T, atol=1e-4)
        np.testing.assert_allclose(system.times_metric(made) @ made.T, weights @ weights.T, atol=1e-3)
        given = system.times_metric(made, system.scores(made))
        np.testing.assert_allclose(given @ made.T, weights @ weights.T, atol=1e-3)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_solver_inverts_the_scatter_of_all_train_rows(both, floor):
    columns, counts, texts, over_columns = both
    rng = np.random.default_rng(1)
    dual = rng.normal(size=(3, len(columns)))
    scatter = (columns * counts[:, None]).T @ columns
    for system, level in ((texts, (columns**2).sum(1) @ counts / len(columns)), (over_columns, 19.0)):
        shift = max(2.5, floor * level)  # of 19 standardised rows
        expected = np.linalg.solve(scatter + shift * np.eye(len(scatter)), columns.T @ dual.T).T
        solved = system.factorized(2.5, floor=floor)(system.from_dual(dual))
        as_columns = solved @ columns if system.dual else solved
        np.testing.assert_allclose(as_columns, expected, atol=1e-5)


def test_counts_weigh_nothing_over_texts(both):
    _, counts, texts, _ = both
    assert np.abs(texts.scores(counts[None, :].astype(float))).max() < 1e-4
    np.testing.assert_allclose(texts.from_dual(counts[None, :].astype(float)), 0, atol=1e-12)


def test_singular_matrix_is_raised_as_little_as_works_and_an_indefinite_one_refused():
    half = np.random.default_rng(0).normal(size=(6, 3))
    gram = half @ half.T  # rank 3 of 6
    solve = factorized(gram.copy(order="F"), 0.0, 0.0)
    right = gram @ np.arange(6.0)
    np.testing.assert_allclose(gram @ solve(right[None, :])[0], right, atol=1e-4)
    np.testing.assert_allclose(factorized(np.zeros((2, 2), order="F"), 0.0, 0.0)(np.ones((1, 2))), 1e10)
    with pytest.raises(LinAlgError, match="not positive semidefinite"):
        factorized(-np.eye(3, order="F"), 0.0, 0.0)
