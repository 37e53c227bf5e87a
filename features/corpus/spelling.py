"""Labels and language codes as people write them: several spellings of one, several labels in one cell.

python -m pytest tests/features/corpus/test_spelling.py
"""

from __future__ import annotations

import collections
import logging
import re
import unicodedata
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import (
    ONE_LABEL,
    BadRow,
    BadRows,
    CorpusError,
    key,
    listed,
    printable,
    shown,
)
from mcbert.features.corpus.formats.rows import places_of
from mcbert.features.corpus.normal_forms import language_twins, normal_form, twins
from mcbert.features.corpus.settings import CorpusSettings
from mcbert.files.toml import spelled

log = logging.getLogger(__name__)

MOST_LEFT_OUT = 0.1
"""Share of texts above which it is a warning that they are left out."""

_SEPARATORS = ";|,\n"
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)


def spelt(table: pd.DataFrame, settings: CorpusSettings, name: str, bad: BadRows) -> pd.DataFrame:
    """Return the table with its language codes and labels as the settings spell them; name what looks alike.

    Parameters
    ----------
    table : DataFrame
        Column label and perhaps language, as read.
    name : str
        Stands for the file in messages.
    bad : BadRows
        Treatment of rows with several labels.

    Raises
    ------
    CorpusError
        A cell holds several labels; `corpus.language_codes` names a code that is not there.
    """
    if "language" in table.columns:
        table = _with_codes(table, settings, name)
    return merged_labels(one_label(table, name, bad), name, merge=settings.merge_labels)


def _with_codes(table: pd.DataFrame, settings: CorpusSettings, name: str) -> pd.DataFrame:
    require_codes(settings.language_codes, [table], name)
    if settings.language_codes:
        table = table.assign(language=table["language"].replace(settings.language_codes))
    counts = table["language"].value_counts()
    warn_of_codes(counts, (settings.source_language, *settings.languages), name)
    return table


def require_codes(codes: Collection[str], tables: Iterable[pd.DataFrame], name: str) -> None:
    """Raise where one of the codes is in no row of the tables, of which some may have no column language.

    Raises
    ------
    CorpusError
        Naming the code and those that are there.
    """
    present = {
        code for table in tables if "language" in table for code in table["language"].dropna().unique()
    }
    absent = sorted(set(codes) - present)
    if absent:
        there = listed(sorted(present), 20) or "no code, for want of a column language"
        raise CorpusError(
            f"{name}: {key('language_codes')}: {shown(absent[0])} is in no row; present: {there}"
        )


def warn_of_codes(counts: pd.Series, configured: Collection[str], name: str) -> None:
    """Warn of language codes that mean the same, among those of the rows and those that settings name.

    Parameters
    ----------
    counts : Series
        Code -> number of rows.
    configured : collection of str
        Codes that settings name; they win over others that mean the same.
    """
    alike = language_twins(dict.fromkeys([*configured, *map(str, counts.index)]))
    wins = {form: code for code, form in reversed(alike.items()) if code in configured}
    codes = {code: wins.get(form, form) for code, form in alike.items()}
    codes = {code: to for code, to in codes.items() if code != to and code in counts.index}
    if codes:
        rows = ", ".join(f"{shown(code)} ({counts.get(code, 0)} rows)" for code in alike)
        log.warning(
            "corpus: %s: column language: codes that mean the same are treated as different languages: %s; "
            "%s = %s makes them one",
            printable(name),
            printable(rows),
            key("language_codes"),
            printable(spelled(codes)),
        )


def merged_labels(table: pd.DataFrame, name: str, *, merge: bool) -> pd.DataFrame:
    """Take labels that look alike for one, in the commonest spelling, or warn of them.

    Labels look alike that are the same but for Unicode form, case and blanks. The spelling is put into NFC,
    its blanks are made single.
    """
    counts = table["label"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    groups = twins([str(label) for label in counts.index])
    if not groups:
        return table
    said = listed([" = ".join(f"{x!a} ({counts[x]})" for x in group) for group in groups], 6)
    before, after = len(counts), len(counts) - sum(len(group) - 1 for group in groups)
    if not merge:
        log.warning(
            "corpus: %s: column label: labels that look alike (up to Unicode form, case, blanks) are taken "
            "for different ones: %s; %s = true makes %d labels of these %d",
            printable(name),
            said,
            key("merge_labels"),
            after,
            before,
        )
        return table
    log.info("corpus: %s: column label: %d labels become %d: %s", printable(name), before, after, said)
    one = {label: _tidy(group[0]) for group in groups for label in group}
    return table.assign(label=table["label"].replace(one))


def _tidy(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).split())


def one_label(table: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    """Return the rows whose cell holds one label; those that hold several are bad rows.

    Raises
    ------
    CorpusError
        There are such rows and they are refused.
    """
    several = several_labels([str(label) for label in table["label"].dropna().unique()])
    if not several:
        return table
    positions = np.flatnonzero(table["label"].isin(several))
    ids = table["id"].to_numpy()[positions] if "id" in table.columns else [""] * len(positions)
    labels = table["label"].to_numpy()[positions]
    for place, label, row_id in zip(places_of(table, positions, name), labels, ids, strict=True):
        reason = f"got {shown(label)}: {ONE_LABEL}"
        bad.add(BadRow(place, bad.columns.get("label", "label"), reason, str(row_id)))
    bad.settle()
    return table.drop(index=table.index[positions]).reset_index(drop=True)


def several_labels(labels: Collection[str]) -> set[str]:
    """Return the labels that are several: lists, and those whose parts are labels of others, too.

    A part counts where it is a label by itself or a part of another label; labels that merely hold a comma,
    such as "food, drink" beside "travel", are one.

    >>> sorted(several_labels(["a", "b", "c", "a;b", "food, drink"]))
    ['a;b']
    """
    lists = {label for label in labels if _LIST.fullmatch(label)}
    found = lists if len(lists) == len(labels) or any("," in label for label in lists) else set()
    for separator in _SEPARATORS:
        parts = {label: _parts(label, separator) for label in labels}
        used = collections.Counter(part for several in parts.values() for part in several)
        found |= {x for x, several in parts.items() if len(several) > 1 and all(used[p] > 1 for p in several)}
    return found


def _parts(label: str, separator: str) -> set[str]:
    return {normal_form(part) for part in label.split(separator)} - {""}


def log_left_out(before: pd.DataFrame, kept: pd.Series, why: str) -> None:
    """Say how many texts are left out and of which labels; a warning where it is more than `MOST_LEFT_OUT`.

    Parameters
    ----------
    before : DataFrame
        Column label.
    kept : Series
        Whether a row stays.
    why : str
        Setting that left them out, and the one that would keep them.
    """
    n = int((~kept).sum())
    if not n:
        return
    share = n / len(before)
    log.log(
        logging.WARNING if share > MOST_LEFT_OUT else logging.INFO,
        "prepare: %d of %d texts (%.1f%%) are left out, %s; %s",
        n,
        len(before),
        100 * share,
        counted(before.loc[~kept, "label"]),
        printable(why),
    )


def counted(labels: Iterable[str]) -> str:
    """Return the labels with their numbers, the commonest first, shortened."""
    counts = collections.Counter(labels).most_common()
    names = listed([f"{printable(str(label))} {n}" for label, n in counts], 8)
    return f"of {len(counts)} label{'s' if len(counts) > 1 else ''}: {names}"
