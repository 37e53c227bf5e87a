"""The distinct texts of a corpus, found in one pass, cut into units and packed on disk.

Memory does not grow with them.

A text and its second text are identified by a 128-bit hash; only hashes and sizes are held.
Distinct texts are numbered from short to long, so that the texts of a unit are alike and their batches are
hardly padded. The packed file is little-endian: the number of texts, (n, 3) offsets, sizes, sizes of second
texts, then the texts as UTF-8 in the corpus's order.

The plan of units is a function of the whole input and the settings, never of where a run was interrupted or
of how many processes share it: a feature's last bits depend on the texts that share its batch, and batches
never cross units.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from mcbert.files import opened, writing_beside

TextRow = tuple[str, ...]  # id, text, second text (empty for a single one)
WORD = 8  # bytes of an offset
BYTES_PER_TOKEN = 3  # of UTF-8; fewer tokens than this assumes only make a unit quicker
SPECIAL_TOKENS = 3


@dataclass(frozen=True)
class Survey:
    """Findings of one pass over a corpus.

    Attributes
    ----------
    index : ndarray of int64, (n_rows,)
        Corpus row -> number of its distinct text. Numbers count from short to long in bytes, then in order of
        first appearance.
    rows : ndarray of int64, (n_texts,)
        Row in which each distinct text appears first.
    sizes : ndarray of int64, (n_texts, 2)
        Bytes of the text and of the second text in UTF-8.
    digest : str
        SHA-256 of all texts in order.
    """

    index: np.ndarray
    rows: np.ndarray
    sizes: np.ndarray
    digest: str

    @property
    def n_texts(self) -> int:
        """Number of distinct texts."""
        return len(self.rows)


def survey(texts: Iterable[TextRow]) -> Survey:
    """Find the distinct texts; ids play no part.

    Memory: some 80 bytes a row while it runs, 8 a row and 24 a distinct text afterwards.
    """
    digest = hashlib.sha256()
    hashes, sizes = bytearray(), array("q")
    for _, first, second in texts:
        a, b = first.encode(), second.encode()
        framed = _framed(a, b)
        digest.update(framed)
        hashes += hashlib.blake2b(framed, digest_size=16).digest()
        sizes.extend((len(a), len(b)))
    index, rows = _number(np.frombuffer(hashes, dtype="<u8").reshape(-1, 2))
    measured = np.frombuffer(sizes, dtype=np.int64).reshape(-1, 2)[rows]
    order = np.argsort(measured.sum(axis=1), kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return Survey(number[index], rows[order], measured[order], digest.hexdigest())


def _framed(text: bytes, second: bytes) -> bytes:
    """Return both texts led by their lengths, so that no two pairs look alike."""
    return b"%d,%d:%b%b" % (len(text), len(second), text, second)


def _number(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's number, equal rows alike, in order of first appearance; and the first rows."""
    order = np.lexsort((hashes[:, 0], hashes[:, 1]))  # stable, so a group's first row comes first
    ordered = hashes[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = order[new]
    number = np.empty(len(firsts), dtype=np.int64)
    number[np.argsort(firsts)] = np.arange(len(firsts))
    index = np.empty(len(order), dtype=np.int64)
    index[order] = number[np.cumsum(new) - 1]
    return index, np.sort(firsts)


def plan_units(sizes: np.ndarray, *, max_length: int, rows: int, tokens: int) -> np.ndarray:
    """Cut the texts into units of at most `rows` texts and about `tokens` tokens.

    Parameters
    ----------
    sizes : ndarray of int64, (n_texts,)
        Bytes of each text in UTF-8, its second text included.
    max_length : int
        Tokens kept of a text.

    Returns
    -------
    ndarray of int64, (n_units + 1,)
        Bounds: unit k is the texts ``bounds[k]`` to ``bounds[k + 1]``; every unit has at least one text.
    """
    estimate = np.minimum(sizes // BYTES_PER_TOKEN + SPECIAL_TOKENS, max_length)
    total = np.concatenate([[0], np.cumsum(estimate)])
    bounds = [0]
    while bounds[-1] < len(sizes):
        start = bounds[-1]
        fits = int(np.searchsorted(total, total[start] + tokens, side="right")) - 1
        bounds.append(min(max(fits, start + 1), start + rows, len(sizes)))
    return np.array(bounds, dtype=np.int64)


class PackedTexts:
    """Distinct texts in a file; any range is one read.

    Parameters
    ----------
    path : Path
        As written by `write`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def write(cls, path: Path, texts: Iterable[TextRow], found: Survey) -> PackedTexts:
        """Write the distinct ones of `texts`, which must be those of the survey, in the same order.

        Raises
        ------
        ValueError
            The texts are not those of the survey: they changed between the two passes.
        """
        in_order = np.argsort(found.rows)
        stops = np.cumsum(found.sizes[in_order].sum(axis=1))
        table = np.empty((found.n_texts, 3), dtype="<i8")
        table[in_order, 0] = stops - found.sizes[in_order].sum(axis=1)
        table[:, 1:] = found.sizes
        digest = hashlib.sha256()
        new_in = np.zeros(len(found.index), dtype=np.uint8)
        new_in[found.rows] = 1
        with writing_beside(path, 0o600) as file:
            file.write(np.int64(found.n_texts).astype("<i8").tobytes())
            file.write(table.tobytes())
            for new, (_, first, second) in zip(chain(new_in.tobytes(), repeat(0)), texts, strict=False):
                a, b = first.encode(), second.encode()
                digest.update(_framed(a, b))
                if new:
                    file.write(a + b)
            if digest.hexdigest() != found.digest:
                raise ValueError("extract: the texts changed while they were read; run extract again")
        return cls(path)

    def read(self, start: int, stop: int) -> list[tuple[str, str]]:
        """Return text and second text of the numbers `start` to `stop`."""
        out = []
        with opened(self.path) as file:
            (n_texts,) = np.frombuffer(file.read(WORD), dtype="<i8").tolist()
            file.seek(WORD * (1 + 3 * start))
            table = np.frombuffer(file.read(WORD * 3 * (stop - start)), dtype="<i8").reshape(-1, 3)
            for offset, size, second in table.tolist():
                data = os.pread(file.fileno(), size + second, WORD * (1 + 3 * n_texts) + offset)
                out.append((data[:size].decode(), data[size:].decode()))
        return out
