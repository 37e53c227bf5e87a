"""The order of the training texts: batches of similar lengths, drawn anew for each epoch from the seed alone.

    python -m pytest tests/finetune/training/test_batches.py

Which texts make up a step follows from seed, epoch and lengths, never from what was drawn before: a resumed
training finds its place by counting, and a failing step knows its texts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from mcbert.features.encoder.tokens import plan_batches

POOL = 50  # batches whose texts are sorted by length together; fewer in a small corpus, to have four pools


class EpochBatches(Sampler[list[int]]):
    """Batches of an epoch; `parts` batches one after the other make up an optimizer step.

    Parameters
    ----------
    lengths : ndarray of int, (n_texts,)
        Token counts.
    size : int
        Texts of a step.
    tokens : int
        Most padded tokens of a step, instead of a number of texts; 0: `size` counts.
    parts : int
        Batches of a step.
    seed : int
        Of the order.
    share : tuple of int
        Number of this process, and how many share each batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        size: int,
        tokens: int = 0,
        parts: int = 1,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.lengths, self.size, self.tokens, self.parts = lengths, size, tokens, parts
        self.seed, self.share, self.epoch = seed, share, 0
        self._n_batches = len(self.plan(0))

    def __len__(self) -> int:
        """Return the number of batches, the same in every epoch."""
        return self._n_batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's share of each batch of the epoch that `epoch` names.

        A batch of fewer texts than processes leaves nothing for some: they get the row after the last, which
        stands for none.
        """
        rank, world = self.share
        for batch in self.plan(self.epoch):
            yield batch[rank::world].tolist() or [len(self.lengths)]

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Return the batches of an epoch, whole, rows int64; pure."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.lengths))
        if self.tokens:  # the sorted lengths, and so the cuts between them, are those of every epoch
            cuts = plan_batches(self.lengths[order], max(1, self.tokens // self.parts))
            batches = [order[rows] for rows in cuts]
        else:
            batches = self._of_equal_size(order)
        whole = len(batches) // self.parts * self.parts
        steps = [batches[k : k + self.parts] for k in range(0, whole, self.parts)]
        shuffled = [steps[k] for k in random.permutation(len(steps))]
        longest_first(shuffled, self.lengths)
        return [batch for step in shuffled for batch in step] + batches[whole:]

    def _of_equal_size(self, order: np.ndarray) -> list[np.ndarray]:
        size = self.size // self.parts
        pool = size * max(1, min(len(order) // (4 * size), POOL))
        pools = [order[k : k + pool] for k in range(0, len(order), pool)]
        by_length = [rows[np.argsort(-self.lengths[rows], kind="stable")] for rows in pools]
        return [rows[k : k + size] for rows in by_length for k in range(0, len(rows), size)]

    def rows_of_step(self, step: int) -> np.ndarray:
        """Return the rows that the optimizer step after `step` steps is computed from."""
        per_epoch = -(-len(self) // self.parts)
        first = step % per_epoch * self.parts
        return np.concatenate(self.plan(step // per_epoch)[first : first + self.parts])


def longest_first(steps: list[list[np.ndarray]], lengths: np.ndarray) -> None:
    """Put the step that needs most memory first, in place: what does not fit fails at once."""
    if not steps:
        return
    needs = [max(len(rows) * int(lengths[rows].max()) for rows in step) for step in steps]
    most = int(np.argmax(needs))
    steps[0], steps[most] = steps[most], steps[0]
