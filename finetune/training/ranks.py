"""The processes that share one training's steps, as torchrun starts them; alone, everything here is plain.

    python -m pytest tests/finetune/test_distributed.py

What is called here is called by all of them, at the same point: who leaves one out leaves the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import torch
import transformers
from torch import distributed

T = TypeVar("T")


def rank() -> int:
    """Return this process's number, from 0."""
    return distributed.get_rank() if _together() else 0


def count() -> int:
    """Return how many processes share the training."""
    return distributed.get_world_size() if _together() else 1


def decided(decide: Callable[[], T]) -> T:
    """Return what the first process decides, in all of them; what it raises, all raise.

    Parameters
    ----------
    decide : callable
        Called in the first process only; what it returns travels as a pickle.
    """
    if not _together():
        return decide()
    decision: list[tuple[T | None, Exception | None]] = [(None, None)]
    if rank() == 0:
        try:
            decision = [(decide(), None)]
        except Exception as error:  # the others wait for it
            decision = [(None, error)]
    distributed.broadcast_object_list(decision, src=0)
    value, failure = decision[0]
    if failure is not None:
        raise failure
    return cast(T, value)  # None only where `decide` returned it


def summed(part: np.ndarray) -> np.ndarray:
    """Return the sum of the processes' arrays, of equal shapes; rows that one alone has keep their bits."""
    if _together():
        distributed.all_reduce(torch.from_numpy(part))  # in place
    return part


def mean(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of the processes' values; one that is not finite makes it so."""
    if not _together():
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / count()


def draw_apart(seed: int) -> None:
    """Seed the random numbers of every process but the first otherwise: they drop different states."""
    if rank():
        transformers.set_seed(int(np.random.SeedSequence((seed, rank())).generate_state(1)[0]))


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
