"""Read and write declared CSVs piece by piece: memory does not grow with the file.

for id, text in Rows(TEXTS, "texts.csv", ("id", "text")): ...
with writing(LABELS, path) as write: write(frame)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert import files
from mcbert.files.lines import LONGEST, LongLineError, lines
from mcbert.results.columns import Table, restore
from mcbert.results.tables import TableError, as_lines


class Rows:
    """Text columns of a file that `results.tables.write` made; may be gone through any number of times.

    Parameters
    ----------
    table : Table
        The declaration.
    path : Path
        The file; its cells are not checked again.
    columns : sequence of str
        Names of text columns, in the order wanted.

    Raises
    ------
    TableError
        While iterating: the header lacks a column, or a row has another number of cells than the header.
    """

    def __init__(self, table: Table, path: Path, columns: Sequence[str]) -> None:
        unknown = [name for name in columns if table.column(name) is None]
        if unknown:
            raise TableError(f"{path}: column {unknown[0]!r} is not one of {table.file_name}")
        self.path, self.columns = path, tuple(columns)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of the columns, of one row after the other."""
        csv.field_size_limit(LONGEST)
        with files.opened(self.path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            rows = self._records(csv.reader(lines(text), strict=True))
            _, header = next(rows, (0, []))
            absent = [name for name in self.columns if name not in header]
            if absent:
                raise TableError(
                    f"{self.path}: header, column {absent[0]}: missing; given: {', '.join(header)}"
                )
            places = [header.index(name) for name in self.columns]
            for number, (line, row) in enumerate(rows, start=1):
                if len(row) != len(header):
                    place = f"{self.path}: row {number}, line {line}"
                    raise TableError(f"{place}: {len(row)} cells, accepted: {len(header)}")
                yield tuple(restore(row[place]) for place in places)

    def _records(self, rows: Any) -> Iterator[tuple[int, list[str]]]:
        """Yield the last line of each row and its cells; what csv and the decoder say names the file."""
        try:
            for row in rows:
                yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError, LongLineError) as error:
            raise TableError(f"{self.path}: after line {rows.line_num}: {error}") from error


@contextmanager
def writing(table: Table, path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write a table block by block; the file takes its name when the block ends, and is gone when it fails.

    Yields a function that checks and writes the next rows, as `results.tables.write` does; keys are compared
    within a block only. All blocks have the same columns.

    Raises
    ------
    TableError
        From that function: a block breaks the declaration.
    """
    with files.writing_beside(path) as file:

        def write(frame: pd.DataFrame) -> None:
            lines = as_lines(table, frame, path)
            file.write(("\n".join(lines[1:] if file.tell() else lines) + "\n").encode())

        yield write
