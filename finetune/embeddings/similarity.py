"""Semantic textual similarity of sentence vectors: four measures, two correlations, the paired bootstrap.

    sts = evaluate(read_scored_pairs(Path("stsbenchmark")), systems, bases={(12,)})
    measured = similarities(u, v)["cosine"]                       # (n_pairs,)
    correlations(measured, scores).spearman
    spearman_samples([measured, other], scores)                   # resampled over pairs, the same for both

The headline is the Spearman correlation of the cosine, fixed in advance: a maximum over the four measures is
never a score, since it was chosen by the labels that it is scored on.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcbert.execution import Track, untracked
from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.stsbenchmark import read_stsbenchmark
from mcbert.features.corpus.normal_forms import share_altered
from mcbert.finetune.embeddings.systems import Frozen, VectorSource
from mcbert.results.statistics import percentile_interval, resampled_counts

Floats = npt.NDArray[np.float64]
HEADLINE = "cosine"
SPLITS = ("dev", "test")
SUFFIXES = ("-1", "-2")
"""Added to a pair's id to name its two sentences."""
AT_ONCE = 64  # samples: few enough for the CPU's cache
DECIMALS = 12  # of a cosine: equal pairs of sentences tie, whatever the order in which sums were rounded

_NO_INTERVALS = dict.fromkeys(
    ("spearman_low", "spearman_high", "versus_frozen", "versus_frozen_low", "versus_frozen_high"),
    float("nan"),
)


class Correlations(NamedTuple):
    """Correlations of a measure with people's scores; NaN where either is constant."""

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
"""Measures of two rows, greater the more similar they are: distances are negative."""


def similarities(u: np.ndarray, v: np.ndarray) -> dict[str, Floats]:
    """Return the similarities of the rows of two arrays, pair by pair.

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
    from scipy.stats import rankdata  # half a second, which an up-to-date stage need not wait

    x, y = _paired(values, scores)
    return Correlations(_pearson(x, y), _pearson(rankdata(x), rankdata(y)))


def spearman_samples(
    systems: Sequence[npt.ArrayLike], scores: npt.ArrayLike, *, n_resamples: int = 10_000, seed: int = 0
) -> Floats:
    """Return Spearman correlations of several systems over bootstrap samples of the pairs, the same for all.

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


def read_scored_pairs(path: Path) -> pd.DataFrame:
    """Read the dev and test pairs of STS Benchmark or of files like it.

    Raises
    ------
    CorpusError
        One of the two splits has fewer than two pairs; what `read_stsbenchmark` refuses.
    """
    pairs = read_stsbenchmark(path)
    for split in SPLITS:
        n_pairs = int(pairs["split"].eq(split).sum())
        if n_pairs < 2:
            raise CorpusError(f"{path}: {n_pairs} {split} pairs; accepted: 2 or more, in dev and in test")
    return pairs[pairs["split"].isin(SPLITS)].reset_index(drop=True)


def evaluate(
    pairs: pd.DataFrame,
    systems: Sequence[VectorSource],
    *,
    bases: Collection[tuple[int, ...]],
    track: Track = untracked,
) -> pd.DataFrame:
    """Correlate every system's similarities with the scores.

    Parameters
    ----------
    pairs : DataFrame
        id, text, text_pair, score, split.
    systems : sequence
        Their rows are those that `texts_of` makes of the pairs with `SUFFIXES`. Of the frozen ones, only the
        best on dev and those of `bases` are scored on test.
    bases : collection of tuples of int
        Layers of frozen systems that sentence encoders are compared with.
    track : callable
        Progress display.

    Returns
    -------
    DataFrame
        The columns of ``sts.csv`` without the stamp.

    Raises
    ------
    ValueError
        A vector that is not finite or has no direction, naming system and sentence.
    """
    dev = _Split(pairs, "dev", systems, track)
    best = dev.best()
    reported = [s for s in systems if not isinstance(s, Frozen) or s is best or s.layers in bases]
    test = _Split(pairs, "test", reported, track)
    return pd.DataFrame([*dev.rows(best), *test.rows(best)])


class _Split:
    """The similarities of a split's pairs by each system."""

    def __init__(
        self, pairs: pd.DataFrame, split: str, systems: Sequence[VectorSource], track: Track
    ) -> None:
        self.split, self.systems, self.n = split, systems, len(pairs)
        at = np.flatnonzero(pairs["split"].eq(split))
        self.pairs = pairs.iloc[at]
        self.scores = self.pairs["score"].to_numpy(dtype=np.float64)
        self.measured = [self._measure(s, at) for s in track(systems, len(systems), f"similarity ({split})")]
        self.found = [{name: correlations(x, self.scores) for name, x in m.items()} for m in self.measured]

    def _measure(self, system: VectorSource, at: np.ndarray) -> dict[str, np.ndarray]:
        vectors = []
        for side, rows in enumerate((at, at + self.n), start=1):
            kept = system.kept(rows)
            states = system.vectors(rows[kept])
            kept[kept] = states.any(axis=1)
            if not kept.all():
                name = self.pairs["id"].iloc[int(kept.argmin())]
                what = " ".join(part for part in system.columns.values() if part)
                raise ValueError(
                    f"retrieval.sts: id {name}, sentence{side}: {what}: its vector is not finite, or 0"
                )
            vectors.append(states)
        return similarities(*vectors)

    def best(self) -> Frozen:
        """Return the frozen system of the highest headline; of equal ones the first."""
        ranked = [
            (-np.nan_to_num(found[HEADLINE].spearman, nan=-1.0), k)
            for k, found in enumerate(self.found)
            if isinstance(self.systems[k], Frozen)
        ]
        found = self.systems[min(ranked)[1]]
        if not isinstance(found, Frozen):
            raise TypeError(f"similarity: {found.columns} is no frozen system")
        return found

    def rows(self, best: Frozen) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``sts.csv``."""
        drawn = spearman_samples([measured[HEADLINE] for measured in self.measured], self.scores)
        b = self.systems.index(best)
        altered = share_altered([*self.pairs["text"], *self.pairs["text_pair"]]).altered
        for (k, system), name in itertools.product(enumerate(self.systems), self.measured[0]):
            found = self.found[k][name]
            yield {
                **system.columns,
                **system.made,
                "split": self.split,
                "similarity": name,
                "n_pairs": len(self.scores),
                **found._asdict(),
                **(self._intervals(drawn, k, b) if name == HEADLINE else _NO_INTERVALS),
                "frozen_layers": best.columns["layers"],
                "frozen_pooling": best.columns["pooling"],
                "altered": altered,
            }

    def _intervals(self, drawn: np.ndarray, k: int, b: int) -> dict[str, float]:
        own, other = (self.found[i][HEADLINE].spearman for i in (k, b))
        if np.isnan(own) or np.isnan(other):
            return _NO_INTERVALS
        score = percentile_interval(own, drawn[:, k])
        versus = percentile_interval(own - other, drawn[:, k] - drawn[:, b])
        return dict(zip(_NO_INTERVALS, (score.low, score.high, *dataclasses.astuple(versus)), strict=True))
