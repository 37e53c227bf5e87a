"""Labelled texts in, one checked table out: readers, releases, checks, preparation, statistics."""

from features.corpus.corpus import COLUMNS, Corpus, read_corpus
from features.corpus.readers import CorpusError
from features.corpus.settings import CorpusSettings, PrepareSettings

__all__ = ["COLUMNS", "Corpus", "CorpusError", "CorpusSettings", "PrepareSettings", "read_corpus"]
