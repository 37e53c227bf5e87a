"""Run a frozen encoder, cut after the deepest layer asked for, and pool each layer as soon as it is there."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mcbert.features.encoder import hardware
from mcbert.features.encoder.loading import load_encoder
from mcbert.features.encoder.pooling import pool, pool_sorted
from mcbert.features.encoder.stack import cut, drop_final_norm, first_parts
from mcbert.features.encoder.tokens import load_tokenizer, padded, require_vocabulary

Tokens = Sequence[Mapping[str, Sequence[int]]]
Pooler = Callable[[torch.Tensor], list[torch.Tensor]]


class PooledEncoder:
    """A frozen encoder that pools each asked layer as soon as it is computed.

    No more than one layer's token states live at a time.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    layers, poolings : sequences
        Layers to return, in this order.
    dtype : torch.dtype
        Of weights and activations; pooling is always float32.
    content_only : bool
        Leave the special tokens out of max and mean (the field's convention keeps them).
    model : PreTrainedModel, optional
        The encoder, loaded from `folder` already and its own to change; by default it is loaded.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        layers: Sequence[int],
        poolings: Sequence[str],
        dtype: torch.dtype = torch.float32,
        content_only: bool = False,
        model: PreTrainedModel | None = None,
    ) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.layers, self.poolings, self.content_only = tuple(layers), tuple(poolings), content_only
        self.device = hardware.device()
        hardware.keep_buffers()
        self.model = model if model is not None else load_encoder(folder)
        require_vocabulary(self.tokenizer, self.model, f"encoder.path: {folder}")
        if getattr(self.model.config, "tie_last_hidden_states", True) is False:
            drop_final_norm(self.model)  # its own configuration leaves the norm out of its states
        cut(self.model, max(layers))
        module: nn.Module = self.model
        module.eval().to(device=self.device, dtype=dtype)
        self.hidden_size = int(self.model.config.hidden_size)
        self._takes = inspect.signature(self.model.forward).parameters
        self._position = {layer: position for position, layer in enumerate(layers)}

    def takes(self, name: str) -> bool:
        """Return True if the encoder takes the tokenizer's input `name`; DistilBERT has no token types."""
        return name in self._takes

    def __call__(self, tokens: Tokens) -> torch.Tensor:
        """Encode tokenised texts.

        Parameters
        ----------
        tokens : sequence of mappings
            As the tokenizer returned for each text; padded here to the longest. Fastest when sorted by
            length.

        Returns
        -------
        Tensor
            (batch, n_layers, n_poolings, hidden), float32, on the encoder's device.
        """
        shape = (len(self.layers), len(self.poolings), len(tokens), self.hidden_size)
        states = torch.empty(shape, device=self.device)
        self.encode_into(states, tokens, torch.arange(len(tokens), device=self.device))
        return states.permute(2, 0, 1, 3)

    @torch.inference_mode()
    def encode_into(self, states: torch.Tensor, tokens: Tokens, rows: torch.Tensor) -> None:
        """Encode tokenised texts and write what each layer pools to, in the dtype of `states`.

        Parameters
        ----------
        states : Tensor
            (n_layers, n_poolings, n_texts, hidden), on the encoder's device; written at `rows` of its third
            dimension.
        tokens : sequence of mappings
            As for calling.
        rows : Tensor of int64
            (batch,), on the encoder's device.
        """
        batch = padded(self.tokenizer, tokens)
        special = batch.pop("special_tokens_mask", None)
        inputs = {
            name: tensor.to(self.device, non_blocking=True)
            for name, tensor in batch.items()
            if self.takes(name)
        }
        pooler = self._pooler(batch["attention_mask"].to(self.device), special)

        def put(layer: int, hidden_states: torch.Tensor) -> None:
            if layer in self._position:
                for target, vectors in zip(states[self._position[layer]], pooler(hidden_states), strict=True):
                    target.index_copy_(0, rows, vectors.to(states.dtype))

        with _watched(self.model, put):
            last = self.model(**inputs, return_dict=True)[0]
        put(int(self.model.config.num_hidden_layers), last)

    def _pooler(self, attention_mask: torch.Tensor, special: torch.Tensor | None) -> Pooler:
        """Return how to pool this batch: (batch, seq, hidden) to (batch, hidden) for each pooling."""
        if self.device.type == "cpu" and not self.content_only:
            lengths = attention_mask.sum(dim=1).tolist()
            if lengths == sorted(lengths):
                return lambda states: pool_sorted(states, lengths, self.poolings)
        every = attention_mask.bool()
        content = every
        if self.content_only and special is not None:
            content = every & ~special.bool().to(self.device)
            content = torch.where(content.any(dim=1, keepdim=True), content, every)
        masks = {"max": content, "mean": content, "cls": every, "last": every}
        return lambda states: [pool(states, masks[name], name) for name in self.poolings]


@contextmanager
def _watched(encoder: PreTrainedModel, put: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """Call `put` with each state that enters a block, 0 the first: all of them but the last."""
    count = iter(range(1 << 30))

    def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        put(next(count), args[0] if args else kwargs["hidden_states"])

    hooks = [
        part.register_forward_pre_hook(entering, with_kwargs=True)
        for part in dict.fromkeys(first_parts(encoder))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
