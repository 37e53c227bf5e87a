"""Nearest neighbours by cosine, through faiss.

    neighbours = Neighbours(dimension)
    neighbours.add(vectors)                       # any number of times
    rows, cosines = neighbours.search(queries, k=5)

Exact by default: faiss compares every pair with one matrix product, which is fast enough for millions of
vectors and cannot miss a neighbour; ``hnsw`` is for more, and may.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from search.retrieval import unit_rows

LINKS = 32  # of a vector in the graph of hnsw
BREADTH = 200  # candidates that hnsw looks at, when a vector is added and when one is searched


class Neighbours:
    """Vectors to be searched, held in memory as float32.

    Parameters
    ----------
    dimension : int
        Of a vector.
    kind : str
        A key of `KINDS`.

    Raises
    ------
    ValueError
        faiss is not installed.
    """

    def __init__(self, dimension: int, kind: str = "exact") -> None:
        self._index = KINDS[kind](_library(), dimension)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors, (n, dimension), any float dtype and length; `RowError` names one without direction."""
        self._index.add(unit_rows(vectors))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest vectors of each query.

        Parameters
        ----------
        queries : ndarray
            (n_queries, dimension), any float dtype and length.
        k : int
            How many; all where there are fewer.

        Returns
        -------
        rows : ndarray of int64
            (n_queries, k) numbers of the vectors in the order of adding, nearest first; of equally near ones
            the one added first comes first. -1 where ``hnsw`` found fewer.
        cosines : ndarray of float32
            (n_queries, k), from -1 to 1.
        """
        cosines, rows = self._index.search(unit_rows(queries), min(k, len(self)))
        order = np.lexsort((rows, -cosines))  # by the last axis
        rows, cosines = (np.take_along_axis(found, order, axis=1) for found in (rows, cosines))
        return rows, cosines.clip(-1, 1)


def _exact(faiss: ModuleType, dimension: int) -> Any:
    return faiss.IndexFlatIP(dimension)


def _hnsw(faiss: ModuleType, dimension: int) -> Any:
    index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = index.hnsw.efSearch = BREADTH
    return index


KINDS: dict[str, Callable[[ModuleType, int], Any]] = {"exact": _exact, "hnsw": _hnsw}
"""How vectors may be searched."""


def _library() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            "nearest: needs faiss, which is not installed: pip install 'mcbert[nearest]'"
        ) from error
    library: ModuleType = faiss
    return library
