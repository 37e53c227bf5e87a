"""Made predictions with a known share of right answers; nothing is fitted."""

import numpy as np

from mcbert.search.outcome.predictions import Predictions


def make_predictions(
    right, languages=("en", "de", "zh"), splits=("dev", "test"), n_labels=4, seed=0, names=None
):
    """Make predictions right as often as `right` says, (n_candidates, n_languages), for 200 texts.

    A text that is hard in one language is hard in all, and for all candidates.
    """
    rng = np.random.default_rng(seed)
    right = np.asarray(right)
    n_units = 200
    columns = []
    for split in splits:
        hardness, y = rng.random(n_units), rng.integers(n_labels, size=n_units)
        for at, language in enumerate(languages):
            luck = 0.7 * hardness + 0.3 * rng.random((len(right), n_units))
            found = np.argsort(np.argsort(luck, axis=1), axis=1) < right[:, at : at + 1] * n_units
            codes = np.where(found, y, (y + 1 + rng.integers(n_labels - 1, size=found.shape)) % n_labels)
            suffix = "" if at == 0 else f"-{language}"
            ids = [f"{split}{number}{suffix}" for number in range(n_units)]
            columns.append((codes, y, ids, [language] * n_units, [split] * n_units))
    codes, y, ids, language, split = zip(*columns, strict=True)
    return Predictions(
        candidates=tuple(names or (f"c{number}" for number in range(len(right)))),
        codes=np.concatenate(codes, axis=1).astype(np.uint8),
        text=np.arange(len(y) * n_units),
        y=np.concatenate(y),
        ids=np.concatenate(ids),
        language=np.concatenate(language),
        split=np.concatenate(split),
        languages=languages,
        labels=tuple("abcdefgh"[:n_labels]),
    )
