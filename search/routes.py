"""How each classifier is fitted on a feature set; called by the tasks of `python -m pipeline gridsearch`.

A route takes a `Representation` and the unfitted scikit-learn estimator, solves that estimator's problem
where it is cheapest, and returns what decides. Closed forms (ridge, LDA) and votes (k-NN) come from sums
that the classifiers of a feature set share; logistic regression and the SVM are fitted by scikit-learn
itself on Z and on the summed kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.svm import SVC

from search.kernels import Floats, Ints, Singles
from search.probe import Kind, decide_linear, decide_neighbours, decide_pairwise
from search.representation import Representation

NEIGHBOUR_BLOCK = 1024  # evaluation texts whose distances are held at once


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted classifier.

    Attributes
    ----------
    kind : linear, pairwise, neighbours or plain
        The decision rule.
    weights : float64 array of shape (n_columns or n_texts, n_classes or n_pairs)
        Over columns or distinct train texts, as the representation has it; empty for neighbours and plain.
    intercept : float64 array of shape (n_classes or n_pairs,)
    n_neighbors : int
        Only neighbours.
    estimator : object
        Only plain: the fitted scikit-learn estimator over the standardised columns.
    """

    kind: Kind | Literal["plain"]
    weights: Floats = field(default_factory=lambda: np.empty((0, 0)))
    intercept: Floats = field(default_factory=lambda: np.empty(0))
    n_neighbors: int = 0
    estimator: Any = None


Route = Callable[[Representation, Any], Fitted]


def predict(representation: Representation, fitted: Fitted) -> Ints:
    """Return the label codes of the distinct evaluation texts, int64 of shape (n_eval_texts,)."""
    if fitted.kind == "plain":
        return np.asarray(
            fitted.estimator.predict(representation.eval_columns.astype(np.float64)), dtype=np.int64
        )
    if fitted.kind == "neighbours":
        return _predict_neighbours(representation, fitted.n_neighbors)
    scores = representation.scores(fitted.weights) + fitted.intercept
    return decide_linear(scores) if fitted.kind == "linear" else decide_pairwise(scores)


def plain(representation: Representation, estimator: Any) -> Fitted:
    """Fit on the standardised columns of all train rows: right for every estimator, and the slowest."""
    rows = representation.rows
    estimator.fit(representation.train_columns[rows.train_text].astype(np.float64), rows.train_y)
    return Fitted(kind="plain", estimator=estimator)


def logistic_regression(representation: Representation, estimator: Any) -> Fitted:
    """Fit on Z; the penalty and the loss see inner products only, so the minimum is that of the columns.

    In float64: float32 takes 0.6 of the time, but its line search stalls 6e-3 of the scores' spread short
    of the minimum, three times as far as the tolerance does, and up to 0.2% of the predictions differ.
    """
    rows = representation.rows
    estimator.fit(representation.z[rows.train_text], rows.train_y)
    coefficients, intercept = _one_column_per_class(estimator.coef_.T, estimator.intercept_)
    return Fitted(kind="linear", weights=representation.weights(coefficients), intercept=intercept)


def ridge(representation: Representation, estimator: Any) -> Fitted:
    """Solve the normal equations on Z for targets -1 and 1, centred, as RidgeClassifier does."""
    rows, Z, n = representation.rows, representation.z, len(representation.rows.train_y)
    members = np.eye(rows.n_classes)[rows.pair_y]  # (n_pairs, n_classes)
    targets = 2 * members - 1 if rows.n_classes > 2 else 2 * members[:, 1:] - 1
    targets *= rows.pair_count[:, None]
    mean_target = targets.sum(axis=0) / n
    mean = rows.pair_count @ Z[rows.pair_text] / n  # (r,), zero but for rounding
    centred = representation.scatter - n * np.outer(mean, mean)
    right = _by_text(rows.pair_text, targets, len(Z)).T @ Z - n * np.outer(mean_target, mean)  # (m, r)
    coefficients = _solve(centred, right.T, float(estimator.alpha))
    weights, intercept = _one_column_per_class(coefficients, mean_target - mean @ coefficients)
    return Fitted(kind="linear", weights=representation.weights(weights), intercept=intercept)


