"""Read, write and validate the declared CSV files: RFC 4180, UTF-8, LF, floats unrounded, no live formulas.

Rows that sum up others lie in a file of their own, table1_overall.csv beside table1.csv, and below the others
in memory. What all rows of a file share (run, configuration, encoder, versions, transfer) stands once in
`run.json` beside the files, under their names, and in columns in memory. A file larger than memory is read by
`results.csv_rows.CsvStream`.

python -c "from mcbert.results import csv_files; print(csv_files.validate('gridsearch.csv'))"
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert import files
from mcbert.files.objects import read_object
from mcbert.results.column import Column, Table, Value
from mcbert.results.csv_rows import Cells, TableError, header, header_problems, parse, printable
from mcbert.results.schema import TABLES

RUN_FILE = "run.json"
"""What all rows of a file share, by the file's name: a JSON object in the same folder."""
MOST_CASES = 5
"""Cells reported per column before the rest is only counted."""

_NEEDS_QUOTES = re.compile(r'[",\r\n]')


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
    lines, shared = as_lines(table, frame, path), _shared(table, frame, path)
    unfit = next((number for number, line in enumerate(lines) if not _is_encodable(line)), None)
    if unfit is not None:
        raise TableError(f"{path}: row {unfit}: a lone surrogate; accepted: text that UTF-8 can hold")
    if table.stamp:
        beside = path.with_name(RUN_FILE)
        known = read_object(beside) if beside.is_file() else {}
        content = json.dumps(known | {path.name: shared}, indent=1, ensure_ascii=False, sort_keys=True)
        files.write_text(beside, content + "\n")
    files.write_text(path, "\n".join(lines) + "\n")


def as_lines(table: Table, frame: pd.DataFrame, path: Path) -> list[str]:
    """Return the header and the rows of a table as `write` would write them to `path`, after checking it.

    Columns of the stamp are checked and left out.
    """
    names = [str(name) for name in frame.columns]
    _require(header_problems(table, names), path)
    columns: dict[str, list[str]] = {}
    refused: dict[str, set[str]] = {}
    for name in table.order(names):
        column = _declared(table, name)
        values = _typed(column, frame[name], path)
        refused[name] = {column.encode(value) for value in set(values) if not column.accepts(value)}
        columns[name] = [column.encode(value) for value in values]
    _require(_cell_problems(table, Cells(columns, []), refused), path)
    columns = {name: cells for name, cells in columns.items() if not _declared(table, name).stamped}
    return [",".join(map(_quote, row)) for row in (columns, *zip(*columns.values(), strict=True))]


