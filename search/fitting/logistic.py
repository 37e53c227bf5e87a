"""Logistic regression with a preconditioner: scikit-learn's minimum in a fourth of its iterations.

L-BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5) whose initial inverse Hessian is
that of a weighted ridge regression, in the primal or the dual form of the feature set: first at zero weights,
after `RENEWAL` iterations, in dual form, at the point reached. Steps are found on the scores, without a
product with the data.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from mcbert.search.data import Floats, Reals
from mcbert.search.fitting.solvers import LinearSolver, Solve

MEMORY = 10  # pairs that L-BFGS keeps, as in scikit-learn
WOLFE = 0.1  # a step is taken where the slope along the direction has fallen to this share (c2 of Wolfe)
MOST_TRIALS = 30  # of one line search; Newton's method on a convex function takes 1 or 2
FLOOR = 1e-3  # least shift of the preconditioner, in mean diagonal entries: float32 then has a factor
RENEWAL = 6  # iterations after which the Hessian is taken anew; it halves what is left of 20 to 40
LEAST_CURVATURE = 0.05  # of the mean: texts classified with certainty would divide by zero

# s, y and s^T y of Nocedal and Wright: a step, the change of the gradient by it, and their inner product
Pair = tuple[Floats, Floats, float]


@dataclass(frozen=True)
class Minimum:
    """Where `minimise_log_loss` stopped.

    Attributes
    ----------
    weights : float64 array of shape (m, size)
        In the solver's form, of each class or, of two classes, of the second.
    intercept : float64 array of shape (m,)
    gradient : float64 array of shape (m, size)
        With respect to the weights.
    gradient_norm : float
        Its Euclidean norm, intercepts included.
    n_iter : int
    """

    weights: Floats
    intercept: Floats
    gradient: Floats
    gradient_norm: float
    n_iter: int


def curvature_at_zero(n_classes: int) -> float:
    """Return the second derivative of a text's log loss by its scores, where these are all zero.

    p (1 - p) with p = 1/2 of the sigmoid; of softmax, diag(p) - p p^T has the eigenvalue p = 1 / n_classes.
    """
    return 0.25 if n_classes == 2 else 1 / n_classes


def minimise_log_loss(
    solver: LinearSolver, counts: Floats, *, penalty: float, tol: float, max_iter: int
) -> Minimum:
    """Minimise the mean log loss of all train rows plus penalty / 2 times the squared norm of the weights.

    Parameters
    ----------
    solver : LinearSolver
        The feature set; columns are centred over the train rows.
    counts : float64 array of shape (n_classes, n_texts)
        Train rows of each distinct text by label.
    penalty : float
        1 / (C * n_train) for scikit-learn's C. The intercept is not penalised.
    tol : float
        Tolerance of the Euclidean norm of the gradient over columns and intercepts, which is no smaller than
        the largest entry that scikit-learn stops at.
    max_iter : int
        Most iterations.
    """
    loss = _LogLoss(counts, penalty)
    precondition = _inverse_hessian(solver, loss, loss.curvature_at_zero, loss.curvature_at_zero)
    scores = np.zeros((loss.n_scores, counts.shape[1]))  # of the train texts, intercept included
    point = np.zeros((2, loss.n_scores, solver.from_dual(scores).shape[1] + 1))
    pairs: deque[Pair] = deque(maxlen=MEMORY)
    gradient, norm = _gradient(solver, loss, point, scores)
    n_iter = 0
    while norm > tol and n_iter < max_iter:
        if n_iter == RENEWAL:
            curvatures = loss.curvatures(scores)
            reweighted = solver.reweighted(curvatures)
            if reweighted is not None:
                mean_curvature = float(curvatures.sum()) / loss.n_rows
                precondition = _inverse_hessian(reweighted, loss, 1.0, mean_curvature)
                pairs.clear()
        n_iter += 1
        partial, alphas = _first_loop(gradient[0], pairs)
        direction = _second_loop(precondition(partial), pairs, alphas)
        weight_scores = solver.scores(direction[:, :-1])
        direction_scores = weight_scores + direction[:, -1:]
        step = _with_metric(direction, solver.times_metric(direction[:, :-1], weight_scores))
        length = loss.line_search(
            scores, direction_scores, slope=_ridge_inner(step, point), curvature=_ridge_inner(step, step)
        )
        step *= length
        point, scores, before = point + step, scores + length * direction_scores, gradient
        gradient, norm = _gradient(solver, loss, point, scores)
        product = _inner(step, gradient - before)
        if product <= 0:  # nothing left but rounding: the loss is convex
            break
        pairs.append((step, gradient - before, product))
    return Minimum(point[0, :, :-1], point[0, :, -1], gradient[0, :, :-1], norm, n_iter)


class _LogLoss:
    """The mean log loss as a function of the scores of the distinct train texts, (m, n_texts)."""

    def __init__(self, counts: Floats, penalty: float) -> None:
        self.penalty, self.n_rows = penalty, float(counts.sum())
        self.n_scores = 1 if len(counts) == 2 else len(counts)
        self.curvature_at_zero = curvature_at_zero(len(counts))
        self._share = counts.sum(axis=0) / self.n_rows
        self._target = counts[-self.n_scores :] / self.n_rows

    def curvatures(self, scores: Floats) -> Floats:
        """Return each text's second derivative, in the mean over directions, times its rows, (n_texts,)."""
        probabilities = self._probabilities(scores)
        mean = (probabilities * (1 - probabilities)).sum(axis=0) / max(1, self.n_scores - 1)
        curvatures = mean * self._share * self.n_rows
        return np.asarray(np.maximum(curvatures, LEAST_CURVATURE * curvatures.mean()))

    def gradient(self, scores: Floats) -> Floats:
        """Return the derivative by the scores, (m, n_texts)."""
        return np.asarray(self._probabilities(scores) * self._share - self._target)

    def line_search(
        self, scores: Floats, direction_scores: Floats, *, slope: float, curvature: float
    ) -> float:
        """Return a step length t at which the derivative of loss and penalty along a direction is near 0.

        Newton's method on the derivative, which rises with t, safeguarded by bisection (Dennis and Schnabel,
        Numerical Methods for Unconstrained Optimization, 6.3); it ends at the strong Wolfe condition.
        `slope` and `curvature` are the first two derivatives of half the squared norm of the weights at 0.
        """
        at, low, high, first = 0.0, 0.0, np.inf, 0.0
        for trial in range(MOST_TRIALS):
            probabilities = self._probabilities(scores + at * direction_scores)
            derivative = float(np.vdot(probabilities * self._share - self._target, direction_scores))
            derivative += self.penalty * (slope + at * curvature)
            first = first if trial else abs(derivative)
            if trial and abs(derivative) <= WOLFE * first:
                break
            low, high = (at, high) if derivative < 0 else (low, at)
            moments = probabilities * direction_scores
            variance = (moments * direction_scores).sum(axis=0) - moments.sum(axis=0) ** 2
            at -= derivative / (float(self._share @ variance) + self.penalty * curvature)
            if not low < at < high:
                at = (low + high) / 2 if np.isfinite(high) else 2 * low
        return at

    def _probabilities(self, scores: Floats) -> Floats:
        if self.n_scores == 1:
            scores = np.concatenate([np.zeros_like(scores), scores])
        return np.asarray(softmax(scores, axis=0)[-self.n_scores :])


