"""Export: phase one's winner as a model folder, the frozen encoder with the searched classifier as its head.

    python -m pipeline export --config demo

A classifier over standardised pooled states is a linear layer over the raw ones: the standardisation
folds into its weights. Reads ``winner.json``, ``probe.npz`` and the feature cache; writes ``models/probe``.
"""

from __future__ import annotations

import dataclasses
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from features.corpus import Corpus
from features.encoder.tokens import load_tokenizer
from features.store import FeatureStore
from finetune.model import Decision, MCBertForSequenceClassification, count_votes
from finetune.saved import save_model
from finetune.winner import read_winner

log = logging.getLogger(__name__)

FOLDER = "models/probe"
PROBABILISTIC = ("logistic_regression", "lda")  # softmax of their scores is their own probability
ROWS_AT_ONCE = 1024
TEMPERATURES = (-7.0, 7.0)  # natural logarithms of the least and the greatest looked at


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportInputs:
    """What the export reads."""

    winner: Path
    """``winner.json`` of phase one; the probe lies beside it."""

    store: Path
    """Folder of the feature cache that was searched."""

    corpus: Corpus
    """The corpus whose rows the cache has."""

    encoder: Path
    """Local folder of the encoder."""

    encoder_name: str
    """Its name as stamped on results."""

    max_length: int
    """Tokens kept of a text when the cache was made."""


@dataclasses.dataclass(frozen=True)
class Head:
    """A linear layer over raw pooled states.

    Attributes
    ----------
    weights : float64 array of shape (d, n_scores)
    bias : float64 array of shape (n_scores,)
    decision : {"linear", "pairwise"}
        Whether scores belong to labels or to pairs of labels.
    """

    weights: np.ndarray
    bias: np.ndarray
    decision: Decision

    def logits(self, X: np.ndarray, n_labels: int) -> np.ndarray:
        """Return float64 (n, n_labels) of states (n, d)."""
        scores: np.ndarray = X.astype(np.float64) @ self.weights + self.bias
        if self.decision == "linear":
            return scores
        return np.asarray(count_votes(torch.from_numpy(scores), n_labels).numpy())


def export(inputs: ExportInputs, out: Path) -> list[str]:
    """Write the winner as a model.

    Parameters
    ----------
    out : Path
        The run's folder.

    Returns
    -------
    list of str
        Files written, relative to `out`.

    Raises
    ------
    ValueError
        A winner that is no head of weights (k-NN), is damaged, or was searched on states that the model would
        not compute.
    """
    corpus = inputs.corpus
    winner = read_winner(inputs.winner, corpus.labels, inputs.encoder_name)
    probe = _read_probe(inputs.winner, winner)
    store = FeatureStore.open(inputs.store)
    if store.fingerprint["special_tokens"] != "include":
        raise ValueError(
            f'{inputs.winner}: it was searched with extract.special_tokens = "exclude", but a model pools '
            'over the special tokens too; search with "include" to export'
        )
    layers, pooling = [int(layer) for layer in probe["layers"]], str(probe["pooling"])
    head = fold(probe)
    temperature = _temperature(head, store, corpus, winner, states=(layers, pooling))
    model = MCBertForSequenceClassification.from_encoder(
        inputs.encoder, layers, pooling=pooling, dropout=0.0, labels=corpus.labels, decision=head.decision
    )
    model.config.probability_temperature = temperature
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(head.weights.T))
        model.classifier.bias.copy_(torch.from_numpy(head.bias))
    folder = out / FOLDER
    save_model(
        model,
        load_tokenizer(inputs.encoder),
        folder,
        max_length=inputs.max_length,
        card=describe(winner, temperature, head.decision),
    )
    log.info("export: %s -> %s", winner["candidate_id"], folder)
    return [f"{FOLDER}/{name}" for name in ("config.json", "model.safetensors", "README.md")]


def fold(probe: Mapping[str, np.ndarray]) -> Head:
    """Make a head over raw states of a probe over standardised ones.

    (x - mean) / scale @ W + b  =  x @ (W / scale) + (b - mean / scale @ W). The one machine of a binary SVM
    becomes the score of its first label, that of the second being 0.

    Parameters
    ----------
    probe : mapping
        ``kind``, linear or pairwise, and ``mean`` (d,), ``scale`` (d,), ``weights`` (d, n_scores),
        ``intercept`` (n_scores,).
    """
    weights = probe["weights"].astype(np.float64) / probe["scale"][:, None]
    bias = probe["intercept"] - probe["mean"] @ weights
    if str(probe["kind"]) == "linear":
        return Head(weights, bias, "linear")
    if weights.shape[1] > 1:
        return Head(weights, bias, "pairwise")
    return Head(np.hstack([weights, np.zeros_like(weights)]), np.append(bias, 0.0), "linear")


