"""Fast fits of each classifier on a feature set; called by the tasks of `python -m mcbert gridsearch`.

A route takes a `Representation` and the unfitted scikit-learn estimator, solves that estimator's problem
where it is cheapest, and returns the decision function. Closed forms (ridge, LDA) and votes (k-NN) come from
sums that the classifiers of a feature set share, the SVM is fitted by scikit-learn itself on the summed
kernel, logistic regression by `search.fitting.logistic`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.svm import SVC

from mcbert.results.probabilities import estimator_scores, log_shares
from mcbert.search.data import Floats, Ints, Reals, RowSelection
from mcbert.search.fitting.logistic import FLOOR, curvature_at_zero, minimise_log_loss
from mcbert.search.fitting.probe import Kind, decide_linear, neighbour_votes, one_vs_one_votes
from mcbert.search.fitting.representation import Representation
from mcbert.search.fitting.solvers import DualSolver, LinearSolver, PrimalSolver

NEIGHBOURS_AT_ONCE = 1024  # evaluation texts whose distances are held


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted classifier.

    Attributes
    ----------
    kind : linear, pairwise, neighbours or plain
        The decision rule; pairwise is one-vs-one.
    weights : float64 array of shape (n_columns or n_texts, n_classes or n_pairs)
        Of columns, or dual coefficients of the distinct train texts; empty for neighbours and plain.
    intercept : float64 array of shape (n_classes or n_pairs,)
    dual : bool
        Whether weights are dual coefficients.
    n_neighbors : int
        Only neighbours.
    estimator : object
        Only plain: the fitted scikit-learn estimator over the standardised columns.
    """

    kind: Kind | Literal["plain"]
    weights: Reals = field(default_factory=lambda: np.empty((0, 0)))
    intercept: Floats = field(default_factory=lambda: np.empty(0))
    dual: bool = False
    n_neighbors: int = 0
    estimator: Any = None


Route = Callable[[Representation, Any], Fitted]


def _codes(predicted: Any) -> Ints:
    """Return what an estimator predicts as label codes; refuse a regressor's numbers in between."""
    codes = np.asarray(predicted).astype(np.int64)
    if not np.array_equal(codes, predicted):
        raise ValueError("predict gave numbers between the label codes, accepted: a classifier, no regressor")
    return codes


def predict(representation: Representation, fitted: Fitted) -> Ints:
    """Return the label codes of the distinct evaluation texts, int64 of shape (n_eval_texts,)."""
    return decide_linear(label_scores(representation, fitted))


def label_scores(representation: Representation, fitted: Fitted) -> Reals:
    """Return a score of each label for the distinct evaluation texts, (n_eval_texts, n_classes).

    Linear scores, or votes of pairs of labels (of two labels the linear score and 0) or of neighbours; of an
    estimator that only predicts, 1 for the label that it predicts. The largest decides.
    """
    if fitted.kind == "plain":
        codes = _codes(fitted.estimator.predict(representation.eval_columns.astype(np.float64)))
        return _one_each(codes, representation.rows)
    if fitted.kind == "neighbours":
        return _neighbour_votes(representation, fitted.n_neighbors)
    scores = representation.scores(fitted.weights, dual=fitted.dual) + fitted.intercept
    if fitted.kind == "linear":
        return scores
    one_pair = scores.shape[1] == 1
    return np.hstack([scores, np.zeros_like(scores)]) if one_pair else one_vs_one_votes(scores)


def graded_scores(representation: Representation, fitted: Fitted) -> Reals | None:
    """Return scores of the distinct evaluation texts whose softmax grades the labels, as an export has them.

    Those of `label_scores`; of neighbours and of an estimator of scikit-learn the logarithms of its
    probabilities, or its decision function; None where it has neither.
    """
    if fitted.kind == "plain":
        return estimator_scores(fitted.estimator, representation.eval_columns.astype(np.float64))
    scores = label_scores(representation, fitted)
    if fitted.kind == "neighbours":
        return log_shares(np.asarray(scores / scores.sum(axis=1, keepdims=True)))
    return scores


