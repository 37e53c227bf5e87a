"""The corpus: one table of labelled texts of several languages, checked before anything expensive starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from features.readers import CorpusError, read_table, read_xnli

COLUMNS = ("id", "text", "text_pair", "label", "language", "split")
SPLITS = ("train", "dev", "test")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # zero-width characters: a text of these alone is empty


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Where the labelled texts are, when `prepare` does not make them."""

    path: str = ""
    """Table with columns id, text, label, language, split and perhaps text_pair; or a release's folder."""

    format: Literal["table", "xnli"] = "table"
    """``table``: CSV, TSV, JSON Lines or Parquet; ``xnli``: folder with MultiNLI 1.0 and XNLI 1.0 in it."""

    source_language: str = "en"
    """Language of the training texts."""

    languages: tuple[str, ...] = ()
    """Languages to keep; empty keeps all (required for ``xnli``)."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if self.format not in ("table", "xnli"):
            raise ValueError(f"corpus.format: got {self.format!r}, accepted: table, xnli")
        if self.languages and self.source_language not in self.languages:
            raise ValueError(
                f"corpus.languages: the source language {self.source_language!r} is not among them"
            )
        if self.format == "xnli" and not self.languages:
            raise ValueError("corpus.languages: name the XNLI languages to keep, for example ['en', 'de']")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Checked texts of several languages.

    Attributes
    ----------
    table : DataFrame
        String columns `COLUMNS`, one row a text, numbered from 0.
    source_language : str
        Language of the training texts.
    """

    table: pd.DataFrame
    source_language: str

    @classmethod
    def read(cls, path: Path, source_language: str = "en") -> Corpus:
        """Read and check a table of texts.

        Raises
        ------
        CorpusError
            Naming file, row and column.
        """
        return cls.of(read_table(path, [c for c in COLUMNS if c != "text_pair"]), source_language, str(path))

    @classmethod
    def of(cls, table: pd.DataFrame, source_language: str, name: str) -> Corpus:
        """Check a DataFrame; `name` stands for the file in messages."""
        if "text_pair" not in table.columns:
            table = table.assign(text_pair="")
        table = table[list(COLUMNS)].reset_index(drop=True)
        require_texts(table, name)
        require_ids(table, name)
        _require_splits(table, name)
        _require_labels(table, name)
        _require_source(table, source_language, name)
        return cls(table, source_language)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label names, sorted; a label's code is its position."""
        return tuple(sorted(self.table["label"].unique()))

    @cached_property
    def y(self) -> np.ndarray:
        """Label codes, int64 (n_texts,)."""
        return np.searchsorted(np.array(self.labels), self.table["label"].to_numpy(dtype=str)).astype(
            np.int64
        )

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Source language first, then the target languages, sorted."""
        others = sorted(set(self.table["language"]) - {self.source_language})
        return (self.source_language, *others)

    @property
    def target_languages(self) -> tuple[str, ...]:
        """Languages other than the source language, sorted."""
        return self.languages[1:]

    def rows(self, split: str | None = None, language: str | None = None) -> np.ndarray:
        """Row numbers, int64, of a split, a language or both."""
        keep = np.ones(len(self.table), dtype=bool)
        if split is not None:
            keep &= (self.table["split"] == split).to_numpy()
        if language is not None:
            keep &= (self.table["language"] == language).to_numpy()
        return np.flatnonzero(keep)


def read_corpus(settings: CorpusSettings) -> pd.DataFrame:
    """Read the labelled texts that `settings` names and keep the languages asked for."""
    path = Path(settings.path)
    if settings.format == "xnli":
        return read_xnli(path, settings.languages)
    table = read_table(path, [c for c in COLUMNS if c != "text_pair"])
    if settings.languages:
        absent = sorted(set(settings.languages) - set(table["language"]))
        if absent:
            raise CorpusError(f"{path}: column language: no rows for {', '.join(absent)}")
        table = table[table["language"].isin(settings.languages)].reset_index(drop=True)
    return table


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


def _require_splits(table: pd.DataFrame, name: str) -> None:
    wrong = ~table["split"].isin(SPLITS)
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise CorpusError(
            f"{name}: row {k + 1}: column split: got {table['split'][k]!r}, accepted: {', '.join(SPLITS)}"
        )


def _require_labels(table: pd.DataFrame, name: str) -> None:
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


def _require_source(table: pd.DataFrame, source_language: str, name: str) -> None:
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
