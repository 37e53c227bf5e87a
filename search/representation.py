"""One feature set in the smaller of two exact coordinate systems; `python -m pipeline gridsearch`.

A model with an L2 penalty, or one defined by inner products, is unchanged by a rotation of its columns. With
d columns and n distinct train texts we therefore fit on Z, n x min(d, n): the columns themselves while d <=
n, else the Cholesky factor of the summed Gram matrix. Fitted weights go back to texts (dual) or columns to
score evaluation texts; no text is ever projected.
"""

from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.linalg.blas import dsyrk

from search.kernels import KERNEL_ENTRIES, Block, Floats, Rows, Singles

# Added to the Gram matrix's diagonal, relative to its mean. The matrix is always singular (columns are
# centred), so some is needed; 1e-10 is a million times the rounding of its entries and a millionth of any
# penalty in use.
JITTERS = (1e-10, 1e-8, 1e-6)


K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)


class Blocks(Protocol[K_contra]):
    """Blocks by layer, or by (layer, pooling)."""

    @property
    def rows(self) -> Rows:
        """Rows of all blocks."""

    def __getitem__(self, key: K_contra) -> Block:
        """Return a block."""


class Representation:
    """The concatenation of some layers, standardised.

    Parameters
    ----------
    blocks : PoolingBlocks or Mixture
        The blocks of one pooling or of several.
    layers : tuple of int, or of (layer, pooling)
        Keys of the blocks, in the order of the columns.

    Attributes
    ----------
    n_columns : int
        The true number of columns, n_layers * hidden_size.
    by_columns : bool
        Whether weights are over columns, (n_columns, m), else over distinct train texts, (n_texts, m).
    """

    def __init__(self, blocks: Blocks[K], layers: tuple[K, ...]) -> None:
        self.rows = blocks.rows
        self.layers = layers
        self.blocks = [blocks[layer] for layer in layers]
        self.n_columns = sum(block.train.shape[1] for block in self.blocks)
        self.n_texts = len(self.rows.train_rows)
        self.by_columns = self.n_columns <= self.n_texts
        self.small_kernels = self.n_texts * max(self.n_texts, len(self.rows.eval_rows)) <= KERNEL_ENTRIES

    def prepare(self) -> None:
        """Compute the coordinates that most classifiers share, so that none alone is charged for them."""
        _ = self.z

    @cached_property
    def gram(self) -> Floats:
        """Inner products of the distinct train texts, (n_texts, n_texts)."""
        total = self.blocks[0].gram.copy()
        for block in self.blocks[1:]:
            total += block.gram
        return total

    @cached_property
    def cross(self) -> Singles:
        """Inner products of evaluation and distinct train texts, (n_eval_texts, n_texts)."""
        total = self.blocks[0].cross.copy()
        for block in self.blocks[1:]:
            total += block.cross
        return total

    @cached_property
    def train_columns(self) -> Singles:
        """Standardised columns of the distinct train texts, (n_texts, n_columns)."""
        return np.concatenate([block.train for block in self.blocks], axis=1)

    @cached_property
    def eval_columns(self) -> Singles:
        """Standardised columns of the distinct evaluation texts, (n_eval_texts, n_columns)."""
        return np.concatenate([block.evaluation for block in self.blocks], axis=1)

    @cached_property
    def z(self) -> Floats:
        """Coordinates Z of the distinct train texts, (n_texts, r = min(n_columns, n_texts)); Z Z^T = Gram."""
        return self.train_columns.astype(np.float64) if self.by_columns else _factor(self.gram)

    @cached_property
    def scatter(self) -> Floats:
        """Sum over all train rows of the outer products of Z's rows, (r, r), lower triangle."""
        rows = self.rows
        weighted = self.z[rows.pair_text] * np.sqrt(rows.pair_count)[:, None]
        return np.asarray(dsyrk(1.0, weighted.T, lower=1))  # weighted.T is Fortran ordered: no copy

    def weights(self, coefficients: Floats) -> Floats:
        """Turn coefficients over Z, (r, m), into weights over columns or train texts (`by_columns`)."""
        if self.by_columns:
            return coefficients
        return np.asarray(solve_triangular(self.z, coefficients, lower=True, trans="T", check_finite=False))

    def weights_from_dual(self, dual: Floats) -> Floats:
        """Turn coefficients over train texts, (n_texts, m), into weights over columns or train texts."""
        return self.column_weights(dual) if self.by_columns else dual

    def column_weights(self, dual: Floats) -> Floats:
        """Turn coefficients over train texts, (n_texts, m), into weights over columns, (n_columns, m)."""
        return np.concatenate([block.train.T @ dual for block in self.blocks])

    def scores(self, weights: Floats) -> Singles:
        """Return the linear scores of the distinct evaluation texts, (n_eval_texts, m)."""
        if not self.by_columns and self.small_kernels:
            return self.cross @ weights.astype(np.float32)
        columns = (weights if self.by_columns else self.column_weights(weights)).astype(np.float32)
        total = np.zeros((len(self.rows.eval_rows), columns.shape[1]), dtype=np.float32)
        for block, part in zip(self.blocks, np.split(columns, len(self.blocks)), strict=True):
            total += block.evaluation @ part
        return total


def _factor(gram: Floats) -> Floats:
    """Return a Gram matrix's lower Cholesky factor, the diagonal raised as little as works."""
    level = np.trace(gram) / len(gram) or 1.0  # all columns constant: a zero matrix
    for jitter in JITTERS:
        raised = gram.copy()
        raised.flat[:: len(gram) + 1] += jitter * level
        try:
            return np.asarray(cholesky(raised, lower=True, overwrite_a=True, check_finite=False))
        except LinAlgError:
            continue
    raise LinAlgError("Gram matrix of the train texts is not positive semidefinite")
