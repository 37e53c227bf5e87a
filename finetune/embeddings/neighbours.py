"""Nearest neighbours by cosine, through faiss.

    for rows in find_neighbours(corpus, queries, k=5): ...     # rows of neighbours.csv
    neighbours = Exact(blocks, dimension)          # blocks(): the corpus's unit rows, piece by piece
    rows, cosines = neighbours.search(unit_rows(X), k=5)

Exact goes through the corpus block by block, so that one larger than memory can be searched. faiss finds in
float32 the rows of a block that may be the nearest; their cosines are then summed exactly
(`finetune.embeddings.retrieval`), so that the result is the same however the corpus is cut, and equal ones
come in the corpus's order. ``hnsw`` is a graph, held in memory, and may miss some; which ones may differ from
one CPU to the next, the cosines of those it finds do not.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Protocol

import numpy as np
import pandas as pd

from mcbert.execution import Track, untracked
from mcbert.finetune.embeddings.retrieval import RowError, unit_rows
from mcbert.finetune.embeddings.vectors import BLOCK, Name, StoredVectors, Vectors

Blocks = Callable[[], Iterable[np.ndarray]]
"""Returns the corpus from its beginning: float32 blocks (n, dimension) of `unit_rows`."""

Found = tuple[np.ndarray, np.ndarray]

LINKS = 32  # of a vector in the graph of hnsw
BREADTH = 200  # candidates that hnsw looks at, when a vector is added and when one is searched
SPARE = 8  # rows of a block looked at beyond k, so that rounding seldom leaves the k-th in doubt
WIDER = 8  # times as many, where it does: many equally near ones
AT_ONCE = 1 << 22  # numbers gathered at a time, float64
HELD = 1 << 23  # numbers of a stored corpus that are read at once: 32 MB
DECIMALS = 6  # of a cosine: vectors are float32, and the digits after these differ between CPUs


def find_neighbours(
    corpus: Vectors,
    queries: Vectors,
    k: int,
    *,
    index: str = "exact",
    track: Track = untracked,
) -> Iterator[pd.DataFrame]:
    """Find the nearest vectors of a corpus to each query.

    Vectors that ``embed`` wrote are read block by block, those of texts are held in memory.

    Parameters
    ----------
    corpus, queries : StoredVectors or TextVectors
        Of one model.
    k : int
        Neighbours of each query.
    index : str
        A key of `KINDS`.
    track : callable
        Progress display.

    Yields
    ------
    DataFrame
        The columns of ``neighbours.csv`` for some queries: a row per query and neighbour, nearest first.

    Raises
    ------
    ValueError
        Naming a row whose vector has no direction.
    """

    def tracked(side: Vectors, name: str) -> Iterable[np.ndarray]:
        return track(_units(side, BLOCK), -(-side.n_rows // BLOCK), f"nearest: {name} (blocks)")

    if isinstance(corpus, StoredVectors):
        size, stored = max(1, HELD // corpus.dimension), corpus
        neighbours = KINDS[index](lambda: _units(stored, size), corpus.dimension)
        held: list[Name] | None = None
    else:
        units, held = list(tracked(corpus, "corpus")), list(corpus.names())
        neighbours = KINDS[index](lambda: units, corpus.dimension)
    names = queries.names()
    for block in tracked(queries, "queries"):
        asked = list(itertools.islice(names, len(block)))
        rows, cosines = neighbours.search(block, k)
        wanted, which = np.unique(rows[rows >= 0], return_inverse=True)
        found = _names_at(corpus, wanted) if held is None else [held[row] for row in wanted]
        yield _frame(asked, [found[at] for at in which], rows >= 0, cosines)
    collections.deque(names, maxlen=0)  # more names than vectors: an error here, before the output is there


class Neighbours(Protocol):
    """A corpus that can be searched."""

    def search(self, queries: np.ndarray, k: int) -> Found:
        """Find the nearest vectors of each query.

        Parameters
        ----------
        queries : ndarray of float32
            (n_queries, dimension), made by `finetune.embeddings.retrieval.unit_rows`.
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
    """Comparison of all pairs, one block of the corpus after the other; see `Neighbours`.

    Raises
    ------
    ValueError
        faiss is not installed.
    """

    def __init__(self, blocks: Blocks, dimension: int) -> None:
        self._blocks, self._faiss = blocks, require_faiss()
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
            near, at = self._faiss.knn(queries[left], block, wide, metric=self._faiss.METRIC_INNER_PRODUCT)
            live = near[:, 0] + self._error >= floor[left]
            left, near, at = left[live], near[live], at[live].astype(np.int64)
            rows[left], cosines[left] = _first(at, exact_cosines(queries[left], block, at), k)
            left_out = near[:, -1] + self._error  # rows that faiss did not name are at most as near
            sure = left_out < np.maximum(cosines[left, -1], floor[left])
            left = left[~sure] if wide < len(block) else left[:0]
            wide = min(wide * WIDER, len(block))
        return rows, cosines


class Graph:
    """Hierarchical navigable small world graph of the corpus, held in memory; see `Neighbours`."""

    def __init__(self, blocks: Blocks, dimension: int) -> None:
        faiss = require_faiss()
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
        """Return the cosines as `Exact` does; the graph's own are float32 sums, which differ between CPUs."""
        wanted, at = np.unique(rows, return_inverse=True)
        return exact_cosines(queries, self._index.reconstruct_batch(wanted), at.reshape(rows.shape))


KINDS: dict[str, Callable[[Blocks, int], Neighbours]] = {"exact": Exact, "hnsw": Graph}
"""``--index`` -> its class."""


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


def require_faiss() -> ModuleType:
    """Return faiss.

    Raises
    ------
    ValueError
        It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            "nearest: needs faiss, which is not installed: pip install 'mcbert[nearest]'"
        ) from error
    found: ModuleType = faiss
    return found


def _units(side: Vectors, size: int) -> Iterator[np.ndarray]:
    """Yield the unit rows of vectors; name the row of the input whose vector has no direction."""
    start = 0
    for block in side.blocks(size):
        try:
            yield unit_rows(block)
        except RowError as error:
            row = next(itertools.islice(side.names(), start + error.row, None))[0]
            raise ValueError(f"{side.path}: row {row}: its vector has no cosines: {error.reason}") from error
        start += len(block)


def _names_at(side: Vectors, positions: np.ndarray) -> list[Name]:
    """Return the names of some vectors, their positions ascending, without holding those of the rest."""
    found: list[Name] = []
    names, at = side.names(), 0
    for position in positions.tolist():
        found += itertools.islice(names, position - at, position - at + 1)
        at = position + 1
    return found


def _frame(
    asked: Sequence[Name], found: Sequence[Name], kept: np.ndarray, cosines: np.ndarray
) -> pd.DataFrame:
    """Return a row per query and neighbour; `found`: those where `kept`, bool (n_queries, k)."""
    query, place = np.nonzero(kept)
    of_query = [asked[k] for k in query.tolist()]
    return pd.DataFrame(
        {
            "query_row": [row for row, _ in of_query],
            "query_id": [name for _, name in of_query],
            "rank": place + 1,
            "row": [row for row, _ in found],
            "id": [name for _, name in found],
            "cosine": cosines[kept].round(DECIMALS),
        }
    )
