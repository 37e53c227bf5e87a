"""Plan batches: texts of similar token counts together, under a budget of padded tokens.

The plan depends on the token counts alone, never on where a run was interrupted: the last bits of a feature
depend on the texts that share its batch, so an equal plan is what makes a resumed extraction bit-identical.
"""

from __future__ import annotations

import numpy as np


def plan_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Group rows into batches as full as the budget allows.

    Full batches of one length have one shape, and there are few lengths: a processor's library compiles its
    products per shape, which takes about half as long as running them.

    Parameters
    ----------
    lengths : ndarray of int, (n_texts,)
        Token count of each text, special tokens included.
    tokens : int
        Most padded tokens (rows x longest row) in a batch; a longer single text gets a batch of its own.

    Returns
    -------
    list of ndarray of int64
        Row numbers, shortest texts first; each row in exactly one batch.
    """
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for stop in range(1, len(order) + 1):
        # sorted, so the row at `stop` would be the longest of the batch
        if stop == len(order) or (stop - start + 1) * lengths[order[stop]] > tokens:
            batches.append(order[start:stop])
            start = stop
    return batches
