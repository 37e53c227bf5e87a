"""Count what a corpus holds and how well the tokenizer reads it, per language, split and label."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from features.corpus import Corpus
from features.encoder.tokens import load_tokenizer, tokenise

log = logging.getLogger(__name__)

NEVER_CUT = 1_000_000_000  # tokens
UNKNOWN_ALARM = 0.05  # share of unknown tokens above which a language is named in the log


def corpus_statistics(corpus: Corpus, encoder: Path, max_length: int) -> pd.DataFrame:
    """Count texts and tokens.

    Parameters
    ----------
    encoder : Path
        Local folder with the tokenizer.
    max_length : int
        Tokens kept of a text, special tokens included.

    Returns
    -------
    DataFrame
        A row per language, split and label: n_texts, n_distinct, tokens_median and tokens_max (uncut, special
        tokens included), unknown_share (unknown tokens among all but special ones), truncated_share (texts
        longer than `max_length`).
    """
    tokenizer = load_tokenizer(encoder)
    table = corpus.table
    pairs = list(zip(table["text"], table["text_pair"], strict=True))
    ids = [row["input_ids"] for row in tokenise(tokenizer, pairs, NEVER_CUT)]
    specials = {i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id}
    lengths = np.array([len(row) for row in ids])
    unknown = np.array([row.count(tokenizer.unk_token_id) for row in ids])
    special = np.array([sum(i in specials for i in row) for row in ids])
    content = lengths - special
    counted = table.assign(tokens=lengths, unknown=unknown, content=content, cut=lengths > max_length)
    _log_per_language(counted)
    grouped = counted.groupby(["language", "split", "label"], sort=True)
    return pd.DataFrame(
        {
            "n_texts": grouped.size(),
            "n_distinct": grouped["text"].nunique(),
            "tokens_median": grouped["tokens"].median().astype(float),
            "tokens_max": grouped["tokens"].max(),
            "unknown_share": grouped["unknown"].sum() / grouped["content"].sum().clip(lower=1),
            "truncated_share": grouped["cut"].mean(),
        }
    ).reset_index()


def _log_per_language(counted: pd.DataFrame) -> None:
    for language, rows in counted.groupby("language", sort=True):
        share = rows["unknown"].sum() / max(rows["content"].sum(), 1)
        level = logging.WARNING if share > UNKNOWN_ALARM else logging.INFO
        log.log(
            level,
            "corpus: %s: %d texts, %.0f tokens in the median, %.1f%% unknown, %.1f%% cut",
            language,
            len(rows),
            rows["tokens"].median(),
            100 * share,
            100 * rows["cut"].mean(),
        )
