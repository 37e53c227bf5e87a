"""The mechanism of freezing: layers of a model, stopping them as a rule says, the norms of their gradients.

Frozen means no gradient, no momentum, no weight decay: bit-identical from the event on. Layers below still
get gradient, because a frozen block still passes it through; where all layers from the embeddings up to one
are frozen, backward stops above it. A frozen layer keeps its dropout, as the rest of the network does.

    python -m pytest tests/finetune/freezing/test_mechanism.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from mcbert.features.encoder.stack import block_parts, final_norms

ADDED_BY_BLOCK_1 = "encoder.conv"  # of DeBERTa


def layer_parameters(model: PreTrainedModel, layer: int) -> list[nn.Parameter]:
    """Return the parameters of a layer: k is block k, N the norm after it as well, 0 all that is in no block.

    So relative positions that all blocks read, as DeBERTa's, are embeddings: while they train, backward
    passes every block.

    Raises
    ------
    ValueError
        The encoder's layers share their weights, as ALBERT's do.
    """
    encoder = cast(PreTrainedModel, model.base_model)
    if layer:
        return [parameter for part in _parts(encoder, layer) for parameter in part.parameters()]
    above = {
        p for k in range(1, depth_of(model) + 1) for part in _parts(encoder, k) for p in part.parameters()
    }
    return [parameter for parameter in encoder.parameters() if parameter not in above]


def depth_of(model: PreTrainedModel) -> int:
    """Return the number of blocks of a model's encoder."""
    return int(cast(PreTrainedModel, model.base_model).config.num_hidden_layers)


def _parts(encoder: PreTrainedModel, layer: int) -> list[nn.Module]:
    found = block_parts(encoder, layer)
    if layer == 1:
        found += [module for name, module in encoder.named_modules() if name == ADDED_BY_BLOCK_1]
    if layer == encoder.config.num_hidden_layers:
        found += final_norms(encoder)
    return found


def freeze_layers(
    model: PreTrainedModel, layers: Iterable[int], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Freeze layers of a model in place, and drop what the optimizer remembers of them."""
    for layer in layers:
        freeze_parameters(layer_parameters(model, layer), optimizer)


def freeze_word_embeddings(model: PreTrainedModel, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Freeze the word vectors alone; positions, types and LayerNorm go on training."""
    freeze_parameters(list(model.get_input_embeddings().parameters()), optimizer)


def freeze_parameters(
    parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Stop parameters: no gradient (a zero one would still decay) and no optimizer state."""
    state: dict[Any, Any] = {} if optimizer is None else optimizer.state
    for parameter in parameters:
        parameter.requires_grad_(False)
        parameter.grad = None
        state.pop(parameter, None)


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
