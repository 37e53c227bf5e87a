"""Count what a corpus holds and how well the tokenizer reads it, per language, split and label.

python -m mcbert extract --config demo

Each distinct text is tokenised once, a block of texts at a time; only a few numbers a text are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import time
import unicodedata
from collections.abc import Sequence

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from mcbert.execution import Track, untracked
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import tokenise

log = logging.getLogger(__name__)

Pairs = Sequence[tuple[str, str]]

NEVER_CUT = 1_000_000_000  # tokens
BLOCK = 4096  # texts whose tokens are held at once
UNKNOWN_ALARM = 0.05  # share of unknown tokens above which a language is named in the log
MARKS_ALARM = 0.01  # share of texts that lose a combining mark above which a language is named
MARKS_TEXTS = 10  # and so many of its texts at least


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of each distinct text, int32 (n_distinct,)."""

    tokens: np.ndarray
    """Tokens, uncut, special ones included."""

    content: np.ndarray
    """Tokens that are not special; unknown ones count."""

    unknown: np.ndarray
    """Tokens that the vocabulary does not hold."""

    marks: np.ndarray
    """Combining marks (Unicode category Mn) of the decomposed text."""

    marks_lost: np.ndarray
    """Those that the tokenizer drops before it looks words up."""


def corpus_statistics(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    track: Track = untracked,
) -> pd.DataFrame:
    """Count texts and tokens, and warn of languages that the tokenizer reads badly.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        The encoder's, with its prompt.
    max_length : int
        Tokens kept of a text, special tokens included.
    track : callable
        Progress display.

    Returns
    -------
    DataFrame
        A row per language, split and label: n_texts, n_distinct, tokens_median and tokens_max (uncut, special
        tokens included), n_tokens (special ones left out) and unknown_share (the unknown among them), n_marks
        (combining marks in the texts) and marks_lost_share (those that the tokenizer drops; 0 where there are
        none), truncated_share (texts longer than `max_length`).
    """
    began = time.monotonic()
    table = corpus.table
    numbers: dict[tuple[str, str], int] = {}
    pairs = zip(table["text"], table["text_pair"], strict=True)
    index = np.fromiter((numbers.setdefault(pair, len(numbers)) for pair in pairs), np.int64, len(table))
    counts = count(tokenizer, list(numbers), track=track)
    columns = {field.name: getattr(counts, field.name)[index] for field in dataclasses.fields(counts)}
    counted = table[["language", "split", "label"]].assign(
        **columns, distinct=index, cut=counts.tokens[index] > max_length
    )
    _log_per_language(counted)
    _log_marks(counted)
    seconds = time.monotonic() - began
    log.info("corpus: %d distinct of %d texts counted in %.1f s", len(numbers), len(table), seconds)
    grouped = counted.groupby(["language", "split", "label"], sort=True)
    return pd.DataFrame(
        {
            "n_texts": grouped.size(),
            "n_distinct": grouped["distinct"].nunique(),
            "tokens_median": grouped["tokens"].median().astype(float),
            "tokens_max": grouped["tokens"].max(),
            "n_tokens": grouped["content"].sum(),
            "unknown_share": grouped["unknown"].sum() / grouped["content"].sum().clip(lower=1),
            "n_marks": grouped["marks"].sum(),
            "marks_lost_share": grouped["marks_lost"].sum() / grouped["marks"].sum().clip(lower=1),
            "truncated_share": grouped["cut"].mean(),
        }
    ).reset_index()


def count(
    tokenizer: PreTrainedTokenizerBase,
    texts: Pairs,
    *,
    track: Track = untracked,
) -> Counts:
    """Count tokens and marks of texts and pairs, a block at a time.

    Parameters
    ----------
    texts : sequence of (str, str)
        Text and second text (empty for a single text), best distinct.
    """
    out = Counts(*(np.zeros(len(texts), dtype=np.int32) for _ in dataclasses.fields(Counts)))
    special = np.array([i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id], dtype=np.int64)
    starts = range(0, len(texts), BLOCK)
    for start in track(starts, len(starts), "corpus (blocks)"):
        block = texts[start : start + BLOCK]
        ids = [row["input_ids"] for row in tokenise(tokenizer, block, NEVER_CUT)]
        lengths = np.array([len(row) for row in ids])
        flat = np.fromiter(itertools.chain.from_iterable(ids), np.int64, int(lengths.sum()))
        owner = np.repeat(np.arange(len(block)), lengths)
        here = slice(start, start + len(block))
        out.tokens[here] = lengths
        out.content[here] = np.bincount(owner[~np.isin(flat, special)], minlength=len(block))
        out.unknown[here] = np.bincount(owner[flat == tokenizer.unk_token_id], minlength=len(block))
        for k, pair in enumerate(block, start=start):
            out.marks[k], out.marks_lost[k] = count_marks(tokenizer, pair, ids[k - start])
    return out


def count_marks(
    tokenizer: PreTrainedTokenizerBase, pair: tuple[str, str], ids: Sequence[int]
) -> tuple[int, int]:
    """Return how many combining marks a text has, and how many of them the tokenizer drops.

    A mark is a character of category Mn after canonical decomposition: the accent of an e, a vowel sign of
    Devanagari, a short vowel of Arabic, the dots of a Japanese ga. What counts is what the tokenizer's own
    normaliser leaves of the text, or, without one, what its tokens spell (texts with unknown tokens, which
    spell nothing, are then taken as kept).
    """
    text = " ".join(pair)
    marks = n_marks(text)
    if not marks:
        return 0, 0
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        kept = backend.normalizer.normalize_str(text) if backend.normalizer is not None else text
    elif tokenizer.unk_token_id in ids:
        kept = text
    else:
        kept = tokenizer.decode(list(ids), skip_special_tokens=True)
    return marks, max(marks - n_marks(kept), 0)


def n_marks(text: str) -> int:
    """Return the number of combining marks of a text, decomposed."""
    if text.isascii():
        return 0
    decomposed = unicodedata.normalize("NFD", text)
    return len(decomposed) - len(decomposed.translate(_without_marks()))


@functools.cache
def _without_marks() -> dict[int, None]:
    """Return the table for `str.translate` that removes every combining mark."""
    return {code: None for code in range(0x110000) if unicodedata.category(chr(code)) == "Mn"}


def _log_per_language(counted: pd.DataFrame) -> None:
    for language, rows in counted.groupby("language", sort=True):
        share = rows["unknown"].sum() / max(rows["content"].sum(), 1)
        level = logging.WARNING if share > UNKNOWN_ALARM else logging.INFO
        log.log(
            level,
            "corpus: %s: %d texts, median %.0f tokens, %.1f%% unknown, %.1f%% cut",
            language,
            len(rows),
            rows["tokens"].median(),
            100 * share,
            100 * rows["cut"].mean(),
        )


def _log_marks(counted: pd.DataFrame) -> None:
    """Warn once, of the languages of which more than the odd borrowed word loses its marks."""
    by_language = counted["marks_lost"].gt(0).groupby(counted["language"], sort=True)
    texts, shares = by_language.sum(), by_language.mean()
    concerned = texts[(texts >= MARKS_TEXTS) & (shares > MARKS_ALARM)]
    if len(concerned):
        log.warning(
            "corpus: the tokenizer drops combining marks (accents, vowel signs) of %s: words that differ in "
            "them alone become one; an encoder.path whose tokenizer keeps them (a cased one) may do better",
            ", ".join(
                f"{n} {language} texts ({100 * share:.0f}%)"
                for language, n, share in zip(
                    concerned.index, concerned, shares[concerned.index], strict=True
                )
            ),
        )
