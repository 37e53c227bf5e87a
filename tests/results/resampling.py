"""The paired bootstrap of two systems, written out: what tables compute for many systems at once is this."""

import numpy as np

from mcbert.results.statistics import percentile_interval, resampled_means


def paired_bootstrap(a, b, *, n_resamples, seed=0, level=0.95):
    """Return the difference of two means over the same texts, (n_texts,) or (n_texts, n_columns).

    The text is the unit of resampling: its columns (seeds, or the languages it was translated into) stay
    together (Berg-Kirkpatrick et al. 2012; Koehn 2004). NaN marks a text that a column lacks.
    """
    left, right = (np.asarray(x, dtype=float).reshape(len(x), -1) for x in (a, b))
    means = resampled_means(np.hstack([left, right]), n_resamples=n_resamples, seed=seed)
    width = left.shape[1]
    differences = means[:, :width].mean(axis=1) - means[:, width:].mean(axis=1)
    measured = np.nanmean(left, axis=0).mean() - np.nanmean(right, axis=0).mean()
    return percentile_interval(float(measured), differences, level=level)
