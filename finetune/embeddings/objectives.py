"""What a siamese encoder is asked: logits of pairs of sentence vectors, whose cross-entropy is the loss.

python -m pytest tests/finetune/embeddings/test_objectives.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


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
        What the cosines are multiplied by.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, u: torch.Tensor, v: torch.Tensor, blocked: torch.Tensor | None = None) -> torch.Tensor:
        """Return how near each row of v, (m, width), is to each of u, (n, width).

        Parameters
        ----------
        blocked : Tensor, optional
            (n, m), bool: where v is no wrong answer to u, and none at all.

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
