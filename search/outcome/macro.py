"""Bootstrap intervals of the macro-F1 of a search's best candidates, which is no mean over texts.

    sample = Sample.of(Predictions.load("results/runs/demo/predictions.npz"), "test")
    macro_intervals(sample, 20)

Resampled are original texts, the same samples as in `search.outcome.intervals`. Of each sample the texts that
a candidate labelled rightly, those that it gave a label and those that have it are counted by language and
label, and F1 is computed from the counts.
"""

import numpy as np
from scipy.sparse import csr_array

from mcbert.results.statistics import Interval, percentile_interval, resampled_counts
from mcbert.search.outcome.intervals import Floats, Sample
from mcbert.search.outcome.predictions import Ints


def macro_intervals(
    sample: Sample, n: int, *, n_resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Interval]]:
    """Give the macro-F1 of the first candidates, then their differences to the very first one.

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
    """Return the true labels of the rows, (n_rows,), and what the candidates give, (n, n_rows)."""
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
