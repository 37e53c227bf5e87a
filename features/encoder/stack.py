"""Locate and cut an encoder's transformer blocks, in every model family, with the norm after the last.

State k is entry k of transformers' own ``output_hidden_states`` of the whole model: 0 the input of the first
block, k the input of the next one, N the last hidden state with the final norm where there is one. A model
cut after block k < N therefore loses that norm.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

XLM_PARTS = ("attentions", "layer_norm1", "ffns", "layer_norm2")
SPREAD = {"xlm": XLM_PARTS, "flaubert": XLM_PARTS}
"""Families whose blocks are no modules: lists that hold a part of each, the first where a block begins."""

SHARED = {"albert": "albert_layer_groups"}
"""Families that run the same weights several times."""

FINAL_NORMS = ("final_norm", "final_layer_norm", "final_layernorm", "layer_norm", "norm", "ln_f")
"""Names of the norm after the last block, beside the list of blocks."""


def bare_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the encoder of a configuration, its weights random, without a decoder."""
    encoder: PreTrainedModel
    if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:  # T5's says that it has no decoder, once it was cut
        encoder = AutoModelForTextEncoding.from_config(config)
    elif not getattr(config, "is_encoder_decoder", False):
        encoder = AutoModel.from_config(config)
    else:
        encoder = AutoModel.from_config(config).get_encoder()
    if getattr(encoder, "pooler", None) is not None:
        cast(Any, encoder).pooler = None
    return encoder


def find_blocks(encoder: PreTrainedModel) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module that holds the lists of blocks, and their names in it.

    Raises
    ------
    ValueError
        There is no list with an entry for each block.
    """
    kind = encoder.config.model_type
    names = SPREAD.get(kind, (SHARED[kind],) if kind in SHARED else ())
    for module in encoder.modules():
        if names and all(isinstance(getattr(module, name, None), nn.ModuleList) for name in names):
            return module, names
        if not names:
            for name, child in module.named_children():
                if isinstance(child, nn.ModuleList) and len(child) == int(encoder.config.num_hidden_layers):
                    return module, (name,)
    raise ValueError(f"model type {kind!r}: no list of {encoder.config.num_hidden_layers} blocks is in it")


def first_parts(encoder: PreTrainedModel) -> list[nn.Module]:
    """Return the modules that a state enters, in the order in which they run; shared ones run repeatedly."""
    stack, names = find_blocks(encoder)
    return list(getattr(stack, names[0]))


def block_parts(encoder: PreTrainedModel, layer: int) -> list[nn.Module]:
    """Return the modules of block `layer`, 1 to N.

    Raises
    ------
    ValueError
        The encoder's blocks share their weights.
    """
    if encoder.config.model_type in SHARED:
        raise ValueError(
            f"model type {encoder.config.model_type!r}: its layers share their weights, none has its own"
        )
    stack, names = find_blocks(encoder)
    return [getattr(stack, name)[layer - 1] for name in names]


def cut(encoder: PreTrainedModel, deepest_layer: int) -> None:
    """Drop the blocks after `deepest_layer`, in place; their output would feed nothing."""
    stack, names = find_blocks(encoder)
    config: Any = encoder.config
    kept = max(deepest_layer, 1)  # an encoder without blocks would not run
    if kept >= config.num_hidden_layers:
        return
    if config.model_type in SHARED:
        if len(getattr(stack, names[0])) > 1:
            return  # which group runs depends on the depth
    else:
        for name in names:
            del getattr(stack, name)[kept:]
    for told in {id(one): one for one in (config, getattr(stack, "config", config))}.values():
        cut_config(told, kept)
    if config.model_type in SPREAD:
        cast(Any, stack).n_layers = kept
    drop_final_norm(encoder)


def cut_config(config: Any, depth: int) -> None:
    """Make a configuration one of `depth` blocks, with what it keeps per block."""
    config.num_hidden_layers = depth
    if hasattr(config, "encoder_layers"):
        config.encoder_layers = depth
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:depth]


def final_norms(encoder: PreTrainedModel) -> list[nn.Module]:
    """Return the norm after the last block, where there is one."""
    stack, _ = find_blocks(encoder)
    found = (getattr(stack, name, None) for name in FINAL_NORMS)
    return [norm for norm in found if isinstance(norm, nn.Module)]


def drop_final_norm(encoder: PreTrainedModel) -> None:
    """Take the norm after the last block away, in place: the last of fewer blocks is not followed by one."""
    stack, _ = find_blocks(encoder)
    for name in FINAL_NORMS:
        if isinstance(getattr(stack, name, None), nn.Module):
            setattr(stack, name, nn.Identity())
