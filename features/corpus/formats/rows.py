"""Columns that a reader is asked for, and rows gathered with the place each came from."""

from __future__ import annotations

import array
import collections
import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, Place, key, listed

PLACE = ("_file", "_row", "_line")
"""Columns that say where a row came from; line 0 where the form has no lines."""

NUMBERED = ("id", "label")
"""Columns in which typed forms may hold whole numbers, which stand for their digits."""

Record = tuple[int, int, Sequence[str]]
"""Number of a row from 1, its first physical line (0 where the form has none), its cells."""

_REPEATED = ("label", "language", "split")  # a million cells, a few values
_BLOCK = 16_384  # rows held as tuples before they become columns


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The columns to read."""

    required: tuple[str, ...]
    """Columns that must be there, by our names."""

    optional: tuple[str, ...] = ()
    """Columns to read where they are there."""

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Our name -> the file's name, where they differ; a column named here must be there."""

    def theirs(self, name: str) -> str:
        """Return the file's name of one of our columns."""
        return self.columns.get(name, name)

    @property
    def names(self) -> tuple[str, ...]:
        """All wanted columns, by our names."""
        return self.required + self.optional

    def places(self, header: Sequence[str], file: str) -> dict[str, int]:
        """Return our name -> position in a header.

        Raises
        ------
        CorpusError
            A column is missing or stands twice.
        """
        counts = collections.Counter(header)
        twice = [name for name, count in counts.items() if count > 1 and name]
        if twice:
            raise CorpusError(f"{file}: column {twice[0]!r} appears {counts[twice[0]]} times")
        self._require(header, file)
        position = {name: k for k, name in enumerate(header)}
        found = {n: position[self.theirs(n)] for n in self.names if self.theirs(n) in position}
        if not found:
            accepted = ", ".join(map(self.theirs, self.names))
            raise CorpusError(f"{file}: columns {listed(list(header))}; accepted: {accepted}")
        return found

    def _require(self, present: Sequence[str], file: str) -> None:
        for name in self.names:
            their = self.theirs(name)
            if their in present or (name in self.optional and name not in self.columns):
                continue
            close = get_close_matches(their, list(present), n=1, cutoff=0.7)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            nul = "; the names hold NUL: is it UTF-16?" if any("\0" in name for name in present) else ""
            raise CorpusError(
                f"{file}: column {their!r} is missing{hint}; present: {listed(list(present))}{nul}; "
                f"{key('columns')} maps names"
            )


class RowBuffer:
    """Rows on their way into a table.

    Parameters
    ----------
    file : str
        Where they come from.
    names : sequence of str
        Their columns, by our names.
    """

    def __init__(self, file: str, names: Sequence[str]) -> None:
        self._file, self._names = file, list(names)
        self._block: list[Sequence[str]] = []
        self._parts: list[pd.DataFrame] = []
        self._rows, self._lines = array.array("q"), array.array("q")

    def add(self, row: int, line: int, cells: Sequence[str]) -> None:
        """Take one row: its number, its first physical line, a cell per column."""
        self._block.append(cells)
        self._rows.append(row)
        self._lines.append(line)
        if len(self._block) == _BLOCK:
            self._flush()

    def _flush(self) -> None:
        columns = dict(zip(self._names, zip(*self._block, strict=True), strict=True))
        for name in _REPEATED:
            if name in columns:
                columns[name] = tuple(map(sys.intern, columns[name]))
        self._parts.append(pd.DataFrame({k: pd.array(list(v), dtype="str") for k, v in columns.items()}))
        self._block = []

    def frame(self) -> pd.DataFrame:
        """Return the table: string columns and `PLACE`."""
        if self._block:
            self._flush()
        if not self._parts:
            return placed(pd.DataFrame({name: pd.array([], dtype="str") for name in self._names}), self._file)
        frame = pd.concat(self._parts, ignore_index=True)
        return placed(frame, self._file, np.array(self._rows), np.array(self._lines))


def frames(file: str, names: Sequence[str], records: Iterable[Record], size: int) -> Iterator[pd.DataFrame]:
    """Gather records into tables of at most `size` rows, each as `RowBuffer.frame` returns it."""
    left = iter(records)
    while part := list(itertools.islice(left, size)):
        buffer = RowBuffer(file, names)
        for record in part:
            buffer.add(*record)
        yield buffer.frame()


def placed(
    frame: pd.DataFrame, file: str, rows: np.ndarray | None = None, lines: np.ndarray | None = None
) -> pd.DataFrame:
    """Add the columns `PLACE`; by default rows count from 1 and have no lines."""
    rows = np.arange(1, len(frame) + 1) if rows is None else rows
    lines = np.zeros(len(frame), dtype=np.int64) if lines is None else lines
    return frame.assign(_file=np.full(len(frame), file, dtype=object), _row=rows, _line=lines)


def places_of(table: pd.DataFrame, positions: np.ndarray, name: str) -> Iterator[Place]:
    """Yield where the rows at `positions` came from; without `PLACE` they are rows of `name`, from 1."""
    if PLACE[0] not in table.columns:
        return (Place(name, int(k) + 1) for k in positions)
    columns = (table[column].to_numpy()[positions].tolist() for column in PLACE)
    return itertools.starmap(Place, zip(*columns, strict=True))


def rows_left_out(
    table: pd.DataFrame, reasons: Mapping[int, str], where: tuple[str, str], bad: BadRows
) -> Iterator[BadRow]:
    """Yield the rows at the positions `reasons`, each with its place, its id and its reason.

    Parameters
    ----------
    where : (str, str)
        Our name of the column at fault; what stands for the file where rows do not say theirs.
    bad : BadRows
        Knows the file's name of the column.
    """
    column, name = where
    positions = np.fromiter(reasons, dtype=np.int64, count=len(reasons))
    ids = table["id"].to_numpy()[positions].tolist() if "id" in table.columns else [""] * len(reasons)
    for place, reason, known in zip(places_of(table, positions, name), reasons.values(), ids, strict=True):
        yield BadRow(place, bad.columns.get(column, column), reason, known if isinstance(known, str) else "")
