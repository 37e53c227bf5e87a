"""Logistic regression with a preconditioner, for `search.fitting.routes`: scikit-learn's own minimum.

L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4) begins each direction with the inverse of
a Hessian, a weighted ridge regression's, in whatever coordinates the feature set has: first that at zero
weights, after a few iterations, over texts, that of the point reached. It needs a fourth of the iterations.
Steps are found on the scores, without a product with the data.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from mcbert.search.fitting.coordinates import Coordinates, Reals, Solve
from mcbert.search.fitting.kernels import Floats

MEMORY = 10  # pairs kept, as in scikit-learn
SLOPE = 0.1  # a step is taken when it leaves this share of the slope
MOST_TRIALS = 30  # of one step; Newton's method on a convex function takes 1 or 2
FLOOR = 1e-3  # least shift of the preconditioner, in mean diagonal entries: float32 then has a factor
RENEWAL = 6  # iterations after which the Hessian is taken anew; it halves what is left of 20 to 40
LEAST_BEND = 0.05  # of the mean: texts that are surely classed would divide by zero

Pair = tuple[Floats, Floats, float]  # change of the point, change of the gradient, their inner product


@dataclass(frozen=True)
class Minimum:
    """What `minimise` found.

    Attributes
    ----------
    weights : float64 array of shape (m, size)
        In the coordinates given, of each class or, of two classes, of the second.
    intercept : float64 array of shape (m,)
    gradient : float64 array of shape (m, size)
        By the weights, there.
    norm : float
        Its Euclidean norm, intercepts included.
    n_iter : int
    """

    weights: Floats
    intercept: Floats
    gradient: Floats
    norm: float
    n_iter: int


def bend(n_classes: int) -> float:
    """Return the second derivative of the loss of a text by its scores, where these are all zero."""
    return 0.25 if n_classes == 2 else 1 / n_classes


def minimise(
    coordinates: Coordinates, counts: Floats, *, penalty: float, tol: float, max_iter: int
) -> Minimum:
    """Minimise the mean log loss of all train rows plus penalty / 2 times the squared weights.

    Parameters
    ----------
    coordinates : Coordinates
        The feature set; columns are centred over the train rows.
    counts : float64 array of shape (n_classes, n_texts)
        Train rows of each distinct text by label.
    penalty : float
        Of the mean: 1 / (C * n_train) for scikit-learn's C. The intercept is free.
    tol : float
        Where to stop: the Euclidean norm of the gradient over columns and intercepts, which is no smaller
        than the largest entry that scikit-learn stops at.
    max_iter : int
        Most iterations.
    """
    loss = _Loss(counts, penalty)
    newton = _newton(coordinates, loss, loss.bend, loss.bend)
    scores = np.zeros((loss.n_scores, counts.shape[1]))  # on the train texts, intercept included
    point = np.zeros((2, loss.n_scores, coordinates.of(scores).shape[1] + 1))
    pairs: deque[Pair] = deque(maxlen=MEMORY)
    gradient, norm = _gradient(coordinates, loss, point, scores)
    n_iter = 0
    while norm > tol and n_iter < max_iter:
        if n_iter == RENEWAL:
            bends = loss.bends(scores)
            renewed = coordinates.reweighted(bends)
            if renewed is not None:
                newton = _newton(renewed, loss, 1.0, float(bends.sum()) / loss.n_rows)
                pairs.clear()
        n_iter += 1
        partial, taken = _first_loop(gradient[0], pairs)
        direction = _second_loop(newton(partial), pairs, taken)
        scored = coordinates.scores(direction[:, :-1])
        rise = scored + direction[:, -1:]
        change = _vector(direction, coordinates.mates(direction[:, :-1], scored))
        step = loss.step(scores, rise, slope=_ridge(change, point), curvature=_ridge(change, change))
        change *= step
        point, scores, before = point + change, scores + step * rise, gradient
        gradient, norm = _gradient(coordinates, loss, point, scores)
        curvature = _inner(change, gradient - before)
        if curvature <= 0:  # nothing left but rounding
            break
        pairs.append((change, gradient - before, curvature))
    return Minimum(point[0, :, :-1], point[0, :, -1], gradient[0, :, :-1], norm, n_iter)


class _Loss:
    """The mean log loss as a function of the scores of the distinct train texts, (m, n_texts)."""

    def __init__(self, counts: Floats, penalty: float) -> None:
        self.penalty, self.n_rows = penalty, float(counts.sum())
        self.n_scores = 1 if len(counts) == 2 else len(counts)
        self.bend = bend(len(counts))
        self._share = counts.sum(axis=0) / self.n_rows
        self._target = counts[-self.n_scores :] / self.n_rows

    def bends(self, scores: Floats) -> Floats:
        """Return the second derivative of each text's loss, in the mean over directions, times its rows."""
        probabilities = self._probabilities(scores)
        mean = (probabilities * (1 - probabilities)).sum(axis=0) / max(1, self.n_scores - 1)
        bends = mean * self._share * self.n_rows
        return np.asarray(np.maximum(bends, LEAST_BEND * bends.mean()))

    def residual(self, scores: Floats) -> Floats:
        """Return the derivative by the scores."""
        return np.asarray(self._probabilities(scores) * self._share - self._target)

    def step(self, scores: Floats, rise: Floats, *, slope: float, curvature: float) -> float:
        """Find where loss and penalty are flat along a direction: a root of a rising function.

        Newton's method, halving where it leaves what is known; `slope` and `curvature` are the penalty's.
        """
        at, low, high, first = 0.0, 0.0, np.inf, 0.0
        for trial in range(MOST_TRIALS):
            probabilities = self._probabilities(scores + at * rise)
            flat = float(np.vdot(probabilities * self._share - self._target, rise))
            flat += self.penalty * (slope + at * curvature)
            first = first if trial else abs(flat)
            if trial and abs(flat) <= SLOPE * first:
                break
            low, high = (at, high) if flat < 0 else (low, at)
            moments = probabilities * rise
            spread = (moments * rise).sum(axis=0) - moments.sum(axis=0) ** 2
            at -= flat / (float(self._share @ spread) + self.penalty * curvature)
            if not low < at < high:
                at = (low + high) / 2 if np.isfinite(high) else 2 * low
        return at

    def _probabilities(self, scores: Floats) -> Floats:
        if self.n_scores == 1:
            scores = np.concatenate([np.zeros_like(scores), scores])
        return np.asarray(softmax(scores, axis=0)[-self.n_scores :])


