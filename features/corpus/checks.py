"""Checks of a table of texts before anything expensive starts; each error names file, row and column."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import BadRows, CorpusError, key, listed, shown
from mcbert.features.corpus.formats.lines import is_encodable
from mcbert.features.corpus.formats.rows import places_of, rows_left_out
from mcbert.features.corpus.settings import CODES, is_code

SPLITS = ("train", "dev", "test")
MEAN = "mean"
"""No name of a language: in results it stands for the mean over the target languages."""
MOST_LABELS = 1000
"""More labels than these are taken for a mistake unless `corpus.many_labels` says otherwise."""

NUL = "\0"
"""No character of a text: it comes of binary data or a wrong encoding, and ends texts in programs written in
C. Other controls stay: published corpora have them (XNLI's dev has U+0008), and tokenizers drop them."""

_NAMES = ("id", "label", "language")  # columns whose cells name something: neither empty nor with NUL
_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))  # Unicode categories: controls, formats, separators
_SHORT = 80  # characters of all labels that a message names all of; of more it names two and counts
_BLOCK = 8192  # cells checked at once before they are checked one by one


def usable_rows(table: pd.DataFrame, name: str, bad: BadRows | None = None) -> pd.DataFrame:
    """Return the rows that can be used; every check whose columns are there is made.

    Parameters
    ----------
    table : DataFrame
        Some of the columns of a corpus, perhaps with `rows.PLACE`.
    name : str
        Stands for the file in messages when the rows do not carry theirs.
    bad : BadRows, optional
        Treatment of the other rows; by default they are refused.

    Raises
    ------
    CorpusError
        Rows are refused: a text that is empty, missing, has NUL or a lone surrogate, an id that is empty, has
        NUL or repeats an earlier one, an empty label, a language that is no code or named mean, an unknown
        split, a label that train lacks.
    """
    bad = bad or BadRows()
    for columns, check in ROW_CHECKS:
        if set(columns) <= set(table.columns):
            table = check(table, name, bad)
    bad.settle()
    return table


