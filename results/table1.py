"""Table 1: test accuracy of the measured systems, from predictions; published ones, set apart.

python -m pytest tests/results/test_table1.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.results import csv_files, statistics
from mcbert.results.deploy import PROBE
from mcbert.results.predicted import unit
from mcbert.results.schema.training import PUBLISHED, TABLE1
from mcbert.results.schema.words import MEAN, NOT_STATED, SYSTEMS

BASELINE, UNFROZEN = "baseline", "mcbert"

_XNLI = Path(__file__).parent / "published" / "xnli.csv"


def read_published(path: Path = _XNLI) -> pd.DataFrame:
    """Read published figures, one row per system and language (table PUBLISHED)."""
    return csv_files.read(PUBLISHED, path)


def build(
    predictions: pd.DataFrame,
    stamp: Mapping[str, object],
    *,
    protocols: Mapping[str, str],
    casing: str = NOT_STATED,
    source_language: str = "en",
) -> pd.DataFrame:
    """Make Table 1 from the predictions, test rows above all.

    Parameters
    ----------
    predictions : DataFrame
        Rows of table PREDICTIONS of all measured systems and seeds; of dev rows the difference to the probe.
    stamp : mapping
        The run's stamp, a value for each column of `results.schema.STAMP`.
    protocols : mapping of str to str
        The protocol by which each measured system was chosen.
    casing : str
        Casing of the measured encoder: cased, uncased or not stated.
    source_language : str
        The language with training labels; it does not enter the mean.

    Returns
    -------
    DataFrame
        Rows of table TABLE1: baseline before its challengers; per system its
        languages, source first, then `mean`, the mean over its target languages; `below_probe` is left empty.

    Raises
    ------
    ValueError
        If a measured system has no protocol, no test rows are there, or a system was tested on other texts
        than the baseline, or than mcbert.
    """
    test = predictions[predictions["split"] == "test"]
    if test.empty:
        raise ValueError(f"{TABLE1.file_name}: predictions hold no row of split test")
    systems = sorted(test["system"].unique(), key=SYSTEMS.index)
    absent = [system for system in systems if system not in protocols]
    if absent:
        raise ValueError(
            f"{TABLE1.file_name}: protocols: no entry for {absent[0]!r}; accepted: one per system"
        )
    correct = {system: correctness(test[test["system"] == system]) for system in systems}
    _require_same_texts(correct)
    fixed = {"casing": casing, **stamp}
    gains = _dev_gains(predictions, source_language)
    rows = [
        row
        | fixed
        | {"system": system, "protocol": protocols[system], "below_probe": ""}
        | {"dev_versus_probe": gains.get((system, row["language"]), np.nan)}
        for system in systems
        for row in _compared(system, correct, source_language)
    ]
    return pd.DataFrame(rows, columns=TABLE1.order(c.name for c in TABLE1.columns))


def _dev_gains(predictions: pd.DataFrame, source_language: str) -> dict[tuple[str, str], float]:
    """Return each trained system's dev accuracy minus the probe's, by language and over the targets."""
    dev = predictions[predictions["split"] == "dev"]
    probe = dev[dev["system"] == PROBE]
    if probe.empty:
        return {}
    dev = dev[dev["id"].isin(set(probe["id"]))]
    right = (dev["label"] == dev["predicted"]).groupby([dev["system"], dev["language"]]).mean().unstack()
    targets = [language for language in right.columns if language != source_language]
    if targets:
        right[MEAN] = right[targets].mean(axis=1)
    gains = (right - right.loc[PROBE]).drop(index=PROBE).to_dict("index")
    return {
        (str(system), str(language)): float(gain)
        for system, row in gains.items()
        for language, gain in row.items()
    }


def correctness(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of seeds that are right, per text and language, with each seed's as a third level.

    Parameters
    ----------
    rows : DataFrame
        Test rows of one system (table PREDICTIONS).

    Returns
    -------
    DataFrame
        Index: id without its language's suffix, so that a text and its translations share a row. Columns:
        (language, seed). Values 0.0 or 1.0; NaN where the language lacks the text.
    """
    units = [unit(name, language) for name, language in zip(rows["id"], rows["language"], strict=True)]
    right = (rows["label"] == rows["predicted"]).astype("float64")
    frame = pd.DataFrame({"unit": units, "language": rows["language"], "seed": rows["seed"], "right": right})
    return frame.pivot(index="unit", columns=["language", "seed"], values="right").sort_index()


def ordered_languages(languages: set[str], source_language: str) -> list[str]:
    """Return languages with the source first, the others in alphabetical order."""
    return sorted(languages, key=lambda language: (language != source_language, language))


