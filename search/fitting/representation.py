"""The standardised states of a feature set, and the sums of Gram matrices that its classifiers share.

For columns standardised by the train rows, the Gram matrix of a concatenation of layers is the sum of the
layers' Gram matrices, and so is the kernel between evaluation and train texts. Eight layers thus serve all
255 subsets of a pooling. Everything is computed on distinct texts; duplicated train rows enter again as row
indices or counts.

With n distinct train texts and d columns, a model with an L2 penalty, or one defined by inner products, is
fitted where the work is least. The rule:

- n <= d and n^2 <= `KEPT_ENTRIES`: the Gram matrix of the texts, a sum over layers whose terms are kept.
  Factoring it takes n^3 / 3 operations, one product with it n^2 entries.
- else, for ridge, LDA and the preconditioner of logistic regression: the scatter of the columns, a matrix
  over the columns of all layers of which a subset is a slice. Factoring takes d^3 / 3. Logistic regression
  passes over the columns themselves, 2 n d entries an iteration, and never over a copy of them.
- the SVM takes the Gram matrix while n <= `GRAM_TEXTS`, whatever d, and the columns beyond: libsvm computes
  a kernel's entry again and again, for d operations each. Where a layer's Gram matrix is too large to be
  kept, that of the feature set is made from the columns in float32, n^2 d / 2 operations.
- k-NN and the scores of evaluation texts take the sum of the layers' cross kernels while these can be kept
  (n times the evaluation texts <= `KEPT_ENTRIES`), else the columns, some rows at a time.

A worker keeps the states and kernels of one pooling. In a mixed search it keeps those of all poolings, three
times the memory: for n distinct train texts and m evaluation texts of hidden size H about
4 H (n + m) + 8 n^2 + 4 n m bytes for each layer under each pooling. For the paper's 8 layers under 3 poolings
of hidden size 768 with 1,500 train and 4,000 evaluation texts that is 1.4 GB. Where texts outnumber columns
there are the scatters of all pairs of layers too, 8 H^2 bytes each, the same again for the paper's 300 pairs.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.preprocessing import StandardScaler

from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.search.data import Floats, Ints, Reals, RowSelection, Singles
from mcbert.search.source import Source, States, open_source

# A layer's kernel of more entries than this is not kept: 128 MB in float64, some 1 GB for eight layers.
KEPT_ENTRIES = 16_000_000
GRAM_TEXTS = 8_000  # a Gram matrix of 512 MB in float64

Key = TypeVar("Key", contravariant=True)  # layer, or layer and pooling


class LayerStates:
    """Standardised states of the distinct texts, of one layer under one pooling; kernels when asked for.

    Parameters
    ----------
    train, evaluation : float32 arrays of shape (n_texts, hidden_size), (n_eval_texts, hidden_size)
        Raw states of the distinct texts.
    train_text : int64 array of shape (n_train,)
        Distinct text of each train row: means and scales are those of all train rows, duplicates included.

    Attributes
    ----------
    mean, scale : float64 arrays of shape (hidden_size,)
    train, evaluation : float32 arrays
        The states, standardised.
    counts : int64 array of shape (n_texts,)
        Train rows of each text.
    """

    def __init__(self, train: Singles, evaluation: Singles, train_text: Ints) -> None:
        scaler = StandardScaler().fit(train[train_text].astype(np.float64))  # a constant column keeps scale 1
        self.mean: Floats = scaler.mean_
        self.scale: Floats = scaler.scale_
        self.counts: Ints = np.bincount(train_text, minlength=len(train))
        self._scatters: WeakKeyDictionary[LayerStates, Floats] = WeakKeyDictionary()
        self.train: Singles = ((train - self.mean) / self.scale).astype(np.float32)  # (n_texts, hidden_size)
        self.evaluation: Singles = ((evaluation - self.mean) / self.scale).astype(np.float32)

    @cached_property
    def gram(self) -> Floats:
        """Gram matrix of the train texts, (n_texts, n_texts); float64 for its Cholesky factor."""
        train = self.train.astype(np.float64)
        return train @ train.T

    @cached_property
    def cross(self) -> Singles:
        """Inner products of evaluation and train texts, (n_eval_texts, n_texts)."""
        return self.evaluation @ self.train.T

    @cached_property
    def half_norms(self) -> Floats:
        """Half the squared Euclidean norm of each train text, (n_texts,)."""
        return np.asarray(np.einsum("ij,ij->i", self.train, self.train, dtype=np.float64) / 2)

    def scatter(self, other: "LayerStates") -> Floats:
        """Return X^T D Z, (hidden_size, hidden_size), with Z the other's columns and D the counts; kept."""
        if other not in self._scatters:
            weighted = self.train * self.counts.astype(np.float64)[:, None]
            self._scatters[other] = np.asarray(weighted.T @ other.train.astype(np.float64))
        return self._scatters[other]