def _texts(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    for column in ("text", "text_pair", *_NAMES, "split"):
        if column in table.columns:
            table = _without(table, _not_texts(table[column]), (column, name), bad)
    return table


def _not_empty(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    reason = "it is empty; every row needs a text"
    wrong = {k: reason for k, text in enumerate(_values(table["text"])) if is_blank(text)}
    return _without(table, wrong, ("text", name), bad)


def _without_nul(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    for column in ("text", "text_pair"):
        if column in table.columns:
            found = np.flatnonzero(table[column].str.contains(NUL, regex=False).to_numpy(dtype=bool))
            texts = table[column].to_numpy(dtype=object)
            wrong = {
                int(k): f"got NUL (U+0000) at character {texts[k].index(NUL) + 1}, accepted: text without it"
                for k in found
            }
            table = _without(table, wrong, (column, name), bad)
    return table


def _not_texts(cells: pd.Series) -> dict[int, str]:
    if isinstance(cells.dtype, pd.StringDtype) and cells.dtype.storage == "pyarrow" and not cells.hasnans:
        return {}  # Arrow holds UTF-8 and nothing else
    values = _values(cells)
    wrong: dict[int, str] = {}
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        if set(map(type, block)) != {str} or not is_encodable("".join(block)):
            wrong |= {start + k: _not_text(v) for k, v in enumerate(block) if not _is_text(v)}
    return wrong


def _values(cells: pd.Series) -> list[Any]:
    return list(cells.to_numpy(dtype=object))  # of an Arrow column three times as fast as tolist()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_encodable(value)


def _not_text(value: object) -> str:
    if isinstance(value, str):
        return "a lone surrogate, which is not a character"
    given = shown(value) if value is None or isinstance(value, int | float) else type(value).__name__
    return f"got {given}, accepted: text"


def _named(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    for column in _NAMES:
        if column in table.columns:
            wrong = {v for v in _values(table[column].drop_duplicates()) if not v.strip() or "\0" in v}
            reason = "accepted: a text that is not empty and has no NUL"
            table = _without(table, _where(table[column], wrong, reason), (column, name), bad)
    return table


def _languages(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    accepted = "accepted: another name; in results it stands for the mean over the target languages"
    table = _without(table, _where(table["language"], {MEAN}, accepted), ("language", name), bad)
    wrong = {code for code in table["language"].drop_duplicates() if not is_code(code)}
    accepted = f"accepted: a language code such as {CODES}; {key('language_codes')} gives others one"
    return _without(table, _where(table["language"], wrong, accepted), ("language", name), bad)


def _distinct_ids(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    again = np.flatnonzero(table["id"].duplicated())
    if not len(again):
        return table
    ids = table["id"].to_numpy()
    first = dict(zip(reversed(ids.tolist()), range(len(ids) - 1, -1, -1), strict=True))
    earlier = places_of(table, np.array([first[i] for i in ids[again]]), name)
    here = places_of(table, again, name)
    wrong = {
        int(k): f"{shown(ids[k])} is already in {e if e.file == h.file else f'{e.file}, {e}'}"
        for k, e, h in zip(again, earlier, here, strict=True)
    }
    return _without(table, wrong, ("id", name), bad)


def _known_splits(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    wrong = set(table["split"].drop_duplicates()) - set(SPLITS)
    accepted = f"accepted: {', '.join(SPLITS)}"
    return _without(table, _where(table["split"], wrong, accepted), ("split", name), bad)


def _where(cells: pd.Series, wrong: Collection[str], accepted: str) -> dict[int, str]:
    """Return position -> reason of the cells that are among `wrong`."""
    if not wrong:
        return {}
    return {k: f"got {shown(v)}, {accepted}" for k, v in enumerate(_values(cells)) if v in wrong}


def _known_labels(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    known = table.loc[table["split"] == "train", "label"].drop_duplicates()
    unknown = np.flatnonzero(~table["label"].isin(known))
    if known.empty or not len(unknown):
        return table
    names = listed(sorted(known), 12 if known.str.len().sum() <= _SHORT else 2)
    wrong = {
        int(k): f"{shown(label)} of split {split} is not among the train labels: {names}"
        for k, label, split in zip(
            unknown, table["label"].iloc[unknown], table["split"].iloc[unknown], strict=True
        )
    }
    return _without(table, wrong, ("label", name), bad)


def _without(
    table: pd.DataFrame, wrong: dict[int, str], where: tuple[str, str], bad: BadRows
) -> pd.DataFrame:
    """Hand the rows at the positions `wrong`, each with its reason, to `bad` and return the others."""
    if not wrong:
        return table
    for row in rows_left_out(table, wrong, where, bad):
        bad.add(row)
    keep = np.ones(len(table), dtype=bool)
    keep[list(wrong)] = False
    return table[keep].reset_index(drop=True)


ROW_CHECKS: tuple[tuple[tuple[str, ...], Callable[[pd.DataFrame, str, BadRows], pd.DataFrame]], ...] = (
    ((), _texts),
    (("text",), _not_empty),
    ((), _without_nul),
    ((), _named),
    (("language",), _languages),
    (("id",), _distinct_ids),
    (("split",), _known_splits),
    (("split", "label"), _known_labels),
)
"""The columns that a check needs, and the check."""


def is_blank(text: str) -> bool:
    """Return whether a text leaves nothing to read: white space, controls, zero-width characters."""
    if text[:1].isalnum():  # as nearly all are
        return False
    return all(unicodedata.category(character) in _UNSEEN for character in text)


def require_train(table: pd.DataFrame, name: str, *, many_labels: bool = True) -> None:
    """Raise when there is nothing to train on: no rows, one label, a label with one row, too many labels."""
    train = table.loc[table["split"] == "train", "label"].value_counts()
    if len(train) == 0:
        raise CorpusError(f"{name}: column split: no train rows")
    if len(train) == 1:
        raise CorpusError(f"{name}: column label: the train rows have one label only, {train.index[0]!r}")
    if not many_labels and (len(train) > MOST_LABELS or 2 * len(train) > train.sum()):
        raise CorpusError(
            f"{name}: column label: {len(train)} labels in {train.sum()} train rows; accepted: at most "
            f"{MOST_LABELS} and half the rows, unless {key('many_labels')} is true"
        )
    single = sorted(train[train == 1].index)
    if single:
        raise CorpusError(
            f"{name}: column label: labels with one train row, at least 2 are needed: {listed(single, 5)}"
        )


def require_source(table: pd.DataFrame, source_language: str, name: str) -> None:
    """Raise when the source language has no dev rows; those to train on may all be translations."""
    if not ((table["language"] == source_language) & (table["split"] == "dev")).any():
        raise CorpusError(
            f"{name}: column language: the source language {source_language!r} has no dev rows; "
            f"languages present: {listed(sorted(set(table['language'])))}"
        )
