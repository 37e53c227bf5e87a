"""Confusion matrices and scores computed from them; used by every task of `python -m mcbert gridsearch`.

A confusion matrix is int64 of shape (n_classes, n_classes), true labels in rows, predictions in columns.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Score = Fraction | float
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


def pack(matrix: Ints) -> list[int]:
    """Return the cells of a confusion matrix that are not 0 as pairs, cell and count, one after the other.

    A cell's number is `true * n_classes + predicted`. There are at most as many as texts, whatever the number
    of classes.
    """
    flat = matrix.ravel()
    cells = np.flatnonzero(flat)
    pairs: list[int] = np.stack([cells, flat[cells]], axis=1).ravel().tolist()
    return pairs


def unpack(packed: Sequence[int], n_classes: int) -> Ints:
    """Undo `pack`."""
    matrix = np.zeros(n_classes**2, dtype=np.int64)
    matrix[np.asarray(packed[::2], dtype=np.int64)] = packed[1::2]
    return matrix.reshape(n_classes, n_classes)


def packed_f1(packed: Sequence[int], n_classes: int) -> Fraction:
    """Return the micro-F1 of a packed matrix, exact; 0 for an empty one.

    Where every text has one label, as here, it is the accuracy.
    """
    pairs = list(zip(packed[::2], packed[1::2], strict=True))
    right = sum(count for cell, count in pairs if cell % (n_classes + 1) == 0)
    whole = sum(count for _, count in pairs)
    return Fraction(right, whole) if whole else Fraction(0)


def packed_macro_f1(packed: Sequence[int], n_classes: int) -> float:
    """Return the macro-F1 of a packed matrix: the mean of the classes' F1; 0 for an empty one.

    The sum is rounded once, so that it does not depend on the order of the classes. A class with neither
    examples nor predictions counts 0.
    """
    right, either = [0] * n_classes, [0] * n_classes
    for cell, count in zip(packed[::2], packed[1::2], strict=True):
        true, predicted = divmod(cell, n_classes)
        either[true] += count
        either[predicted] += count
        if true == predicted:
            right[true] = count
    return math.fsum(2 * r / e for r, e in zip(right, either, strict=True) if e) / n_classes


SCORERS: Mapping[str, Callable[[Sequence[int], int], Score]] = {
    "f1_micro": packed_f1,
    "f1_macro": packed_macro_f1,
    "accuracy": packed_f1,
}
"""Functions that compute a metric from a packed matrix and the number of classes."""


def mean_score(scores: Sequence[Score]) -> float:
    """Return the mean of several languages' scores, rounded once at the end; see `mean_f1`."""
    exact = [score for score in scores if isinstance(score, Fraction)]
    return mean_f1(exact) if len(exact) == len(scores) else math.fsum(scores) / len(scores)


def mean_f1(scores: Sequence[Fraction]) -> float:
    """Return the mean of several languages' scores, rounded once, so that equal means are equal numbers.

    NaN where there is no language.
    """
    if not scores:
        return float("nan")
    parts = [score.as_integer_ratio() for score in scores]
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
        `f1_micro`; `f1_macro`, the mean of the classes' F1, where a class with neither examples nor
        predictions counts 0.
    """
    numerators, denominators = _f1_parts(matrices)  # (n, n_classes)
    return {
        "f1_micro": numerators.sum(axis=-1) / denominators.sum(axis=-1),
        "f1_macro": np.mean(numerators / np.maximum(denominators, 1), axis=-1),
    }
