"""Norms of the gradient of each layer, for the rule that freezes by gradients.

python -m pytest tests/finetune/freezing/test_gradients.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from mcbert.finetune.freezing.mechanism import depth_of, layer_parameters


class LayerNorms:
    """The mean norm of each layer's gradient since the last evaluation."""

    def __init__(self, model: PreTrainedModel) -> None:
        depth = depth_of(model)
        self._layers = [layer_parameters(model, layer) for layer in range(depth + 1)]
        self._sums, self._steps = [0.0] * (depth + 1), 0

    def note(self, factor: float) -> None:
        """Add a step's gradients, each times `factor`, which undoes their clipping."""
        for layer, parameters in enumerate(self._layers):
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                self._sums[layer] += factor * float(torch.nn.utils.get_total_norm(gradients))
        self._steps += 1

    def mean(self) -> tuple[float, ...]:
        """Return the means and begin anew; nothing before the first step."""
        means = tuple(total / self._steps for total in self._sums) if self._steps else ()
        self._sums, self._steps = [0.0] * len(self._sums), 0
        return means

    def state(self) -> dict[str, Any]:
        """Return sums and steps."""
        return {"sums": self._sums, "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._sums, self._steps = list(state["sums"]), state["steps"]
