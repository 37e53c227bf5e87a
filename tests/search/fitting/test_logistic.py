"""The minimum is scikit-learn's, nearer than scikit-learn's tolerance, in both coordinate systems."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mcbert.search.fitting.logistic import minimise_log_loss
from mcbert.search.fitting.representation import LayerStates
from mcbert.search.fitting.solvers import DualSolver, PrimalSolver


def problem(n_texts, n_columns, n_classes, *, common=0.0):
    """A layer with duplicated rows, its standardised columns row by row, labels and counts."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n_texts - n_classes)])
    states = rng.normal(size=(n_texts, n_columns)) + 0.7 * rng.normal(size=(n_classes, n_columns))[labels]
    shared = rng.normal(size=(n_texts, 5)) @ rng.normal(size=(5, n_columns))  # as layers of an encoder have
    states = (states + common * shared).astype(np.float32)
    train_text = np.concatenate([np.arange(n_texts), rng.integers(n_texts, size=n_texts // 3)])
    y = labels[train_text]
    y[-2:] = (y[-2:] + 1) % n_classes  # a text with two labels
    layer = LayerStates(states, states[:1], train_text)
    counts = np.zeros((n_classes, n_texts))
    np.add.at(counts, (y, train_text), 1)
    return layer, layer.train[train_text].astype(np.float64), y, counts


def solver(layer, dtype, dual):
    if dual:
        return DualSolver(layer.gram.astype(dtype), layer.counts)
    return PrimalSolver([layer], dtype)


CASES = [(False, 20, 0.003), (False, 20, 1.0), (False, 150, 0.1), (True, 150, 0.003), (True, 150, 0.1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize(("dual", "n_columns", "C"), CASES)
def test_minimum_is_that_of_scikit_learn(dual, dtype, n_classes, n_columns, C):
    layer, X, y, counts = problem(60, n_columns, n_classes)
    penalty = 1 / (C * len(y))
    found = minimise_log_loss(solver(layer, dtype, dual), counts, penalty=penalty, tol=1e-4, max_iter=200)
    weights = (layer.train.T.astype(np.float64) @ found.weights.T).T if dual else found.weights
    exact = LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(X, y)
    usual = LogisticRegression(C=C, tol=1e-4, max_iter=1000).fit(X, y)
    scores = exact.decision_function(X)
    ours = np.squeeze(X @ weights.T + found.intercept)
    error = np.abs(ours - scores).max() / scores.std()
    # as far as that stop leaves, some 1e-4 over the penalty; scikit-learn's own distance beside it
    assert error <= max(0.01, np.abs(usual.decision_function(X) - scores).max() / scores.std())
    assert found.gradient_norm <= 1e-4


def test_preconditioner_makes_a_fraction_of_the_iterations_enough():
    layer, X, y, counts = problem(400, 600, 4, common=2.0)
    found = minimise_log_loss(
        solver(layer, np.float32, True), counts, penalty=1 / (0.003 * len(y)), tol=1e-4, max_iter=200
    )
    usual = LogisticRegression(C=0.003, tol=1e-4, max_iter=1000).fit(X, y)
    assert found.n_iter <= usual.n_iter_[0] / 2


def test_stops_at_the_most_iterations_and_says_how_far_it_came():
    layer, _, y, counts = problem(60, 20, 3)
    form = solver(layer, np.float64, False)
    norms = [
        minimise_log_loss(form, counts, penalty=1 / len(y), tol=1e-9, max_iter=n).gradient_norm
        for n in (0, 1, 3, 50)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 1e-2 > 1e-9 >= norms[-1]


def test_gradient_is_that_by_the_weights():
    layer, X, y, counts = problem(40, 10, 3)
    C = 0.5
    found = minimise_log_loss(
        solver(layer, np.float64, False), counts, penalty=1 / (C * len(y)), tol=1e-9, max_iter=2
    )
    scores = X @ found.weights.T + found.intercept
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    expected = (p - np.eye(3)[y]).T @ X / len(y) + found.weights / (C * len(y))
    np.testing.assert_allclose(found.gradient, expected, atol=1e-6)
