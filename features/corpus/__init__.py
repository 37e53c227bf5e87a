"""Labelled texts in, one checked table out: readers, releases, checks, preparation, statistics."""

from mcbert.features.corpus.corpus import (
    Corpus,
    checked_corpus,
    read_corpus,
    repeats_of,
    source_files,
    table_form,
)
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.settings import COLUMNS, CorpusSettings, PrepareSettings

__all__ = [
    "COLUMNS",
    "BadRows",
    "Corpus",
    "CorpusError",
    "CorpusSettings",
    "PrepareSettings",
    "checked_corpus",
    "read_corpus",
    "repeats_of",
    "source_files",
    "table_form",
]
