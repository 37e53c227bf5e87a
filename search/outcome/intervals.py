"""Bootstrap intervals of whatever is linear in the candidates' scores: a score, a difference, an effect.

    sample = Sample.of(Predictions.load("results/runs/demo/predictions.npz"), "test")
    intervals(sample, np.eye(1, sample.n_candidates))  # the winner's score in every language

The unit of resampling is the original text: its translations into all languages are drawn together. With
one label per text, micro-F1 is the share of texts classified rightly, so that a score is a mean over texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import Interval, percentile_interval, resampled_sums
from mcbert.search.outcome.predictions import Ints, Predictions

Floats = npt.NDArray[np.float64]
CELLS_AT_ONCE = 4_000_000  # right answers held at a time: 32 MB


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The texts of one split, and which of them are translations of one another.

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
    """Give weighted sums of the candidates' micro-F1, with paired 95% bootstrap intervals over texts.

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
    """Divide what follows the first entry of axis 1, the numbers of texts, by that entry."""
    with np.errstate(invalid="ignore"):  # a sample without a text of the language
        return np.asarray(sums[:, 1:] / sums[:, :1])


def one_each(positions: Sequence[int], n_candidates: int) -> Floats:
    """Return the weights that give the scores of the candidates at some positions."""
    weights = np.zeros((len(positions), n_candidates))
    weights[np.arange(len(positions)), positions] = 1.0
    return weights
