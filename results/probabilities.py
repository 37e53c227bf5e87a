"""Scores of labels as probabilities: a temperature that fits them, their loss, how far two sets agree.

    shares = softmax(scores / temperature(scores, y))

Pure functions of arrays; the search and the fine-tuned models share them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.floating[Any]]

LEAST = 1e-3
"""The least probability is this over the number of labels: k-NN gives 0 to a label without a vote, whose
logarithm no temperature makes finite."""

TEMPERATURES = (-7.0, 7.0)  # natural logarithms of the least and the greatest looked at
PRECISION = 1e-7  # of the logarithm of a temperature
MOST_STEPS = 60  # of Newton's method, bisections included: 14 / 2^60 is far below the precision


def softmax(scores: Scores) -> Floats:
    """Return float64 shares of each row, (n, n_labels), that add up to 1."""
    shares = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares)


def estimator_scores(fitted: Any, columns: Floats) -> Floats | None:
    """Return scores of labels by a fitted scikit-learn classifier, (n, n_labels), whose softmax grades them.

    Logarithms of its probabilities where it has some, else its decision function; None where it has neither.
    """
    if hasattr(fitted, "predict_proba"):
        return log_shares(np.asarray(fitted.predict_proba(columns), dtype=np.float64))
    if not hasattr(fitted, "decision_function"):
        return None
    scores = np.asarray(fitted.decision_function(columns), dtype=np.float64)
    return np.stack([np.zeros(len(scores)), scores], axis=1) if scores.ndim == 1 else scores


def log_shares(shares: Floats) -> Floats:
    """Return the logarithms of shares, (n, n_labels), each at least `LEAST` over the number of labels."""
    return np.asarray(np.log(np.maximum(shares, LEAST / shares.shape[1])), dtype=np.float64)


def temperature(scores: Scores, y: npt.NDArray[np.int64]) -> float:
    """Return the temperature whose softmax(scores / temperature) fits labels best.

    Temperature scaling (Guo et al. 2017), with targets smoothed as Platt (1999) does: (n + 1) / (n + 2) for
    the true label, since scores that are right everywhere would ask for certainty. The rest goes to the
    likeliest of the others. A share for each of them would grow with the labels: of 34, whose 132 dev texts
    were all labelled rightly by votes, it made probabilities of 0.23.

    The loss is convex in the inverse temperature s, with derivative mean(E[score] - target score) under
    softmax(s * scores) and second derivative mean(Var[score]): Newton's method, kept by bisection within
    `TEMPERATURES`.

    Parameters
    ----------
    scores : array of shape (n_texts, n_labels)
        Float; of any size and origin.
    y : int64 array of shape (n_texts,)
        Label codes; at least one.
    """
    n, rows = len(y), np.arange(len(y))
    values = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    true = values[rows, y]
    others = values.copy()
    others[rows, y] = -np.inf
    target = float(((n + 1) * true + others.max(axis=1)).sum() / (n + 2))
    low, high = -TEMPERATURES[1], -TEMPERATURES[0]  # of the logarithm of s
    at = float(np.clip(-np.log(max(values.std(), 1e-300)), low, high))
    for _ in range(MOST_STEPS):
        s = float(np.exp(at))
        shares = softmax(values * s)
        mean = np.einsum("ij,ij->i", shares, values)
        slope = float(mean.sum()) - target
        low, high = (low, at) if slope > 0 else (at, high)
        curvature = float(np.einsum("ij,ij,ij->", shares, values, values) - mean @ mean)
        ahead = s - slope / curvature if curvature > 0 else 0.0
        step = float(np.log(ahead)) if ahead > 0 else -np.inf
        step = step if low < step < high else (low + high) / 2
        if abs(step - at) < PRECISION:
            break
        at = step
    return float(np.exp(-at))


def log_loss(shares: Floats, y: npt.NDArray[np.int64]) -> float:
    """Return the mean of -log of the true label's share, in nats."""
    true = shares[np.arange(len(y)), y]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def agreement(a: Floats, b: Floats) -> float:
    """Return how far the shares of texts and those of their translations agree, beyond chance.

    (c - e) / (1 - e), c the mean over pairs of the Bhattacharyya coefficient sum(sqrt(a * b)), e the same
    over all pairings of a text with a translation: sum(mean(sqrt(a)) * mean(sqrt(b))). With shares of 0 and 1
    it is Cohen's kappa (Educational and Psychological Measurement 20, 1960). 1: equal in every pair; 0: no
    more than by chance, also where all texts have the same shares.

    Parameters
    ----------
    a, b : float64 arrays of shape (n_pairs, n_labels)
        Rows add up to 1.
    """
    roots = np.sqrt(a), np.sqrt(b)
    observed = float(np.einsum("ij,ij->", *roots)) / len(a)
    expected = float(roots[0].mean(axis=0) @ roots[1].mean(axis=0))
    return (observed - expected) / (1 - expected) if expected < 1 - 1e-12 else 0.0
