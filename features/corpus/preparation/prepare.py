"""Turn raw labelled texts of one language into a corpus: top labels, split, balanced train, translations.

python -m mcbert prepare --config demo
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from mcbert.features.corpus.checks import usable_rows
from mcbert.features.corpus.corpus import own_splits
from mcbert.features.corpus.errors import BadRows, CorpusError, listed, printable, shown
from mcbert.features.corpus.formats.readers import TableForm, read_table
from mcbert.features.corpus.formats.rows import PLACE
from mcbert.features.corpus.normal_forms import same_texts
from mcbert.features.corpus.preparation.transfer import Machine, in_language
from mcbert.features.corpus.repeats import without_conflicts
from mcbert.features.corpus.settings import COLUMNS, CorpusSettings, PrepareSettings
from mcbert.features.corpus.spelling import log_left_out, require_codes, spelt

log = logging.getLogger(__name__)


def prepare(
    settings: PrepareSettings,
    form: TableForm | None = None,
    bad: BadRows | None = None,
    *,
    machine: Machine | None = None,
    corpus: CorpusSettings | None = None,
) -> pd.DataFrame:
    """Run the stage.

    Parameters
    ----------
    form : TableForm, optional
        How the raw table is written, where its suffix does not say it.
    bad : BadRows, optional
        Treatment of raw texts that cannot be used; by default they are refused.
    machine : Machine, optional
        Translates dev and test texts into the languages for which `settings` names a model and no table.
    corpus : CorpusSettings, optional
        How labels and language codes are spelt, and what becomes of texts with several labels.

    Returns
    -------
    DataFrame
        Columns of `features.corpus.COLUMNS` and `rows.PLACE` (of a translation its original's): balanced
        train rows, dev and test rows of the source language,
        then dev and test rows of each translated language under ids ``<id>-<language>``, and those of each
        language with labels of its own under ids ``<language>-<id>``.

    Raises
    ------
    CorpusError
        A missing column, an empty text, a duplicate id, a text of another language, a label too rare to
        split, a missing translation.
    """
    bad, corpus = bad or BadRows(), corpus or CorpusSettings()
    files = (settings.raw, *settings.labelled.values())
    tables = {file: own_splits(_read(file, form, bad), corpus) for file in files}
    require_splits(settings, corpus, tables)
    require_codes(corpus.language_codes, tables.values(), ", ".join(tables))
    use = functools.partial(_usable, settings, bad=bad, corpus=corpus)
    raw = use(tables[settings.raw], settings.raw, settings.language)
    kept = keep_top_labels(raw, settings.top_labels)
    log.info(
        "prepare: %d texts, %d labels; kept %d texts of %d labels",
        len(raw),
        raw["label"].nunique(),
        len(kept),
        kept["label"].nunique(),
    )
    table = split(kept, settings)
    train, held_out = table[table["split"] == "train"], table[table["split"] != "train"]
    if settings.balance:
        train = balance(train, settings.seed)
    log.info(
        "prepare: %s: %d train texts, %d of them copies that balance %d labels; %d dev, %d test",
        settings.language,
        len(train),
        len(train) - int((table["split"] == "train").sum()),
        train["label"].nunique(),
        int((held_out["split"] == "dev").sum()),
        int((held_out["split"] == "test").sum()),
    )
    parts = [train, held_out]
    for language in settings.target_languages:
        setting, file = f"prepare.translations.{language}", settings.translations.get(language, "")
        pair = (settings.language, language)
        made = in_language(held_out, pair, setting=setting, file=file, machine=machine)
        parts.append(made.assign(id=made["id"] + f"-{language}", language=language))
    labels = set(train["label"])
    for language, file in settings.labelled.items():
        own = use(tables[file], file, language)
        parts.append(held_out_rows(own, labels, language, settings, file=file))
    return pd.concat(parts, ignore_index=True)[[*COLUMNS, *PLACE]]


def _read(file: str, form: TableForm | None, bad: BadRows) -> pd.DataFrame:
    """Return the texts of a file, with ids."""
    optional = ("id", "text_pair", "split", "language")
    table = read_table(Path(file), ("text", "label"), optional, form=form, bad=bad)
    if "id" not in table.columns:
        log.info("prepare: %s: no column id; the numbers of the rows are the ids", file)
        table = table.assign(id=table["_row"].astype(str).astype("str"))
    return table


def _usable(
    settings: PrepareSettings,
    table: pd.DataFrame,
    file: str,
    language: str,
    *,
    bad: BadRows,
    corpus: CorpusSettings,
) -> pd.DataFrame:
    """Return the texts that can be used, in one language, with a second text that may be empty."""
    here = dataclasses.replace(corpus, source_language=language, languages=(), language_codes={})
    if "language" in table.columns:
        table = table.assign(language=table["language"].replace(corpus.language_codes))
    raw = usable_rows(spelt(table, here, file, bad), file, bad)
    if "language" in raw.columns:
        others = (raw["language"] != language).to_numpy().nonzero()[0]
        if len(others):
            raise CorpusError(
                f"{file}: column language: {len(others)} rows of other languages, first "
                f"{shown(raw['language'].iloc[int(others[0])])} of {raw['id'].iloc[int(others[0])]!r}; "
                f"accepted: {language!r} ({_named(settings, language)}); a table of several languages is a "
                "corpus: set corpus.path instead of prepare.raw"
            )
    raw = raw if "text_pair" in raw.columns else raw.assign(text_pair="")
    if "split" not in raw.columns:
        _log_again(raw, file)
    return without_conflicts(raw, corpus.on_conflict, file, bad)


def _log_again(table: pd.DataFrame, file: str) -> None:
    _, first = _same_texts(table)
    again = table["id"].drop(table.index[first])
    if len(again):
        log.info(
            "prepare: %s: %d texts occur again (up to Unicode form, case, blanks and punctuation at the end),"
            " the first: %s; each is in one split only",
            printable(file),
            len(again),
            printable(listed([shown(row_id) for row_id in again[:5]])),
        )


def _named(settings: PrepareSettings, language: str) -> str:
    return "prepare.language" if language == settings.language else f"prepare.labelled.{language}"


def held_out_rows(
    own: pd.DataFrame, labels: Collection[str], language: str, settings: PrepareSettings, *, file: str
) -> pd.DataFrame:
    """Make dev and test rows of texts that have labels of their own.

    Parameters
    ----------
    own : DataFrame
        Columns id, text, text_pair, label and perhaps split.
    labels : collection of str
        Those that are trained on; rows of others are left out.

    Raises
    ------
    CorpusError
        None of the labels is trained on; a split other than dev and test.
    """
    trained = own["label"].isin(list(labels))
    known = own[trained].reset_index(drop=True)
    if known.empty:
        given, accepted = listed(sorted(set(own["label"])), 5), listed(sorted(labels))
        raise CorpusError(
            f"{file}: column label: got {given}; accepted: labels that are trained on, {accepted}"
        )
    log_left_out(own, trained, f"{file}: none of these labels is trained on")
    if "split" not in known.columns:
        group, first = _same_texts(known)
        known = known.assign(split=dev_or_test(known["label"].iloc[first], settings)[group])
    train = (known["split"] == "train").to_numpy().nonzero()[0]
    if len(train):
        raise CorpusError(
            f"{file}: column split: got 'train' of {known['id'].iloc[int(train[0])]!r}; accepted: dev, test: "
            f"{language!r} is not trained on"
        )
    counts = known["split"].value_counts()
    log.info(
        "prepare: %s: %d dev, %d test texts with labels of their own",
        language,
        counts.get("dev", 0),
        counts.get("test", 0),
    )
    return known.assign(id=f"{language}-" + known["id"], language=language)


def keep_top_labels(table: pd.DataFrame, top: int) -> pd.DataFrame:
    """Keep the rows of the `top` most frequent labels, ties broken by name; 0 keeps all."""
    counts = table["label"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    names = counts.index if top == 0 else counts.index[:top]
    keep = table["label"].isin(names)
    log_left_out(table, keep, f"prepare.top_labels keeps the {top} most frequent labels, 0 all")
    return table[keep].reset_index(drop=True)


def split(table: pd.DataFrame, settings: PrepareSettings) -> pd.DataFrame:
    """Assign train, dev and test, stratified by label; rows keep their order.

    A text (with its second text) that occurs several times is in one split only. Splits that the table has
    are kept.
    """
    if "split" in table.columns:
        log.info("prepare: the splits of %s are kept", settings.raw)
        return table.assign(language=settings.language)
    group, first = _same_texts(table)
    names = stratified(table["label"].iloc[first].reset_index(drop=True), settings)
    return table.assign(split=names[group], language=settings.language)


def _same_texts(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's group of the same texts (and second texts), and the first row of each group.

    Texts are the same up to Unicode form, case, blanks and punctuation at the end: one of them in train would
    tell a classifier the other's label.
    """
    group = same_texts(table, ending=False)
    _, first = np.unique(group, return_index=True)  # groups are numbered by first appearance
    return group, first


def balance(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Duplicate rows of the smaller labels until every label has as many rows as the largest.

    Each text of a label is taken equally often, give or take one; copies carry ids ``<id>+1``, ``<id>+2``...
    """
    rng = np.random.default_rng(seed)
    largest = int(train["label"].value_counts().max())
    copies = []
    for _, rows in train.groupby("label", sort=True):
        order = rng.permutation(len(rows))
        extra = np.resize(order, largest - len(rows))
        turn = np.arange(len(extra)) // len(rows) + 1
        duplicate = rows.iloc[extra]
        copies.append(duplicate.assign(id=[f"{i}+{k}" for i, k in zip(duplicate["id"], turn, strict=True)]))
    return pd.concat([train, *copies], ignore_index=True)


def require_splits(
    settings: PrepareSettings, corpus: CorpusSettings, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Refuse names of splits where no table has any, and shares of them where every table has its own."""
    has = [("split" in table.columns) for table in tables.values()]
    if corpus.splits and not any(has):
        raise CorpusError(
            f"corpus.splits: means nothing, {', '.join(tables)} without a column split; leave it out "
            "(corpus.splits={}), or name the column by corpus.columns.split"
        )
    for name in ("dev_fraction", "test_fraction"):
        if all(has) and getattr(settings, name) != getattr(PrepareSettings, name):
            raise CorpusError(
                f"prepare.{name}: means nothing, {', '.join(tables)} with a column split, which is kept; "
                f"leave it out (prepare.{name}={getattr(PrepareSettings, name)})"
            )


def dev_or_test(labels: pd.Series, settings: PrepareSettings) -> np.ndarray:
    """Return dev or test, in the proportion of the fractions in each label to within one; object (n,)."""
    share = settings.dev_fraction / (settings.dev_fraction + settings.test_fraction)
    order = np.random.default_rng(settings.seed).permutation(len(labels))
    order = order[np.argsort(labels.to_numpy(dtype=object)[order], kind="stable")]
    counted = np.floor(np.arange(len(labels) + 1) * share + 0.5)
    names = np.empty(len(labels), dtype=object)
    names[order] = np.where(np.diff(counted) > 0, "dev", "test")
    return names


def stratified(labels: pd.Series, settings: PrepareSettings) -> np.ndarray:
    """Return the split of each distinct text, object (n_distinct,)."""
    counts = labels.value_counts()
    rare = counts[counts < 3]
    if len(rare):
        raise CorpusError(
            f"{settings.raw}: column label: {rare.index[0]!r} has {rare.iloc[0]} text(s); "
            "a label needs at least 3, one each for train, dev and test; prepare.top_labels leaves out "
            "the rare ones"
        )
    rows = np.arange(len(labels))
    n_test = math.ceil(settings.test_fraction * len(labels))
    n_dev = math.ceil(settings.dev_fraction / (1 - settings.test_fraction) * (len(labels) - n_test))
    sizes = {"train": len(labels) - n_test - n_dev, "dev": n_dev, "test": n_test}
    if min(sizes.values()) < len(counts):
        raise CorpusError(
            f"{settings.raw}: {len(labels)} texts of {len(counts)} labels cannot be split by "
            f"prepare.dev_fraction {settings.dev_fraction} and prepare.test_fraction "
            f"{settings.test_fraction} into {', '.join(f'{n} {name}' for name, n in sizes.items())} texts; "
            f"accepted: fractions that give each of the three at least {len(counts)}, one of each label"
        )
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=n_test, stratify=labels, random_state=settings.seed)
    _, dev = train_test_split(rest, test_size=n_dev, stratify=labels.iloc[rest], random_state=settings.seed)
    names = np.full(len(labels), "train", dtype=object)
    names[dev], names[test] = "dev", "test"
    return names