def measured(
    correct: pd.DataFrame, reference: pd.DataFrame | None, source_language: str
) -> list[dict[str, Any]]:
    """Return the accuracy of a system on each language, then the mean over the target languages.

    Parameters
    ----------
    correct : DataFrame
        As returned by `correctness` for the system.
    reference : DataFrame or None
        The same for the system that it is compared with, on the same texts; None: compared with none.
    source_language : str
        The language that comes first and does not enter the mean.

    Returns
    -------
    list of dict
        language, accuracy, sd and n_seeds (over seeds), difference, low and high (95%, paired over texts);
        NaN where there is nothing to say.
    """
    seeds = sorted(correct.columns.get_level_values("seed").unique())
    languages = ordered_languages(set(correct.columns.get_level_values("language")), source_language)
    by_seed = pd.DataFrame(
        {language: [correct[(language, seed)].mean() for seed in seeds] for language in languages}
    )
    targets = [language for language in languages if language != source_language]
    if targets:
        by_seed[MEAN] = by_seed[targets].mean(axis=1)
    intervals = {}
    if reference is not None:
        intervals = _intervals(_over_seeds(correct) - _over_seeds(reference), source_language)
    return [
        {
            "language": language,
            "accuracy": float(accuracies.mean()),
            "sd": float(accuracies.std(ddof=1)) if len(seeds) > 1 else np.nan,
            "n_seeds": len(seeds),
            "difference": interval.difference if (interval := intervals.get(str(language))) else np.nan,
            "low": interval.low if interval else np.nan,
            "high": interval.high if interval else np.nan,
        }
        for language, accuracies in by_seed.items()
    ]


def _compared(system: str, correct: Mapping[str, pd.DataFrame], source_language: str) -> list[dict[str, Any]]:
    """Make the rows of one system, compared with the baseline and with mcbert where they are there."""
    reference = None if system == BASELINE else correct.get(BASELINE)
    rows = measured(correct[system], reference, source_language)
    unfrozen = None if system in (BASELINE, UNFROZEN) else correct.get(UNFROZEN)
    own = _intervals(_over_seeds(correct[system]), source_language)
    besides: list[dict[str, Any]] = [{}] * len(rows)
    if unfrozen is not None:
        besides = measured(correct[system], unfrozen, source_language)
    return [
        {
            **row,
            "accuracy_low": own[row["language"]].low,
            "accuracy_high": own[row["language"]].high,
            "versus_baseline": row["difference"],
            "versus_baseline_low": row["low"],
            "versus_baseline_high": row["high"],
            "versus_mcbert": beside.get("difference", np.nan),
            "versus_mcbert_low": beside.get("low", np.nan),
            "versus_mcbert_high": beside.get("high", np.nan),
        }
        for row, beside in zip(rows, besides, strict=True)
    ]


def _over_seeds(correct: pd.DataFrame) -> pd.DataFrame:
    return correct.T.groupby(level="language").mean().T


def _intervals(values: pd.DataFrame, source_language: str) -> dict[str, statistics.Interval]:
    """Return the mean of each language's values and over the targets, on the same resampled texts.

    Parameters
    ----------
    values : DataFrame
        A row per text (with its translations), a column per language: what is right, or differences of it.
    """
    resampled = pd.DataFrame(
        statistics.resampled_means(values.to_numpy(dtype=np.float64)), columns=values.columns
    )
    means = values.mean()
    targets = [language for language in values.columns if language != source_language]
    if targets:
        resampled[MEAN] = resampled[targets].mean(axis=1)
        means[MEAN] = means[targets].mean()
    return {
        str(language): statistics.percentile_interval(float(means[language]), resampled[language].to_numpy())
        for language in resampled.columns
    }


def same_texts(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Return whether two systems (from `correctness`) were tested on the same texts and languages."""
    left, right = _over_seeds(a), _over_seeds(b)
    same = left.index.equals(right.index) and left.columns.equals(right.columns)
    return same and bool((left.isna() == right.isna()).all(axis=None))


def _require_same_texts(correct: Mapping[str, pd.DataFrame]) -> None:
    """Raise where a system was tested on other texts than those it is compared with."""
    other = next((name for name in (BASELINE, UNFROZEN) if name in correct), None)
    if other is None:
        return
    for system, frame in correct.items():
        if not same_texts(frame, correct[other]):
            raise ValueError(
                f"{TABLE1.file_name}: {system} and {other} were tested on different texts; "
                "accepted: the same texts and languages, so that the comparison is paired"
            )


def published(source_language: str) -> pd.DataFrame:
    """Return the published systems in their order, with their mean over the target languages as in Table 1.

    Returns
    -------
    DataFrame
        system, corpus, casing, protocol, citation (the source, with its note, in one line), language (`mean`:
        over the target languages), accuracy.
    """
    rows: list[dict[str, object]] = []
    for system, figures in read_published().groupby("system", sort=False):
        accuracy = dict(zip(figures["language"], figures["accuracy"], strict=True))
        targets = [value for language, value in accuracy.items() if language != source_language]
        fixed = figures.iloc[0][["corpus", "casing", "protocol"]].to_dict() | {"citation": _cited(figures)}
        cells = {
            language: accuracy[language] for language in ordered_languages(set(accuracy), source_language)
        }
        cells |= {MEAN: float(np.mean(targets))} if targets else {}
        rows += [
            fixed | {"system": system, "language": language, "accuracy": value}
            for language, value in cells.items()
        ]
    return pd.DataFrame(rows)


def _cited(figures: pd.DataFrame) -> str:
    """Return the source of a system's figures in one line."""
    row = figures.iloc[0]
    parts = [f"{row['citation']}, {row['table']}", row["note"], row["url"]]
    return "; ".join(part for part in parts if part)
