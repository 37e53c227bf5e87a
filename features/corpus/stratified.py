"""Samples of texts, stratified by label: the same on every machine, whatever the order of the rows.

    python -m pytest tests/features/corpus/test_stratified.py

A text's place in its label follows from a hash of its name and a seed, and the labels take turns by the
divisors of Sainte-Lague (1, 3, 5, ...), which no larger sample takes a seat from: it holds every smaller one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mcbert.features.corpus.repeats import item_names

log = logging.getLogger(__name__)

LEAST = 2
"""Train texts of each label, as `checks.require_train` asks of a corpus."""


def stratified_sample(
    names: Sequence[str], labels: Sequence[str], n: int, *, seed: int = 0, least: int = 0
) -> np.ndarray:
    """Draw texts so that each label has the share of the sample that it has of all, as near as can be.

    Parameters
    ----------
    names : sequence of str
        Of each text; with the seed it decides the text's place among those of its label.
    labels : sequence of str
        Of each text.
    n : int
        Texts to draw; all where there are fewer.
    seed : int
        Of the draw.
    least : int
        Texts of each label that are drawn first, as far as it has them.

    Returns
    -------
    ndarray
        Whether a text is drawn, bool (n_texts,).
    """
    codes, _ = pd.factorize(np.asarray(labels, dtype=object))
    hashes = np.array([_hash(name, seed) for name in names], dtype=np.uint64)
    order = np.lexsort((hashes, codes))  # label by label
    counts = np.bincount(codes)
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = np.where(place < least, 0.0, (2 * place + 1) / (2 * counts[codes]))
    drawn = np.zeros(len(codes), dtype=bool)
    drawn[np.lexsort((hashes, turn))[:n]] = True
    return drawn


def drawn_train(table: pd.DataFrame, source_language: str, n: int, *, seed: int, key: str) -> np.ndarray:
    """Draw train texts, each with its translations in train; rows of other splits are all taken.

    Parameters
    ----------
    table : DataFrame
        Columns id, label, language, split of a corpus.
    source_language : str
        Its label decides where a translation has another.
    n : int
        Train texts to draw, translations not counted; all where there are fewer.
    seed : int
        Of the draw.
    key : str
        The setting that says `n`, for messages.

    Returns
    -------
    ndarray
        Whether a row is taken, bool (n_rows,).

    Raises
    ------
    ValueError
        Fewer than `LEAST` texts of each label.
    """
    is_train = (table["split"] == "train").to_numpy()
    train = table[is_train].reset_index(drop=True)
    train = train.assign(item=item_names(train), foreign=train["language"] != source_language)
    items = train.sort_values(["foreign", "language", "id"]).drop_duplicates("item")
    n_labels = items["label"].nunique()
    if n < min(LEAST * n_labels, len(items)):
        raise ValueError(
            f"{key}: got {n}, accepted: 0 (all), or at least {LEAST * n_labels}: {LEAST} for each of "
            f"{n_labels} labels"
        )
    if n < len(items):
        log.info("corpus: %s: %d of %d train texts are drawn", key, n, len(items))
    else:
        log.info("corpus: %s is %d: all %d train texts are taken", key, n, len(items))
    drawn = stratified_sample(items["item"].tolist(), items["label"].tolist(), n, seed=seed, least=LEAST)
    taken = ~is_train
    taken[is_train] = train["item"].isin(items["item"][drawn]).to_numpy()
    return taken


def _hash(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest(), "big")
