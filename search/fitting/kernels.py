"""Blocks and kernels of one pooling, held by the workers of `python -m mcbert gridsearch`.

For columns standardised by the train rows, the Gram matrix of a concatenation of layers is the sum of the
layers' Gram matrices, and so is the kernel between evaluation and train texts. Eight layers thus serve all
255 subsets of a pooling. Everything is computed on distinct texts; duplicated train rows re-enter as row
indices or counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from mcbert.features.cache import FeatureStore, StoreError
from mcbert.search.examples import Examples

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# A layer's kernel of more entries than this is not kept: 128 MB in float64, some 1 GB for eight layers.
KEPT_ENTRIES = 16_000_000


class States(Protocol):
    """The part of `features.cache.FeatureStore` that the search reads."""

    @property
    def index(self) -> Ints:
        """Distinct text number of each corpus row."""

    def states(self, *, layers: Sequence[int], pooling: str, rows: Ints | None = None) -> Singles:
        """Pooled states of the rows, (n_rows, n_layers * hidden_size)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a worker finds its data: two paths, and the digests of what they held when the search began."""

    store: Path
    examples: Path
    languages: tuple[str, ...]
    digests: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which corpus rows train and are scored, and how they map to distinct texts.

    Attributes
    ----------
    train_rows : int64 array of shape (n_texts,)
        One corpus row for each distinct train text.
    train_text, train_y : int64 arrays of shape (n_train,)
        For every train row, duplicates included: its distinct train text and its label code.
    pair_text, pair_y, pair_count : int64 arrays of shape (n_pairs,)
        The distinct (text, label) pairs of the train rows and how often each occurs.
    eval_rows : int64 array of shape (n_eval_texts,)
        One corpus row for each distinct dev or test text.
    scored_rows, scored_text, scored_y, scored_group : int64 arrays of shape (n_scored,)
        For every dev and test row: corpus row, distinct text, label code, position in `groups`.
    groups : tuple of (language, split)
        The scored groups that have rows.
    n_classes : int
    """

    train_rows: Ints
    train_text: Ints
    train_y: Ints
    pair_text: Ints
    pair_y: Ints
    pair_count: Ints
    eval_rows: Ints
    scored_rows: Ints
    scored_text: Ints
    scored_y: Ints
    scored_group: Ints
    groups: tuple[tuple[str, str], ...]
    n_classes: int


def select_rows(examples: Examples, index: Ints, languages: Sequence[str]) -> Rows:
    """Pick every train row, translated ones too, and every dev and test row of `languages`."""
    train = examples.rows("train")
    _, first, train_text = np.unique(index[train], return_index=True, return_inverse=True)
    train_y = examples.y[train]
    pairs, counts = np.unique(np.stack([train_text, train_y]), axis=1, return_counts=True)
    groups, scored = [], []
    for language in languages:
        for split in ("dev", "test"):
            rows = examples.rows(split, language)
            if len(rows):
                groups.append((language, split))
                scored.append(rows)
    scored_rows = np.concatenate(scored)
    _, eval_first, scored_text = np.unique(index[scored_rows], return_index=True, return_inverse=True)
    return Rows(
        train_rows=train[first],
        train_text=train_text.astype(np.int64),
        train_y=train_y,
        pair_text=pairs[0],
        pair_y=pairs[1],
        pair_count=counts.astype(np.int64),
        eval_rows=scored_rows[eval_first],
        scored_rows=scored_rows,
        scored_text=scored_text.astype(np.int64),
        scored_y=examples.y[scored_rows],
        scored_group=np.repeat(np.arange(len(groups)), [len(rows) for rows in scored]).astype(np.int64),
        groups=tuple(groups),
        n_classes=len(examples.labels),
    )


