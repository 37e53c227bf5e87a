"""Error rates of finding translations, with paired intervals over sentences, and what they are cut by.

for language, rates in error_rates(wrong, sentences):       # each language, then `mean`
    rates.interval(0)                                       # the first column's error, low, high
    rates.reduction(0, 3)                                   # the share of the fourth's errors it avoids
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import Interval, percentile_interval, resampled_sums

Floats = npt.NDArray[np.float64]
"""The language of what is averaged over languages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentences:
    """Which language each pair of sentences is in, and which pairs are the same sentence.

    Attributes
    ----------
    language : array of str, shape (n_pairs,)
    unit : array of str, shape (n_pairs,)
        Pairs of one unit are resampled together: the translations of one sentence.
    """

    language: npt.NDArray[np.object_]
    unit: npt.NDArray[np.object_]

    @property
    def languages(self) -> list[str]:
        """The languages, in order of first appearance."""
        return list(dict.fromkeys(self.language.tolist()))


@dataclasses.dataclass(frozen=True)
class Rates:
    """Error rates of some columns (system, direction, score) in a language.

    Attributes
    ----------
    measured : float64 array of shape (n_columns,)
    drawn : float64 array of shape (n_resamples, n_columns)
        The same over bootstrap samples, shared by the columns.
    """

    measured: Floats
    drawn: Floats

    def interval(self, column: int) -> Interval:
        """Give a column's error rate with its 95% interval."""
        return percentile_interval(float(self.measured[column]), self.drawn[:, column])

    def reduction(self, column: int, baseline: int) -> Interval | None:
        """Give the share of a baseline's errors that a column avoids, with its paired 95% interval.

        Below 0 where it makes more of them; None for a baseline without errors, of which there is no share.
        """
        if not self.measured[baseline]:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = 1 - self.drawn[:, column] / self.drawn[:, baseline]
        drawn[~np.isfinite(drawn)] = np.nan  # samples without an error of the baseline
        return percentile_interval(float(1 - self.measured[column] / self.measured[baseline]), drawn)


def error_rates(
    wrong: npt.ArrayLike, sentences: Sentences, *, n_resamples: int = 10_000, seed: int = 0
) -> Iterator[tuple[str, Rates]]:
    """Yield the error rates of each language, then, where there are several, of their mean.

    The unit of resampling is the sentence. Languages whose pairs share units are resampled together;
    languages of unrelated sentences each for itself.

    Parameters
    ----------
    wrong : array of float, shape (n_pairs, n_columns)
        1 where the search went wrong, 0 where not; between for a mean over directions.
    sentences : Sentences
        Of the rows of `wrong`.
    n_resamples, seed : int
        Of the bootstrap.
    """
    cells = np.asarray(wrong, dtype=np.float64)
    languages = sentences.languages
    related = len(set(sentences.unit.tolist())) < len(sentences.unit)
    total: Rates | None = None
    for k, language in enumerate(languages):
        rows = sentences.language == language
        drawn = (sentences.unit if related else sentences.unit[rows]).tolist()
        place = {unit: k for k, unit in enumerate(dict.fromkeys(drawn))}
        unit = np.array([place[unit] for unit in sentences.unit[rows]])
        drawn_alike = seed if related else seed + k
        rates = _rates(cells[rows], unit, len(place), n_resamples=n_resamples, seed=drawn_alike)
        yield language, rates
        total = rates if total is None else Rates(total.measured + rates.measured, total.drawn + rates.drawn)
    if total is not None and len(languages) > 1:
        yield MEAN, Rates(total.measured / len(languages), total.drawn / len(languages))


def _rates(wrong: Floats, unit: npt.NDArray[np.intp], n_units: int, *, n_resamples: int, seed: int) -> Rates:
    sums = np.zeros((n_units, wrong.shape[1] + 1))
    np.add.at(sums, unit, np.hstack([np.ones((len(wrong), 1)), wrong]))
    drawn = resampled_sums(sums, n_resamples=n_resamples, seed=seed)
    with np.errstate(invalid="ignore"):  # a sample without a sentence of the language
        return Rates(wrong.mean(axis=0), drawn[:, 1:] / drawn[:, :1])
