"""Rows that sum up others: apart from them in the files, below them in memory.

table1.csv has a row for each language, table1_overall.csv the means over the target languages:
python -c "from mcbert.results import overall, schema; print(overall.read(schema.TABLE1, 'table1.csv'))"
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mcbert.results import tables
from mcbert.results.columns import Table


def write(table: Table, frame: pd.DataFrame, path: Path | str) -> list[Path]:
    """Write a table, and beside it the rows that sum up its own, if there are any.

    Parameters
    ----------
    table : Table
        The declaration, from `results.schema`.
    frame : DataFrame
        As `results.tables.write` takes it, with the rows that sum up others.
    path : Path
        The file of the table; that of the sums is named by it, and removed if there are none.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    TableError
        If `results.tables.write` refuses one of the two.
    """
    path, whole = Path(path), table.overall
    if table.sums is None or whole is None:
        tables.write(table, frame, path)
        return [path]
    sums_up = (frame[list(table.sums.by)] == pd.Series(table.sums.by)).any(axis=1)
    sums = frame[sums_up].drop(columns=list(table.sums.without))
    beside = _beside(path)
    tables.as_lines(whole, sums, beside)  # refused before anything is written
    tables.write(table, frame[~sums_up], path)
    if sums.empty:
        beside.unlink(missing_ok=True)
        return [path]
    tables.write(whole, sums, beside)
    return [path, beside]


def read(table: Table, path: Path | str) -> pd.DataFrame:
    """Read a table and, below, the rows that sum up its own, if there are any; as `results.tables.read`."""
    path = Path(path)
    rows, whole = tables.read(table, path), table.overall
    if whole is None or not _beside(path).is_file():
        return rows
    return pd.concat([rows, tables.read(whole, _beside(path))], ignore_index=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}_overall.csv")
