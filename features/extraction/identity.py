"""What makes a cache that cache: every field that could change one bit of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from mcbert.features.cache import SCHEMA
from mcbert.features.encoder import hardware
from mcbert.features.encoder import pooling as pooling_module
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import hidden_size, n_layers, require_layers
from mcbert.features.encoder.opening import chosen_prompt
from mcbert.features.settings import EncoderSettings, ExtractSettings


def fingerprint(
    texts: str, folder: Path, *, encoder: EncoderSettings, settings: ExtractSettings
) -> dict[str, Any]:
    """Return the fields, what is left open in the settings decided for this machine.

    Parameters
    ----------
    texts : str
        Digest of all texts in order.
    folder : Path
        Local folder of the encoder.

    Raises
    ------
    ValueError
        A layer that the encoder does not have.
    """
    layers = settings.layers or tuple(range(n_layers(folder) + 1))
    require_layers(layers, n_layers(folder), "extract.layers")
    kind = hardware.device().type
    width = hidden_size(folder)
    return {
        **encoder_identity(folder),
        "texts": texts,
        "layers": list(layers),
        "poolings": list(settings.poolings),
        "hidden_size": width,
        "special_tokens": settings.special_tokens,
        "max_length": encoder.max_length,
        "prompt": chosen_prompt(folder, encoder),
        "dtype": hardware.compute_dtype(settings.dtype, width, kind),
        "storage_dtype": settings.storage_dtype,
        "on_nonfinite": settings.on_nonfinite,
        "tokens_per_batch": settings.tokens_per_batch or hardware.TOKENS_PER_BATCH[kind],
        "unit_rows": settings.unit_rows,
        "unit_tokens": settings.unit_tokens,
        "units_per_file": settings.units_per_file,
        "pooling_version": pooling_module.VERSION,
        "schema": SCHEMA,
        "device": kind,
        "versions": {
            m.__name__: ".".join(m.__version__.split(".")[:2]) for m in (torch, transformers, tokenizers)
        },
    }
