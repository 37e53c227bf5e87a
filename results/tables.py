"""Write, read and validate the declared CSV files: RFC 4180, UTF-8, LF, floats unrounded, no live formulas.

python -c "from mcbert.results import tables; print(tables.validate('gridsearch.csv'))"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert import files
from mcbert.results.columns import Column, Table, neutralise
from mcbert.results.parsed import Cells, header, header_problems, parse, printable
from mcbert.results.schema import TABLES

MOST_CASES = 5
"""Cells reported per column before the rest is only counted."""

_NEEDS_QUOTES = re.compile(r'[",\r\n]')


class TableError(ValueError):
    """A table breaks its declaration; the message names file, row, column, what was given and is accepted."""


def write(table: Table, frame: pd.DataFrame, path: Path | str) -> None:
    """Write a table after checking it; the file appears whole or not at all.

    Parameters
    ----------
    table : Table
        The declaration, from `results.schema`.
    frame : DataFrame
        The declared columns in any order; numbers raw, missing cells None, NaN or NA. The index is not
        written.
    path : Path
        The file to write; an existing one is replaced.

    Raises
    ------
    TableError
        If a column is missing, unknown or doubled, a cell is not what the column accepts, or two rows share a
        key.
    """
    path = Path(path)
    lines = as_lines(table, frame, path)
    try:
        files.write_text(path, "\n".join(lines) + "\n")
    except UnicodeEncodeError as error:
        row = next(number for number, line in enumerate(lines) if not _is_encodable(line))
        raise TableError(
            f"{path}: row {row}: a lone surrogate; accepted: text that UTF-8 can hold"
        ) from error


def as_lines(table: Table, frame: pd.DataFrame, path: Path) -> list[str]:
    """Return the header and the rows of a table as `write` would write them to `path`, after checking it."""
    names = [str(name) for name in frame.columns]
    _require(header_problems(table, names), path)
    names = table.order(names)
    cells = {name: _encode(_declared(table, name), frame[name], path) for name in names}
    _require(_cell_problems(table, Cells(names, cells, [])), path)
    return [",".join(map(_quote, row)) for row in (names, *zip(*cells.values(), strict=True))]


def read(table: Table, path: Path | str) -> pd.DataFrame:
    """Read a table, typed and checked, its columns in the declared order.

    Parameters
    ----------
    table : Table
        The declaration, from `results.schema`.
    path : Path
        A file that `write` made, or one like it (a byte order mark, CRLF and another column order are
        accepted).

    Returns
    -------
    DataFrame
        Columns of dtype str, int64, float64 or bool; Int64 where a whole number may be missing. An empty text
        is "", a missing number NaN or NA.

    Raises
    ------
    TableError
        At the first thing that is wrong, with the number of further ones.
    """
    path = Path(path)
    cells, problems = parse(table, path)
    _require(problems or _cell_problems(table, cells), path)
    return pd.DataFrame(
        {name: _decode(_declared(table, name), cells.columns[name]) for name in table.order(cells.names)}
    )


def validate(path: Path | str) -> list[str]:
    """Check a file, or every CSV file under a folder, against the table that its name says it is.

    Returns
    -------
    list of str
        One line per problem: file, row (data rows from 1) and line (of the file, from 1), column, what was
        given and what is accepted. Empty: nothing is wrong.
    """
    path = Path(path)
    if path.is_dir():
        return [line for file in sorted(path.rglob("*.csv")) for line in validate(file)]
    table = find_table(path)
    if table is None:
        known = ", ".join(table.file_name for table in TABLES)
        fits = [table.file_name for table in TABLES if not header_problems(table, header(path))]
        hint = f" (by its columns it is {' or '.join(fits)})" if fits else ""
        return [f"{printable(str(path))}: unknown file name {path.name!r}{hint}; accepted: {known}"]
    cells, problems = parse(table, path)
    if cells.names:
        problems = problems + _cell_problems(table, cells)
    return [f"{printable(str(path))}: {problem}" for problem in problems]


def find_table(path: Path) -> Table | None:
    """Give the table that a file's name stands for, alone or with its folder's, or None."""
    within = f"{path.absolute().parent.name}/{path.name}"
    ranked = sorted(TABLES, key=lambda table: "/" not in table.file_name)
    return next((t for t in ranked if t.is_name(within if "/" in t.file_name else path.name)), None)


def _declared(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise TableError(f"{table.file_name}: column {name}: unknown")
    return column


def _require(problems: list[str], path: Path) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise TableError(f"{path}: {problems[0]}{more}")


def _cell_problems(table: Table, cells: Cells) -> list[str]:
    problems: list[str] = []
    for name in cells.names:
        column = _declared(table, name)
        wrong = {cell for cell in set(cells.columns[name]) if not column.accepts(cell)}
        rows = [number for number, cell in enumerate(cells.columns[name]) if cell in wrong] if wrong else []
        problems += [
            f"{cells.place(number)}, column {name}: given {_shown(cells.columns[name][number])}; "
            f"accepted: {column.accepted(cells.columns[name][number])}"
            for number in rows[:MOST_CASES]
        ]
        problems += _rest(name, len(rows))
    return problems + _key_problems(table, cells)


def _key_problems(table: Table, cells: Cells) -> list[str]:
    """Report rows that share their key with an earlier one; counted, not listed, beyond the first few."""
    first: dict[tuple[str, ...], int] = {}
    again: list[tuple[int, tuple[str, ...]]] = []
    for number, key in enumerate(zip(*(cells.columns[name] for name in table.key), strict=True)):
        if first.setdefault(key, number) != number:
            again.append((number, key))
    columns = ", ".join(table.key)
    problems = [
        f"{cells.place(number)}, column {columns}: given {_shown(', '.join(key))} "
        f"as in {cells.place(first[key])}; accepted: each once"
        for number, key in again[:MOST_CASES]
    ]
    return problems + _rest(columns, len(again))


def _rest(column: str, count: int) -> list[str]:
    return [f"column {column}: {count - MOST_CASES} more rows like these"] if count > MOST_CASES else []


def _shown(cell: str) -> str:
    return "an empty cell" if cell == "" else repr(cell if len(cell) <= 80 else cell[:77] + "...")


def _encode(column: Column, values: pd.Series, path: Path) -> list[str]:
    """Give the cells of a column as text; a value of a wrong type is refused with its row, not converted."""
    cells = []
    for row, value in enumerate(values.tolist(), 1):
        cell = _cell(column, value)
        if cell is None:
            given = f"{value!r} ({type(value).__name__})"
            raise TableError(
                f"{path}: row {row}, column {column.name}: given {given}; accepted: {column.accepted()}"
            )
        cells.append(cell)
    return cells


def _cell(column: Column, value: object) -> str | None:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if column.dtype == "string":
        return neutralise(value) if isinstance(value, str) else None
    if column.dtype == "bool":
        return str(value).lower() if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if column.dtype == "float":
        return repr(float(value))
    return str(int(value)) if float(value).is_integer() else None


def _decode(column: Column, cells: Iterable[str]) -> pd.Series:
    return pd.Series([column.decode(cell) for cell in cells], dtype=column.pandas_dtype)


def _quote(cell: str) -> str:
    """Quote a cell as RFC 4180 does; Python's csv before 3.13 leaves a lone carriage return bare."""
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
