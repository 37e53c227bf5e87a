"""Bootstrap intervals of the candidates' scores, of differences and effects, which are sums of them.

    sample = Sample.of(Predictions.load("results/runs/demo/predictions.npz"), "test")
    intervals(sample, np.eye(1, sample.n_candidates))  # the winner's score in every language

The unit of resampling is the original text: its translations into all languages are drawn together. With
one label per text, micro-F1 is the share of texts classified correctly, so that a score is a mean over texts
and every weighted sum of scores has an interval. Macro-F1 is no mean over texts: of each sample, the same
ones, the texts that a candidate labelled correctly, those that it gave a label and those that have it are
counted by language and label, and F1 is computed from the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import (
    Interval,
    percentile_interval,
    resampled_counts,
    resampled_sums,
)
from mcbert.search.outcome.predictions import Ints, Predictions

Floats = npt.NDArray[np.float64]
CELLS_AT_ONCE = 4_000_000  # right answers held at a time: 32 MB


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The texts of one split, with the original text of each translation.

    Attributes
    ----------
    predictions : Predictions
    split : str
    languages : tuple of str
        Those with texts in the split, the source first.
    targets : tuple of str
        The target languages if all of them have texts, else none: there is no mean over some.
    rows : int64 array of shape (n_rows,)
        The split's rows of `predictions`.
    language, unit : int64 arrays of shape (n_rows,)
        Each row's language, as a position in `languages`, and original text.
    """

    predictions: Predictions
    split: str
    languages: tuple[str, ...]
    targets: tuple[str, ...]
    rows: Ints
    language: Ints
    unit: Ints

    @classmethod
    def of(cls, predictions: Predictions, split: str) -> "Sample | None":
        """Take the texts of a split; None where it has none."""
        rows = predictions.rows(split)
        if not len(rows):
            return None
        names = predictions.language[rows].tolist()
        languages = tuple(name for name in predictions.languages if name in set(names))
        targets = predictions.languages[1:]
        originals = [
            name.removesuffix(f"-{language}")
            for name, language in zip(predictions.ids[rows].tolist(), names, strict=True)
        ]
        return cls(
            predictions=predictions,
            split=split,
            languages=languages,
            targets=targets if set(targets) <= set(languages) else (),
            rows=rows,
            language=np.asarray([languages.index(name) for name in names], dtype=np.int64),
            unit=np.unique(originals, return_inverse=True)[1].astype(np.int64),
        )

    @property
    def n_candidates(self) -> int:
        """How many candidates there are."""
        return len(self.predictions.candidates)

    @property
    def names(self) -> tuple[str, ...]:
        """The languages, then `mean` where there is a mean over the targets."""
        return (*self.languages, MEAN) if self.targets else self.languages

    @cached_property
    def n_texts(self) -> Floats:
        """Texts by original text and language, (n_units, n_languages)."""
        return np.asarray(self._by_unit(np.ones((1, len(self.rows))))[0])

    def weighted(self, weights: Floats) -> Floats:
        """Sum the candidates' right answers, each with its weight, by original text and language.

        Parameters
        ----------
        weights : float64 array of shape (n, n_candidates)

        Returns
        -------
        float64 array of shape (n, n_units, n_languages)
        """
        used = np.flatnonzero(weights.any(axis=0))
        sums = np.zeros((len(weights), len(self.rows)))
        step = max(1, CELLS_AT_ONCE // len(self.rows))
        for start in range(0, len(used), step):
            part = used[start : start + step]
            sums += weights[:, part] @ self.predictions.right(part, self.rows).astype(np.float64)
        return self._by_unit(sums)

    def _by_unit(self, values: Floats) -> Floats:
        shape = (int(self.unit.max()) + 1, len(self.languages))
        cells = self.unit * shape[1] + self.language
        sums = [np.bincount(cells, weights=row, minlength=shape[0] * shape[1]) for row in values]
        return np.stack(sums).astype(np.float64).reshape(-1, *shape)

    def with_mean(self, by_language: Floats) -> Floats:
        """Append the mean over the target languages to a last axis of languages, where there is one."""
        if not self.targets:
            return by_language
        at = [self.languages.index(language) for language in self.targets]
        return np.concatenate([by_language, by_language[..., at].mean(axis=-1, keepdims=True)], axis=-1)


def intervals(
    sample: Sample, weights: npt.ArrayLike, *, n_resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Interval]]:
    """Return weighted sums of the candidates' micro-F1, with paired 95% bootstrap intervals over texts.

    Parameters
    ----------
    sample : Sample
    weights : array of shape (n, n_candidates)
        A row per sum: one 1 for a candidate's score, 1 and -1 for a difference, and so on.
    n_resamples, seed : int
        Of the bootstrap. All sums and languages share the resampled texts.

    Returns
    -------
    list of dict of str to Interval
        For each row of `weights`, the interval in each language and, under `mean`, of the mean over the
        target languages.
    """
    sums = sample.weighted(np.asarray(weights, dtype=np.float64))  # (n, n_units, n_languages)
    n, n_units, n_languages = sums.shape
    columns = np.concatenate([sample.n_texts[:, None], sums.transpose(1, 0, 2)], axis=1)
    resampled = resampled_sums(columns.reshape(n_units, -1), n_resamples=n_resamples, seed=seed)
    drawn = sample.with_mean(_ratios(resampled.reshape(n_resamples, n + 1, n_languages)))
    measured = sample.with_mean(_ratios(columns.sum(axis=0)[None]))[0]
    return [
        {
            name: percentile_interval(float(measured[row, at]), drawn[:, row, at])
            for at, name in enumerate(sample.names)
        }
        for row in range(n)
    ]


