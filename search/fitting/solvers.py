"""Primal and dual solvers of linear models with an L2 penalty; `search.fitting.fast_fits` picks one.

The weights of such a model are combinations of the train texts, w = X^T a (the representer theorem).
`PrimalSolver` holds w, one entry a column, and solves with the scatter X^T D X; `DualSolver` holds a, one
entry a text, and needs only the Gram matrix K = X X^T. X are the standardised columns of the distinct train
texts, D how many train rows each stands for; vectors are rows, (m, size).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsymm

from mcbert.search.data import Floats, Ints, Reals
from mcbert.search.fitting.representation import LayerStates

# Jitter: added to the diagonal of a matrix that has no Cholesky factor, relative to its mean. 1e-10 is a
# million times the rounding of its entries and a millionth of any penalty in use.
JITTERS = (0.0, 1e-10, 1e-8, 1e-6)

# A Cholesky factor in float32 is refined where the shift is at least this many mean diagonal entries: its
# condition number is then well below 1e6. Refinement ends at residuals of 1e-12 of the right side, after 3 or
# 4 rounds.
REFINED, RESIDUAL, REFINEMENTS = 1e-2, 1e-12, 10

Solve = Callable[[Reals], Reals]


class LinearSolver(Protocol):
    """The weights of linear models on one feature set, in primal or dual form.

    Attributes
    ----------
    dual : bool
        Whether weights are dual coefficients, one for each text, and not one for each column.
    """

    dual: bool

    def from_dual(self, dual: Reals) -> Reals:
        """Return X^T dual in this form, (m, n_texts) to (m, size)."""

    def scores(self, weights: Reals) -> Reals:
        """Return the scores of the distinct train texts, (m, size) to (m, n_texts)."""

    def times_metric(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return weights times the matrix of the inner product, (m, size).

        The sum of its products with other weights, entry by entry, is their inner product over columns.
        `scores` of the same weights are taken where they are known.
        """

    def factorized(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Factor X^T D X + shift I and return the function that solves with it.

        `shift` is raised to `floor` times the mean of the diagonal where it is less.
        """

    def reweighted(self, weights: Floats) -> "LinearSolver | None":
        """Return a solver with D the positive weights of texts, float64 (n_texts,); None if it is costly."""


class DualSolver:
    """Weights as coefficients a of the distinct train texts, w = X^T a.

    Parameters
    ----------
    gram : float array of shape (n_texts, n_texts)
        K = X X^T; its dtype is that of all products.
    counts : int64 array of shape (n_texts,)
        Train rows of each text, or other weights.
    """

    dual = True

    def __init__(self, gram: Reals, counts: Ints | Floats) -> None:
        self._gram, self._roots = gram, np.sqrt(counts).astype(gram.dtype)
        self._counts = counts / np.sum(counts)

    def reweighted(self, weights: Floats) -> "DualSolver":
        """Return a solver with other weights of the texts."""
        return DualSolver(self._gram, weights)

    def from_dual(self, dual: Reals) -> Reals:
        """Return the coefficients less a multiple of `counts`; as columns are centred, X^T counts is 0."""
        return np.asarray(dual - dual.sum(axis=1, keepdims=True) * self._counts)

    def scores(self, weights: Reals) -> Reals:
        """Return a K."""
        return np.asarray(weights.astype(self._gram.dtype) @ self._gram)

    def times_metric(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return a K, the scores, which may be known."""
        return self.scores(weights) if scores is None else scores

    def factorized(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Factor S K S + shift I, S^2 = D.

        By the push-through identity (Henderson and Searle, SIAM Review 23, 1981)
        (X^T D X + s I)^-1 X^T = X^T S (S K S + s I)^-1 S^-1.
        """
        roots = self._roots
        matrix = self._gram.T  # symmetric, and in LAPACK's order
        if (roots != 1).any():
            matrix = matrix * roots
            matrix *= roots[:, None]
        solve = factorized(matrix, shift, floor)
        return lambda weights: solve(weights / roots) * roots


class PrimalSolver:
    """Weights over columns.

    Parameters
    ----------
    layers : sequence of LayerStates
        The layers of the feature set.
    dtype : type
        Of all products.
    """

    dual = False

    def __init__(self, layers: Sequence[LayerStates], dtype: type[np.floating[Any]]) -> None:
        self._layers, self._dtype = layers, dtype

    def reweighted(self, weights: Floats) -> None:
        """Return None: another scatter takes n d^2 operations."""

    def from_dual(self, dual: Reals) -> Reals:
        """Return the sums over texts, layer by layer."""
        rows = dual.astype(self._dtype)
        parts = [rows @ layer.train.astype(self._dtype, copy=False) for layer in self._layers]
        return np.concatenate(parts, axis=1)

    def scores(self, weights: Reals) -> Reals:
        """Return the products with the columns, layer by layer."""
        parts = np.split(weights.astype(self._dtype), len(self._layers), axis=1)
        products = [
            part @ layer.train.astype(self._dtype, copy=False).T
            for part, layer in zip(parts, self._layers, strict=True)
        ]
        return np.asarray(sum(products))

    def times_metric(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return the weights: the inner product is that of their own entries."""
        return weights

    def factorized(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Factor the scatter, put together from those of pairs of layers, plus shift I."""
        sizes = [layer.train.shape[1] for layer in self._layers]
        ends = np.cumsum(sizes)
        matrix = np.zeros((ends[-1], ends[-1]), dtype=self._dtype, order="F")
        for j, (second, end) in enumerate(zip(self._layers, ends, strict=True)):
            for first, top in zip(self._layers[: j + 1], ends, strict=False):
                part = first.scatter(second)  # below the diagonal is enough
                matrix[end - sizes[j] : end, top - part.shape[0] : top] = part.T
        return factorized(matrix, shift, floor)


def factorized(matrix: Reals, shift: float, floor: float = 0.0) -> Solve:
    """Return the function that solves with matrix + shift I, which is symmetric positive definite.

    A float64 matrix is factored in float32, in half the time, and solutions are refined in float64 until
    their residual is rounding (mixed precision iterative refinement; Higham, Accuracy and Stability of
    Numerical Algorithms, chapter 12, and LAPACK's dsposv); where that does not converge, it is factored in
    float64.

    Parameters
    ----------
    matrix : float array of shape (size, size)
        Only its lower triangle is read.
    shift, floor : float
        See `LinearSolver.factorized`.

    Raises
    ------
    scipy.linalg.LinAlgError
        The matrix has no Cholesky factor even with jitter.
    """
    mean_diagonal = float(np.diag(matrix).mean()) or 1.0  # all columns constant: a zero matrix
    raised = max(shift, floor * mean_diagonal)
    if matrix.dtype == np.float32 or raised < REFINED * mean_diagonal:
        return _cholesky(matrix, raised, mean_diagonal)
    solve_roughly = _cholesky(matrix.astype(np.float32, order="F"), raised, mean_diagonal)

    def solve(right_side: Reals) -> Reals:
        solution, residual = np.zeros(right_side.shape), right_side.astype(np.float64)
        for _ in range(REFINEMENTS):
            solution += solve_roughly(residual)
            residual = right_side - raised * solution - dsymm(1.0, matrix, solution.T, lower=1).T
            if np.linalg.norm(residual) <= RESIDUAL * np.linalg.norm(right_side):
                return solution
        return _cholesky(matrix, raised, mean_diagonal)(right_side)

    return solve


def _cholesky(matrix: Reals, shift: float, mean_diagonal: float) -> Solve:
    """Factor matrix + shift I with the least jitter that works."""
    diagonal = np.diag(matrix) + shift
    for jitter in JITTERS:
        trial = matrix.copy(order="F")
        np.fill_diagonal(trial, diagonal + jitter * mean_diagonal)
        try:
            factor = cho_factor(trial, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
        return lambda rows: np.asarray(cho_solve(factor, rows.T.astype(matrix.dtype), check_finite=False).T)
    raise LinAlgError("a matrix of inner products is not positive semidefinite")
