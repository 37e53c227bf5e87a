"""Score every language from one pass over the texts, and choose an epoch from the scores.

python -m pytest tests/finetune/test_evaluation.py
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.features.encoder.tokens import plan_batches
from mcbert.finetune.training import ranks
from mcbert.results.probabilities import agreement, log_loss, softmax, temperature

TOKENS_PER_BATCH = 2048
"""Most padded tokens of an evaluation batch."""

Tokens = Sequence[dict[str, list[int]]]
"""Of each text, as the tokenizer returns it: ``input_ids`` and the like, not padded."""


Pairs = Mapping[str, np.ndarray]
"""By target language, int64 (2, n_pairs): rows of source texts and of their translations."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy and loss on the texts of one language."""

    accuracy: float
    """Share of texts classified correctly."""

    loss: float
    """Mean cross-entropy, nats."""

    n_texts: int
    """Texts scored."""

    sample_of: int | None = None
    """Texts that these were drawn from; None: these are all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Dev scores at a moment of a training; a training's history is a list of these."""

    epoch: int
    """Epochs completed."""

    step: int
    """Optimiser steps made; 0: before training."""

    scores: Mapping[str, Score]
    """Per language."""

    frozen: tuple[int, ...] = ()
    """Layers that were frozen while it was trained up to here."""

    seconds: float = 0.0
    """Since the start of the training."""

    train_loss: float | None = None
    """Mean training loss since the evaluation before; None before training."""

    log_loss: float | None = None
    """Of the source language, nats, its logits divided by the temperature that fits them; None without its
    texts."""

    agreement: float | None = None
    """Of the probabilities of source texts and of their translations, beyond chance, mean over the target
    languages (`results.probabilities`); None where there are no such pairs."""

    gradient_norms: tuple[float, ...] = ()
    """Mean norm of the gradient of each layer, 0 (embeddings) to the deepest, over the steps since the
    evaluation before, not clipped, 0 for frozen layers; empty before training and where no rule asks."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the evaluation whose `dataclasses.asdict` went through JSON."""
        restored: dict[str, Any] = {
            "scores": {name: Score(**score) for name, score in record["scores"].items()},
            "frozen": tuple(record["frozen"]),
            "gradient_norms": tuple(record["gradient_norms"]),
        }
        return cls(**{**record, **restored})


def compute_logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Tokens, *, together: bool = False
) -> np.ndarray:
    """Run the model over texts in batches of similar length, without gradient and dropout.

    Parameters
    ----------
    model : PreTrainedModel
        A sequence classifier; its training mode is restored afterwards.
    tokens : sequence of dict
        Tokenised texts, not padded.
    together : bool
        Whether all processes of a shared training call this with the same texts: each runs its part.

    Returns
    -------
    ndarray
        (n_texts, n_labels), float32, in the order of `tokens`.
    """
    width = model.config.num_labels or 0
    return _compute(model, tokenizer, tokens, field="logits", width=width, together=together)


def compute_states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Tokens, *, together: bool = False
) -> np.ndarray:
    """Return what an `MCBertModel` pools, float32 (n_texts, width), as `compute_logits` does."""
    width = len(model.config.layers) * model.config.encoder_config.hidden_size
    return _compute(model, tokenizer, tokens, field="pooler_output", width=width, together=together)


def _compute(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: Tokens,
    *,
    field: str,
    width: int,
    together: bool,
) -> np.ndarray:
    share = (ranks.rank(), ranks.count()) if together else (0, 1)
    lengths = np.array([len(text["input_ids"]) for text in tokens], dtype=np.int64)
    outputs = np.zeros((len(tokens), width), dtype=np.float32)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for rows in itertools.islice(plan_batches(lengths, TOKENS_PER_BATCH), share[0], None, share[1]):
            batch = tokenizer.pad([tokens[row] for row in rows], return_tensors="pt").to(model.device)
            outputs[rows] = getattr(model(**batch), field).float().cpu().numpy()
    model.train(was_training)
    return ranks.summed(outputs) if together else outputs


def score_languages(logits: np.ndarray, y: np.ndarray, language: np.ndarray) -> dict[str, Score]:
    """Score each language.

    Parameters
    ----------
    logits : ndarray
        (n_texts, n_labels), float.
    y : ndarray of int
        (n_texts,), label codes.
    language : ndarray of str
        (n_texts,).

    Returns
    -------
    dict of str to Score
        In order of first appearance of the languages.
    """
    values = logits.astype(np.float64)
    shifted = values - values.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
    right = values.argmax(axis=1) == y
    return {
        str(name): Score(
            accuracy=float(right[language == name].mean()),
            loss=float(losses[language == name].mean()),
            n_texts=int((language == name).sum()),
        )
        for name in dict.fromkeys(language)
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer:
    """Scores that read no label of a target language."""

    log_loss: float
    """As in `Evaluation`."""

    agreement: float | None
    """As in `Evaluation`."""

    @classmethod
    def of(cls, logits: np.ndarray, y: np.ndarray, source: np.ndarray, pairs: Pairs) -> Self | None:
        """Score logits of dev texts, and of parallel sentences; None without texts of the source language.

        Parameters
        ----------
        logits : ndarray
            (n_texts + n_sentences, n_labels), float.
        y : ndarray of int
            (n_texts,), label codes; those of the source language are read.
        source : ndarray of bool
            (n_texts,), whether a text is in the source language.
        pairs : mapping of str to ndarray
            int64 (2, n_pairs), rows of source texts and of their translations, by target language.
        """
        if not source.any():
            return None
        rows = np.flatnonzero(source)
        shares = softmax(logits / temperature(logits[rows], y[rows]))
        agreed = [agreement(shares[texts], shares[translations]) for texts, translations in pairs.values()]
        return cls(
            log_loss=log_loss(shares[rows], y[rows]), agreement=float(np.mean(agreed)) if agreed else None
        )


def watched_score(evaluation: Evaluation, protocol: str, source_language: str) -> float:
    """Return the dev score that a protocol looks at.

    source-dev, target-dev: the accuracy of the source language, the mean of the targets'. agreement: the
    agreement less the source's log-loss, as in phase one (`search.selection`).
    """
    if protocol == "agreement":
        if evaluation.agreement is None or evaluation.log_loss is None:
            raise ValueError("agreement: no dev texts with translations")
        return evaluation.agreement - evaluation.log_loss
    if protocol == "source-dev":
        return evaluation.scores[source_language].accuracy
    targets = [score.accuracy for name, score in evaluation.scores.items() if name != source_language]
    return float(np.mean(targets))


def choose(history: Sequence[Evaluation], protocol: str, source_language: str) -> int:
    """Choose an evaluation, and so the weights of that moment, from dev scores alone.

    Parameters
    ----------
    history : sequence of Evaluation
        In order; the evaluation before training takes no part.
    protocol : str
        ``last``: the last; others: the best by `watched_score`, ties to the earlier one.

    Returns
    -------
    int
        Its place in `history`.
    """
    if protocol == "last":
        return len(history) - 1
    trained = range(1, len(history))
    return max(trained, key=lambda k: (watched_score(history[k], protocol, source_language), -k))
