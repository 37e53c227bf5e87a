"""Bilingual similarity search over sentence vectors: exact, in blocks, the same for any size of block.

    found = search(unit_rows(X), unit_rows(Y))
    found["forward", "margin"]   # (n_x,): for every row of X, the row of Y

Rows are rounded to multiples of 2**-26. Products of such rows are multiples of 2**-52 below 2, which float64
adds without rounding: every cosine is exact for the rounded rows, whatever the block, the BLAS and its
threads, and equal sentences tie exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from mcbert.settings import Distinct, Positive, section

GRID = 2.0**26
BLOCK = 512  # rows a side: 2 MB of cosines at a time, twice as fast as 2,048
ROWS_AT_ONCE = 8192  # rows made units at a time
LEAST = 1e-6  # of a margin's denominator
SCORES = ("cosine", "margin")
DIRECTIONS = ("forward", "backward")


def _code(text: str) -> str:
    if not (text.isascii() and text.isalpha() and text.islower() and len(text) in (2, 3)):
        raise ValueError(f"got {text!r}, accepted: ISO 639-3 codes such as deu, or de")
    return text


Code = Annotated[str, AfterValidator(_code)]


@section("retrieval")
class RetrievalSettings:
    """Sentences to compare by their vectors: translations to find, pairs whose similarity people judged."""

    tatoeba: str = ""
    """Folder in LASER's layout, ``tatoeba.<xxx>-eng.<xxx>`` beside ``tatoeba.<xxx>-eng.eng``; or with
    ``raw.csv`` (id, text and perhaps split) beside ``translations/<language>.csv`` (id, text)."""

    languages: Distinct[Code] = ()
    """Codes as in the file names (of LASER's also two-letter ones); empty: all in the folder."""

    sts: str = ""
    """Folder or file of STS Benchmark, or folder with ``dev.csv`` and ``test.csv`` (id, score from 0 to 5,
    sentence1, sentence2)."""

    seed_compat: bool = False
    """Lower-case the sentences and strip their combining marks before they are tokenised, as the original
    experiment very likely did with a cased model. Rows say so; else casing is the tokenizer's own."""

    neighbours: Positive = 4
    """Neighbours on each side in the margin score; fewer where there are fewer sentences."""


class RowError(ValueError):
    """A vector without direction.

    Attributes
    ----------
    row : int
        Its number, from 0.
    reason : str
        Why it has none.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row, self.reason = row, reason


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1 and rounded to the grid that makes cosines exact.

    Parameters
    ----------
    X : ndarray
        (n_rows, hidden_size), any float dtype.

    Returns
    -------
    ndarray
        (n_rows, hidden_size), float32, multiples of 2**-26, a new array.

    Raises
    ------
    RowError
        A row with a NaN or an infinite number, or of zeros only.
    """
    out = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), ROWS_AT_ONCE):
        rows = X[start : start + ROWS_AT_ONCE].astype(np.float64)
        for wrong, reason in (
            (~np.isfinite(rows).all(axis=1), "a number is not finite"),
            (~rows.any(axis=1), "all numbers are 0, so it has no direction"),
        ):
            if wrong.any():
                raise RowError(start + int(wrong.argmax()), reason)
        rows /= np.abs(rows).max(axis=1, keepdims=True)  # so that squares neither overflow nor vanish
        rows /= np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        out[start : start + ROWS_AT_ONCE] = np.rint(rows * GRID) / GRID
    return out


def search(
    x: np.ndarray, y: np.ndarray, *, k: int = 4, block: int = BLOCK
) -> dict[tuple[str, str], np.ndarray]:
    """Find every row's best row on the other side, by cosine and by margin, both ways.

    The margin is the ratio of Artetxe and Schwenk (2019), "Margin-based Parallel Corpus Mining with
    Multilingual Sentence Embeddings": the cosine over the mean of the cosines of both rows to their `k`
    nearest on the other side, each side weighing half. Where that mean is below 1e-6, 1e-6 stands for it, so
    that a negative one does not turn the order round.

    Parameters
    ----------
    x, y : ndarray
        (n_x, hidden_size) and (n_y, hidden_size), made by `unit_rows`; neither empty.
    k : int
        Neighbours in the margin; all of a side that has fewer.
    block : int
        Rows a side whose cosines are held at a time, ``8 * block ** 2`` bytes an array.

    Returns
    -------
    dict
        (direction, score) -> int64 rows found: ``forward`` (n_x,) rows of `y`, ``backward`` (n_y,) rows of
        `x`; score ``cosine`` or ``margin``. Ties go to the lowest row.

    Raises
    ------
    ValueError
        No rows on a side, or sides of unlike width.
    """
    if not len(x) or not len(y) or x.shape[1] != y.shape[1]:
        raise ValueError(f"search: got {x.shape} and {y.shape}, accepted: rows on both sides, of one width")
    nearest = _Best(len(x)), _Best(len(y))
    tops = _Top(len(x), min(k, len(y))), _Top(len(y), min(k, len(x)))
    for i, j, cosines in _blocks(x, y, block):
        for best, top, at, other, values in (
            (nearest[0], tops[0], i, j, cosines),
            (nearest[1], tops[1], j, i, cosines.T.copy()),
        ):
            top.add(at, values, best.add(at, other, values))
    half_x, half_y = (top.values.mean(axis=1) / 2 for top in tops)
    by_margin = _Best(len(x)), _Best(len(y))
    for i, j, cosines in _blocks(x, y, block):
        margins = cosines / np.maximum(half_x[i, None] + half_y[j], LEAST)
        by_margin[0].add(i, j, margins)
        by_margin[1].add(j, i, margins.T.copy())
    return {
        (direction, score): best.rows
        for score, pair in zip(SCORES, (nearest, by_margin), strict=True)
        for direction, best in zip(DIRECTIONS, pair, strict=True)
    }


def _blocks(x: np.ndarray, y: np.ndarray, size: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the cosines block by block, rows of both sides ascending."""
    for i in range(0, len(x), size):
        left = x[i : i + size].astype(np.float64)
        for j in range(0, len(y), size):
            right = y[j : j + size].astype(np.float64)
            yield slice(i, i + size), slice(j, j + size), left @ right.T


class _Best:
    """The best row so far of each of `n` rows; of equal ones the lowest, as blocks ascend."""

    def __init__(self, n: int) -> None:
        self.rows = np.zeros(n, dtype=np.int64)
        self._values = np.full(n, -np.inf)

    def add(self, at: slice, other: slice, values: np.ndarray) -> np.ndarray:
        """Take a block (n_at, n_other) in; return its greatest value in each row."""
        columns = values.argmax(axis=1)
        greatest = values[np.arange(len(values)), columns]
        better = greatest > self._values[at]
        self._values[at][better] = greatest[better]
        self.rows[at][better] = columns[better] + other.start
        return np.asarray(greatest)


class _Top:
    """The `k` greatest values so far of each of `n` rows, ascending, so that sums do not depend on blocks."""

    def __init__(self, n: int, k: int) -> None:
        self.values = np.full((n, k), -np.inf)

    def add(self, at: slice, values: np.ndarray, greatest: np.ndarray) -> None:
        """Take a block (n_at, n_other) in, of which `greatest` is the greatest value of each row."""
        kept = self.values[at]
        k = kept.shape[1]
        new = np.flatnonzero(greatest > kept[:, 0])
        block = values[new]
        if block.shape[1] > k:
            block = np.partition(block, -k, axis=1)[:, -k:]
        kept[new] = np.sort(np.concatenate([kept[new], block], axis=1), axis=1)[:, -k:]
