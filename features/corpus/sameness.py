"""Which texts, labels and language codes are the same but for how they are written.

python -m pytest tests/features/corpus/test_sameness.py
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

_BLOCK = 65_536  # texts written in their normal form at once
_NOT_SEEN = str.maketrans(
    "", "", "\u00ad\u200b\u2060\ufeff"
)  # soft hyphen, zero-width space, word joiner, mark
_PAIR = "\0"  # between the two texts of a pair; no blank, which would be collapsed


def normal_form(text: str) -> str:
    """Return a text as it is compared: NFKC, without case, blanks collapsed and none at the ends.

    >>> normal_form("  Where IS\u00a0it? ")
    'where is it?'
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_NOT_SEEN)
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def without_ending(text: str) -> str:
    """Return a normal form without the punctuation at its end; what is nothing else stays as it is.

    >>> without_ending("where is it ?!"), without_ending("?!")
    ('where is it', '?!')
    """
    return text.rstrip(_punctuation()) or text


@functools.cache
def _punctuation() -> str:
    kinds = ("Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Zs")
    return "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in kinds)


def same_texts(table: pd.DataFrame, *, ending: bool) -> np.ndarray:
    """Return a number for each text (with its second text), the same for equal ones, int64 (n_rows,).

    Parameters
    ----------
    table : DataFrame
        Columns text and perhaps text_pair.
    ending : bool
        Whether punctuation at the end tells texts apart.

    Notes
    -----
    Normal forms are made a block at a time; a 64-bit hash of each is kept, so that the table is not held
    twice. Of a million texts, two different ones share a hash with a probability of 3e-8.
    """
    pairs = table["text_pair"] if "text_pair" in table.columns else None
    hashes = np.empty(len(table), dtype=np.uint64)
    for start in range(0, len(table), _BLOCK):
        here = slice(start, start + _BLOCK)
        forms = _forms(table["text"].iloc[here], ending)
        if pairs is not None:
            seconds = _forms(pairs.iloc[here], ending)
            forms = [f"{a}{_PAIR}{b}" for a, b in zip(forms, seconds, strict=True)]
        hashes[here] = pd.util.hash_array(np.array(forms, dtype=object), categorize=False)
    return pd.factorize(hashes)[0].astype(np.int64)


def _forms(texts: Iterable[str], ending: bool) -> list[str]:
    forms = map(normal_form, texts)
    return list(forms if ending else map(without_ending, forms))


def twins(names: Sequence[str]) -> list[list[str]]:
    """Return the names that are one in `normal_form`, the commonest of each group first.

    Parameters
    ----------
    names : sequence of str
        Distinct, the commonest first.

    >>> twins(["refund", "other", "Refund ", "REFUND"])
    [['refund', 'Refund ', 'REFUND']]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(normal_form(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