class Block:
    """One (layer, pooling): standardised columns of the distinct texts, kernels when asked for.

    Parameters
    ----------
    train, evaluation : float32 arrays of shape (n_texts, hidden_size), (n_eval_texts, hidden_size)
        Raw states of the distinct texts.
    train_text : int64 array of shape (n_train,)
        Distinct text of each train row: means and scales are those of all train rows, duplicates included.
    """

    def __init__(self, train: Singles, evaluation: Singles, train_text: Ints) -> None:
        scaler = StandardScaler().fit(train[train_text].astype(np.float64))  # a constant column keeps scale 1
        self.mean: Floats = scaler.mean_
        self.scale: Floats = scaler.scale_
        self.counts: Ints = np.bincount(train_text, minlength=len(train))  # train rows of each text
        self._scatters: WeakKeyDictionary[Block, Floats] = WeakKeyDictionary()
        self.train: Singles = ((train - self.mean) / self.scale).astype(np.float32)  # (n_texts, hidden_size)
        self.evaluation: Singles = ((evaluation - self.mean) / self.scale).astype(np.float32)

    @cached_property
    def gram(self) -> Floats:
        """Inner products of the train texts, (n_texts, n_texts); float64 for its Cholesky factor."""
        train = self.train.astype(np.float64)
        return train @ train.T

    @cached_property
    def cross(self) -> Singles:
        """Inner products of evaluation and train texts, (n_eval_texts, n_texts)."""
        return self.evaluation @ self.train.T

    @cached_property
    def half_norms(self) -> Floats:
        """Half the squared length of the train texts, (n_texts,)."""
        return np.asarray(np.einsum("ij,ij->i", self.train, self.train, dtype=np.float64) / 2)

    def scatter(self, other: "Block") -> Floats:
        """Sum over all train rows of products with another's columns, (hidden_size, hidden_size); kept."""
        if other not in self._scatters:
            weighted = self.train * self.counts.astype(np.float64)[:, None]
            self._scatters[other] = np.asarray(weighted.T @ other.train.astype(np.float64))
        return self._scatters[other]


class PoolingBlocks:
    """The blocks of one pooling, read and standardised at first use and then kept."""

    def __init__(self, store: States, rows: Rows, pooling: str) -> None:
        self._store = store
        self._blocks: dict[int, Block] = {}
        self.rows = rows
        self.pooling = pooling

    def __getitem__(self, layer: int) -> Block:
        """Return the block of a layer.

        Raises
        ------
        ValueError
            If a state that is needed is not finite.
        """
        if layer not in self._blocks:
            train = self._read(layer, self.rows.train_rows)
            evaluation = self._read(layer, self.rows.eval_rows)
            self._blocks[layer] = Block(train, evaluation, self.rows.train_text)
        return self._blocks[layer]

    def _read(self, layer: int, rows: Ints) -> Singles:
        states = self._store.states(layers=(layer,), pooling=self.pooling, rows=rows)
        bad = np.flatnonzero(~np.isfinite(states).all(axis=1))
        if len(bad):
            where = f"layer {layer}, pooling {self.pooling}, corpus row {rows[bad[0]]}"
            raise ValueError(f"feature cache: {where}: not a finite number; extract again")
        return states


@lru_cache(maxsize=2)
def open_rows(source: Source) -> tuple[FeatureStore, Examples, Rows]:
    """Open the feature cache and the examples of a source once per process.

    Raises
    ------
    StoreError
        One of them is not there, or holds something else than where the search began.
    """
    try:
        store, examples = FeatureStore.open(source.store), Examples.read(source.examples)
    except (OSError, ValueError) as error:
        raise StoreError(str(error)) from error
    for path, found, wanted in zip(
        (source.store, source.examples), (store.digest, examples.digest), source.digests, strict=True
    ):
        if found != wanted:
            raise StoreError(f"{path}: got digest {found[:12]}, accepted: that of the search, {wanted[:12]}")
    return store, examples, select_rows(examples, store.index, source.languages)


@lru_cache(
    maxsize=1
)  # tasks come pooling by pooling; one pooling's kernels are the bulk of a worker's memory
def open_pooling(source: Source, pooling: str) -> PoolingBlocks:
    """Return the blocks of one pooling, kept in this process until another pooling is asked for."""
    store, _, rows = open_rows(source)
    return PoolingBlocks(store, rows, pooling)