def _newton(coordinates: Coordinates, loss: _Loss, bend: float, intercept_bend: float) -> Solve:
    """Return the product with an inverse Hessian, X^T D X bend / n_rows + penalty, intercepts apart."""
    solve = coordinates.solver(loss.penalty * loss.n_rows / bend, floor=FLOOR)
    scales = loss.n_rows / bend, 1 / intercept_bend

    def product(weights: Reals) -> Reals:
        return np.concatenate([solve(weights[:, :-1]) * scales[0], weights[:, -1:] * scales[1]], axis=1)

    return product


def _vector(weights: Reals, mates: Reals) -> Floats:
    """Return weights, intercepts last, above their mates: (2, m, size + 1)."""
    return np.stack([weights, np.concatenate([mates, weights[:, -1:]], axis=1)])


def _inner(a: Floats, b: Floats) -> float:
    return float(np.vdot(a[1], b[0]))


def _ridge(a: Floats, b: Floats) -> float:
    """Inner product without the intercepts."""
    return float(np.vdot(a[1, :, :-1], b[0, :, :-1]))


def _gradient(coordinates: Coordinates, loss: _Loss, point: Floats, scores: Floats) -> tuple[Floats, float]:
    residual = loss.residual(scores)
    weights = coordinates.of(residual) + loss.penalty * point[0, :, :-1]
    whole = np.concatenate([weights, residual.sum(axis=1)[:, None]], axis=1)
    gradient = _vector(whole, coordinates.mates(weights))
    square = _inner(gradient, gradient)
    return gradient, float(np.sqrt(square)) if square >= 0 else np.inf  # negative by rounding only


def _first_loop(gradient: Floats, pairs: Iterable[Pair]) -> tuple[Floats, list[float]]:
    direction, taken = -gradient, []
    for change, difference, curvature in reversed(list(pairs)):
        taken.append(float(np.vdot(change[1], direction)) / curvature)
        direction -= taken[-1] * difference[0]
    return direction, taken


def _second_loop(direction: Reals, pairs: Iterable[Pair], taken: list[float]) -> Reals:
    for (change, difference, curvature), share in zip(pairs, reversed(taken), strict=True):
        direction += (share - float(np.vdot(difference[1], direction)) / curvature) * change[0]
    return direction
