"""Turn raw labelled texts of one language into a corpus: top labels, split, balanced train, translations.

python -m pipeline prepare --config demo
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from features.corpus.bad_rows import BadRows, CorpusError
from features.corpus.checks import usable_rows
from features.corpus.readers import TableForm, read_table
from features.corpus.settings import COLUMNS, PrepareSettings

log = logging.getLogger(__name__)


def prepare(
    settings: PrepareSettings, form: TableForm | None = None, bad: BadRows | None = None
) -> pd.DataFrame:
    """Run the stage.

    Parameters
    ----------
    form : TableForm, optional
        How the raw table is written, where its suffix does not say it.
    bad : BadRows, optional
        What becomes of raw texts that cannot be used; by default they are refused.

    Returns
    -------
    DataFrame
        Columns of `features.corpus.COLUMNS`: balanced train rows, dev and test rows of the source language,
        then dev and test rows of each translated language under ids ``<id>-<language>``.

    Raises
    ------
    CorpusError
        A missing column, an empty text, a duplicate id, a label too rare to split, a missing translation.
    """
    raw = read_table(Path(settings.raw), ("id", "text", "label"), form=form, bad=bad)
    raw = usable_rows(raw, settings.raw, bad)
    kept = keep_top_labels(raw, settings.top_labels)
    log.info(
        "prepare: %d texts, %d labels; kept %d of %d",
        len(raw),
        raw["label"].nunique(),
        len(kept),
        kept["label"].nunique(),
    )
    table = split(kept, settings)
    train, held_out = table[table["split"] == "train"], table[table["split"] != "train"]
    if settings.balance:
        train = balance(train, settings.seed)
    parts = [train, held_out]
    parts += [translate(held_out, language, Path(path)) for language, path in settings.translations.items()]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def keep_top_labels(table: pd.DataFrame, top: int) -> pd.DataFrame:
    """Keep the rows of the `top` most frequent labels, ties broken by name; 0 keeps all."""
    counts = table["label"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    names = counts.index if top == 0 else counts.index[:top]
    return table[table["label"].isin(names)].reset_index(drop=True)


def split(table: pd.DataFrame, settings: PrepareSettings) -> pd.DataFrame:
    """Assign train, dev and test, stratified by label; rows keep their order."""
    counts = table["label"].value_counts()
    rare = counts[counts < 3]
    if len(rare):
        raise CorpusError(
            f"{settings.raw}: column label: {rare.index[0]!r} has {rare.iloc[0]} text(s); "
            "a label needs at least 3, one each for train, dev and test"
        )
    rows = np.arange(len(table))
    rest, test = train_test_split(
        rows, test_size=settings.test_fraction, stratify=table["label"], random_state=settings.seed
    )
    _, dev = train_test_split(
        rest,
        test_size=settings.dev_fraction / (1 - settings.test_fraction),
        stratify=table["label"].iloc[rest],
        random_state=settings.seed,
    )
    names = np.full(len(table), "train", dtype=object)
    names[dev], names[test] = "dev", "test"
    return table.assign(split=names, language=settings.language, text_pair="")


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


def translate(table: pd.DataFrame, language: str, path: Path) -> pd.DataFrame:
    """Return `table` with the texts of the user's translation file, matched by id."""
    given = usable_rows(read_table(path, ("id", "text")), str(path))
    texts = given.set_index("id")["text"]
    missing = table.loc[~table["id"].isin(texts.index), "id"]
    if len(missing):
        raise CorpusError(
            f"{path}: column id: no translation for {len(missing)} held-out texts, first {missing.iloc[0]!r}"
        )
    return table.assign(
        text=texts.loc[table["id"]].to_numpy(), id=table["id"] + f"-{language}", language=language
    )
