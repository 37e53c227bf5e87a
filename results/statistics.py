"""Intervals and tests: the paired bootstrap over texts, the t interval of a mean, McNemar's exact test.

python -m pytest tests/results/test_statistics.py
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit  # quantiles of t; scipy.stats has them too, for half a second more

Floats = npt.NDArray[np.float64]

_CELLS_AT_ONCE = 4_000_000
"""Resampled rows held at a time: 32 MB of row numbers, whatever the number of texts."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference (or mean) and the ends of its interval, in the unit of what was compared."""

    difference: float
    low: float
    high: float


def resampled_means(values: Floats, *, n_resamples: int = 10_000, seed: int = 0) -> Floats:
    """Return the means of every column over bootstrap samples of the rows, the same samples for all columns.

    A row is a text, the unit of resampling: its columns (systems, seeds, or the languages it was translated
    into) stay together, since their errors are not independent (Berg-Kirkpatrick et al. 2012; Koehn 2004).
    Intervals say how a figure would vary over other texts, not over other trainings.

    The text is the unit of resampling: its columns (seeds, or the languages it was translated into) stay
    together, since their errors are not independent (Berg-Kirkpatrick et al. 2012; Koehn 2004). An interval
    from them says how a mean would vary over other texts, not over other trainings.

    Parameters
    ----------
    values : float64 array, shape (n_texts, n_columns)
        Values to average; NaN where a column lacks the text.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    float64 array, shape (n_resamples, n_columns)
        NaN where a sample drew no text that the column has.
    """
    present = (~np.isnan(values)).astype(np.float64)
    both = np.hstack([np.nan_to_num(values), present])
    sums = resampled_sums(both, n_resamples=n_resamples, seed=seed)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[:, : values.shape[1]] / sums[:, values.shape[1] :])


def resampled_sums(values: Floats, *, n_resamples: int = 10_000, seed: int = 0) -> Floats:
    """Sum every column over bootstrap samples of the rows, the same samples for all columns.

    Calls with the same number of rows and the same seed draw the same samples.

    Parameters
    ----------
    values : float64 array, shape (n_texts, n_columns)
        Values to sum.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    float64 array, shape (n_resamples, n_columns)
    """
    counts = resampled_counts(len(values), n_resamples=n_resamples, seed=seed)
    return np.concatenate([part @ values for part in counts])


def resampled_counts(n: int, *, n_resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield how often each of `n` things is in bootstrap samples, (n_samples, n) at a time.

    The samples depend on `n` and the seed alone.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, n_resamples, step):
        n_samples = min(step, n_resamples - start)
        drawn = rng.integers(n, size=(n_samples, n)) + np.arange(n_samples)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=n_samples * n).reshape(n_samples, n)


def percentile_interval(difference: float, resampled: Floats, *, level: float = 0.95) -> Interval:
    """Put the percentile interval of `resampled`, shape (n_resamples,), beside the value measured."""
    _require_level(level)
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(difference, float(low), float(high))


def mean_interval(values: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of independent values (one per seed) with its Student t interval.

    Parameters
    ----------
    values : array of float, shape (n,)
        The values; a single one has no interval (NaN ends).
    level : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    Interval
        The mean as `difference`, and the ends.

    Raises
    ------
    ValueError
        If there are no values, or `level` is not between 0 and 1.
    """
    _require_level(level)
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not len(sample):
        raise ValueError("mean_interval: 0 values; accepted: at least one")
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(len(sample) - 1, (1 + level) / 2) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Interval(mean, mean - half, mean + half)


def mcnemar(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Two-sided exact McNemar test that two systems are right equally often on the same texts.

    Parameters
    ----------
    a, b : array of bool or 0 and 1, shape (n_texts,)
        Correctness of the two systems, row by row for the same text.

    Returns
    -------
    float
        The p-value from the binomial distribution of the texts on which exactly one is right; 1.0 if there
        are none.

    Raises
    ------
    ValueError
        If the arrays have different lengths or more than one dimension.
    """
    left, right = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"mcnemar: shapes {left.shape} and {right.shape}; accepted: the same (n_texts,)")
    only_a, only_b = int((left & ~right).sum()), int((~left & right).sum())
    n_unlike = only_a + only_b
    term = tail = 1  # comb(n_unlike, 0), then each from the one before
    for k in range(min(only_a, only_b)):
        term = term * (n_unlike - k) // (k + 1)
        tail += term
    return min(1.0, float(2 * tail / (1 << n_unlike)))  # whole numbers: exact however many texts there are


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjust p-values for being several, by Holm's step-down method (Holm 1979).

    Parameters
    ----------
    p_values : array of float, shape (n,)
        One p-value per comparison of the family.

    Returns
    -------
    float64 array, shape (n,)
        Adjusted p-values, in the order given: at level alpha, those below alpha may be rejected together
        with the chance of any false rejection at most alpha.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    scaled = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: given {level}; accepted: between 0 and 1")
