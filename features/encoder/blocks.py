"""The layers that settings name: how many an encoder has, how wide they are, whether those are there."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import read_config


def n_layers(folder: str | os.PathLike[str]) -> int:
    """Return the number of transformer blocks."""
    return _count(folder, "num_hidden_layers")


def hidden_size(folder: str | os.PathLike[str]) -> int:
    """Return the columns of a layer."""
    return _count(folder, "hidden_size")


def _count(folder: str | os.PathLike[str], name: str) -> int:
    config = read_config(folder)
    if not hasattr(config, name):
        raise EncoderError(
            f"encoder.path: {folder}: config.json: model_type: got {config.model_type!r}, which has no "
            f"{name}; accepted: an encoder of texts"
        )
    return int(getattr(config, name))


def require_layers(layers: Sequence[int], available: int, key: str) -> None:
    """Raise when `layers` is empty, repeats a layer or names one that the encoder lacks."""
    if not layers:
        raise ValueError(f"{key}: got no layer; accepted: 0 (embeddings) to {available}")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= available:
            raise ValueError(f"{key}: got {layer!r}; accepted: 0 (embeddings) to {available}")
    if len(set(layers)) != len(layers):
        raise ValueError(f"{key}: got {list(layers)}; a layer may appear once")
