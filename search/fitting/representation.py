"""One feature set and the cheapest exact way to fit on it; `python -m mcbert gridsearch`.

With n distinct train texts and d columns, a model with an L2 penalty, or one defined by inner products, is
fitted where the work is least. The rule:

- n <= d and n^2 <= `KEPT_ENTRIES`: the Gram matrix of the texts, a sum over layers whose terms are kept.
  Factoring it takes n^3 / 3 operations, one product with it n^2 entries.
- else, for ridge, LDA and the preconditioner of logistic regression: the block covariance, one matrix over
  the columns of all layers of which a subset is a slice. Factoring takes d^3 / 3. Logistic regression passes
  over the columns themselves, 2 n d entries an iteration, and never over a copy of them.
- the SVM takes the Gram matrix while n <= `GRAM_TEXTS`, whatever d, and the columns beyond: libsvm computes
  a kernel's entry again and again, for d operations each. Where a layer's Gram matrix is too large to be
  kept, that of the feature set is made from the columns in float32, n^2 d / 2 operations.
- k-NN and the scores of evaluation texts take the sum of the layers' cross kernels while these can be kept
  (n times the evaluation texts <= `KEPT_ENTRIES`), else the columns in blocks.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from mcbert.search.fitting.coordinates import ColumnCoordinates, Coordinates, Reals, TextCoordinates
from mcbert.search.fitting.kernels import KEPT_ENTRIES, Block, Floats, Rows, Singles

GRAM_TEXTS = 8_000  # a Gram matrix of 512 MB in float64

Key = TypeVar("Key", contravariant=True)  # layer, or layer and pooling


class Blocks(Protocol[Key]):
    """What a feature set takes its blocks from: `PoolingBlocks` or a mixture of several poolings."""

    rows: Rows

    def __getitem__(self, block: Key) -> Block:
        """Return a block."""


class Representation:
    """The concatenation of some layers, each under one pooling, standardised.

    Parameters
    ----------
    blocks : Blocks
        The blocks of one pooling, by layer, or of several, by layer and pooling.
    layers : sequence of int or of (int, str)
        Their keys, in the order of the columns.

    Attributes
    ----------
    n_columns, n_texts : int
        The true number of columns, n_layers * hidden_size, and of distinct train texts.
    keeps_gram, keeps_cross : bool
        Whether the Gram matrix of the train texts, and the kernel of evaluation and train texts, are sums of
        what is kept of each layer.
    has_gram : bool
        Whether the Gram matrix is small enough to be made.
    by_gram : bool
        Whether linear models are fitted on it.
    """

    def __init__(self, blocks: Blocks[Key], layers: Sequence[Key]) -> None:
        self.rows = blocks.rows
        self.layers: tuple[object, ...] = tuple(layers)
        self.blocks = [blocks[layer] for layer in layers]
        self.n_columns = sum(block.train.shape[1] for block in self.blocks)
        self.n_texts = len(self.rows.train_rows)
        self.has_gram = self.n_texts <= GRAM_TEXTS
        self.keeps_gram = self.n_texts**2 <= KEPT_ENTRIES
        self.by_gram = self.keeps_gram and self.n_texts <= self.n_columns
        self.keeps_cross = self.n_texts * len(self.rows.eval_rows) <= KEPT_ENTRIES

    def prepare(self) -> None:
        """Compute the sums that most classifiers share, so that none alone is charged for them."""
        _ = self.keeps_gram and self.gram.size
        _ = self.keeps_cross and self.cross.size

    @cached_property
    def gram(self) -> Floats:
        """Inner products of the distinct train texts, (n_texts, n_texts)."""
        if not self.keeps_gram:
            return np.asarray(sum(block.train @ block.train.T for block in self.blocks), dtype=np.float64)
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
    def spread(self) -> float:
        """Sum of the squared lengths of all train rows: trace of the scatter."""
        return 2 * sum(float(block.half_norms @ block.counts) for block in self.blocks)

    @property
    def train_columns(self) -> Singles:
        """Standardised columns of the distinct train texts, (n_texts, n_columns)."""
        return np.concatenate([block.train for block in self.blocks], axis=1)

    @property
    def eval_columns(self) -> Singles:
        """Standardised columns of the distinct evaluation texts, (n_eval_texts, n_columns)."""
        return np.concatenate([block.evaluation for block in self.blocks], axis=1)

    def coordinates(self, dtype: type[np.floating[Any]] = np.float64) -> Coordinates:
        """Return the cheaper coordinates for linear weights; products with them are in `dtype`."""
        if self.by_gram:
            return TextCoordinates(self.gram.astype(dtype, copy=False), self.blocks[0].counts)
        return ColumnCoordinates(self.blocks, dtype)

    def column_weights(self, dual: Reals) -> Floats:
        """Turn coefficients over train texts, (n_texts, m), into weights over columns, (n_columns, m)."""
        return np.concatenate([block.train.T @ dual for block in self.blocks])

    def scores(self, weights: Reals, *, dual: bool) -> Singles:
        """Return the linear scores of the distinct evaluation texts, (n_eval_texts, m).

        `weights` are over train texts, (n_texts, m), if `dual`, else over columns, (n_columns, m).
        """
        if dual and self.keeps_cross:
            return self.cross @ weights.astype(np.float32)
        columns = (self.column_weights(weights) if dual else weights).astype(np.float32)
        total = np.zeros((len(self.rows.eval_rows), columns.shape[1]), dtype=np.float32)
        for block, part in zip(self.blocks, np.split(columns, len(self.blocks)), strict=True):
            total += block.evaluation @ part
        return total

    def closeness(self, part: slice) -> Singles:
        """Return what is larger the nearer a train text is, for some evaluation texts: (n_part, n_texts).

        |x - t|^2 = |x|^2 + |t|^2 - 2 x.t, so among the train texts t of one x, x.t - |t|^2 / 2 decides.
        """
        half_norms = np.sum([block.half_norms for block in self.blocks], axis=0)
        if self.keeps_cross:
            return np.asarray(self.cross[part] - half_norms.astype(np.float32))
        products = sum(block.evaluation[part] @ block.train.T for block in self.blocks)
        return np.asarray(products - half_norms.astype(np.float32))
