"""Dynamic freezing: a rule decides from the history, a small mechanism acts.

Frozen means no gradient, no momentum, no weight decay: bit-identical from the event on. Layers below still
get gradient, because a frozen block still passes it through.

    python -m pytest tests/finetune/test_freezing.py
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from features.encoder.blocks import encoder_layers
from finetune.evaluation import Evaluation

log = logging.getLogger(__name__)

EMBEDDING_MODULES = ("embeddings", "embeddings_project")  # the second: ELECTRA
Schedule = Mapping[int, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreezeEvent:
    """Layers stop training."""

    epoch: int
    """Epochs trained by then."""

    step: int
    """Optimiser steps made by then."""

    layers: tuple[int, ...]
    """Layers frozen by this event, ascending."""

    reason: str
    """Which rule, and what made it act."""


Rule = Callable[[Sequence[Evaluation]], FreezeEvent | None]
"""A rule looks at the evaluations so far, the newest last, and says what to freeze now."""


def scheduled(history: Sequence[Evaluation], freeze: Schedule) -> FreezeEvent | None:
    """Freeze chosen layers after a chosen number of epochs; pure.

    Parameters
    ----------
    history : sequence of Evaluation
        The evaluations so far, the newest last.
    freeze : mapping of int to tuple of int
        Epochs trained -> layers.
    """
    now = history[-1]
    layers = tuple(sorted(set(freeze.get(now.epoch, ())) - set(now.frozen)))
    if not layers:
        return None
    return FreezeEvent(
        epoch=now.epoch, step=now.step, layers=layers, reason=f"schedule: after epoch {now.epoch}"
    )


def require_feeding(freeze: Schedule, deepest_layer: int, *, ignore: bool) -> dict[int, tuple[int, ...]]:
    """Return the schedule without layers that feed nothing.

    Parameters
    ----------
    freeze : mapping of int to tuple of int
        Epochs trained -> layers.
    deepest_layer : int
        The deepest layer that feeds the head.
    ignore : bool
        Leave such layers out and log it, instead of raising.

    Raises
    ------
    ValueError
        A layer is deeper than the deepest layer used.
    """
    kept: dict[int, tuple[int, ...]] = {}
    for epoch, layers in freeze.items():
        for layer in layers:
            if layer > deepest_layer:
                why = f"layer {layer} feeds nothing, the deepest layer used is {deepest_layer}"
                if not ignore:
                    raise ValueError(
                        f"finetune.freeze: epoch {epoch}: {why}; accepted: layers from 0 to "
                        f"{deepest_layer}, or finetune.ignore_unused_frozen = true"
                    )
                log.info("freeze: epoch %d: %s; it is left out", epoch, why)
        used = tuple(layer for layer in layers if layer <= deepest_layer)
        if used:
            kept[epoch] = used
    return kept


def layer_parameters(model: PreTrainedModel, layer: int) -> list[nn.Parameter]:
    """Return the parameters of a layer: 0 is all of the embeddings, k is block k."""
    encoder = cast(PreTrainedModel, model.base_model)
    if layer > 0:
        return list(encoder_layers(encoder)[layer - 1].parameters())
    found = [getattr(encoder, name) for name in EMBEDDING_MODULES if hasattr(encoder, name)]
    if not found:
        raise ValueError(f"finetune.freeze: layer 0: {type(encoder).__name__} has no module `embeddings`")
    return [parameter for module in found for parameter in module.parameters()]


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
