"""What a training learns from and how its dev set is scored; classification of texts is one such task.

python -m pytest tests/finetune/training/test_tasks.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from finetune.evaluation import Score, Tokens, compute_logits, score_languages
from finetune.training.callback import Evaluate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a training learns from, and how dev is scored; its loss is the mean cross-entropy of logits."""

    rows: Sequence[Any]
    """Training examples, any objects that `collate` takes."""

    lengths: np.ndarray
    """Tokens that each takes in a batch in which it is the longest, int64 (n_rows,)."""

    ids: tuple[str, ...]
    """Of each example, for messages."""

    collate: Callable[[list[Any]], Mapping[str, Any]]
    """Makes of examples what the model's forward takes, and ``labels``: the right column of each row of its
    logits, int64."""

    evaluate: Evaluate
    """Scores dev."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """Tokenised texts with their labels and languages."""

    tokens: Tokens
    """Not padded."""

    y: np.ndarray
    """Label codes, int64 (n_texts,)."""

    language: np.ndarray
    """Of each text, (n_texts,)."""

    ids: tuple[str, ...] = ()
    """Of each text, for messages."""


def classification(tokenizer: PreTrainedTokenizerBase, train: Texts, dev: Texts) -> Task:
    """Return the task of a sequence classifier."""

    def evaluate(model: PreTrainedModel) -> tuple[Mapping[str, Score], np.ndarray]:
        logits = compute_logits(model, tokenizer, dev.tokens, together=True)
        require_finite(logits)
        return score_languages(logits, dev.y, dev.language), logits.argmax(axis=1).astype(np.int64)

    return Task(
        rows=[{**tokens, "label": int(code)} for tokens, code in zip(train.tokens, train.y, strict=True)],
        lengths=np.array([len(tokens["input_ids"]) for tokens in train.tokens], dtype=np.int64),
        ids=train.ids,
        collate=DataCollatorWithPadding(tokenizer),
        evaluate=evaluate,
    )


def require_finite(outputs: np.ndarray) -> None:
    """Raise FloatingPointError when a model's output is not finite."""
    if not np.isfinite(outputs).all():
        raise FloatingPointError("the model's output is not finite")
