"""read_corpus() and prepare_corpus(): labelled texts as a checked DataFrame.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcbert.features.corpus.settings import CorpusSettings, PrepareSettings
from mcbert.interface.arguments import cache_folder, made, named_arguments, require_columns, split_settings

if TYPE_CHECKING:
    import pandas as pd


def read_corpus(
    path: str | os.PathLike[str] | pd.DataFrame,
    *,
    source_language: str = "en",
    languages: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Read and check labelled texts of several languages.

    Parameters
    ----------
    path : str, path or DataFrame
        A table (CSV, TSV, JSON Lines, Parquet) with the columns id, text, label, language, split (train, dev
        or test) and perhaps text_pair; with `format`, a release's folder or a dataset's name.
    source_language : str
        Language of the training texts.
    languages : sequence of str
        Languages to keep; empty keeps all.
    columns : mapping of str to str, optional
        Our column name -> the table's, where they differ.
    **settings
        Any other setting of the section ``corpus``, such as ``format``, ``on_bad`` or ``leaks``.

    Returns
    -------
    DataFrame
        The columns id, text, text_pair, label, language and split, all str, one row a text, numbered from 0.

    Raises
    ------
    ValueError
        A table that cannot be used; the message names file, row, column, what was given and is accepted.

    See Also
    --------
    prepare_corpus : Makes a corpus of raw texts that have no split yet.

    Examples
    --------
    >>> import mcbert, pandas as pd
    >>> rows = [("1", "where is it", "track", "en", "train"), ("2", "call me", "human", "en", "train"),
    ...         ("3", "where is she", "track", "en", "train"), ("4", "a human", "human", "en", "train"),
    ...         ("5", "where", "track", "en", "dev"), ("6", "ein Mensch", "human", "de", "dev")]
    >>> table = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"])
    >>> corpus = mcbert.read_corpus(table)
    >>> corpus.groupby(["split", "language"]).size().to_dict()
    {('dev', 'de'): 1, ('dev', 'en'): 1, ('train', 'en'): 4}
    """
    import pandas as pd

    from mcbert.features.corpus.corpus import checked_corpus
    from mcbert.features.corpus.errors import BadRows

    given: dict[str, Any] = {
        "source_language": source_language,
        "languages": tuple(languages),
        "columns": dict(columns or {}),
        **settings,
    }
    with named_arguments():
        if not isinstance(path, pd.DataFrame):
            return _texts_of(made(CorpusSettings, path=os.fspath(path), **given), PrepareSettings())
        known = made(CorpusSettings, **given)
        bad = BadRows(known.on_bad, known.columns)
        return checked_corpus(_renamed(path, known), known, "path", bad).table


def _renamed(table: pd.DataFrame, settings: CorpusSettings) -> pd.DataFrame:
    """Return a user's table under our column names, with the languages asked for."""
    table = table.rename(columns={theirs: ours for ours, theirs in settings.columns.items()})
    require_columns(table, "path")
    if settings.languages:
        table = table[table["language"].isin(settings.languages)]
    return table.reset_index(drop=True)


def prepare_corpus(
    raw: str | os.PathLike[str],
    *,
    language: str = "en",
    translations: Mapping[str, str | os.PathLike[str]] | None = None,
    cache: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Make a corpus of raw labelled texts: the most frequent labels, split, balanced train, translations.

    Parameters
    ----------
    raw : str or path
        Table with the columns id, text, label and perhaps text_pair and split.
    language : str
        Its language.
    translations : mapping of str to path, optional
        Language -> table with the columns id, text that translates dev and test texts.
    cache : str or path, optional
        Folder of all caches, which keeps what a model translates.
    **settings
        Any other setting of the sections ``prepare`` and ``corpus``, such as ``top_labels``,
        ``dev_fraction``, ``test_fraction``, ``balance``, ``seed`` or ``on_bad``.

    Returns
    -------
    DataFrame
        As `read_corpus` returns it.

    Raises
    ------
    ValueError
        Texts that cannot be used; the message names file, row, column, what was given and is accepted.

    Examples
    --------
    >>> import mcbert
    >>> intents = mcbert.SAMPLES / "intents"
    >>> corpus = mcbert.prepare_corpus(
    ...     intents / "raw.csv", translations={"de": intents / "translations" / "de.csv"}, top_labels=4
    ... )
    >>> sorted(corpus["language"].unique())
    ['de', 'en']
    """
    own, others = split_settings(settings, PrepareSettings, CorpusSettings, but=_ELSEWHERE)
    tables = {name: os.fspath(path) for name, path in (translations or {}).items()}
    with named_arguments():
        prepare = made(PrepareSettings, raw=os.fspath(raw), language=language, translations=tables, **own)
        corpus = made(CorpusSettings, source_language=language, **others)
        return _texts_of(corpus, prepare, cache)


_ELSEWHERE = ("raw", "language", "translations", "path", "format", "languages", "source_language")
"""Settings that named arguments of `prepare_corpus` stand for, or that mean nothing beside raw texts."""


def _texts_of(
    corpus: CorpusSettings, prepare: PrepareSettings, cache: str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """Read or prepare texts as the stage prepare does."""
    from mcbert.features.corpus.preparation.translation import MachineTranslation
    from mcbert.features.settings import EncoderSettings
    from mcbert.pipeline.config import Config
    from mcbert.pipeline.progress import track
    from mcbert.pipeline.stages.prepare import corpus_of

    config = Config(corpus=corpus, prepare=prepare, encoder=EncoderSettings(path="none"))
    machine = MachineTranslation(prepare, corpus.source_language, cache_folder(cache), track=track)
    return corpus_of(config, {}, machine)[0].table