def lda(representation: Representation, estimator: Any) -> Fitted:
    """Shrinkage LDA, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s), on Z.

    The shrunk covariance is (1 - s) W + s tr(W) / d I with W the within-class covariance and d the true
    number of columns. On the span of the train texts it acts as the same formula in Z's coordinates; outside
    it, class means have no part.
    """
    rows, Z, n = representation.rows, representation.z, len(representation.rows.train_y)
    members = np.eye(rows.n_classes)[rows.pair_y] * rows.pair_count[:, None]
    sizes = members.sum(axis=0)
    means = _by_text(rows.pair_text, members, len(Z)).T @ Z / sizes[:, None]  # (n_classes, r)
    within = (representation.scatter - (means * sizes[:, None]).T @ means) / n
    shrinkage = float(estimator.shrinkage)
    level = np.trace(within) / representation.n_columns or 1.0  # all columns constant
    coefficients = _solve((1 - shrinkage) * within, means.T, shrinkage * level)
    intercept = np.log(sizes / n) - 0.5 * np.einsum("kr,rk->k", means, coefficients)
    return Fitted(kind="linear", weights=representation.weights(coefficients), intercept=intercept)


def linear_svm(representation: Representation, estimator: Any) -> Fitted:
    """Fit libsvm on the summed kernel, or on Z where that kernel would be too large."""
    rows = representation.rows
    if not representation.small_kernels:
        estimator.fit(representation.z[rows.train_text], rows.train_y)
        weights = representation.weights(np.asarray(estimator.coef_).T)
    else:
        machine: SVC = estimator.set_params(kernel="precomputed")
        machine.fit(representation.gram[np.ix_(rows.train_text, rows.train_text)], rows.train_y)
        dual = _by_text(rows.train_text[machine.support_], _pairwise_dual(machine), representation.n_texts)
        weights = representation.weights_from_dual(dual)
    sign = -1.0 if rows.n_classes == 2 else 1.0  # scikit-learn turns the sign of a binary machine
    return Fitted(kind="pairwise", weights=sign * weights, intercept=sign * np.asarray(estimator.intercept_))


def knn(representation: Representation, estimator: Any) -> Fitted:
    """Nothing to fit: the train texts and their kernel are the model."""
    return Fitted(kind="neighbours", n_neighbors=int(estimator.n_neighbors))


def _predict_neighbours(representation: Representation, n_neighbors: int) -> Ints:
    rows = representation.rows
    norms = [np.einsum("ij,ij->i", b.train, b.train, dtype=np.float64) for b in representation.blocks]
    half_norms = (np.sum(norms, axis=0) / 2).astype(np.float32)
    one_label_each = len(rows.pair_text) == representation.n_texts
    parts = []
    for start in range(0, len(rows.eval_rows), NEIGHBOUR_BLOCK):
        # |x - t|^2 = |x|^2 + |t|^2 - 2 x.t: within a row, nearer is larger x.t - |t|^2 / 2
        closeness = _cross_rows(representation, slice(start, start + NEIGHBOUR_BLOCK)) - half_norms
        parts.append(
            decide_neighbours(
                closeness if one_label_each else closeness[:, rows.pair_text],
                rows.pair_y,
                counts=rows.pair_count,
                n_neighbors=n_neighbors,
                n_classes=rows.n_classes,
            )
        )
    return np.concatenate(parts)


def _cross_rows(representation: Representation, part: slice) -> Singles:
    if representation.small_kernels:
        return representation.cross[part]
    kernels = [block.evaluation[part] @ block.train.T for block in representation.blocks]
    return np.asarray(np.sum(kernels, axis=0, dtype=np.float32))


def _solve(matrix: Floats, right: Floats, diagonal: float) -> Floats:
    """Solve (matrix + diagonal * I) x = right; only the lower triangle of `matrix` is read."""
    raised = np.array(matrix, order="F")
    raised.flat[:: len(raised) + 1] += diagonal
    factor = cho_factor(raised, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, right, check_finite=False))


def _one_column_per_class(weights: Floats, intercept: Floats) -> tuple[Floats, Floats]:
    """Give a binary machine a zero column for class 0, so that the largest score decides."""
    if weights.shape[1] > 1:
        return weights, np.asarray(intercept)
    return np.hstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], np.ravel(intercept)])


def _by_text(text: Ints, values: Floats, n_texts: int) -> Floats:
    """Sum the rows of `values`, (n, m), that belong to the same text: (n_texts, m)."""
    sums = np.zeros((n_texts, values.shape[1]))
    np.add.at(sums, text, values)
    return sums


def _pairwise_dual(machine: SVC) -> Floats:
    """Unpack libsvm's dual coefficients, (n_classes - 1, n_support), to (n_support, n_pairs)."""
    ends = np.cumsum(machine.n_support_)
    starts = ends - machine.n_support_
    first, second = np.triu_indices(len(ends), k=1)
    dual = np.zeros((len(machine.support_), len(first)))
    for column, (a, b) in enumerate(zip(first, second, strict=True)):
        dual[starts[a] : ends[a], column] = machine.dual_coef_[b - 1, starts[a] : ends[a]]
        dual[starts[b] : ends[b], column] = machine.dual_coef_[a, starts[b] : ends[b]]
    return dual