def _one_each(codes: Ints, rows: RowSelection) -> Floats:
    """Return 1 for the label predicted and 0 for others.

    Raises
    ------
    ValueError
        A user's classifier does not predict a label code for each text.
    """
    n_texts, last = len(rows.eval_rows), rows.n_classes - 1
    if codes.shape != (n_texts,) or codes.min() < 0 or codes.max() > last:
        raise ValueError(
            f"predict: got label codes from {codes.min()} to {codes.max()} of shape "
            f"{codes.shape}, accepted: 0 to {last}, ({n_texts},)"
        )
    return np.eye(rows.n_classes)[codes]


def plain(representation: Representation, estimator: Any) -> Fitted:
    """Fit on the standardised columns of all train rows: right for every estimator, and the slowest."""
    rows = representation.rows
    estimator.fit(representation.train_columns[rows.train_text].astype(np.float64), rows.train_y)
    return Fitted(kind="plain", estimator=estimator)


def linear_solver(representation: Representation, dtype: type[np.floating[Any]] = np.float64) -> LinearSolver:
    """Return the cheaper form for linear weights; products with them are in `dtype`."""
    if representation.by_gram:
        gram = representation.gram.astype(dtype, copy=False)
        return DualSolver(gram, representation.layers[0].counts)
    return PrimalSolver(representation.layers, dtype)


def logistic_regression(representation: Representation, estimator: Any) -> Fitted:
    """Minimise with float32 products; accept a point where scikit-learn would stop, else let it do the fit.

    Steps are found by slopes, not by differences of the loss, so float32 converges where float64 does, unless
    the penalty is so weak that the dual coefficients cancel. scikit-learn then stops far from the minimum,
    too, and a user who asks for such a penalty gets the weights at which it stops.
    """
    rows = representation.rows
    weighted = _members(rows) * _class_weights(estimator, rows)
    counts = _by_text(rows.pair_text, weighted, representation.n_texts).T
    solver = linear_solver(representation, np.float32)
    n = float(counts.sum())
    penalty = 1 / (float(estimator.C) * n)
    size = representation.n_texts if solver.dual else representation.n_columns
    mean_diagonal = representation.scatter_trace / size
    if penalty * n / curvature_at_zero(rows.n_classes) < FLOOR * mean_diagonal:
        return plain(representation, estimator)
    found = minimise_log_loss(solver, counts, penalty=penalty, tol=estimator.tol, max_iter=estimator.max_iter)
    if found.gradient_norm > estimator.tol and _largest(representation, found.gradient) > estimator.tol:
        return plain(representation, estimator)
    weights, intercept = _one_column_per_class(found.weights.T, found.intercept)
    return Fitted(kind="linear", weights=weights, intercept=intercept, dual=solver.dual)


def ridge(representation: Representation, estimator: Any) -> Fitted:
    """Solve the normal equations for targets -1 and 1, centred, as RidgeClassifier does."""
    rows, solver = representation.rows, linear_solver(representation)
    if estimator.class_weight is not None:
        return _weighted_ridge(representation, solver, estimator)
    members = _members(rows)
    targets = 2 * members - rows.pair_count[:, None]  # of all rows of a pair together
    targets = targets if rows.n_classes > 2 else targets[:, 1:]
    mean = targets.sum(axis=0) / len(rows.train_y)
    centred = _by_text(rows.pair_text, targets - mean * rows.pair_count[:, None], representation.n_texts)
    solved = solver.factorized(float(estimator.alpha))(solver.from_dual(centred.T))
    weights, intercept = _one_column_per_class(solved.T, mean)
    return Fitted(kind="linear", weights=weights, intercept=intercept, dual=solver.dual)