def _ratios(sums: Floats) -> Floats:
    """Divide the entries of axis 1 by the first of them, the numbers of texts, and leave that one out."""
    with np.errstate(invalid="ignore"):  # a sample without a text of the language
        return np.asarray(sums[:, 1:] / sums[:, :1])


def one_each(positions: Sequence[int], n_candidates: int) -> Floats:
    """Return the weights that give the scores of the candidates at some positions."""
    weights = np.zeros((len(positions), n_candidates))
    weights[np.arange(len(positions)), positions] = 1.0
    return weights


def macro_intervals(
    sample: Sample, n: int, *, n_resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Interval]]:
    """Return intervals of the macro-F1 of the first candidates, then of their differences to the first one.

    Parameters
    ----------
    sample : Sample
        Its candidates are best first.
    n : int
        How many of them.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    list of 2 n dicts of str to Interval
        By language and, under `mean`, of the mean over the target languages.
    """
    y, given = _labels(sample, n)
    true = _cells(sample, y, np.ones(len(y)))
    right = [_cells(sample, y, (y == codes).astype(np.float64)) for codes in given]
    labelled = [_cells(sample, codes, np.ones(len(y))) for codes in given]

    def scores(counts: Floats) -> Floats:
        """Return (n, n_samples, n_languages and the mean) of counts of texts, (n_samples, n_units)."""
        have = (true.T @ counts.T).T
        parts = [
            _macro_f1(sample, (r.T @ counts.T).T, (g.T @ counts.T).T + have)
            for r, g in zip(right, labelled, strict=True)
        ]
        return sample.with_mean(np.stack(parts))

    n_units = true.shape[0]
    measured = scores(np.ones((1, n_units)))[:, 0]  # (n, n_names)
    drawn = np.concatenate(
        [
            scores(counts.astype(np.float64))
            for counts in resampled_counts(n_units, n_resamples=n_resamples, seed=seed)
        ],
        axis=1,
    )
    values = np.concatenate([measured, measured - measured[0]])
    resampled = np.concatenate([drawn, drawn - drawn[0]])
    return [
        {
            name: percentile_interval(float(values[row, at]), resampled[row, :, at])
            for at, name in enumerate(sample.names)
        }
        for row in range(2 * n)
    ]


def _labels(sample: Sample, n: int) -> tuple[Ints, Ints]:
    """Return the true labels of the rows, (n_rows,), and the candidates' predictions, (n, n_rows)."""
    predictions = sample.predictions
    y = predictions.y[sample.rows].astype(np.int64)
    return y, predictions.codes[:n, predictions.text[sample.rows]].astype(np.int64)


def _cells(sample: Sample, codes: Ints, values: Floats) -> csr_array:
    """Sum values by original text, and by language and label: (n_units, n_languages * n_labels)."""
    n_labels = len(sample.predictions.labels)
    shape = (int(sample.unit.max()) + 1, len(sample.languages) * n_labels)
    found = csr_array((values, (sample.unit, sample.language * n_labels + codes)), shape=shape)
    found.eliminate_zeros()
    return found


def _macro_f1(sample: Sample, right: Floats, either: Floats) -> Floats:
    """Return the mean F1 of the labels, (n_samples, n_languages); a language that was not drawn has none."""
    shape = (len(right), len(sample.languages), len(sample.predictions.labels))
    right, either = right.reshape(shape), either.reshape(shape)
    f1 = 2 * right / np.maximum(either, 1)
    return np.asarray(np.where(either.any(axis=-1), f1.mean(axis=-1), np.nan))
