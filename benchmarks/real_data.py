"""Corpora of benchmarks/real.py: the rows of each data folder as the product reads them, cut to a rung.

A data folder holds `xnli` (the official layout: XNLI-1.0, multinli_1.0), `sib200` and `ha_intents`
(corpus.csv with the columns id, text, label, language, split). Whatever is drawn is drawn by a hash of the
ids: the same rows on every machine.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mcbert
from mcbert.home import HOME, PRESETS

SOURCE = "en"


def read_xnli(folder: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return MultiNLI's train pairs, and XNLI's dev and test pairs of the languages of the settings."""
    return mcbert.read_corpus(
        folder, format="xnli", languages=settings["languages"], **settings.get("corpus", {})
    )


def read_sib200(folder: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the texts of the languages of the settings."""
    return mcbert.read_corpus(
        folder / "corpus.csv", languages=settings["languages"], **settings.get("corpus", {})
    )


def read_ha_intents(folder: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the texts of the source language, and of the others dev and test texts made of their test texts.

    Of a target language at most `most` texts are kept; of each of its labels the share `dev_share` is dev;
    languages that this leaves fewer than `least` test texts are left out.
    """
    table = mcbert.read_corpus(folder / "corpus.csv", **settings.get("corpus", {}))
    is_source = table["language"] == SOURCE
    source, targets = table[is_source], table[~is_source]
    rank = hash_rank(targets["id"])
    targets = targets[rank.groupby(targets["language"]).rank() <= settings["most"]]
    groups = rank[targets.index].groupby([targets["language"], targets["label"]])
    is_dev = groups.rank() <= (settings["dev_share"] * groups.transform("size")).round()
    targets = targets.assign(split=np.where(is_dev, "dev", "test"))
    n_test = targets.loc[~is_dev, "language"].value_counts()
    targets = targets[targets["language"].map(n_test) >= settings["least"]]
    return pd.concat([source, targets], ignore_index=True)


def read_samples(_: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the corpus that the preset demo prepares."""
    prepare = tomllib.loads((PRESETS / "demo.toml").read_text(encoding="utf-8"))["prepare"]
    prepare["translations"] = {name: HOME / path for name, path in prepare["translations"].items()}
    return mcbert.prepare_corpus(HOME / prepare.pop("raw"), **prepare, **settings.get("corpus", {}))


READERS: dict[str, Callable[[Path, Mapping[str, Any]], pd.DataFrame]] = {
    "xnli": read_xnli,
    "sib200": read_sib200,
    "ha_intents": read_ha_intents,
    "samples": read_samples,
}
"""Benchmark -> function from its folder and settings to its texts."""


def read_others(folder: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the test texts of the languages that the settings do not name."""
    table = pd.read_csv(folder / "corpus.csv", dtype=str, keep_default_na=False)
    others = (table["split"] == "test") & ~table["language"].isin(settings["languages"])
    return table[others].reset_index(drop=True)


def hash_rank(ids: pd.Series) -> pd.Series:
    """Return the place of each id among all when they are sorted by the sha256 of their UTF-8."""
    digests = ids.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    return digests.rank(method="dense").astype("int64")


def with_rung(table: pd.DataFrame, rung: Mapping[str, int], *, in_order: bool = False) -> pd.DataFrame:
    """Return the rows of a rung, in their order.

    Parameters
    ----------
    table : DataFrame
        A corpus.
    rung : mapping of str to int
        train: texts in all, drawn by label as `stratified` does; dev, test: texts of each language, the same
        originals of all of them; 0: all.
    in_order : bool
        Whether dev and test texts are the first ones, instead of drawn by hash.
    """
    keep = pd.Series(True, index=table.index)
    train = table[table["split"] == "train"]
    if rung["train"]:
        keep[train.index] = train.index.isin(stratified(train, rung["train"]))
    for split in ("dev", "test"):
        rows = table[table["split"] == split]
        if not rung[split]:
            continue
        place = pd.Series(rows.index, index=rows.index) if in_order else hash_rank(originals(rows))
        keep[rows.index] = place.groupby(rows["language"]).rank(method="first") <= rung[split]
    return table[keep].reset_index(drop=True)


def originals(rows: pd.DataFrame) -> pd.Series:
    """Return the ids without the suffix of their language, which texts share with their translations."""
    pairs = zip(rows["id"], rows["language"], strict=True)
    return pd.Series([name.removesuffix(f"-{language}") for name, language in pairs], index=rows.index)


def stratified(rows: pd.DataFrame, n: int) -> pd.Index:
    """Return the index of `n` rows whose labels have the shares that they have among all, drawn by hash.

    Shares are rounded by the largest remainder, ties to the label whose name comes first; every label keeps a
    row where `n` is at least the number of labels.
    """
    if n >= len(rows):
        return rows.index
    sizes = rows["label"].value_counts().sort_index()
    exact = sizes * n / len(rows)
    quota = np.floor(exact).astype("int64")
    if n >= len(sizes):
        quota = quota.clip(lower=1)
    order = (exact - quota).sort_values(ascending=False, kind="stable").index
    while (missing := n - int(quota.sum())) > 0:
        quota[order[:missing]] += 1
    while quota.sum() > n:
        quota[quota.idxmax()] -= 1
    place = hash_rank(rows["id"]).groupby(rows["label"]).rank()
    return rows.index[place <= rows["label"].map(quota)]


def only_targets(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the texts of the source language and of the first `n` target languages by name."""
    targets = sorted(set(table["language"]) - {SOURCE})[:n]
    return table[table["language"].isin([SOURCE, *targets])].reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write texts as CSV, whole or not at all, without the column text_pair where no text has a second."""
    if "text_pair" in table.columns and not table["text_pair"].any():
        table = table.drop(columns="text_pair")
    mcbert.files.write_text(path, table.to_csv(index=False))
