"""Probabilities of classifiers that have none: a temperature fitted to the source language's dev texts.

python -m pytest tests/finetune/test_calibration.py
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

TEMPERATURES = (-7.0, 7.0)  # natural logarithms of the least and the greatest looked at


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return float64 shares of each row, (n, n_labels), that add up to 1."""
    values = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = values / values.sum(axis=1, keepdims=True)
    return shares


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
