"""Semantic textual similarity of sentence vectors: four measures, two correlations, the paired bootstrap.

    measured = similarities(u, v)["cosine"]                       # (n_pairs,)
    correlations(measured, scores).spearman
    spearman_samples([measured, other], scores)                   # resampled over pairs, the same for both

The headline is the Spearman correlation of the cosine, fixed in advance: a maximum over the four measures is
never a score, since it was chosen by the labels that it is scored on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from mcbert.results.statistics import resampled_counts

Floats = npt.NDArray[np.float64]
HEADLINE = "cosine"
AT_ONCE = 64  # samples: few enough for a processor's cache
DECIMALS = 12  # of a cosine: equal pairs of sentences tie, whatever the order in which sums were rounded


class Correlations(NamedTuple):
    """How far a measure agrees with people's scores; NaN where either never changes."""

    pearson: float
    spearman: float


def _cosine(u: Floats, v: Floats) -> Floats:
    cosines = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    return np.asarray(np.round(cosines, DECIMALS))


def _manhattan(u: Floats, v: Floats) -> Floats:
    return np.asarray(-np.abs(u - v).sum(axis=1))


def _euclidean(u: Floats, v: Floats) -> Floats:
    return np.asarray(-np.linalg.norm(u - v, axis=1))


def _dot(u: Floats, v: Floats) -> Floats:
    return np.asarray((u * v).sum(axis=1))


SIMILARITIES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "cosine": _cosine,
    "manhattan": _manhattan,
    "euclidean": _euclidean,
    "dot": _dot,
}
"""Measures of two rows, greater for the more alike: distances are negative."""


def similarities(u: np.ndarray, v: np.ndarray) -> dict[str, Floats]:
    """Measure how alike the rows of two arrays are, pair by pair.

    Parameters
    ----------
    u, v : ndarray
        (n_pairs, dimension), any float dtype; row i of one belongs to row i of the other.

    Returns
    -------
    dict of str to ndarray
        Name of the measure -> (n_pairs,), float64.

    Raises
    ------
    ValueError
        Unlike shapes, no rows, numbers that are not finite, a row of zeros, which has no cosine.
    """
    if u.ndim != 2 or u.shape != v.shape or not len(u):
        raise ValueError(f"similarities: got {u.shape} and {v.shape}, accepted: rows in pairs, of one width")
    left, right = u.astype(np.float64), v.astype(np.float64)
    for side in (left, right):
        wrong = ~np.isfinite(side).all(axis=1) | ~side.any(axis=1)
        if wrong.any():
            raise ValueError(f"similarities: row {int(wrong.argmax())}: not finite, or zeros only")
    return {name: measure(left, right) for name, measure in SIMILARITIES.items()}


def correlations(values: npt.ArrayLike, scores: npt.ArrayLike) -> Correlations:
    """Correlate a measure with people's scores, linearly (Pearson) and by ranks (Spearman).

    Parameters
    ----------
    values, scores : array of float
        (n_pairs,) each, of at least two pairs; ties share their mean rank.
    """
    x, y = _paired(values, scores)
    return Correlations(_pearson(x, y), _pearson(rankdata(x), rankdata(y)))


def spearman_samples(
    systems: Sequence[npt.ArrayLike], scores: npt.ArrayLike, *, n_resamples: int = 10_000, seed: int = 0
) -> Floats:
    """Spearman correlations of several systems over bootstrap samples of the pairs, the same for all.

    Values are ranked anew within each sample, as the statistic itself would be.

    Parameters
    ----------
    systems : sequence of arrays
        A measure of every pair by each system, (n_pairs,) each.
    scores : array of float
        (n_pairs,).
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    ndarray
        (n_resamples, n_systems), float64; NaN where a sample has one value or one score only.
    """
    pairs = [_paired(values, scores) for values in systems]
    gold = _Ranks(pairs[0][1])
    ranks = [_Ranks(values) for values, _ in pairs]
    parts = [
        np.stack([_weighted(counts, rank.within(counts), expected) for rank in ranks], axis=1)
        for counts, expected in _drawn(gold, n_resamples, seed)
    ]
    return np.concatenate(parts)


def _drawn(gold: _Ranks, n_resamples: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    for counts in resampled_counts(gold.n, n_resamples=n_resamples, seed=seed):
        for start in range(0, len(counts), AT_ONCE):
            weights = np.ascontiguousarray(counts[start : start + AT_ONCE].T, dtype=np.float64)
            yield weights, gold.within(weights)


class _Ranks:
    """Mean ranks of values within samples that hold each of them some number of times."""

    def __init__(self, values: Floats) -> None:
        self.n = len(values)
        self._order = np.argsort(values, kind="stable")
        ascending = values[self._order]
        self._starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
        self._sizes = np.diff(np.r_[self._starts, self.n])

    def within(self, counts: Floats) -> Floats:
        """Rank the values in samples of counts (n, n_samples), from 1; ties share their mean rank."""
        tied = counts[self._order]
        if len(self._starts) < self.n:
            tied = np.add.reduceat(tied, self._starts, axis=0)
        middle = np.cumsum(tied, axis=0)
        middle -= (tied - 1) / 2
        ranks = np.empty_like(counts)
        ranks[self._order] = np.repeat(middle, self._sizes, axis=0)
        return ranks


def _weighted(counts: Floats, x: Floats, y: Floats) -> Floats:
    """Correlate ranks (n, n_samples) in each sample; their mean is that of 1 to n, ties or not."""
    middle = (counts[:, 0].sum() + 1) / 2
    x, y = x - middle, y - middle
    products = ((x, y), (x, x), (y, y))
    covariance, of_x, of_y = (np.einsum("ij,ij,ij->j", counts, one, other) for one, other in products)
    return _ratio(covariance, of_x * of_y)


def _pearson(x: Floats, y: Floats) -> float:
    if (x == x[0]).all() or (y == y[0]).all():
        return float("nan")  # the mean of equal numbers may miss them by a rounding
    x, y = x - x.mean(), y - y.mean()
    return float(_ratio((x * y).sum(), (x * x).sum() * (y * y).sum()))


def _ratio(covariance: Floats, variances: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(variances > 0, covariance / np.sqrt(variances), np.nan))


def _paired(values: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(values, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"similarity: got {x.shape} and {y.shape}, accepted: a number each of 2 pairs or more"
        )
    return x, y
