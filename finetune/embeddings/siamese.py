"""A siamese encoder: two sentences go through the same encoder, and an objective compares their vectors.

python -m pytest tests/finetune/embeddings/test_siamese.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.utils.generic import ModelOutput

from mcbert.finetune.model import MCBertModel, PooledModel
from mcbert.finetune.model_config import MCBertConfig


class SoftmaxObjective(nn.Module):
    """A linear layer over (u, v, |u - v|): Reimers and Gurevych (2019), arXiv 1908.10084, section 3.

    Parameters
    ----------
    width : int
        Columns of u and of v.
    n_labels : int
        Labels of a pair.
    dropout : float
        Share of the layer's input dropped in training.
    """

    def __init__(self, width: int, *, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(3 * width, n_labels)

    def forward(self, u: torch.Tensor, v: torch.Tensor, blocked: torch.Tensor | None = None) -> torch.Tensor:
        """Return (n, n_labels) of u and v, (n, width)."""
        logits: torch.Tensor = self.classifier(self.dropout(torch.cat([u, v, (u - v).abs()], dim=-1)))
        return logits


class RankingObjective(nn.Module):
    """Scaled cosines between the sentences of a batch: Henderson and others (2017), arXiv 1705.00652.

    Parameters
    ----------
    scale : float
        Factor of the cosines.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, u: torch.Tensor, v: torch.Tensor, blocked: torch.Tensor | None = None) -> torch.Tensor:
        """Return the scaled cosine of each row of v, (m, width), and each of u, (n, width).

        Parameters
        ----------
        blocked : Tensor, optional
            (n, m), bool: pairs that are not compared, since v is no wrong answer to u.

        Returns
        -------
        Tensor
            (n, m).
        """
        logits = self.scale * nn.functional.normalize(u, dim=-1) @ nn.functional.normalize(v, dim=-1).T
        return logits if blocked is None else logits.masked_fill(blocked, torch.finfo(logits.dtype).min)


OBJECTIVES: dict[str, Callable[..., nn.Module]] = {
    "softmax": lambda width, n_labels, dropout, scale: SoftmaxObjective(
        width, n_labels=n_labels, dropout=dropout
    ),
    "ranking": lambda width, n_labels, dropout, scale: RankingObjective(scale),
}
"""``embeddings.objective`` -> its module."""


class SiameseConfig(MCBertConfig):
    """Config of `SiameseEncoder`: that of the pooled encoder, and the objective of its training.

    Parameters
    ----------
    objective : str
        A key of `OBJECTIVES`.
    scale : float
        Factor of the cosines in the objective ``ranking``.
    """

    model_type = "mcbert-siamese"

    def __init__(
        self,
        encoder_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        *,
        objective: str = "softmax",
        scale: float = 20.0,
        **kwargs: Any,
    ) -> None:
        self.objective, self.scale = objective, scale
        super().__init__(encoder_config, **kwargs)


@dataclasses.dataclass
class SiameseOutput(ModelOutput):
    """Output of a siamese encoder."""

    logits: torch.Tensor | None = None
    """(n, n_labels) or (n, m), of the objective; None where no other sentences were given."""

    pooler_output: torch.Tensor | None = None
    """Vectors of the sentences, (n, width), float32."""


class SiameseEncoder(PooledModel):
    """Pooled states of the chosen layers as a sentence's vector, and an objective over two of them."""

    config_class = SiameseConfig

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__(config)
        self.objective = OBJECTIVES[config.objective](
            self.width, n_labels=config.num_labels or 0, dropout=config.dropout, scale=config.scale
        )
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        other: Mapping[str, torch.Tensor] | None = None,
        blocked: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SiameseOutput:
        """Encode sentences, and compare them with others.

        Parameters
        ----------
        input_ids, attention_mask : Tensor
            (n, seq), int64, of the sentences u; other arguments are the encoder's.
        other : mapping of str to Tensor, optional
            The same of the sentences v, (m, another seq).
        blocked : Tensor, optional
            (n, m), bool: pairs that take no part in ``ranking``.
        """
        u = self.pooled(input_ids, attention_mask, input_ids=input_ids, **kwargs)
        if other is None:
            return SiameseOutput(pooler_output=u)
        mask, rest = other["attention_mask"], {k: v for k, v in other.items() if k != "attention_mask"}
        v = self.pooled(other["input_ids"], mask, **rest)
        with torch.autocast(u.device.type, enabled=False):  # 8 bits are too few for scaled cosines
            return SiameseOutput(logits=self.objective(u.float(), v.float(), blocked), pooler_output=u)

    def alone(self) -> MCBertModel:
        """Return the encoder without its objective, to be saved; it shares the weights."""
        config = MCBertConfig(
            encoder_config=self.config.encoder_config,
            layers=self.config.layers,
            pooling=self.config.pooling,
            dropout=0.0,
        )
        model = MCBertModel(config)
        model.encoder = self.encoder
        model.train(False)
        return model
