"""The corpus: one table of labelled texts of several languages, checked before anything expensive starts."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from features.corpus.checks import (
    require_ids,
    require_labels,
    require_source,
    require_splits,
    require_texts,
)
from features.corpus.readers import CorpusError, read_table
from features.corpus.releases import read_xnli
from features.corpus.settings import CorpusSettings

COLUMNS = ("id", "text", "text_pair", "label", "language", "split")


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
        require_splits(table, name)
        require_labels(table, name)
        require_source(table, source_language, name)
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
