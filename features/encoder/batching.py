"""Plan batches: texts of similar token counts together, under a budget of padded tokens.

The plan depends on the token counts alone, never on where a run was interrupted: the last bits of a feature
depend on the texts that share its batch, so an equal plan is what makes a resumed extraction bit-identical.
"""

from __future__ import annotations

import numpy as np

FULL_ENOUGH = 2  # a batch of half the budget ends where longer texts begin


def plan_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Group rows into batches, of one length each where there are enough of it.

    A batch without padding needs no attention mask, and attention without a mask takes half the time on short
    texts; so a batch that is full enough is closed rather than padded.

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
    ordered = lengths[order].tolist()
    batches, start = [], 0
    for stop in range(1, len(order) + 1):
        last = stop == len(order)
        n, longest = stop - start, ordered[stop - 1]
        if (
            last
            or (n + 1) * ordered[stop] > tokens
            or (ordered[stop] > longest and FULL_ENOUGH * n * longest >= tokens)
        ):
            batches.append(order[start:stop])
            start = stop
    return batches
