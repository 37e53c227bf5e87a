"""The rows of a CSV file as text cells: all at once with what is wrong with them, or one after the other.

for id, text in CsvStream(TEXTS, "texts.csv", ("id", "text")): ...  # memory does not grow with the file
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mcbert.files import RefusedFileError, opened, read_bytes
from mcbert.files.lines import LONGEST, LongLineError, lines
from mcbert.results.column import Table, restore

_BEGINNINGS = {
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a workbook or a zip archive",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
LARGEST = 1 << 32  # bytes of a table that is read as a whole; larger ones are read by `results.csv_stream`
_DELIMITERS = ";\t|"


class TableError(ValueError):
    """A table breaks its declaration; the message names file, row, column, what was given and is accepted."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells by column, and the (row, line) of each row in a file; no places for a frame in memory."""

    columns: dict[str, list[str]]
    places: list[tuple[int, int]]

    def place(self, number: int) -> str:
        """Return where a row stands: data rows from 1, lines of the file from 1."""
        if not self.places:
            return f"row {number + 1}"
        row, line = self.places[number]
        return f"row {row} (line {line})"


def parse(table: Table, path: Path) -> tuple[Cells, list[str]]:
    """Read the cells of a file as text.

    Returns
    -------
    Cells
        No names without a usable header; rows of a wrong width are left out.
    list of str
        Problems, a line each.
    """
    nothing = Cells({}, [])
    try:
        content = read_bytes(path, LARGEST)
    except RefusedFileError as error:
        return nothing, [str(error.strerror)]
    except FileNotFoundError:
        return nothing, ["no such file"]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return nothing, [f"line {line}: byte {error.start} is not UTF-8{_looks(content)}; accepted: UTF-8"]
    records = _records(text)
    try:
        first = next(records, None)
        if first is None:
            return nothing, ["the file is empty; accepted: a header and rows"]
        names = first[1]
        if problems := header_problems(table, names, in_file=True):
            return nothing, problems
        cells, problems = _by_column(names, list(records))
        absent = (column.name for column in table.missing(names) if not column.stamped)
        cells.columns.update((name, [""] * len(cells.places)) for name in absent)
        return cells, problems
    except _QuotingError as error:
        return nothing, [f"{error}; accepted: RFC 4180 quoting"]


def header(path: Path) -> list[str]:
    """Return the names in the header of a file; none where it has none that can be read."""
    try:
        with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            return next(csv.reader(iter(partial(text.readline, LONGEST), ""), strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def header_problems(table: Table, names: Sequence[str], *, in_file: bool = False) -> list[str]:
    """List what is wrong with a header: columns doubled, missing or not declared; one line where all are.

    `in_file`: columns of the stamp may be missing, and, in a file of an earlier version, those declared
    `later`.
    """
    accepted = ", ".join(column.name for column in table.columns if not (in_file and column.stamped))
    if not any(table.column(name) for name in names):
        return [f"header: given {_listed(names)}{_separated(names)}; accepted: {accepted}"]
    doubled = [name for name, count in collections.Counter(names).items() if count > 1]
    problems = [f"header, column {printable(name)}: given twice; accepted: once" for name in doubled]
    needed = [
        column
        for column in table.missing(names)
        if not (column.optional or (in_file and (column.later or column.stamped)))
    ]
    missing = [column.name for column in needed]
    problems += [f"header, column {name}: missing; given: {_listed(names)}" for name in missing]
    unknown = [name for name in names if table.column(name) is None]
    return problems + [f"header, column {printable(n)}: unknown; accepted: {accepted}" for n in unknown]


def printable(text: str) -> str:
    """Escape what a terminal would not print as it is; the text is one line then."""
    return text if text.isprintable() else ascii(text)[1:-1]


class CsvStream:
    """Text columns of a file that `results.csv_files.write` made; may be gone through any number of times.

    Parameters
    ----------
    table : Table
        The declaration.
    path : Path
        The file; its cells are not checked again.
    columns : sequence of str
        Names of text columns, in the order wanted.
    rows : sequence of bool, optional
        Whether to yield each row of the file; by default all are.

    Raises
    ------
    TableError
        While iterating: the header lacks a column, or a row has another number of cells than the header.
    """

    def __init__(
        self, table: Table, path: Path, columns: Sequence[str], *, rows: Sequence[bool] | None = None
    ) -> None:
        unknown = [name for name in columns if table.column(name) is None]
        if unknown:
            raise TableError(f"{path}: column {unknown[0]!r} is not one of {table.file_name}")
        self.path, self.columns, self.rows = path, tuple(columns), rows

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of the columns, of one row after the other."""
        csv.field_size_limit(LONGEST)
        with opened(self.path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
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
                if self.rows is None or self.rows[number - 1]:
                    yield tuple(restore(row[place]) for place in places)

    def _records(self, rows: Any) -> Iterator[tuple[int, list[str]]]:
        """Yield the last line of each row and its cells; what csv and the decoder say names the file."""
        try:
            for row in rows:
                yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError, LongLineError) as error:
            raise TableError(f"{self.path}: after line {rows.line_num}: {error}") from error


class _QuotingError(ValueError):
    """A file breaks the quoting of RFC 4180; the message names the line."""


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line of each record and its cells."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for record in reader:
            yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise _QuotingError(f"line {start}: {error}") from error


def _by_column(names: list[str], records: list[tuple[int, list[str]]]) -> tuple[Cells, list[str]]:
    numbered = [(row, line, record) for row, (line, record) in enumerate(records, 1)]
    whole = [(row, line, record) for row, line, record in numbered if len(record) == len(names)]
    problems = [
        f"row {row} (line {line}): {len(record)} fields; accepted: {len(names)}, as in the header"
        for row, line, record in numbered
        if len(record) != len(names)
    ]
    columns = {name: [record[place] for _, _, record in whole] for place, name in enumerate(names)}
    return Cells(columns, [(row, line) for row, line, _ in whole]), problems


def _looks(content: bytes) -> str:
    return next(
        (f" (it begins like {what})" for start, what in _BEGINNINGS.items() if content.startswith(start)), ""
    )


def _listed(names: Sequence[str]) -> str:
    text = printable(", ".join(names))
    return (text if len(text) <= 600 else text[:597] + "...") or "nothing"


def _separated(names: Sequence[str]) -> str:
    """Return a hint that the delimiter is not a comma, or that the text is UTF-16; else nothing."""
    whole = ",".join(names)
    if "\0" in whole:
        return ", with NUL between (is it UTF-16?)"
    found = next((d for d in _DELIMITERS if whole.count(d) > whole.count(",")), "")
    return f", one field for commas, but it holds {found!r}" if found else ""
