"""The blocks of a feature set, of one pooling or several; opened by tasks of `python -m mcbert gridsearch`.

A worker of the search keeps one pooling's blocks and kernels. In a mixed search it keeps those of all
poolings, three times the memory: for n distinct train texts and m evaluation texts of hidden size H about
4 H (n + m) + 8 n^2 + 4 n m bytes for each layer under each pooling. For the paper's 24 blocks of hidden size
768 with 1,500 train and 4,000 evaluation texts that is 1.4 GB. Where texts outnumber columns there are the
products of all pairs of blocks too, 8 H^2 bytes each, the same again for the paper's 300 pairs.
"""

from collections.abc import Mapping
from functools import lru_cache

from mcbert.features.spec import FeatureSpec
from mcbert.search.fitting.kernels import Block, PoolingBlocks, Rows, Source, open_pooling, open_rows
from mcbert.search.fitting.representation import Representation


class Mixture:
    """The blocks of several poolings by (layer, pooling)."""

    def __init__(self, poolings: Mapping[str, PoolingBlocks], rows: Rows) -> None:
        self._poolings = poolings
        self.rows = rows

    def __getitem__(self, block: tuple[int, str]) -> Block:
        """Return a block; see `PoolingBlocks`."""
        layer, pooling = block
        return self._poolings[pooling][layer]


@lru_cache(maxsize=1)
def open_mixture(source: Source) -> Mixture:
    """Return the blocks of all poolings, each read at first use; what was kept of one pooling is let go."""
    open_pooling.cache_clear()
    store, _, rows = open_rows(source)
    return Mixture({pooling: PoolingBlocks(store, rows, pooling) for pooling in store.poolings}, rows)


def represent(source: Source, features: FeatureSpec, *, mixed: bool = False) -> Representation:
    """Return a feature set's representation.

    Parameters
    ----------
    source : Source
    features : FeatureSpec
    mixed : bool
        Whether to keep all poolings for the feature sets that follow; a set of several does in any case.
    """
    if mixed or features.is_mixed:
        return Representation(open_mixture(source), features.blocks)
    return Representation(open_pooling(source, features.pooling), features.layers)


def close() -> None:
    """Let go of everything that this process keeps of a search."""
    for kept in (open_mixture, open_pooling, open_rows):
        kept.cache_clear()
