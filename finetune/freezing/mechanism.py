"""The mechanism of freezing: it acts on what a rule (finetune/freezing/rules.py) has decided.

Frozen means no gradient, no momentum, no weight decay: bit-identical from the event on. Layers below still
get gradient, because a frozen block still passes it through; where all layers from the embeddings up to one
are frozen, backward stops above it. A frozen layer keeps its dropout, as the rest of the network does.

    python -m pytest tests/finetune/freezing/test_mechanism.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from features.encoder.blocks import encoder_layers

BESIDE_BLOCKS = {
    # ELECTRA has the second; DeBERTa and MPNet positions that every block reads
    0: ("embeddings", "embeddings_project", "encoder.rel_embeddings", "encoder.relative_attention_bias"),
    1: ("encoder.conv",),  # DeBERTa: added to the output of block 1
}
"""Modules of an encoder that belong to a layer without being its block."""

RELATIVE, RELATIVE_NORM = "encoder.rel_embeddings", "encoder.LayerNorm"  # alone, the second is a last norm


def layer_parameters(model: PreTrainedModel, layer: int) -> list[nn.Parameter]:
    """Return the parameters of a layer: 0 is all of the embeddings, k is block k.

    Relative positions that all blocks read, as DeBERTa's, are embeddings: while they train, backward passes
    every block.
    """
    encoder = cast(PreTrainedModel, model.base_model)
    modules = dict(encoder.named_modules())
    names = BESIDE_BLOCKS.get(layer, ())
    if layer == 0 and RELATIVE in modules:
        names += (RELATIVE_NORM,)
    found = [] if layer == 0 else [encoder_layers(encoder)[layer - 1]]
    found += [modules[name] for name in names if name in modules]
    if not found:
        raise ValueError(f"finetune.freeze: layer 0: {type(encoder).__name__} has no module `embeddings`")
    return [parameter for module in found for parameter in module.parameters()]


def frozen_prefix(model: PreTrainedModel) -> int:
    """Return how many layers from the bottom are frozen, the embeddings being the first: backward skips them.

    A layer whose parameters are all frozen below one that trains still costs its part of backward; only
    those with nothing trainable at or below them cost none.
    """
    depth = len(encoder_layers(cast(PreTrainedModel, model.base_model)))
    trains = (any(p.requires_grad for p in layer_parameters(model, layer)) for layer in range(depth + 1))
    return next((layer for layer, training in enumerate(trains) if training), depth + 1)


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
