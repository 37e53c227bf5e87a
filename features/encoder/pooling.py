"""Pool token states to one vector a text: max, mean, first and last real token, in float32, never in place.

Phase one pools every layer while the frozen encoder runs; phase two pools the winning layers the same way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch

VERSION = 1  # of these definitions; part of a cache's identity


def max_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each column over the real tokens."""
    lowest = torch.finfo(states.dtype).min
    return states.masked_fill(~mask.unsqueeze(-1), lowest).amax(dim=1)


def mean_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of each column over the real tokens."""
    weights = mask.unsqueeze(-1).to(states.dtype)  # (batch, seq, 1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def cls_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the state of the first real token, wherever padding puts it."""
    first = mask.to(torch.int64).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), first]


def last_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the state of the last real token, whichever side is padded: of a causal encoder it saw all."""
    last = mask.shape[1] - 1 - mask.to(torch.int64).flip(1).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), last]


POOLS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "max": max_pool,
    "mean": mean_pool,
    "cls": cls_pool,
    "last": last_pool,
}


def pool(hidden_states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool one layer's token states.

    Parameters
    ----------
    hidden_states : Tensor
        (batch, seq, hidden), any float dtype; it is not changed.
    attention_mask : Tensor
        (batch, seq), non-zero at the tokens that take part; at least one a row.
    pooling : str
        A name of `features.spec.POOLINGS`.

    Returns
    -------
    Tensor
        (batch, hidden), float32, differentiable.
    """
    return POOLS[pooling](hidden_states.float(), attention_mask.bool())


def pool_sorted(
    hidden_states: torch.Tensor, lengths: Sequence[int], poolings: Sequence[str]
) -> list[torch.Tensor]:
    """Pool a batch padded on the right whose rows are sorted by length, all poolings in one pass.

    Walks the positions and at each one touches only the rows that reach it, so no mask is made, padding is
    never read and low-precision states are not converted as a whole: several times faster than `pool` on a
    CPU, and a row's result does not depend on its neighbours.

    Parameters
    ----------
    hidden_states : Tensor
        (batch, seq, hidden), any float dtype; it is not changed.
    lengths : sequence of int
        Real tokens of each row, ascending, at least 1.
    poolings : sequence of str
        Names of `features.spec.POOLINGS`.

    Returns
    -------
    list of Tensor
        (batch, hidden) for each pooling, mean in float32, the others in the states' dtype (their values are
        the states' own) and equal to those of `pool`, mean up to rounding.
    """
    first = hidden_states[:, 0]
    largest, total = first.clone(), first.float() if first.dtype != torch.float32 else first.clone()
    for position in range(1, lengths[-1]):
        reaching = bisect_right(lengths, position)
        column = hidden_states[reaching:, position]
        if "max" in poolings:
            torch.maximum(largest[reaching:], column, out=largest[reaching:])
        if "mean" in poolings:
            total[reaching:] += column
    total /= torch.tensor(lengths, dtype=torch.float32, device=total.device).unsqueeze(-1)
    pooled = {"max": largest, "mean": total, "cls": first}
    if "last" in poolings:
        pooled["last"] = hidden_states[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
    return [pooled[name] for name in poolings]