class PoolingStates:
    """The states of the layers under one pooling, each read and standardised at first use and then kept."""

    def __init__(self, store: States, rows: RowSelection, pooling: str) -> None:
        self._store = store
        self._layers: dict[int, LayerStates] = {}
        self.rows = rows
        self.pooling = pooling

    def __getitem__(self, layer: int) -> LayerStates:
        """Return the states of a layer.

        Raises
        ------
        ValueError
            If a state that is needed is not finite.
        """
        if layer not in self._layers:
            train = self._read(layer, self.rows.train_rows)
            evaluation = self._read(layer, self.rows.eval_rows)
            self._layers[layer] = LayerStates(train, evaluation, self.rows.train_text)
        return self._layers[layer]

    def _read(self, layer: int, rows: Ints) -> Singles:
        states = self._store.states(layers=(layer,), pooling=self.pooling, rows=rows)
        bad = np.flatnonzero(~np.isfinite(states).all(axis=1))
        if len(bad):
            where = f"layer {layer}, pooling {self.pooling}, corpus row {rows[bad[0]]}"
            raise ValueError(f"feature cache: {where}: not a finite number; extract again")
        return states


class MixedStates:
    """The states of the layers under several poolings, by (layer, pooling)."""

    def __init__(self, poolings: Mapping[str, PoolingStates], rows: RowSelection) -> None:
        self._poolings = poolings
        self.rows = rows

    def __getitem__(self, key: tuple[int, str]) -> LayerStates:
        """Return the states of a layer under a pooling; raises as `PoolingStates` does."""
        layer, pooling = key
        return self._poolings[pooling][layer]


class LayerSource(Protocol[Key]):
    """Where a representation takes its layers from: `PoolingStates` or `MixedStates`."""

    rows: RowSelection

    def __getitem__(self, key: Key) -> LayerStates:
        """Return the states of a layer."""


