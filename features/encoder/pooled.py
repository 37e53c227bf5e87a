"""Run a frozen encoder, cut after the deepest layer asked for, and pool each layer as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from features.encoder.blocks import encoder_layers, load_encoder
from features.encoder.pooling import pool
from features.encoder.tokens import load_tokenizer


class PooledEncoder:
    """A frozen encoder that pools each asked layer as soon as it is computed.

    No more than one layer's token states live at a time.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    layers, poolings : sequences
        What to return, in this order.
    dtype : torch.dtype
        Of weights and activations; pooling is always float32.
    content_only : bool
        Leave the special tokens out of max and mean (the field's convention keeps them).
    """

    def __init__(
        self,
        folder: Path,
        *,
        layers: Sequence[int],
        poolings: Sequence[str],
        dtype: torch.dtype = torch.float32,
        content_only: bool = False,
    ) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.layers, self.poolings, self.content_only = tuple(layers), tuple(poolings), content_only
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = load_encoder(folder, max(layers))
        module: nn.Module = self.model
        module.eval().to(device=self.device, dtype=dtype)
        self.hidden_size = int(self.model.config.hidden_size)
        self._pooled: dict[int, torch.Tensor] = {}
        self._masks: dict[str, torch.Tensor] = {}
        blocks = encoder_layers(self.model)
        for layer in layers:
            if layer == 0:
                blocks[0].register_forward_pre_hook(self._keep_input, with_kwargs=True)
            else:
                blocks[layer - 1].register_forward_hook(self._keep_output(layer))

    def _keep_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._keep(0, args[0] if args else kwargs["hidden_states"])

    def _keep_output(self, layer: int) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            self._keep(layer, output[0] if isinstance(output, tuple) else output)

        return hook

    def _keep(self, layer: int, states: torch.Tensor) -> None:
        pooled = [pool(states, self._masks[name], name) for name in self.poolings]
        self._pooled[layer] = torch.stack(pooled, dim=1)  # (batch, n_poolings, hidden)

    @torch.inference_mode()
    def __call__(self, token_ids: Sequence[dict[str, list[int]]]) -> torch.Tensor:
        """Encode tokenised texts.

        Parameters
        ----------
        token_ids : sequence of dict
            What the tokenizer returned for each text; padded here to the longest.

        Returns
        -------
        Tensor
            (batch, n_layers, n_poolings, hidden), float32, on the CPU.
        """
        batch = self.tokenizer.pad(list(token_ids), return_tensors="pt")
        special = batch.pop("special_tokens_mask", None)
        inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
        every = inputs["attention_mask"].bool()
        content = every
        if self.content_only and special is not None:
            content = every & ~special.bool().to(self.device)
            content = torch.where(content.any(dim=1, keepdim=True), content, every)
        self._masks = {"max": content, "mean": content, "cls": every}
        self.model(**inputs)
        out = torch.stack([self._pooled[layer] for layer in self.layers], dim=1)
        self._pooled.clear()
        return out.cpu()
