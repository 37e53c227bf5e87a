"""Load an encoder and name its blocks: layer 0 is the embedding output, layer k the output of block k.

Weights come from safetensors files only; code from a model folder runs only where a setting allows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging as hf_logging

from features.encoder import hardware
from features.encoder.files import EncoderError, first_sentence
from features.encoder.trust import trusts


def n_layers(folder: str | os.PathLike[str]) -> int:
    """Return the number of transformer blocks."""
    return _configured(folder, "num_hidden_layers")


def hidden_size(folder: str | os.PathLike[str]) -> int:
    """Return the columns of a layer."""
    return _configured(folder, "hidden_size")


def _configured(folder: str | os.PathLike[str], name: str) -> int:
    try:
        return int(getattr(AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)), name))
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"encoder.path: {folder}: config.json: of no encoder that is known ({first_sentence(error)})"
        ) from error


def require_layers(layers: Sequence[int], available: int, key: str) -> None:
    """Raise when `layers` is empty, repeats a layer or names one that the encoder lacks."""
    if not layers:
        raise ValueError(f"{key}: got no layer; accepted: 0 (embeddings) to {available}")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= available:
            raise ValueError(f"{key}: got {layer!r}; accepted: 0 (embeddings) to {available}")
    if len(set(layers)) != len(layers):
        raise ValueError(f"{key}: got {list(layers)}; a layer may appear once")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars and loading report out of our log; we check what matters in it."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def load_encoder(folder: str | os.PathLike[str], deepest_layer: int | None = None) -> PreTrainedModel:
    """Load the encoder in float32, without its pooler, cut after block `deepest_layer`.

    Raises
    ------
    EncoderError
        The files are damaged, or weights of the kept blocks are missing from them.
    """
    with quiet():
        try:
            model, report = AutoModel.from_pretrained(
                folder,
                dtype=torch.float32,
                trust_remote_code=trusts(folder),
                use_safetensors=True,
                output_loading_info=True,
            )
        except (SafetensorError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            raise EncoderError(
                f"encoder.path: {folder}: it cannot be loaded ({first_sentence(error)})"
            ) from error
    missing = [k for k in report["missing_keys"] if "pooler" not in k]
    if missing:
        raise EncoderError(f"encoder.path: {folder}: {len(missing)} weights are missing, first {missing[0]}")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if deepest_layer is not None:
        cut(model, deepest_layer)
    hardware.align(model)
    encoder: PreTrainedModel = model
    return encoder


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of transformer blocks; block k of the design is ``[k - 1]``.

    Raises
    ------
    EncoderError
        No such list: the encoder shares one block between its layers, as ALBERT does.
    """
    wanted = int(model.config.num_hidden_layers)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise EncoderError(
        f"encoder.path: {type(model).__name__} has no list of {wanted} blocks to pool or freeze"
    )


def cut(model: PreTrainedModel, deepest_layer: int) -> None:
    """Drop the blocks after `deepest_layer`; their output would feed nothing."""
    layers = encoder_layers(model)
    del layers[max(deepest_layer, 1) :]  # an encoder without blocks would not run
    model.config.num_hidden_layers = len(layers)
