"""Read tables of texts strictly: CSV, TSV, JSON Lines, Parquet and the official XNLI and MultiNLI files.

Every cell is text exactly as written: ``NA``, ``null`` and ``01`` stay what they are. A malformed file is
an error that names file and line, never a silently shifted column.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd


class CorpusError(ValueError):
    """Input that cannot be used; the message names file, row or line, column, what was given."""


def read_table(path: Path, required: Sequence[str] = ()) -> pd.DataFrame:
    """Read one table by its suffix.

    Parameters
    ----------
    path : Path
        ``.csv`` (RFC 4180), ``.tsv`` (no quoting), ``.jsonl`` (one object a line), ``.parquet`` (needs
        pyarrow).
    required : sequence of str
        Columns that must be there.

    Returns
    -------
    DataFrame
        String columns, rows in file order.

    Raises
    ------
    CorpusError
        Unknown suffix, undecodable bytes, a row of the wrong width, a missing or doubled column, no text in
        a cell.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(f"{path}: suffix {path.suffix!r}; accepted: {', '.join(sorted(READERS))}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    frame = reader(path)
    require_columns(frame, required, path)
    return frame


def require_columns(frame: pd.DataFrame, required: Sequence[str], path: Path) -> None:
    """Raise when a required column is missing, naming those present and the closest."""
    for name in required:
        if name not in frame.columns:
            close = get_close_matches(name, list(frame.columns), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise CorpusError(
                f"{path}: column {name!r} is missing{hint}; present: {', '.join(frame.columns)}"
            )


def decode(path: Path) -> str:
    """Return the file's text, UTF-8 with or without a byte-order mark."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: line {line}: byte {data[error.start]:#04x} at offset {error.start} is not UTF-8; "
            "convert the file to UTF-8"
        ) from error


def _read_csv(path: Path) -> pd.DataFrame:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(decode(path), newline=""), strict=True)
    try:
        return _rectangular(((reader.line_num, row) for row in reader), path)
    except csv.Error as error:
        raise CorpusError(f"{path}: line {reader.line_num}: {error}") from error


def _read_tsv(path: Path) -> pd.DataFrame:
    lines = decode(path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return _rectangular(((k, line.split("\t")) for k, line in enumerate(lines, start=1)), path)


def _rectangular(rows: Iterator[tuple[int, list[str]]], path: Path) -> pd.DataFrame:
    header: list[str] | None = None
    cells = []
    for line, row in rows:
        if header is None:
            header = row
            doubled = next((c for c in header if header.count(c) > 1), None)
            if doubled is not None:
                raise CorpusError(f"{path}: line {line}: column {doubled!r} appears twice")
        elif row and len(row) != len(header):
            raise CorpusError(f"{path}: line {line}: {len(row)} fields, the header has {len(header)}")
        elif row:
            cells.append(row)
    if header is None:
        raise CorpusError(f"{path}: the file is empty")
    return pd.DataFrame(cells, columns=header, dtype=str)


def _read_jsonl(path: Path) -> pd.DataFrame:
    records = []
    for k, line in enumerate(decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}: line {k}: not JSON: {error.msg}") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{path}: line {k}: got {type(record).__name__}, accepted: an object")
        records.append({name: _cell(value, path, f"line {k}", name) for name, value in record.items()})
    frame = pd.DataFrame(records, dtype=object)
    return _require_text_cells(frame, path)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise CorpusError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from error
    return _require_text_cells(frame.astype(object), path)


def _cell(value: Any, path: Path, where: str, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and name in ("id", "label"):
        return str(value)
    raise CorpusError(f"{path}: {where}: column {name}: got {value!r}, accepted: text")


def _require_text_cells(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    for name in frame.columns:
        frame[name] = [
            _cell(value, path, f"row {k}", str(name)) for k, value in enumerate(frame[name], start=1)
        ]
    return frame.astype(str)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