def _weighted_ridge(representation: Representation, solver: LinearSolver, estimator: Any) -> Fitted:
    """Solve the same with a weight for each row, and so with the weighted means of columns and targets.

    With D the weights of the texts, s their sum, m the columns' weighted mean and A = X^T D X + alpha I, the
    matrix of the normal equations is A - s m m^T; by the Sherman-Morrison formula its inverse is
    A^-1 + s a a^T / (1 - s m^T a), a = A^-1 m. In primal form A would be a scatter of its own for every
    weighting: there scikit-learn solves it.
    """
    rows = representation.rows
    weight = rows.pair_count * _class_weights(estimator, rows)[rows.pair_y]
    of_text = _by_text(rows.pair_text, weight[:, None], representation.n_texts)[:, 0]
    weighted = solver.reweighted(of_text)
    if weighted is None:
        estimator.set_params(class_weight=None)
        estimator.fit(representation.train_columns[rows.pair_text].astype(np.float64), rows.pair_y, weight)
        found, intercept = _one_column_per_class(np.atleast_2d(estimator.coef_).T, estimator.intercept_)
        return Fitted(kind="linear", weights=found, intercept=intercept)
    targets = 2 * np.eye(rows.n_classes)[rows.pair_y] - 1
    targets = targets if rows.n_classes > 2 else targets[:, 1:]
    total = weight.sum()
    mean, share = weight @ targets / total, of_text / total
    centred = _by_text(rows.pair_text, weight[:, None] * (targets - mean), representation.n_texts)
    solve = weighted.factorized(float(estimator.alpha))
    solved, along = solve(solver.from_dual(centred.T)), solve(solver.from_dual(share[None]))
    reached = solver.scores(solved) @ share, solver.scores(along) @ share  # m^T of both
    solved = solved + along * (total * reached[0] / (1 - total * reached[1]))[:, None]
    weights, intercept = _one_column_per_class(solved.T, mean - solver.scores(solved) @ share)
    return Fitted(kind="linear", weights=weights, intercept=intercept, dual=solver.dual)


def lda(representation: Representation, estimator: Any) -> Fitted:
    """Fit LDA with shrinkage s, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s).

    The shrunk covariance is (1 - s) W + s t I with W the within-class covariance and t = tr(W) / d. W is the
    scatter X^T D X / n less that of the class means M, of rank n_classes, so with A = (1 - s) X^T D X / n +
    s t I and G the weighted class sizes, (A - M G M^T)^-1 M = A^-1 M (I - G M^T A^-1 M)^-1 by the Woodbury
    formula.
    """
    rows, solver = representation.rows, linear_solver(representation)
    n, members = len(rows.train_y), _members(rows)
    sizes = members.sum(axis=0)
    average = _by_text(rows.pair_text, members / sizes, representation.n_texts).T  # (n_classes, n_texts)
    means = solver.from_dual(average)
    between = solver.scores(means) @ average.T  # (n_classes, n_classes), M^T M
    total = representation.scatter_trace
    shrinkage = float(estimator.shrinkage)
    within = total - float(sizes @ np.diag(between))  # trace of the within-class scatter
    variance = within / n / representation.n_columns or 1.0  # all constant
    if shrinkage == 1:
        solved = means / variance
    else:
        rest = (1 - shrinkage) / n
        solved = solver.factorized(shrinkage * variance / rest)(means) / rest  # A^-1 M
        inner = solver.scores(solved) @ average.T  # symmetric
        solved = np.linalg.solve(np.eye(len(sizes)) - inner * (rest * sizes), solved)
    intercept = np.log(sizes / n) - 0.5 * np.diag(solver.scores(solved) @ average.T)
    return Fitted(kind="linear", weights=solved.T, intercept=intercept, dual=solver.dual)