def calibrate(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature whose softmax(logits / temperature) fits labels best.

    Temperature scaling (Guo et al. 2017), with targets smoothed as Platt (1999) does,
    (n + 1) / (n + n_labels) for the true label: without it, logits that are right everywhere
    would ask for certainty.

    Parameters
    ----------
    logits : ndarray
        (n_texts, n_labels), float.
    y : ndarray of int
        (n_texts,), label codes; at least one.
    """
    n, n_labels = logits.shape
    targets = np.full(logits.shape, 1 / (n + n_labels))
    targets[np.arange(n), y] = (n + 1) / (n + n_labels)

    def loss(exponent: float) -> float:
        scaled = logits / np.exp(exponent)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        normal = np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return float((targets * (normal - scaled)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=TEMPERATURES, method="bounded").x))


def describe(winner: Mapping[str, Any], temperature: float, decision: Decision) -> str:
    """Return the model card, Markdown."""
    test = (winner.get("scores") or {}).get("test_f1") or {}
    scores = "".join(f"| {language} | {value:.3f} |\n" for language, value in test.items())
    table = (
        f"\n| language | test micro-F1 |\n|---|---|\n{scores}" if scores else "\nNot scored on test texts.\n"
    )
    return f"""---
library_name: transformers
pipeline_tag: text-classification
---

# {winner["candidate_id"]}

A classifier found by a search over a frozen encoder: pooled states of `{winner["encoder"]}`, concatenated,
layers {", ".join(map(str, winner["layers"]))} by {winner["pooling"].replace("+", ", ")}, and a
{winner["classifier"]} (parameters {winner["params"]}) whose standardisation is folded into the head's
weights. The encoder's weights are the original ones, cut after the deepest layer used.

Labels: {", ".join(winner["labels"])}. Trained on texts in {winner["source_language"]}; chosen by the protocol
{winner["protocol"]}.
{table}
## How it decides

{_DECISIONS[decision]}

## Probabilities

{_probabilities(winner, temperature)}

## Use

    python -m pipeline predict --model THIS_FOLDER --input texts.csv --output labels.csv

    import finetune.model  # registers the class
    AutoModelForSequenceClassification.from_pretrained("THIS_FOLDER")
"""


_DECISIONS: dict[Decision, str] = {
    "linear": "The logits are the classifier's scores, one for each label; the largest decides.",
    "pairwise": "A machine for each pair of labels votes, as libsvm does; the logits are the votes, and the "
    "first label wins a tie. Votes are not a linear head: this model cannot be fine-tuned with labels.",
}


def _probabilities(winner: Mapping[str, Any], temperature: float) -> str:
    if winner["classifier"] in PROBABILISTIC:
        return "softmax(logits), the classifier's own."
    return (
        f"softmax(logits / {temperature:.6g}): the classifier has none of its own, so the temperature was "
        "fitted to the dev texts of the source language (`probability_temperature` in config.json). "
        "It says nothing of how sure the model may be in another language. The library's own pipelines do "
        "not apply it."
    )


def _temperature(
    head: Head,
    store: FeatureStore,
    corpus: Corpus,
    winner: Mapping[str, Any],
    *,
    states: tuple[list[int], str],
) -> float:
    """Return the temperature of the head's probabilities, fitted where the classifier has none of its own."""
    if winner["classifier"] in PROBABILISTIC:
        return 1.0
    rows = corpus.rows(split="dev", language=corpus.source_language)
    rows = rows[store.index[rows] >= 0]
    layers, pooling = states
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    logits = [
        head.logits(store.states(layers=layers, pooling=pooling, rows=part), len(corpus.labels))
        for part in parts
    ]
    return calibrate(np.concatenate(logits), corpus.y[rows])


def _read_probe(path: Path, winner: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the winner's probe, which lies beside winner.json; nothing in the file is executed."""
    probe = path.with_name("probe.npz")
    names = ("kind", "layers", "pooling", "mean", "scale", "weights", "intercept")
    try:
        with np.load(probe, allow_pickle=False) as archive:
            found = {name: archive[name] for name in names}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{probe}: not a probe of gridsearch ({error})") from error
    kind = str(found["kind"])
    if kind not in ("linear", "pairwise"):
        raise ValueError(
            f"{path}: classifier: got {winner.get('classifier')!r}, which decides by {kind} among all train "
            "texts and is no head of weights; leave it out of gridsearch.classifiers and search again under "
            "another run name (--run); accepted: logistic_regression, linear_svm, ridge, lda"
        )
    return found
