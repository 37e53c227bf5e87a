"""Which split a raw text is in: what its table says, or shares of each label drawn with a seed.

python -m pytest tests/features/corpus/preparation/test_splitting.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from mcbert.features.corpus.formats.bad_rows import CorpusError
from mcbert.features.corpus.settings import CorpusSettings, PrepareSettings


def require_splits(
    settings: PrepareSettings, corpus: CorpusSettings, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Refuse names of splits where no table has any, and shares of them where every table has its own."""
    has = [("split" in table.columns) for table in tables.values()]
    if corpus.splits and not any(has):
        raise CorpusError(
            f"corpus.splits: means nothing, {', '.join(tables)} without a column split; leave it out "
            "(corpus.splits={}), or name the column by corpus.columns.split"
        )
    for name in ("dev_fraction", "test_fraction"):
        if all(has) and getattr(settings, name) != getattr(PrepareSettings, name):
            raise CorpusError(
                f"prepare.{name}: means nothing, {', '.join(tables)} with a column split, which is kept; "
                f"leave it out (prepare.{name}={getattr(PrepareSettings, name)})"
            )


def dev_or_test(labels: pd.Series, settings: PrepareSettings) -> np.ndarray:
    """Return dev or test, in the proportion of the fractions in each label to within one; object (n,)."""
    share = settings.dev_fraction / (settings.dev_fraction + settings.test_fraction)
    order = np.random.default_rng(settings.seed).permutation(len(labels))
    order = order[np.argsort(labels.to_numpy(dtype=object)[order], kind="stable")]
    counted = np.floor(np.arange(len(labels) + 1) * share + 0.5)
    names = np.empty(len(labels), dtype=object)
    names[order] = np.where(np.diff(counted) > 0, "dev", "test")
    return names


def stratified(labels: pd.Series, settings: PrepareSettings) -> np.ndarray:
    """Return the split of each distinct text, object (n_distinct,)."""
    counts = labels.value_counts()
    rare = counts[counts < 3]
    if len(rare):
        raise CorpusError(
            f"{settings.raw}: column label: {rare.index[0]!r} has {rare.iloc[0]} text(s); "
            "a label needs at least 3, one each for train, dev and test; prepare.top_labels leaves out "
            "the rare ones"
        )
    rows = np.arange(len(labels))
    n_test = math.ceil(settings.test_fraction * len(labels))
    n_dev = math.ceil(settings.dev_fraction / (1 - settings.test_fraction) * (len(labels) - n_test))
    sizes = {"train": len(labels) - n_test - n_dev, "dev": n_dev, "test": n_test}
    if min(sizes.values()) < len(counts):
        raise CorpusError(
            f"{settings.raw}: {len(labels)} texts of {len(counts)} labels cannot be split by "
            f"prepare.dev_fraction {settings.dev_fraction} and prepare.test_fraction "
            f"{settings.test_fraction} into {', '.join(f'{n} {name}' for name, n in sizes.items())} texts; "
            f"accepted: fractions that give each of the three at least {len(counts)}, one of each label"
        )
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=n_test, stratify=labels, random_state=settings.seed)
    _, dev = train_test_split(rest, test_size=n_dev, stratify=labels.iloc[rest], random_state=settings.seed)
    names = np.full(len(labels), "train", dtype=object)
    names[dev], names[test] = "dev", "test"
    return names
