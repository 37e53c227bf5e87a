"""Probabilities that mean what they say: a temperature fitted to the source language's dev texts.

python -m pytest tests/finetune/test_calibration.py
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.model_config import MCBertConfig
from mcbert.results.probabilities import softmax, temperature

if TYPE_CHECKING:  # labelling texts can do without
    from mcbert.features.cache import FeatureStore
    from mcbert.features.corpus.corpus import Corpus
    from mcbert.finetune.training.data import Texts

log = logging.getLogger(__name__)

BINS = 15  # of the expected calibration error, as Guo et al. 2017
ROWS_AT_ONCE = 1024
THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and the calibration of a classifier before and after its scores are divided by it."""

    temperature: float
    """softmax(scores / temperature) are the probabilities."""

    n_texts: int
    """Dev texts of the source language that it was fitted to."""

    before: float
    """Expected calibration error of softmax(scores), 0 to 1."""

    after: float
    """The same of softmax(scores / temperature), on the texts that the temperature was fitted to."""

    abstaining: tuple[tuple[float, float, float], ...]
    """Threshold, share of texts whose label is at least so probable, share of these that are right (0 of
    none)."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the calibration whose `dataclasses.asdict` went through JSON."""
        return cls(**{**record, "abstaining": tuple(map(tuple, record["abstaining"]))})


def calibration_of(scores: np.ndarray, y: np.ndarray) -> Calibration:
    """Fit a temperature, and measure the calibration with and without it.

    Parameters
    ----------
    scores : ndarray
        (n_texts, n_labels), float.
    y : ndarray of int
        (n_texts,), label codes; at least one.
    """
    fitted = temperature(scores, y)
    before, after = softmax(scores), softmax(scores / fitted)
    likeliest, right = after.max(axis=1), after.argmax(axis=1) == y
    answered = [(threshold, likeliest >= threshold) for threshold in THRESHOLDS]
    return Calibration(
        temperature=fitted,
        n_texts=len(y),
        before=expected_calibration_error(before, y),
        after=expected_calibration_error(after, y),
        abstaining=tuple(
            (threshold, float(some.mean()), float(right[some].mean()) if some.any() else 0.0)
            for threshold, some in answered
        ),
    )


def expected_calibration_error(shares: np.ndarray, y: np.ndarray) -> float:
    """Return how far accuracy is from the likeliest label's probability, over bins of that probability.

    The mean over texts of abs(accuracy - mean probability) of their bin (Guo et al. 2017).

    Parameters
    ----------
    shares : ndarray
        (n_texts, n_labels), rows that add up to 1.
    y : ndarray of int
        (n_texts,), label codes; at least one.
    """
    likeliest = shares.max(axis=1)
    gap = (shares.argmax(axis=1) == y) - likeliest
    bins = np.minimum((likeliest * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, weights=gap, minlength=BINS)).sum() / len(y))


def fit_calibration(
    scores: Callable[[np.ndarray], np.ndarray],
    store: FeatureStore,
    corpus: Corpus,
    *,
    layers: Sequence[int],
    pooling: str,
) -> Calibration | None:
    """Return the calibration of scores on the source language's dev texts; None where it has none.

    Parameters
    ----------
    scores : callable
        Raw states (n, d) -> (n, n_labels).
    store : FeatureStore
        The cache of the corpus's states; texts that it skipped take no part.
    """
    rows = corpus.rows(split="dev", language=corpus.source_language)
    rows = rows[store.index[rows] >= 0]
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    if not parts:
        return None
    return calibration_of(
        np.concatenate([scores(store.states(layers=layers, pooling=pooling, rows=part)) for part in parts]),
        corpus.y[rows],
    )


def calibrate_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dev: Texts, source_language: str
) -> Calibration | None:
    """Divide a model's logits by the temperature that fits the source language's dev texts; no label changes.

    Parameters
    ----------
    dev : Texts
        Of all languages.

    Returns
    -------
    Calibration or None
        None, and the model as it was, where there are no such texts, or no head whose scores could be scaled.
    """
    source = dev.language == source_language
    if not source.any():
        return None
    logits = compute_logits(model, tokenizer, dev.tokens, together=True)  # in the stage's batches, to the bit
    return calibrate(model, logits[source], dev.y[source])


def calibrate(model: PreTrainedModel, logits: np.ndarray, y: np.ndarray) -> Calibration | None:
    """Divide a model's logits by the temperature that fits those of some texts to their labels.

    Parameters
    ----------
    logits : ndarray
        (n_texts, n_labels), float, of the model as it is.
    y : ndarray of int
        (n_texts,), label codes.

    Returns
    -------
    Calibration or None
        None, and the model as it was, where there are no texts, or no head whose scores could be scaled.
    """
    if not len(y):
        return None
    found = calibration_of(logits, y)
    return found if divide_logits(model, found.temperature) else None


def divide_logits(model: PreTrainedModel, temperature: float) -> bool:
    """Have a model give logits / temperature; return whether it could be done.

    A model of this project divides by itself. The weights of one of transformers' own take the division
    in: what loads it knows of no temperature.
    """
    if isinstance(model.config, MCBertConfig):
        model.config.probability_temperature *= temperature
        return True
    inner = set(model.base_model.modules())
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        and module not in inner
        and module.out_features == model.config.num_labels
    ]
    if not heads:
        log.warning("%s: its head is no linear layer: not calibrated", type(model).__name__)
        return False
    with torch.no_grad():
        for parameter in heads[-1].parameters():
            parameter.div_(temperature)
    return True
