"""Two coordinate systems for linear weights over a feature set; `search.fitting.routes` picks one.

The weights of a model with an L2 penalty are combinations of the train texts, X^T a. `TextCoordinates` holds
the a of every text and needs only the Gram matrix X X^T; `ColumnCoordinates` holds the weights themselves and
the weighted scatter X^T D X. Vectors are rows, (m, size); D counts the train rows of each distinct text.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsymm

from mcbert.search.fitting.kernels import Block, Floats, Ints

# Added to the diagonal of a matrix that has no Cholesky factor, relative to its mean: 1e-10 is a million
# times the rounding of its entries and a millionth of any penalty in use.
JITTERS = (0.0, 1e-10, 1e-8, 1e-6)

# A factor in float32 is refined where the shift is at least this many mean diagonal entries: its condition is
# then well below 1e6. Refinement ends at residuals of 1e-12 of the right side, after 3 or 4 rounds.
REFINED, RESIDUAL, REFINEMENTS = 1e-2, 1e-12, 10

Reals = npt.NDArray[np.floating[Any]]
Solve = Callable[[Reals], Reals]


class Coordinates(Protocol):
    """What the classifiers ask of a coordinate system; `dual` says whether weights are over texts."""

    dual: bool

    def of(self, dual: Reals) -> Reals:
        """Return the weights X^T dual, (m, n_texts) to (m, size)."""

    def scores(self, weights: Reals) -> Reals:
        """Return the scores of the distinct train texts, (m, size) to (m, n_texts)."""

    def mates(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return what times other weights, entry by entry, sums to the inner product over columns."""

    def solver(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Return the product with the inverse of X^T D X + shift, which is raised to `floor` mean entries."""

    def reweighted(self, weights: Floats) -> "Coordinates | None":
        """Return the same with D the positive weights of texts, float64 (n_texts,); None if that is dear."""


class TextCoordinates:
    """Weights as combinations of the distinct train texts.

    Parameters
    ----------
    gram : float array of shape (n_texts, n_texts)
        Inner products; its dtype is that of all products.
    counts : int64 array of shape (n_texts,)
        Train rows of each text, or other weights.
    """

    dual = True

    def __init__(self, gram: Reals, counts: Ints | Floats) -> None:
        self._gram, self._roots = gram, np.sqrt(counts).astype(gram.dtype)
        self._counts = counts / np.sum(counts)

    def reweighted(self, weights: Floats) -> "TextCoordinates":
        """Return the same with other weights."""
        return TextCoordinates(self._gram, weights)

    def of(self, dual: Reals) -> Reals:
        """Return the coefficients less a multiple of `counts`, which weighs nothing: columns are centred."""
        return np.asarray(dual - dual.sum(axis=1, keepdims=True) * self._counts)

    def scores(self, weights: Reals) -> Reals:
        """Return the product with the Gram matrix."""
        return np.asarray(weights.astype(self._gram.dtype) @ self._gram)

    def mates(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return the scores, which may be known."""
        return self.scores(weights) if scores is None else scores

    def solver(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Push the inverse through X^T: (X^T D X + s)^-1 X^T = X^T S (S K S + s)^-1 S^-1, S^2 = D."""
        roots = self._roots
        matrix = self._gram.T  # symmetric, and in LAPACK's order
        if (roots != 1).any():
            matrix = matrix * roots
            matrix *= roots[:, None]
        solve = _solver(matrix, shift, floor)
        return lambda weights: solve(weights / roots) * roots


class ColumnCoordinates:
    """Weights as they are, over columns.

    Parameters
    ----------
    blocks : sequence of Block
        The layers of the feature set.
    dtype : type
        Of all products.
    """

    dual = False

    def __init__(self, blocks: Sequence[Block], dtype: type[np.floating[Any]]) -> None:
        self._blocks, self._dtype = blocks, dtype

    def reweighted(self, weights: Floats) -> None:
        """Return nothing: another scatter takes n d^2 operations."""

    def of(self, dual: Reals) -> Reals:
        """Return the sums of the columns, block by block."""
        rows = dual.astype(self._dtype)
        return np.concatenate([rows @ b.train.astype(self._dtype, copy=False) for b in self._blocks], axis=1)

    def scores(self, weights: Reals) -> Reals:
        """Return the products with the columns, block by block."""
        parts = np.split(weights.astype(self._dtype), len(self._blocks), axis=1)
        products = [
            part @ block.train.astype(self._dtype, copy=False).T
            for part, block in zip(parts, self._blocks, strict=True)
        ]
        return np.asarray(sum(products))

    def mates(self, weights: Reals, scores: Reals | None = None) -> Reals:
        """Return the weights themselves."""
        return weights

    def solver(self, shift: float, *, floor: float = 0.0) -> Solve:
        """Factor the scatter, put together from those of pairs of layers."""
        sizes = [block.train.shape[1] for block in self._blocks]
        ends = np.cumsum(sizes)
        matrix = np.zeros((ends[-1], ends[-1]), dtype=self._dtype, order="F")
        for j, (second, end) in enumerate(zip(self._blocks, ends, strict=True)):
            for first, top in zip(self._blocks[: j + 1], ends, strict=False):
                part = first.scatter(second)  # below the diagonal is enough
                matrix[end - sizes[j] : end, top - part.shape[0] : top] = part.T
        return _solver(matrix, shift, floor)


def _solver(matrix: Reals, shift: float, floor: float) -> Solve:
    """Return the solution with matrix + shift, symmetric, of which only the lower triangle is read.

    A float64 matrix is factored in float32, in half the time, and solutions are refined in float64 until
    their residual is rounding; where that does not get there, it is factored in float64.
    """
    level = float(np.diag(matrix).mean()) or 1.0  # all columns constant: a zero matrix
    raised = max(shift, floor * level)
    if matrix.dtype == np.float32 or raised < REFINED * level:
        return _factored(matrix, raised, level)
    rough = _factored(matrix.astype(np.float32, order="F"), raised, level)

    def solve(rows: Reals) -> Reals:
        found, right = np.zeros(rows.shape), rows.astype(np.float64)
        for _ in range(REFINEMENTS):
            found += rough(right)
            right = rows - raised * found - dsymm(1.0, matrix, found.T, lower=1).T
            if np.linalg.norm(right) <= RESIDUAL * np.linalg.norm(rows):
                return found
        return _factored(matrix, raised, level)(rows)

    return solve


def _factored(matrix: Reals, shift: float, level: float) -> Solve:
    """Factor a matrix after raising its diagonal as little as works."""
    diagonal = np.diag(matrix) + shift
    for jitter in JITTERS:
        trial = matrix.copy(order="F")
        np.fill_diagonal(trial, diagonal + jitter * level)
        try:
            factor = cho_factor(trial, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
        return lambda rows: np.asarray(cho_solve(factor, rows.T.astype(matrix.dtype), check_finite=False).T)
    raise LinAlgError("the inner products of the train texts are not positive semidefinite")
