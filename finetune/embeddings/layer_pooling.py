"""A module for sentence-transformers: pooled states of several layers, concatenated.

    SentenceTransformer("models/embeddings-st", trust_remote_code=True)

`finetune.embeddings.sentence_transformer` puts a copy of this file, with the pooling in it, into the folders
that it writes; it needs torch alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from mcbert.features.encoder.pooling import pool


class LayerPooling(nn.Module):
    """Pool some of the encoder's layers and concatenate them.

    Parameters
    ----------
    layers : sequence of int
        Layers, 0 the embeddings.
    poolings : sequence of str
        ``max``, ``mean``, ``cls`` or ``last`` for each of them.
    hidden_size : int
        Columns of a layer.
    """

    def __init__(self, layers: Sequence[int], poolings: Sequence[str], hidden_size: int) -> None:
        super().__init__()
        self.layers, self.poolings, self.hidden_size = list(layers), list(poolings), hidden_size

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add ``sentence_embedding``, (batch, n_layers * hidden_size), float32, to the encoder's output."""
        if "all_layer_embeddings" not in features or "attention_mask" not in features:
            raise ValueError(
                "LayerPooling: needs all hidden states and a padded batch; load the model without flash "
                "attention and keep config_args of its sentence_bert_config.json"
            )
        states, mask = features["all_layer_embeddings"], features["attention_mask"]
        chosen = zip(self.layers, self.poolings, strict=True)
        features["sentence_embedding"] = torch.cat([pool(states[k], mask, one) for k, one in chosen], dim=-1)
        return features

    def get_sentence_embedding_dimension(self) -> int:
        """Return the length of a vector."""
        return len(self.layers) * self.hidden_size

    def save(self, output_path: str, **_: Any) -> None:
        """Write the configuration, and this file into the model's folder, where the library looks for it."""
        config = {"layers": self.layers, "poolings": self.poolings, "hidden_size": self.hidden_size}
        (Path(output_path) / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        shutil.copy(__file__, Path(output_path).parent)

    @classmethod
    def load(cls, input_path: str) -> Self:
        """Read the module from its folder."""
        return cls(**json.loads((Path(input_path) / "config.json").read_text(encoding="utf-8")))
