"""The classifier of phase one as a layer of a model: over standardised states, or folded over raw ones.

python -m pytest tests/pipeline/stages/test_finetune.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mcbert.files.arrays import read_arrays
from mcbert.finetune.model import MCBertForSequenceClassification, count_votes
from mcbert.finetune.model_config import Decision

PROBE = ("kind", "mean", "scale", "weights", "intercept")

ProbeWeights = Mapping[str, np.ndarray]
"""``kind``, linear or pairwise, and arrays: mean, scale (d,), weights (d, n_scores), intercept."""


@dataclasses.dataclass(frozen=True)
class LinearHead:
    """A linear layer over pooled states.

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


def read_probe(path: Path) -> ProbeWeights | None:
    """Return a probe that gridsearch wrote, None where it is no head of weights; nothing is executed.

    Raises
    ------
    ValueError
        The file is damaged or absent.
    """
    found = read_arrays(path, PROBE, "a probe of gridsearch")
    if str(found["kind"]) not in ("linear", "pairwise"):
        return None
    (d, *_), (n_scores, *_) = (found[name].shape or (0,) for name in ("mean", "intercept"))
    for name, shape in (
        ("mean", (d,)),
        ("scale", (d,)),
        ("weights", (d, n_scores)),
        ("intercept", (n_scores,)),
    ):
        array = found[name]
        if array.dtype.kind != "f" or array.shape != shape or not np.isfinite(array).all():
            given = f"{array.dtype.str} of shape {array.shape}"
            raise ValueError(f"{path}: {name}: got {given}, accepted: finite floats of shape {shape}")
    if not found["scale"].all():
        raise ValueError(f"{path}: scale: got 0, accepted: other numbers")
    return found


def standardised_head(probe: ProbeWeights) -> LinearHead:
    """Return a probe's layer over standardised states.

    The one score of a binary SVM becomes that of its first label, that of the second being 0.
    """
    weights, bias = probe["weights"].astype(np.float64), probe["intercept"].astype(np.float64)
    if str(probe["kind"]) == "linear":
        return LinearHead(weights, bias, "linear")
    if weights.shape[1] > 1:
        return LinearHead(weights, bias, "pairwise")
    return LinearHead(np.hstack([weights, np.zeros_like(weights)]), np.append(bias, 0.0), "linear")


def fold(probe: ProbeWeights) -> LinearHead:
    """Return a head over raw states of a probe over standardised ones.

    (x - mean) / scale @ W + b  =  x @ (W / scale) + (b - mean / scale @ W).
    """
    head = standardised_head(probe)
    weights = head.weights / probe["scale"][:, None]
    return LinearHead(weights, head.bias - probe["mean"] @ weights, head.decision)


def start_from_probe(path: Path, model: MCBertForSequenceClassification, temperature: float) -> None:
    """Put a probe into a model whose config says ``standardised``: its head, mean and scale.

    The head stays over standardised states, whose columns are of one size, so that one learning rate suits
    them all. Its scores are divided by the temperature, which changes no label: ridge's and LDA's are no
    log-odds, and the loss starts from what they say only when they are scaled to be.

    Parameters
    ----------
    path : Path
        The probe's file.
    temperature : float
        softmax(scores / temperature) are the probabilities.

    Raises
    ------
    ValueError
        A damaged probe; one of votes, which have no gradient; one for other columns or labels.
    """
    probe = read_probe(path)
    head = None if probe is None else standardised_head(probe)
    if probe is None or head is None or head.decision == "pairwise":
        raise ValueError(
            f"{path}: it decides by votes, which have no gradient to train; accepted: a probe with a "
            "score for each label"
        )
    wanted = (model.classifier.in_features, model.classifier.out_features)
    if head.weights.shape != wanted:
        raise ValueError(f"{path}: weights: got shape {head.weights.shape}, accepted: {wanted}")
    with torch.no_grad():
        model.feature_mean.copy_(torch.from_numpy(probe["mean"]))
        model.feature_scale.copy_(torch.from_numpy(probe["scale"]))
        model.classifier.weight.copy_(torch.from_numpy(head.weights.T / temperature))
        model.classifier.bias.copy_(torch.from_numpy(head.bias / temperature))