@contextmanager
def writing(table: Table, path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write a table piece by piece; the file is there when the `with` block ends, and not if it fails.

    Yields a function that checks and writes the next rows, as `write` does; keys are compared within a piece
    only. All pieces have the same columns.

    Raises
    ------
    TableError
        From that function: a piece breaks the declaration.
    """
    with files.writing_beside(path) as file:

        def write(frame: pd.DataFrame) -> None:
            lines = as_lines(table, frame, path)
            file.write(("\n".join(lines[1:] if file.tell() else lines) + "\n").encode())

        yield write


def write_with_sums(table: Table, frame: pd.DataFrame, path: Path | str) -> list[Path]:
    """Write a table, and beside it the rows that sum up its own, if there are any.

    Parameters
    ----------
    table : Table
        The declaration, from `results.schema`.
    frame : DataFrame
        As `write` takes it, with the rows that sum up others.
    path : Path
        The file of the table; that of the sums is named by it, and removed if there are none.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    TableError
        If `write` would refuse one of the two; neither is written then.
    """
    path, whole = Path(path), table.overall
    if table.sums is None or whole is None:
        write(table, frame, path)
        return [path]
    sums_up = (frame[list(table.sums.by)] == pd.Series(table.sums.by)).any(axis=1)
    sums = frame[sums_up].drop(columns=list(table.sums.without))
    beside = _beside(path)
    as_lines(whole, sums, beside)  # refused before anything is written
    write(table, frame[~sums_up], path)
    if sums.empty:
        beside.unlink(missing_ok=True)
        return [path]
    write(whole, sums, beside)
    return [path, beside]


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
    cells, values, problems = _checked(table, path)
    _require(problems, path)
    shared, wrong = _stamp_of(table, path)
    _require(wrong, path.with_name(RUN_FILE))
    found = {name: [values[name][cell] for cell in column] for name, column in cells.columns.items()}
    found |= {name: [value] * len(cells.places) for name, value in shared.items() if name not in found}
    return pd.DataFrame(
        {
            name: pd.Series(found[name], dtype=_declared(table, name).pandas_dtype)
            for name in table.order(found)
        }
    )


def read_with_sums(table: Table, path: Path | str) -> pd.DataFrame:
    """Return a table as `read` does and, below, the rows that sum up its own, if there are any."""
    path = Path(path)
    rows, whole = read(table, path), table.overall
    if whole is None or not _beside(path).is_file():
        return rows
    return pd.concat([rows, read(whole, _beside(path))], ignore_index=True)


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
        fits = [table.file_name for table in TABLES if not header_problems(table, header(path), in_file=True)]
        hint = f" (by its columns it is {' or '.join(fits)})" if fits else ""
        return [f"{printable(str(path))}: unknown file name {path.name!r}{hint}; accepted: {known}"]
    _, _, problems = _checked(table, path)
    found = [f"{path}: {problem}" for problem in problems]
    try:
        found += [f"{path.with_name(RUN_FILE)}: {problem}" for problem in _stamp_of(table, path)[1]]
    except ValueError as error:
        found.append(str(error))
    return [printable(line) for line in found]


def find_table(path: Path) -> Table | None:
    """Return the table that a file's name stands for, alone or with its folder's, or None."""
    within = f"{path.absolute().parent.name}/{path.name}"
    ranked = sorted(TABLES, key=lambda table: "/" not in table.file_name)
    return next((t for t in ranked if t.is_name(within if "/" in t.file_name else path.name)), None)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}_overall.csv")


def _shared(table: Table, frame: pd.DataFrame, path: Path) -> dict[str, Value]:
    """Return the one value of each column of the stamp; nothing for a table without rows."""
    shared: dict[str, Value] = {}
    for column in table.stamp if len(frame) else ():
        given = frame[column.name].unique().tolist()
        if len(given) > 1:
            shown = ", ".join(_shown(str(value)) for value in given[:MOST_CASES])
            raise TableError(f"{path}: column {column.name}: given {shown}; accepted: one for the whole file")
        shared[column.name] = given[0]
    return shared


def _stamp_of(table: Table, path: Path) -> tuple[dict[str, Value], list[str]]:
    """Return the stamp of a file by `run.json` beside it, empty where that is silent, and what is wrong."""
    beside = path.with_name(RUN_FILE)
    known = read_object(beside, optional={path.name: dict}) if table.stamp and beside.is_file() else {}
    given, shared, wrong = known.get(path.name, {}), {}, []
    for column in table.stamp:
        value = given.get(column.name, "")
        shared[column.name] = value
        if column.name in given and not (isinstance(value, str) and column.accepts(value)):
            wrong.append(f"{path.name}: {column.name}: given {value!r}; accepted: {column.accepted()}")
    return shared, wrong


def _declared(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise TableError(f"{table.file_name}: column {name}: unknown")
    return column


def _require(problems: list[str], path: Path) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise TableError(f"{path}: {problems[0]}{more}")


def _checked(table: Table, path: Path) -> tuple[Cells, dict[str, dict[str, Value]], list[str]]:
    """Return the cells of a file, the value of each by column and cell, and everything that is wrong."""
    cells, problems = parse(table, path)
    if not cells.columns:
        return cells, {}, problems
    values: dict[str, dict[str, Value]] = {}
    refused: dict[str, set[str]] = {}
    for name, column in cells.columns.items():
        declared = _declared(table, name)
        values[name], refused[name] = {}, set()
        for cell in set(column):
            try:
                values[name][cell] = declared.decode(cell)
            except ValueError:
                refused[name].add(cell)
    return cells, values, problems + _cell_problems(table, cells, refused)


def _cell_problems(table: Table, cells: Cells, refused: Mapping[str, set[str]]) -> list[str]:
    problems: list[str] = []
    for name, column in cells.columns.items():
        wrong = refused[name]
        rows = [number for number, cell in enumerate(column) if cell in wrong] if wrong else []
        problems += [
            f"{cells.place(number)}, column {name}: given {_shown(column[number])}; "
            f"accepted: {_declared(table, name).accepted(column[number])}"
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


def _typed(column: Column, values: pd.Series, path: Path) -> list[Value]:
    """Return the values of a column as Python's own; one of another type is refused, not converted."""
    found: list[Value] = []
    for row, value in enumerate(values.tolist(), 1):
        try:
            found.append(_own(column, value.item() if isinstance(value, np.generic) else value))
        except TypeError as error:
            given = f"{value!r} ({type(value).__name__})"
            raise TableError(
                f"{path}: row {row}, column {column.name}: given {given}; accepted: {column.accepted()}"
            ) from error
    return found


def _own(column: Column, value: object) -> Value:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "" if column.dtype == "string" else None
    if column.dtype == "string" and isinstance(value, str):
        return value
    if column.dtype == "bool" and isinstance(value, bool):
        return value
    if column.dtype in ("int", "float") and isinstance(value, int | float) and not isinstance(value, bool):
        if column.dtype == "float":
            return float(value)
        if float(value).is_integer():
            return int(value)
    raise TypeError(column.dtype)


def _quote(cell: str) -> str:
    """Quote a cell as RFC 4180 does; Python's csv before 3.13 leaves a lone carriage return bare."""
    return '"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell


def _is_encodable(text: str) -> bool:
    return re.search("[\ud800-\udfff]", text) is None
