"""Where the workers of a search find its data, by path: states of the corpus and of parallel sentences.

states, examples, rows = open_source(source)    # opened once in a process
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from mcbert.features.cache import FeatureStore, StoreError
from mcbert.search.data import Examples, Ints, RowSelection, Singles, select_rows


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a search reads.

    Attributes
    ----------
    store : Path
        Folder of the feature cache.
    examples : Path
        File that `write_examples` made.
    parallel : Path or None
        Folder of the cache of parallel sentences, whose rows are numbered on from the corpus's.
    texts : DataFrame or None
        Columns text and text_pair of each row of the examples, which predictions_gridsearch.csv repeats; no
        worker needs them.
    """

    store: Path
    examples: Path
    parallel: Path | None = None
    texts: pd.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """The paths of what workers read: the feature cache and the examples, and perhaps parallel sentences.

    Attributes
    ----------
    store, examples : Path
        Folder of the cache, file of the examples.
    parallel : Path or None
        Folder of the cache of parallel sentences, whose rows are numbered on from the corpus's.
    languages : tuple of str
        Those scored, the source first.
    digests : tuple of str
        Of each when the search began.
    """

    store: Path
    examples: Path
    languages: tuple[str, ...]
    digests: tuple[str, ...]
    parallel: Path | None = None


class States(Protocol):
    """The part of `FeatureStore` that the search reads."""

    @property
    def poolings(self) -> tuple[str, ...]:
        """Those that are there."""

    def states(self, *, layers: Sequence[int], pooling: str, rows: Ints | None = None) -> Singles:
        """Pooled states of the rows, (n_rows, n_layers * hidden_size)."""


class JoinedStates:
    """Two caches of one encoder as one: the rows of the second are numbered on from those of the first."""

    def __init__(self, first: FeatureStore, second: FeatureStore) -> None:
        self._stores, self._n_rows = (first, second), first.n_rows
        self.poolings: tuple[str, ...] = first.poolings

    def states(self, *, layers: Sequence[int], pooling: str, rows: Ints | None = None) -> Singles:
        """Return what each cache has, as `FeatureStore.states` does."""
        if rows is None:
            rows = np.arange(sum(store.n_rows for store in self._stores))
        out = np.empty((len(rows), len(layers) * self._stores[0].hidden_size), dtype=np.float32)
        later = rows >= self._n_rows
        for store, here, start in zip(self._stores, (~later, later), (0, self._n_rows), strict=True):
            if here.any():
                out[here] = store.states(layers=layers, pooling=pooling, rows=rows[here] - start)
        return out


@lru_cache(maxsize=2)
def open_source(source: Source) -> tuple[States, Examples, RowSelection]:
    """Return the states, the examples and the row selection of a source, opened once per process.

    Raises
    ------
    StoreError
        One of them is not there, or has another digest than when the search began.
    """
    try:
        store, examples = FeatureStore.open(source.store), Examples.read(source.examples)
        parallel = FeatureStore.open(source.parallel) if source.parallel else None
    except (OSError, ValueError) as error:
        raise StoreError(str(error)) from error
    opened = {source.store: store.digest, source.examples: examples.digest}
    opened |= {parallel.folder: parallel.digest} if parallel else {}
    for (path, found), wanted in zip(opened.items(), source.digests, strict=True):
        if found != wanted:
            raise StoreError(f"{path}: got digest {found[:12]}, accepted: that of the search, {wanted[:12]}")
    if parallel is None:
        return store, examples, select_rows(examples, store.index, source.languages)
    rows = store.n_rows + np.flatnonzero(parallel.index >= 0)
    joined = JoinedStates(store, parallel)
    return joined, examples, select_rows(examples, store.index, source.languages, rows)
