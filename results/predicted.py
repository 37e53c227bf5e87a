"""The test rows of a run's predictions_*.csv, read in one pass, and each system's accuracy with its interval.

python -m pytest tests/results/test_predicted.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.results import statistics
from mcbert.results.csv_rows import CsvStream
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import Interval

COLUMNS = ("system", "seed", "id", "language", "split", "label", "predicted")


def read(folder: Path | None) -> pd.DataFrame:
    """Return what every system predicted for the test texts, or of a run without any, for the dev texts.

    Returns
    -------
    DataFrame
        Texts in columns system, seed, id, language, split, label, predicted and unit, the id that a text and
        its translations share; without rows where the folder has no such file.

    Raises
    ------
    TableError
        A file lacks one of the columns.
    """
    paths = [] if folder is None else sorted(folder.glob(PREDICTIONS.file_name))
    rows: dict[str, list[tuple[str, ...]]] = {"test": [], "dev": []}
    known: dict[str, str] = {}
    split = COLUMNS.index("split")
    for path in paths:
        for row in CsvStream(PREDICTIONS, path, COLUMNS):
            rows[row[split]].append(tuple(known.setdefault(cell, cell) for cell in row))
    frame = pd.DataFrame(rows["test"] or rows["dev"], columns=list(COLUMNS), dtype="object")
    units = [unit(name, language) for name, language in zip(frame["id"], frame["language"], strict=True)]
    return frame.assign(unit=units)


def unit(name: str, language: str) -> str:
    """Return the id that a text and its translations share: without the language that ends theirs."""
    return name.removesuffix(f"-{language}")


def accuracies(rows: pd.DataFrame, source_language: str) -> dict[str, dict[str, Interval]]:
    """Return the accuracy of each system in each language and over the targets, the mean over its seeds.

    Parameters
    ----------
    rows : DataFrame
        From `read`.

    Returns
    -------
    dict
        By system, then language or `mean`; with 95% bootstrap intervals over texts, a text and its
        translations resampled together.
    """
    if rows.empty:
        return {}
    right = (rows["label"] == rows["predicted"]).astype("float64")
    shares = right.groupby([rows["unit"], rows["system"], rows["language"]]).mean().unstack([1, 2])
    resampled = statistics.resampled_means(shares.to_numpy(dtype=np.float64))
    means = shares.mean()
    found: dict[str, dict[str, Interval]] = {}
    targets: dict[str, list[int]] = {}
    names = zip(*(shares.columns.get_level_values(level) for level in (0, 1)), strict=True)
    for at, (system, language) in enumerate(names):
        one = statistics.percentile_interval(float(means.iloc[at]), resampled[:, at])
        found.setdefault(system, {})[language] = one
        if language != source_language:
            targets.setdefault(system, []).append(at)
    for system, places in targets.items():
        mean = float(means.iloc[places].mean())
        over = statistics.percentile_interval(mean, resampled[:, places].mean(axis=1))
        found[system][MEAN] = over
    return found


def majorities(rows: pd.DataFrame) -> dict[str, float]:
    """Return the share of the most frequent true label by language."""
    texts = rows.drop_duplicates(["language", "id"])
    counts = texts.groupby(["language", "label"]).size()
    shares = counts.groupby("language").max() / counts.groupby("language").sum()
    return {str(language): float(share) for language, share in shares.items()}


def likeness(rows: pd.DataFrame, source_language: str) -> dict[str, tuple[float, int]]:
    """Return how often the translations of source texts are labelled like these, and how many there are.

    Parameters
    ----------
    rows : DataFrame
        From `read`, of one system and seed.

    Returns
    -------
    dict
        Share and number of pairs, by target language; languages without translations are left out.
    """
    source = rows[rows["language"] == source_language].drop_duplicates("unit")
    originals: Mapping[str, str] = dict(zip(source["unit"], source["predicted"], strict=True))
    others = rows[(rows["language"] != source_language) & rows["unit"].isin(set(originals))]
    alike = others["predicted"] == others["unit"].map(originals)
    counted = alike.groupby(others["language"]).agg(["mean", "size"])
    return {str(name): (float(row["mean"]), int(row["size"])) for name, row in counted.iterrows()}


def of_system(rows: pd.DataFrame, system: str) -> pd.DataFrame:
    """Return the rows of a system's kept model: of its lowest seed."""
    own = rows[rows["system"] == system]
    return own[own["seed"] == min(own["seed"], key=int)] if len(own) else own