class Representation:
    """The concatenation of some layers, each under one pooling, standardised.

    Parameters
    ----------
    states : PoolingStates or MixedStates
        The states of one pooling, by layer, or of several, by layer and pooling.
    layers : sequence of int or of (int, str)
        Their keys, in the order of the columns.

    Attributes
    ----------
    rows : RowSelection
    layers : tuple of LayerStates
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

    def __init__(self, states: LayerSource[Key], layers: Sequence[Key]) -> None:
        self.rows = states.rows
        self.layers = [states[layer] for layer in layers]
        self.n_columns = sum(layer.train.shape[1] for layer in self.layers)
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
        """Gram matrix of the distinct train texts, (n_texts, n_texts)."""
        if not self.keeps_gram:
            return np.asarray(sum(layer.train @ layer.train.T for layer in self.layers), dtype=np.float64)
        total = self.layers[0].gram.copy()
        for layer in self.layers[1:]:
            total += layer.gram
        return total

    @cached_property
    def cross(self) -> Singles:
        """Inner products of evaluation and distinct train texts, (n_eval_texts, n_texts)."""
        total = self.layers[0].cross.copy()
        for layer in self.layers[1:]:
            total += layer.cross
        return total

    @cached_property
    def scatter_trace(self) -> float:
        """Sum of the squared norms of all train rows: the trace of the scatter."""
        return 2 * sum(float(layer.half_norms @ layer.counts) for layer in self.layers)

    @property
    def mean(self) -> Floats:
        """Mean of each column over the train rows, (n_columns,)."""
        return np.concatenate([layer.mean for layer in self.layers])

    @property
    def scale(self) -> Floats:
        """Standard deviation of each column over the train rows, 1 if it is constant, (n_columns,)."""
        return np.concatenate([layer.scale for layer in self.layers])

    @property
    def train_columns(self) -> Singles:
        """Standardised columns of the distinct train texts, (n_texts, n_columns)."""
        return np.concatenate([layer.train for layer in self.layers], axis=1)

    @property
    def eval_columns(self) -> Singles:
        """Standardised columns of the distinct evaluation texts, (n_eval_texts, n_columns)."""
        return np.concatenate([layer.evaluation for layer in self.layers], axis=1)

    def column_weights(self, dual: Reals) -> Floats:
        """Return X^T a, weights over columns, (n_columns, m), of dual coefficients a, (n_texts, m)."""
        return np.concatenate([layer.train.T @ dual for layer in self.layers])

    def scores(self, weights: Reals, *, dual: bool) -> Singles:
        """Return the linear scores of the distinct evaluation texts, (n_eval_texts, m).

        `weights` are dual coefficients, (n_texts, m), if `dual`, else weights over columns, (n_columns, m).
        """
        if dual and self.keeps_cross:
            return self.cross @ weights.astype(np.float32)
        columns = (self.column_weights(weights) if dual else weights).astype(np.float32)
        total = np.zeros((len(self.rows.eval_rows), columns.shape[1]), dtype=np.float32)
        for layer, part in zip(self.layers, np.split(columns, len(self.layers)), strict=True):
            total += layer.evaluation @ part
        return total

    def closeness(self, part: slice) -> Singles:
        """Return x.t - |t|^2 / 2 of some evaluation texts x and all train texts t, (n_part, n_texts).

        |x - t|^2 = |x|^2 + |t|^2 - 2 x.t, so the larger it is, the nearer is t to x.
        """
        half_norms = np.sum([layer.half_norms for layer in self.layers], axis=0)
        if self.keeps_cross:
            return np.asarray(self.cross[part] - half_norms.astype(np.float32))
        products = sum(layer.evaluation[part] @ layer.train.T for layer in self.layers)
        return np.asarray(products - half_norms.astype(np.float32))

    def require_varying(self, features: FeatureSpec) -> None:
        """Refuse a feature set of which no column differs between train rows, such as layer 0 under cls.

        Raises
        ------
        ValueError
            Naming the layers.
        """
        for layer in self.layers:
            # a constant column keeps scale 1; one that varies has standard deviation 1: some |x| is 1 or more
            if (layer.scale != 1).any() or (np.abs(layer.train) >= 0.5).any():
                return
        layers = layers_text(features.layers)
        raise ValueError(f"constant features: layers {layers}: every column is the same in all train rows")


@lru_cache(maxsize=1)  # tasks come pooling by pooling; the kernels of one are the bulk of a worker's memory
def open_pooling(source: Source, pooling: str) -> PoolingStates:
    """Return the states of one pooling, kept in this process until another pooling is asked for."""
    store, _, rows = open_source(source)
    return PoolingStates(store, rows, pooling)


@lru_cache(maxsize=1)
def open_mixed(source: Source) -> MixedStates:
    """Return the states of all poolings, each read at first use; what was kept of one pooling is dropped."""
    open_pooling.cache_clear()
    store, _, rows = open_source(source)
    return MixedStates({pooling: PoolingStates(store, rows, pooling) for pooling in store.poolings}, rows)


def represent(source: Source, features: FeatureSpec, *, mixed: bool = False) -> Representation:
    """Return the representation of a feature set.

    Parameters
    ----------
    source : Source
    features : FeatureSpec
    mixed : bool
        Whether to keep all poolings for the feature sets that follow; a set of several does in any case.
    """
    if mixed or features.is_mixed:
        return Representation(open_mixed(source), features.blocks)
    return Representation(open_pooling(source, features.pooling), features.layers)


def clear_cache() -> None:
    """Drop all that this process keeps of a search."""
    for kept in (open_mixed, open_pooling, open_source):
        kept.cache_clear()
