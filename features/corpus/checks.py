"""What a table of texts must be before anything expensive starts; each check names file, row and column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.corpus.readers import CorpusError

SPLITS = ("train", "dev", "test")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # zero-width characters: a text of these alone is empty


def require_texts(table: pd.DataFrame, name: str) -> None:
    """Raise on an empty text, a missing one, or a lone surrogate, naming the row."""
    for k, text in enumerate(table["text"], start=1):
        if not isinstance(text, str):
            raise CorpusError(f"{name}: row {k}: column text: got {text!r}, accepted: text")
        if not text.strip().strip(INVISIBLE):
            raise CorpusError(f"{name}: row {k}: column text: it is empty; every row needs a text")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise CorpusError(f"{name}: row {k}: column text: a lone surrogate, which is not a character")


def require_ids(table: pd.DataFrame, name: str) -> None:
    """Raise on an empty or repeated id, naming both rows."""
    seen: dict[str, int] = {}
    for k, value in enumerate(table["id"], start=1):
        if not value or "\0" in value:
            raise CorpusError(
                f"{name}: row {k}: column id: got {value!r}, accepted: a non-empty text without NUL"
            )
        if value in seen:
            raise CorpusError(f"{name}: row {k}: column id: {value!r} is already in row {seen[value]}")
        seen[value] = k


def require_splits(table: pd.DataFrame, name: str) -> None:
    """Raise on a split that is not one of `SPLITS`, naming the row."""
    wrong = ~table["split"].isin(SPLITS)
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise CorpusError(
            f"{name}: row {k + 1}: column split: got {table['split'][k]!r}, accepted: {', '.join(SPLITS)}"
        )


def require_labels(table: pd.DataFrame, name: str) -> None:
    """Raise on an empty label or language, too few train labels, or a label that train lacks."""
    for column in ("label", "language"):
        empty = np.flatnonzero(table[column] == "")
        if len(empty):
            raise CorpusError(f"{name}: row {empty[0] + 1}: column {column}: it is empty")
    train = table.loc[table["split"] == "train", "label"].value_counts()
    if len(train) == 0:
        raise CorpusError(f"{name}: column split: no train rows")
    if len(train) == 1:
        raise CorpusError(f"{name}: column label: the train rows have one label only, {train.index[0]!r}")
    single = sorted(train[train == 1].index)
    if single:
        raise CorpusError(f"{name}: column label: {single[0]!r} has one train row; at least 2 are needed")
    unknown = np.flatnonzero(~table["label"].isin(train.index))
    if len(unknown):
        row = table.loc[unknown[0]]
        raise CorpusError(
            f"{name}: row {unknown[0] + 1}: column label: {row['label']!r} of split {row['split']} is not "
            f"among the train labels: {_shortened(sorted(train.index))}"
        )


def require_source(table: pd.DataFrame, source_language: str, name: str) -> None:
    """Raise when the source language has no train or no dev rows."""
    present = set(table.loc[table["language"] == source_language, "split"])
    for split in ("train", "dev"):
        if split not in present:
            languages = _shortened(sorted(set(table["language"])))
            raise CorpusError(
                f"{name}: column language: the source language {source_language!r} has no {split} rows; "
                f"languages present: {languages}"
            )


def _shortened(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
