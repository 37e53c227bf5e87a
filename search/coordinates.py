"""Two coordinate systems for linear weights over a feature set, for the classifiers of `search.routes`.

The weights of a model with an L2 penalty are combinations of the train texts, X^T a. `TextCoordinates` holds
the a of every text and needs only the Gram matrix X X^T; `ColumnCoordinates` holds the weights themselves and
the weighted scatter X^T D X. Vectors are rows, (m, size); D counts the train rows of each distinct text.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from search.kernels import Block, Ints

# Added to the diagonal of a matrix that has no Cholesky factor, relative to its mean: 1e-10 is a million
# times the rounding of its entries and a millionth of any penalty in use.
JITTERS = (0.0, 1e-10, 1e-8, 1e-6)

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


class TextCoordinates:
    """Weights as combinations of the distinct train texts.

    Parameters
    ----------
    gram : float array of shape (n_texts, n_texts)
        Inner products; its dtype is that of all products.
    counts : int64 array of shape (n_texts,)
        Train rows of each text.
    """

    dual = True

    def __init__(self, gram: Reals, counts: Ints) -> None:
        self._gram, self._roots = gram, np.sqrt(counts).astype(gram.dtype)
        self._counts = counts / np.sum(counts)

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
        matrix = np.array(self._gram, order="F")
        if (roots != 1).any():
            matrix *= roots
            matrix *= roots[:, None]
        solve = _factor(matrix, shift, floor)
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
        matrix = np.empty((ends[-1], ends[-1]), dtype=self._dtype, order="F")
        for j, (second, end) in enumerate(zip(self._blocks, ends, strict=True)):
            for first, top in zip(self._blocks[: j + 1], ends, strict=False):
                part = first.scatter(second)  # below the diagonal is enough
                matrix[end - sizes[j] : end, top - part.shape[0] : top] = part.T
        return _factor(matrix, shift, floor)


def _factor(matrix: Reals, shift: float, floor: float) -> Solve:
    """Return the solution with matrix + shift, of which only the lower triangle is read and overwritten."""
    diagonal = np.diag(matrix).copy()
    level = float(diagonal.mean()) or 1.0  # all columns constant: a zero matrix
    raised = max(shift, floor * level)
    for jitter in JITTERS:
        trial = matrix if jitter == JITTERS[-1] else matrix.copy(order="F")
        np.fill_diagonal(trial, diagonal + raised + jitter * level)
        try:
            factor = cho_factor(trial, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
        return lambda rows: np.asarray(cho_solve(factor, rows.T.astype(matrix.dtype), check_finite=False).T)
    raise LinAlgError("the inner products of the train texts are not positive semidefinite")
