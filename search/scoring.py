"""Confusion matrices and the scores read from them; used by every task of `python -m pipeline gridsearch`.

A confusion matrix is int64 of shape (n_classes, n_classes), true labels in rows, predictions in columns.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def confusion_matrices(y: Ints, predicted: Ints, *, group: Ints, n_groups: int, n_classes: int) -> Ints:
    """Count (true, predicted) pairs in each group of rows.

    Parameters
    ----------
    y, predicted, group : int64 arrays of shape (n,)
        True codes, predicted codes, group of each row.
    n_groups, n_classes : int

    Returns
    -------
    int64 array of shape (n_groups, n_classes, n_classes)
    """
    cells = (group * n_classes + y) * n_classes + predicted
    return np.bincount(cells, minlength=n_groups * n_classes**2).reshape(n_groups, n_classes, n_classes)


def _f1_parts(matrix: Ints) -> tuple[Ints, Ints]:
    """Return 2 TP and 2 TP + FP + FN of each class."""
    true_positives = np.diagonal(matrix)
    false_positives = matrix.sum(axis=0) - true_positives
    false_negatives = matrix.sum(axis=1) - true_positives
    return 2 * true_positives, 2 * true_positives + false_positives + false_negatives


def micro_f1(matrix: Ints) -> Fraction:
    """Micro-averaged F1, 2 sum(TP) / (2 sum(TP) + sum(FP) + sum(FN)), exact; 0 for an empty matrix."""
    numerators, denominators = _f1_parts(matrix)
    whole = int(denominators.sum())
    return Fraction(int(numerators.sum()), whole) if whole else Fraction(0)


def macro_f1(matrix: Ints) -> float:
    """Mean of the classes' F1; a class with neither examples nor predictions counts 0."""
    numerators, denominators = _f1_parts(matrix)
    return float(np.mean(numerators / np.maximum(denominators, 1)))


def accuracy(matrix: Ints) -> float:
    """Share of rows on the diagonal; 0 for an empty matrix. One label per text: the same as micro-F1."""
    return int(np.trace(matrix)) / max(int(matrix.sum()), 1)


def mean_micro_f1(matrices: Sequence[Ints]) -> float:
    """Mean of several languages' micro-F1, rounded once at the end, so that equal scores are equal numbers.

    Returns not-a-number where there is no language.
    """
    if not matrices:
        return float("nan")
    return float(sum((micro_f1(matrix) for matrix in matrices), start=Fraction(0)) / len(matrices))
