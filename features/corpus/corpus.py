"""The corpus: one table of labelled texts of several languages, checked before anything expensive starts."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.checks import require_source, require_train, usable_rows
from mcbert.features.corpus.errors import BadRows, CorpusError, key, listed, printable
from mcbert.features.corpus.formats.readers import TableForm, read_table
from mcbert.features.corpus.formats.releases import RELEASES, read_release, release_files
from mcbert.features.corpus.repeats import Repeats
from mcbert.features.corpus.settings import COLUMNS, CorpusSettings
from mcbert.features.corpus.spelling import spelt

log = logging.getLogger(__name__)


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
    def read(cls, path: str | os.PathLike[str], source_language: str = "en") -> Corpus:
        """Read and check a table of texts.

        Raises
        ------
        CorpusError
            Naming file, row and column.
        """
        table = read_table(Path(path), _REQUIRED, ("text_pair",))
        return cls.of(table, source_language, str(path))

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        source_language: str,
        name: str,
        *,
        bad: BadRows | None = None,
        many_labels: bool = True,
        repeats: Repeats | None = None,
    ) -> Corpus:
        """Check a DataFrame.

        Parameters
        ----------
        name : str
            Stands for the file in messages about rows that do not say where they came from.
        bad : BadRows, optional
            Treatment of rows that cannot be used; by default they are refused.
        many_labels : bool
            Whether to accept labels by the thousand or by the text.
        repeats : Repeats, optional
            Treatment of texts that occur again; by default they stay.

        Raises
        ------
        CorpusError
            Naming file, row and column.
        """
        if "text_pair" not in table.columns:
            table = table.assign(text_pair="")
        table = usable_rows(table, name, bad)
        settled = table if repeats is None else repeats.settled(table, name, source_language, bad)
        if settled is not table:
            table = usable_rows(settled, name, bad)  # a label may have lost its train rows
            name = f"{name}, without the texts left out"
        require_train(table, name, many_labels=many_labels)
        require_source(table, source_language, name)
        return cls(table[list(COLUMNS)].astype("str").reset_index(drop=True), source_language)

    def taken(self, rows: Sequence[bool]) -> Corpus:
        """Return the corpus of some of its rows, in their order; each label must keep some in train."""
        return Corpus(self.table[np.asarray(rows)].reset_index(drop=True), self.source_language)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label names, sorted; a label's code is its position."""
        return tuple(sorted(self.table["label"].unique()))

    @cached_property
    def y(self) -> np.ndarray:
        """Label codes, int64 (n_texts,)."""
        codes = {label: code for code, label in enumerate(self.labels)}
        return self.table["label"].map(codes).to_numpy(dtype=np.int64)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Source language first, then the target languages, sorted."""
        others = sorted(set(self.table["language"]) - {self.source_language})
        return (self.source_language, *others)

    @property
    def target_languages(self) -> tuple[str, ...]:
        """Languages other than the source language, sorted."""
        return self.languages[1:]

    @property
    def train_pairs(self) -> bool | None:
        """Return True if the train rows are pairs of texts; None where some are and some are not."""
        paired = self.table.loc[self.table["split"] == "train", "text_pair"] != ""
        return bool(paired.all()) if paired.all() or not paired.any() else None

    def rows(self, split: str | None = None, language: str | None = None) -> np.ndarray:
        """Row numbers, int64, of a split, a language or both."""
        keep = np.ones(len(self.table), dtype=bool)
        if split is not None:
            keep &= (self.table["split"] == split).to_numpy()
        if language is not None:
            keep &= (self.table["language"] == language).to_numpy()
        return np.flatnonzero(keep)


def own_splits(table: pd.DataFrame, settings: CorpusSettings) -> pd.DataFrame:
    """Call splits train, dev and test, where `settings` says that a table calls them otherwise."""
    return table.replace({"split": {theirs: ours for ours, theirs in settings.splits.items()}})


def read_corpus(settings: CorpusSettings, bad: BadRows | None = None) -> pd.DataFrame:
    """Read the labelled texts that `settings` names and keep the languages asked for.

    Parameters
    ----------
    bad : BadRows, optional
        Treatment of rows that cannot be read; by default what `settings.on_bad` says.

    Returns
    -------
    DataFrame
        String columns `COLUMNS` (text_pair where there is one) and `rows.PLACE`.

    Raises
    ------
    CorpusError
        Naming file, row and column.
    """
    bad = bad or BadRows(settings.on_bad, settings.columns)
    table = FORMATS[settings.format](settings, bad)
    if settings.format == "table" or "split" in settings.columns:
        table = own_splits(table, settings)
    if settings.format not in RELEASES:
        table = spelt(table, settings, settings.path, bad)
    absent = sorted(set(settings.languages) - set(table["language"]))
    if absent:
        present = listed(sorted(set(table["language"])), 20)
        raise CorpusError(
            f"{settings.path}: column language: no rows for {', '.join(absent)}; present: {present}"
        )
    return _of_languages(table, settings) if settings.languages else table


def _of_languages(table: pd.DataFrame, settings: CorpusSettings) -> pd.DataFrame:
    """Keep the languages asked for; a warning where train rows are in others."""
    keep = table["language"].isin(settings.languages)
    if keep.all():
        return table
    left = table[~keep]
    n_train = int((left["split"] == "train").sum())
    log.log(
        logging.WARNING if n_train else logging.INFO,
        "corpus: %d of %d rows, %d of them train rows, are left out: %s does not name their languages: %s",
        len(left),
        len(table),
        n_train,
        key("languages"),
        printable(listed(sorted(set(left["language"])), 20)),
    )
    return table[keep].reset_index(drop=True)


def checked_corpus(table: pd.DataFrame, settings: CorpusSettings, name: str, bad: BadRows) -> Corpus:
    """Check a table that was read or prepared, log what was left out and settle texts that occur again.

    Raises
    ------
    CorpusError
        Naming file, row and column.
    """
    corpus = Corpus.of(
        table,
        settings.source_language,
        name,
        bad=bad,
        many_labels=settings.many_labels,
        repeats=repeats_of(settings),
    )
    bad.log_counts()
    return corpus


def repeats_of(settings: CorpusSettings) -> Repeats:
    """Return what the settings say of texts that occur again."""
    return Repeats(settings.leaks, settings.on_conflict)


def table_form(settings: CorpusSettings) -> TableForm:
    """Return how the settings say that a table is written."""
    return TableForm(
        encoding=settings.encoding,
        delimiter=settings.delimiter,
        quoting=settings.quoting,
        columns=settings.columns,
    )


def source_files(settings: CorpusSettings) -> list[Path]:
    """Return the local files that the corpus is read from; none for a dataset of the hub."""
    path = Path(settings.path)
    if settings.format in RELEASES:
        return release_files(settings)
    if settings.format == "huggingface":
        return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    return [path]


def _read_table(settings: CorpusSettings, bad: BadRows) -> pd.DataFrame:
    return read_table(Path(settings.path), _REQUIRED, ("text_pair",), form=table_form(settings), bad=bad)


def _read_huggingface(settings: CorpusSettings, bad: BadRows) -> pd.DataFrame:
    from mcbert.features.corpus.formats.huggingface import read_huggingface

    return read_huggingface(settings, bad)


_REQUIRED = tuple(column for column in COLUMNS if column != "text_pair")
FORMATS: dict[str, Callable[[CorpusSettings, BadRows], pd.DataFrame]] = {
    "table": _read_table,
    "huggingface": _read_huggingface,
    **dict.fromkeys(RELEASES, read_release),
}
"""`corpus.format` -> its reader."""
