"""Read labelled texts into one checked table: formats, releases, checks, preparation, statistics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_ELSEWHERE = {
    "COLUMNS": "settings",
    "CorpusSettings": "settings",
    "PrepareSettings": "settings",
    "BadRows": "errors",
    "CorpusError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used: settings are read without pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'corpus')}"), name)
