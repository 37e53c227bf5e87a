"""Confusion matrices and the scores read from them; used by every task of `python -m pipeline gridsearch`.

A confusion matrix is int64 of shape (n_classes, n_classes), true labels in rows, predictions in columns.
"""

import math
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
    """Return 2 TP and 2 TP + FP + FN of each class; of each matrix where there are several."""
    true_positives = np.diagonal(matrix, axis1=-2, axis2=-1)
    false_positives = matrix.sum(axis=-2) - true_positives
    false_negatives = matrix.sum(axis=-1) - true_positives
    return 2 * true_positives, 2 * true_positives + false_positives + false_negatives


def micro_f1(matrix: Ints) -> Fraction:
    """Micro-averaged F1, 2 sum(TP) / (2 sum(TP) + sum(FP) + sum(FN)), exact; 0 for an empty matrix."""
    numerators, denominators = _f1_parts(matrix)
    whole = int(denominators.sum())
    return Fraction(int(numerators.sum()), whole) if whole else Fraction(0)


def mean_micro_f1(matrices: Sequence[Ints]) -> float:
    """Mean of several languages' micro-F1, rounded once at the end, so that equal scores are equal numbers.

    Returns not-a-number where there is no language.
    """
    if not matrices:
        return float("nan")
    parts = [micro_f1(matrix).as_integer_ratio() for matrix in matrices]
    whole = math.lcm(*(denominator for _, denominator in parts))
    total = sum(numerator * (whole // denominator) for numerator, denominator in parts)
    return total / (whole * len(parts))  # Python rounds a quotient of whole numbers once


def scores(matrices: Ints) -> dict[str, npt.NDArray[np.float64]]:
    """Score many confusion matrices at once.

    Parameters
    ----------
    matrices : int64 array of shape (n, n_classes, n_classes)
        None of them empty.

    Returns
    -------
    dict of str to float64 array of shape (n,)
        `micro_f1`; `macro_f1`, the mean of the classes' F1, where a class with neither examples nor
        predictions counts 0; `accuracy`, which equals micro-F1 where a text has one label, as here.
    """
    numerators, denominators = _f1_parts(matrices)  # (n, n_classes)
    right = np.trace(matrices, axis1=-2, axis2=-1)
    return {
        "micro_f1": numerators.sum(axis=-1) / denominators.sum(axis=-1),
        "macro_f1": np.mean(numerators / np.maximum(denominators, 1), axis=-1),
        "accuracy": right / matrices.sum(axis=(-2, -1)),
    }
