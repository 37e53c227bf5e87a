"""Training data: examples, how a batch is made of them, how dev is scored.

python -m pytest tests/finetune/training/test_data.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from mcbert.features.corpus.repeats import FEWEST_PAIRS, translations_of
from mcbert.features.encoder.tokens import ids_in_use
from mcbert.finetune.evaluation import Pairs, Score, Tokens, Transfer, compute_logits, score_languages
from mcbert.finetune.training.callback import DevScores, Evaluate


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Training examples, and how dev is scored; the loss is the mean cross-entropy of the model's logits.

    With `weights` it is the sum over the examples, each times its label's weight, over their number.
    """

    rows: Sequence[Any]
    """Training examples, any objects that `collate` takes."""

    lengths: np.ndarray
    """Tokens that each takes in a batch in which it is the longest, int64 (n_rows,)."""

    ids: tuple[str, ...]
    """Of each example, for messages."""

    token_ids: np.ndarray
    """Every id that a batch of train or dev can hold, int64, distinct, ascending: only their word embeddings
    are in the model while it trains, and it refuses others."""

    collate: Callable[[list[Any]], Mapping[str, Any]]
    """Makes of examples what the model's forward takes, and ``labels``: the right column of each row of its
    logits, int64."""

    evaluate: Evaluate
    """Scores dev."""

    weights: np.ndarray | None = None
    """Of each label in the loss, float64 (n_labels,); None: 1. Dev scores are not weighted."""


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

    sample_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Texts of each language that these were drawn from; empty: these are all."""

    def taken(self, rows: np.ndarray) -> Texts:
        """Return some of the texts, bool (n_texts,); these where it is all of them."""
        if rows.all():
            return self
        places = np.flatnonzero(rows).tolist()
        names, counts = np.unique(self.language, return_counts=True)
        return Texts(
            tokens=[self.tokens[k] for k in places],
            y=self.y[rows],
            language=self.language[rows],
            ids=tuple(self.ids[k] for k in places),
            sample_of=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        )

    def scores(self, logits: np.ndarray) -> dict[str, Score]:
        """Score each language from logits, float (n_texts, n_labels)."""
        return {
            name: dataclasses.replace(score, sample_of=self.sample_of.get(name))
            for name, score in score_languages(logits, self.y, self.language).items()
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallel:
    """Tokenised sentences and their translations, of target languages whose dev texts are not translated."""

    tokens: Tokens = ()
    """Of both."""

    pairs: Pairs = dataclasses.field(default_factory=dict)
    """Rows of `tokens`."""


def classification(
    tokenizer: PreTrainedTokenizerBase,
    train: Texts,
    dev: Texts,
    *,
    source_language: str,
    balanced: bool = False,
    parallel: Parallel | None = None,
) -> TrainingData:
    """Return the data of a sequence classifier; `balanced`: labels weigh the same in its loss."""
    more, n = parallel or Parallel(), len(dev.y)
    pairs = {**translated(dev, source_language), **{name: n + rows for name, rows in more.pairs.items()}}
    source, scored = dev.language == source_language, [*dev.tokens, *more.tokens]

    def evaluate(model: PreTrainedModel) -> DevScores:
        outputs = compute_logits(model, tokenizer, scored, together=True)
        require_finite(outputs)
        logits = outputs[:n]
        return DevScores(
            scores=dev.scores(logits),
            predicted=logits.argmax(axis=1).astype(np.int64),
            transfer=Transfer.of(outputs, dev.y, source, pairs),
        )

    return TrainingData(
        rows=[{**tokens, "label": int(code)} for tokens, code in zip(train.tokens, train.y, strict=True)],
        lengths=np.array([len(tokens["input_ids"]) for tokens in train.tokens], dtype=np.int64),
        ids=train.ids,
        token_ids=ids_in_use(tokenizer, [*train.tokens, *scored]),
        collate=DataCollatorWithPadding(tokenizer),
        evaluate=evaluate,
        weights=balancing(train.y) if balanced else None,
    )


def translated(dev: Texts, source_language: str) -> Pairs:
    """Return the rows of source texts and of their translations, which their ids tell, by target language."""
    if len(dev.ids) != len(dev.y):
        return {}
    table = pd.DataFrame({"id": dev.ids, "label": dev.y, "language": dev.language, "split": "dev"})
    return translations_of(table, source_language, "dev", fewest=FEWEST_PAIRS)


def balancing(y: np.ndarray) -> np.ndarray:
    """Return the weight of each label, float64 (n_labels,), by which all labels weigh the same.

    As scikit-learn's `balanced`: the number of texts over that of the labels and of the label's own texts, so
    that the weights of the texts have mean 1. A label without texts, which has nothing to weigh, has 1.
    """
    counts = np.bincount(y)
    n_labels = np.count_nonzero(counts)
    return np.where(counts > 0, len(y) / (n_labels * np.maximum(counts, 1)), 1.0)


def require_finite(outputs: np.ndarray) -> None:
    """Raise FloatingPointError when a model's output is not finite."""
    if not np.isfinite(outputs).all():
        raise FloatingPointError("the model's output is not finite")