def _inverse_hessian(
    solver: LinearSolver, loss: _LogLoss, curvature: float, intercept_curvature: float
) -> Solve:
    """Return the product with the inverse of X^T D X curvature / n_rows + penalty I, intercepts apart."""
    solve = solver.factorized(loss.penalty * loss.n_rows / curvature, floor=FLOOR)
    scales = loss.n_rows / curvature, 1 / intercept_curvature

    def product(weights: Reals) -> Reals:
        return np.concatenate([solve(weights[:, :-1]) * scales[0], weights[:, -1:] * scales[1]], axis=1)

    return product


def _with_metric(weights: Reals, times_metric: Reals) -> Floats:
    """Stack weights, intercepts last, on their products with the metric: (2, m, size + 1)."""
    return np.stack([weights, np.concatenate([times_metric, weights[:, -1:]], axis=1)])


def _inner(a: Floats, b: Floats) -> float:
    return float(np.vdot(a[1], b[0]))


def _ridge_inner(a: Floats, b: Floats) -> float:
    """Return the inner product without the intercepts."""
    return float(np.vdot(a[1, :, :-1], b[0, :, :-1]))


def _gradient(solver: LinearSolver, loss: _LogLoss, point: Floats, scores: Floats) -> tuple[Floats, float]:
    by_score = loss.gradient(scores)
    weights = solver.from_dual(by_score) + loss.penalty * point[0, :, :-1]
    whole = np.concatenate([weights, by_score.sum(axis=1)[:, None]], axis=1)
    gradient = _with_metric(whole, solver.times_metric(weights))
    square = _inner(gradient, gradient)
    return gradient, float(np.sqrt(square)) if square >= 0 else np.inf  # negative by rounding only


def _first_loop(gradient: Floats, pairs: Iterable[Pair]) -> tuple[Floats, list[float]]:
    """Return the direction before preconditioning and the alphas of the two-loop recursion."""
    direction, alphas = -gradient, []
    for step, difference, product in reversed(list(pairs)):
        alphas.append(float(np.vdot(step[1], direction)) / product)
        direction -= alphas[-1] * difference[0]
    return direction, alphas


def _second_loop(direction: Reals, pairs: Iterable[Pair], alphas: list[float]) -> Reals:
    for (step, difference, product), alpha in zip(pairs, reversed(alphas), strict=True):
        direction += (alpha - float(np.vdot(difference[1], direction)) / product) * step[0]
    return direction
