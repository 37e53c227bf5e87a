"""Plan an extraction from the sizes of its texts: units that a kill can cost, shards that are a file each.

The plan is a function of the whole input and the settings, never of where a run was interrupted or of how
many processes share it: a feature's last bits depend on the texts that share its batch, and batches never
cross units.
"""

from __future__ import annotations

import numpy as np

from mcbert.features.cache import Shard

BYTES_PER_TOKEN = 3  # of UTF-8; fewer tokens than this assumes only make a unit quicker
SPECIAL_TOKENS = 3


def plan_units(sizes: np.ndarray, *, max_length: int, rows: int, tokens: int) -> np.ndarray:
    """Cut the texts into units of at most `rows` texts and about `tokens` tokens.

    Parameters
    ----------
    sizes : ndarray of int64, (n_texts,)
        Bytes of each text in UTF-8, its second text included.
    max_length : int
        Tokens kept of a text.

    Returns
    -------
    ndarray of int64, (n_units + 1,)
        Bounds: unit k is the texts ``bounds[k]`` to ``bounds[k + 1]``; every unit has at least one text.
    """
    estimate = np.minimum(sizes // BYTES_PER_TOKEN + SPECIAL_TOKENS, max_length)
    total = np.concatenate([[0], np.cumsum(estimate)])
    bounds = [0]
    while bounds[-1] < len(sizes):
        start = bounds[-1]
        fits = int(np.searchsorted(total, total[start] + tokens, side="right")) - 1
        bounds.append(min(max(fits, start + 1), start + rows, len(sizes)))
    return np.array(bounds, dtype=np.int64)


def plan_shards(bounds: np.ndarray, units_per_file: int) -> list[Shard]:
    """Group consecutive units into shards; each becomes a file of its own."""
    return [
        Shard(tuple(bounds[k : k + units_per_file + 1].tolist()))
        for k in range(0, len(bounds) - 1, units_per_file)
    ]