def linear_svm(representation: Representation, estimator: Any) -> Fitted:
    """Fit libsvm on the summed kernel, or on columns where that is too large; a row counts its duplicates."""
    rows, dual = representation.rows, representation.has_gram
    if estimator.class_weight is not None:  # of all rows, where libsvm would count the distinct ones
        estimator.set_params(class_weight=dict(enumerate(_class_weights(estimator, rows).tolist())))
    if not dual:
        estimator.fit(representation.train_columns[rows.pair_text], rows.pair_y, rows.pair_count)
        weights = np.asarray(estimator.coef_).T
    else:
        svc: SVC = estimator.set_params(kernel="precomputed")
        kernel = representation.gram
        if len(rows.pair_text) > representation.n_texts:  # a text with several labels
            kernel = kernel[np.ix_(rows.pair_text, rows.pair_text)]
        svc.fit(kernel, rows.pair_y, rows.pair_count)
        weights = _by_text(rows.pair_text[svc.support_], _one_vs_one_dual(svc), representation.n_texts)
    sign = -1.0 if rows.n_classes == 2 else 1.0  # scikit-learn negates those of a binary SVC
    intercept = sign * np.asarray(estimator.intercept_)
    return Fitted(kind="pairwise", weights=sign * weights, intercept=intercept, dual=dual)


def knn(representation: Representation, estimator: Any) -> Fitted:
    """Fit nothing: the train texts and their kernel are the model."""
    return Fitted(kind="neighbours", n_neighbors=int(estimator.n_neighbors))


ROUTES: dict[str, Route] = {
    "plain": plain,
    "logistic_regression": logistic_regression,
    "ridge": ridge,
    "lda": lda,
    "linear_svm": linear_svm,
    "knn": knn,
}


def _neighbour_votes(representation: Representation, n_neighbors: int) -> Floats:
    rows = representation.rows
    one_label_each = len(rows.pair_text) == representation.n_texts
    parts = []
    for start in range(0, len(rows.eval_rows), NEIGHBOURS_AT_ONCE):
        closeness = representation.closeness(slice(start, start + NEIGHBOURS_AT_ONCE))
        parts.append(
            neighbour_votes(
                closeness if one_label_each else closeness[:, rows.pair_text],
                rows.pair_y,
                counts=rows.pair_count,
                n_neighbors=n_neighbors,
                n_classes=rows.n_classes,
            )
        )
    return np.concatenate(parts)


def _members(rows: RowSelection) -> Floats:
    """Return how many train rows of each class a distinct (text, label) stands for, (n_pairs, n_classes)."""
    return np.eye(rows.n_classes)[rows.pair_y] * rows.pair_count[:, None]


def _class_weights(estimator: Any, rows: RowSelection) -> Floats:
    """Return the weight of each class, (n_classes,): 1, or balanced as in scikit-learn."""
    if estimator.class_weight is None:
        return np.ones(rows.n_classes)
    counts = np.bincount(rows.train_y, minlength=rows.n_classes)
    return np.asarray(len(rows.train_y) / (rows.n_classes * counts))


def _largest(representation: Representation, gradient: Floats) -> float:
    """Return the largest entry of a gradient over columns."""
    over_texts = representation.by_gram
    return float(np.abs(representation.column_weights(gradient.T) if over_texts else gradient).max())


def _one_column_per_class(weights: Reals, intercept: Floats) -> tuple[Reals, Floats]:
    """Return a binary classifier with a zero column for class 0, so that the largest score decides."""
    if weights.shape[1] > 1:
        return weights, np.asarray(intercept)
    return np.hstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], np.ravel(intercept)])


def _by_text(text: Ints, values: Floats, n_texts: int) -> Floats:
    """Sum the rows of `values`, (n, m), that belong to the same text: (n_texts, m)."""
    sums = np.zeros((n_texts, values.shape[1]))
    np.add.at(sums, text, values)
    return sums


def _one_vs_one_dual(svc: SVC) -> Floats:
    """Return libsvm's dual coefficients, (n_classes - 1, n_support), as (n_support, n_pairs)."""
    ends = np.cumsum(svc.n_support_)
    starts = ends - svc.n_support_
    first, second = np.triu_indices(len(ends), k=1)
    dual = np.zeros((len(svc.support_), len(first)))
    for column, (a, b) in enumerate(zip(first, second, strict=True)):
        dual[starts[a] : ends[a], column] = svc.dual_coef_[b - 1, starts[a] : ends[a]]
        dual[starts[b] : ends[b], column] = svc.dual_coef_[a, starts[b] : ends[b]]
    return dual
