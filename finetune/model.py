"""MC-BERT: an encoder whose chosen layers are pooled, concatenated, and classified by one linear layer.

    import mcbert.finetune.model  # registers the class
    AutoModelForSequenceClassification.from_pretrained("results/runs/demo/models/mcbert")

The encoder ends at the deepest layer used and has no pooler: what feeds nothing is not in the model.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from mcbert.features.encoder.loading import load_encoder
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.stack import bare_encoder, cut, drop_final_norm
from mcbert.finetune.model_config import MCBertConfig


class PooledModel(PreTrainedModel):
    """An encoder whose chosen layers are pooled and concatenated."""

    config_class = MCBertConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean over the batch, not over accumulated steps
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: MCBertConfig) -> None:
        super().__init__(config)
        self.encoder = bare_encoder(config.encoder_config)
        if config.cut:
            drop_final_norm(self.encoder)
        self.blocks = config.features.blocks
        self.width = len(self.blocks) * config.encoder_config.hidden_size

    def post_init(self) -> None:
        """Finish the construction, last in every subclass's own; transformers declares no types for it."""
        PreTrainedModel.post_init(self)

    @classmethod
    def from_encoder(
        cls,
        folder: str | os.PathLike[str],
        layers: Sequence[int],
        *,
        pooling: str,
        dropout: float,
        labels: Sequence[str],
        **head: Any,
    ) -> Self:
        """Take a pretrained encoder; a head is newly initialised.

        Parameters
        ----------
        folder : Path
            Local folder of the encoder.
        layers : sequence of int
            Layers that feed the head; the encoder is cut after the deepest.
        labels : sequence of str
            Label names in the order of their codes.
        head
            What else the config takes, such as ``decision`` of `MCBertConfig`.
        """
        encoder = load_encoder(folder)
        depth = encoder.config.num_hidden_layers
        cut(encoder, max(layers))
        config = cls.config_class(
            encoder_config=copy.deepcopy(encoder.config),
            cut=encoder.config.num_hidden_layers < depth,
            layers=layers,
            pooling=pooling,
            dropout=dropout,
            **head,
            **label_names(labels),
        )
        model = cls(config)
        model.encoder.load_state_dict(encoder.state_dict())
        return model

    def pooled(
        self, given: torch.Tensor | None, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor:
        """Return the pooled states of the layers, concatenated, (batch, width); `given` tells the shape."""
        if given is None:
            raise ValueError("forward: got neither input_ids nor inputs_embeds")
        if attention_mask is None:
            attention_mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        taken = inspect.signature(self.encoder.forward).parameters  # T5 and DistilBERT read no token types
        kwargs = {name: value for name, value in kwargs.items() if value is not None and name in taken}
        kwargs |= {"output_hidden_states": sorted(set(self.config.layers)), "return_dict": True}
        states = self.encoder(attention_mask=attention_mask, **kwargs).hidden_states
        return torch.cat([pool(states[layer], attention_mask, one) for layer, one in self.blocks], dim=-1)


class MCBertModel(PooledModel):
    """Pooled states of the chosen layers, concatenated: what a classifier outside the model decides from."""

    def __init__(self, config: MCBertConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Return the states, (batch, width), as `pooler_output`; (batch, seq), int64, are what it takes."""
        kwargs |= {"input_ids": input_ids, "token_type_ids": token_type_ids}
        return BaseModelOutputWithPooling(pooler_output=self.pooled(input_ids, attention_mask, **kwargs))


class MCBertForSequenceClassification(PooledModel):
    """Pooled states of the chosen layers, concatenated, dropout, linear; hidden layers first by option."""

    feature_mean: torch.Tensor
    feature_scale: torch.Tensor

    def __init__(self, config: MCBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels or 0
        self.dropout = nn.Dropout(config.dropout)
        if config.standardised:
            self.register_buffer("feature_mean", torch.zeros(self.width))
            self.register_buffer("feature_scale", torch.ones(self.width))
        widths = [self.width, *[config.encoder_config.hidden_size] * config.head_layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        n_pairs = self.num_labels * (self.num_labels - 1) // 2
        self.classifier = nn.Linear(widths[-1], n_pairs if config.decision == "pairwise" else self.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classify texts or pairs.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids : Tensor
            (batch, seq), int64; without a mask every token is real.
        inputs_embeds : Tensor, optional
            (batch, seq, hidden) instead of `input_ids`.
        labels : Tensor, optional
            (batch,), int64; asks for the loss.

        Returns
        -------
        SequenceClassifierOutput
            `logits` (batch, n_labels) and, with labels, `loss`, the mean cross-entropy.

        Raises
        ------
        ValueError
            Nothing to read; labels for a model whose logits are votes, which have no gradient.
        """
        if labels is not None and self.config.decision == "pairwise":
            raise ValueError("forward: labels: got some, but this model's logits are votes: it has no loss")
        given = input_ids if input_ids is not None else inputs_embeds
        kwargs |= {"input_ids": input_ids, "inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        states = self.pooled(given, attention_mask, **kwargs).to(self.classifier.weight.dtype)
        if self.config.standardised:
            states = (states - self.feature_mean) / self.feature_scale
        for layer in self.hidden:
            states = nn.functional.gelu(layer(self.dropout(states)))  # (batch, hidden)
        logits = self.classifier(self.dropout(states))  # (batch, n_labels), or (batch, n_pairs)
        if self.config.decision == "pairwise":
            logits = count_votes(logits, self.num_labels)
        logits = logits / self.config.probability_temperature
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def count_votes(scores: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Count the votes of one-vs-one scores, as libsvm does.

    Parameters
    ----------
    scores : Tensor
        (batch, n_pairs) over (0, 1), (0, 2), ..., positive where the first of a pair wins.

    Returns
    -------
    Tensor
        (batch, n_labels), whole numbers in the dtype of `scores`; `argmax` gives a tie to the lower label.
    """
    first, second = torch.triu_indices(n_labels, n_labels, offset=1, device=scores.device)
    won = (scores > 0).to(scores.dtype)
    votes = scores.new_zeros(len(scores), n_labels)
    return votes.index_add(1, first, won).index_add(1, second, 1 - won)


def label_names(labels: Sequence[str]) -> dict[str, Any]:
    """Return a config's two label maps."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: k for k, label in enumerate(labels)}}


AutoConfig.register("mcbert", MCBertConfig, exist_ok=True)
AutoModel.register(MCBertConfig, MCBertModel, exist_ok=True)
AutoModelForSequenceClassification.register(MCBertConfig, MCBertForSequenceClassification, exist_ok=True)
