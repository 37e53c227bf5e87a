"""Nearest neighbours by cosine, through faiss.

    neighbours = Exact(blocks, dimension)          # blocks(): the corpus's unit rows, piece by piece
    rows, cosines = neighbours.search(unit_rows(X), k=5)

Exact goes through the corpus block by block, so that one larger than memory can be searched. faiss says in
float32 which rows of a block may be the nearest; their cosines are then summed exactly
(`search.sentences.retrieval`), so that the answer is the same however the corpus is cut, and equal ones come
in the corpus's order. ``hnsw`` is a graph, held in memory, and may miss some; which ones may differ from one
CPU to the next, the cosines of those it finds do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Protocol

import numpy as np

Blocks = Callable[[], Iterable[np.ndarray]]
"""Gives the corpus from its beginning: float32 blocks (n, dimension) of `unit_rows`."""

Found = tuple[np.ndarray, np.ndarray]

LINKS = 32  # of a vector in the graph of hnsw
BREADTH = 200  # candidates that hnsw looks at, when a vector is added and when one is searched
SPARE = 8  # rows of a block looked at beyond k, so that rounding seldom leaves the k-th in doubt
WIDER = 8  # times as many, where it does: many equally near ones
AT_ONCE = 1 << 22  # numbers gathered at a time, float64


class Neighbours(Protocol):
    """A corpus that can be searched."""

    def search(self, queries: np.ndarray, k: int) -> Found:
        """Find the nearest vectors of each query.

        Parameters
        ----------
        queries : ndarray of float32
            (n_queries, dimension), made by `search.sentences.retrieval.unit_rows`.
        k : int
            How many; all where there are fewer.

        Returns
        -------
        rows : ndarray of int64
            (n_queries, k) numbers of the vectors in the corpus's order, nearest first; of equally near ones
            the one that comes first. -1 where ``hnsw`` found fewer.
        cosines : ndarray of float64
            (n_queries, k), from -1 to 1.
        """


class Exact:
    """Compares all pairs, one block of the corpus after the other; see `Neighbours`.

    Raises
    ------
    ValueError
        faiss is not installed.
    """

    def __init__(self, blocks: Blocks, dimension: int) -> None:
        self._blocks, self._library = blocks, library()
        self._error = dimension * 2.0**-24  # of a float32 sum of products of unit vectors, in any order

    def search(self, queries: np.ndarray, k: int) -> Found:
        """Find the nearest vectors of each query."""
        rows = np.empty((len(queries), 0), dtype=np.int64)
        cosines = np.empty((len(queries), 0))
        start = 0
        for block in self._blocks():
            floor = cosines[:, -1] if cosines.shape[1] == k else np.full(len(queries), -np.inf)
            near, found = self._in_block(queries, block, min(k, len(block)), floor)
            rows, cosines = np.hstack([rows, near + start]), np.hstack([cosines, found])
            start += len(block)
            rows, cosines = _first(rows, cosines, min(k, start))
        return rows, cosines.clip(-1, 1)

    def _in_block(self, queries: np.ndarray, block: np.ndarray, k: int, floor: np.ndarray) -> Found:
        """Return the k nearest of a block; cosines of -inf where all of them are below a query's `floor`."""
        rows = np.zeros((len(queries), k), dtype=np.int64)
        cosines = np.full((len(queries), k), -np.inf)
        left, wide = np.arange(len(queries)), min(k + SPARE, len(block))
        while len(left):
            near, at = self._library.knn(
                queries[left], block, wide, metric=self._library.METRIC_INNER_PRODUCT
            )
            live = near[:, 0] + self._error >= floor[left]
            left, near, at = left[live], near[live], at[live].astype(np.int64)
            rows[left], cosines[left] = _first(at, exact_cosines(queries[left], block, at), k)
            left_out = near[:, -1] + self._error  # what the library did not name is at most as near
            sure = left_out < np.maximum(cosines[left, -1], floor[left])
            left = left[~sure] if wide < len(block) else left[:0]
            wide = min(wide * WIDER, len(block))
        return rows, cosines


class Graph:
    """Hierarchical small worlds of the corpus, held in memory; see `Neighbours`."""

    def __init__(self, blocks: Blocks, dimension: int) -> None:
        faiss = library()
        self._index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = self._index.hnsw.efSearch = BREADTH
        for block in blocks():
            self._index.add(block)

    def search(self, queries: np.ndarray, k: int) -> Found:
        """Find most of the nearest vectors of each query."""
        _, rows = self._index.search(queries, min(k, int(self._index.ntotal)))
        cosines = np.where(rows < 0, -np.inf, self._exact(queries, rows.clip(0)))
        rows, cosines = _first(rows, cosines, rows.shape[1])
        return rows, cosines.clip(-1, 1)

    def _exact(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the cosines that `Exact` gives; the graph's own are float32, summed as the CPU likes."""
        wanted, at = np.unique(rows, return_inverse=True)
        return exact_cosines(queries, self._index.reconstruct_batch(wanted), at.reshape(rows.shape))


KINDS: dict[str, Callable[[Blocks, int], Neighbours]] = {"exact": Exact, "hnsw": Graph}
"""How vectors may be searched."""


def exact_cosines(queries: np.ndarray, block: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the cosines of each query and some rows of a block, (n_queries, n_rows), float64, exact."""
    out = np.empty(rows.shape)
    step = max(1, AT_ONCE // (rows.shape[1] * block.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        gathered = block[rows[part]].astype(np.float64)  # (step, n_rows, dimension)
        out[part] = (gathered @ queries[part, :, None].astype(np.float64))[:, :, 0]
    return out


def _first(rows: np.ndarray, cosines: np.ndarray, k: int) -> Found:
    """Return the k nearest of each query, nearest first, then in the order of their rows."""
    order = np.lexsort((rows, -cosines))[:, :k]  # by the last axis
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def library() -> ModuleType:
    """Return faiss."""
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            "nearest: needs faiss, which is not installed: pip install 'mcbert[nearest]'"
        ) from error
    found: ModuleType = faiss
    return found
