"""Read tables of texts strictly: CSV, TSV, JSON Lines and Parquet, plain or gzipped.

Every cell is text exactly as written: ``NA``, ``null`` and ``01`` stay what they are. A malformed file is
an error that names file, row and line, never a silently shifted column.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, Place, key
from mcbert.features.corpus.formats.jsonl import read_jsonl
from mcbert.features.corpus.formats.jsonl import records as jsonl_records
from mcbert.features.corpus.formats.lines import Lines, RowLines
from mcbert.features.corpus.formats.rows import Record, RowBuffer, Wanted, frames
from mcbert.files.lines import LONGEST

log = logging.getLogger(__name__)

Quoting = Literal["auto", "csv", "none"]
_QUOTING: dict[str, Literal[0, 3]] = {"csv": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}
DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableForm:
    """Form of a table, as far as its suffix does not say it."""

    encoding: str = "utf-8"
    """Encoding of CSV, TSV and JSON Lines."""

    delimiter: str = ""
    """Character between the fields of CSV and TSV; empty: tab for TSV, of CSV what its header shows."""

    quoting: Quoting = "auto"
    """``csv``: RFC 4180; ``none``: a quote is a character as any other; ``auto``: by the suffix."""

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Our column name -> the table's, where they differ."""


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    form: TableForm | None = None,
    bad: BadRows | None = None,
) -> pd.DataFrame:
    """Read columns of one table by its suffix.

    Parameters
    ----------
    path : Path
        ``.csv`` (RFC 4180), ``.tsv`` (no quoting), ``.jsonl`` (one object a line), any of them with ``.gz``
        behind, ``.parquet`` (needs pyarrow).
    required, optional : sequence of str
        Columns to read, by our names.
    form : TableForm, optional
        The form, as far as the suffix does not say it.
    bad : BadRows, optional
        Treatment of rows that cannot be read; by default they are refused.

    Returns
    -------
    DataFrame
        String columns `required`, those of `optional` that are there, and `rows.PLACE`; rows in file order.

    Raises
    ------
    CorpusError
        Unknown suffix, undecodable bytes, a row of the wrong width, a missing or doubled column, a cell that
        is not text, no rows at all.
    """
    form, bad = form or TableForm(), bad or BadRows()
    reader = READERS[_suffix(path)]
    wanted = Wanted(tuple(required), tuple(optional), form.columns)
    frame = reader(path, wanted, form, bad)
    bad.settle()
    if frame.empty and not bad.count:
        raise CorpusError(f"{path}: the file has a header and no rows")
    return frame


def stream_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    size: int,
    form: TableForm | None = None,
    bad: BadRows | None = None,
) -> Iterator[pd.DataFrame]:
    """Read columns of one table as `read_table` does, at most `size` rows at a time.

    Memory does not grow with the file, but for the rows that `bad` leaves out. A file without rows yields
    nothing.
    """
    form, bad = form or TableForm(), bad or BadRows()
    wanted = Wanted(tuple(required), tuple(optional), form.columns)
    for frame in STREAMS[_suffix(path)](path, wanted, form, bad, size):
        bad.settle()
        yield frame
    bad.settle()


def _suffix(path: Path) -> str:
    suffix = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if suffix not in READERS:
        accepted = ", ".join(sorted(READERS))
        folder = "; it is a folder" if path.is_dir() else ""
        raise CorpusError(f"{path}: suffix {path.suffix!r}{folder}; accepted: a file {accepted}")
    return suffix


def read_delimited(
    path: Path,
    wanted: Wanted,
    bad: BadRows,
    *,
    form: TableForm,
    header: Sequence[str] | None = None,
    widths: Literal["exact", "shorter", "longer"] = "exact",
) -> pd.DataFrame:
    """Read columns of delimited text, `form` complete.

    Parameters
    ----------
    header : sequence of str, optional
        Column names of a file that has none in its first line.
    widths : {"exact", "shorter", "longer"}
        Whether rows may have fewer or more fields than the header, as long as the wanted columns are there.
    """
    names, records = _delimited(path, wanted, bad, form=form, header=header, widths=widths)
    buffer = RowBuffer(str(path), names)
    for row, line, cells in records:
        buffer.add(row, line, cells)
    return buffer.frame()


def _delimited(
    path: Path,
    wanted: Wanted,
    bad: BadRows,
    *,
    form: TableForm,
    header: Sequence[str] | None = None,
    widths: Literal["exact", "shorter", "longer"] = "exact",
) -> tuple[list[str], Iterator[Record]]:
    """Return the columns that are there and the rows, one after the other."""
    csv.field_size_limit(LONGEST)
    lines = Lines(path, form.encoding)
    rows = RowLines(lines)
    reader = csv.reader(
        rows, delimiter=form.delimiter, quoting=_QUOTING[form.quoting], doublequote=True, strict=True
    )
    records = _records(reader, rows)
    names = list(header) if header is not None else _header(records, lines, form)
    places = wanted.places(names, str(path))
    take = _taker(list(places.values()))
    least = max(places.values()) + 1 if widths == "shorter" else len(names)
    most = sys.maxsize if widths == "longer" else len(names)
    return list(places), _checked(enumerate(records, start=1), take, lines, bad, (least, len(names), most))


def _checked(
    records: Iterable[tuple[int, tuple[int, int, list[str]]]],
    take: Callable[[list[str]], Sequence[str]],
    lines: Lines,
    bad: BadRows,
    widths: tuple[int, int, int],
) -> Iterator[Record]:
    least, usual, most = widths
    for row, (first, last, cells) in records:
        wrong = lines.undecodable_in(first, last)
        if wrong or not least <= len(cells) <= most:
            reason = wrong or f"{len(cells)} fields, accepted: {usual} as in the header"
            bad.add(BadRow(Place(str(lines.path), row, first), "", reason))
        else:
            yield row, first, take(cells)


def _taker(positions: list[int]) -> Callable[[list[str]], Sequence[str]]:
    if len(positions) == 1:  # of one position alone itemgetter makes no tuple
        return lambda cells: (cells[positions[0]],)
    return operator.itemgetter(*positions)


def _records(reader: Any, rows: RowLines) -> Iterable[tuple[int, int, list[str]]]:
    """Yield (first physical line, last one, cells) of every record that is not blank."""
    last, path = 0, rows.path
    try:
        for cells in reader:
            first, last, rows.held = last + 1, reader.line_num, 0
            if cells:
                yield first, last, cells
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise CorpusError(f"{path}: line {last + 1}: a quote opens here and never closes") from error
        raise CorpusError(f"{path}: line {reader.line_num}: {error}") from error


def _header(records: Iterable[tuple[int, int, list[str]]], lines: Lines, form: TableForm) -> list[str]:
    first, last, names = next(iter(records), (0, 0, []))
    if first == 1 and is_separator_line(names, form.delimiter):
        first, last, names = next(iter(records), (0, 0, []))
    if not names:
        raise CorpusError(f"{lines.path}: the file is empty")
    wrong = lines.undecodable_in(first, last)
    if wrong:
        raise CorpusError(f"{lines.path}: line {first}: {wrong}")
    if len(names) == 1:
        other = next((d for d in DELIMITERS if d in names[0] and d != form.delimiter), None)
        if other is not None:
            raise CorpusError(
                f"{lines.path}: line {first}: the header is one field, but holds {other!r}; "
                f"{key('delimiter')} names the character between fields"
            )
    return names


def _read_separated(path: Path, wanted: Wanted, form: TableForm, bad: BadRows) -> pd.DataFrame:
    return read_delimited(path, wanted, bad, form=_whole(path, form))


def _whole(path: Path, form: TableForm) -> TableForm:
    is_tsv = ".tsv" in path.suffixes[-2:]
    return dataclasses.replace(
        form,
        delimiter=form.delimiter or ("\t" if is_tsv else header_delimiter(path, form.encoding)),
        quoting=("none" if is_tsv else "csv") if form.quoting == "auto" else form.quoting,
    )


def _stream_separated(
    path: Path, wanted: Wanted, form: TableForm, bad: BadRows, size: int
) -> Iterator[pd.DataFrame]:
    names, records = _delimited(path, wanted, bad, form=_whole(path, form))
    return frames(str(path), names, records, size)


def _stream_json_lines(
    path: Path, wanted: Wanted, form: TableForm, bad: BadRows, size: int
) -> Iterator[pd.DataFrame]:
    _require_unset(path, form, "delimiter", "quoting")
    return frames(str(path), wanted.names, jsonl_records(path, wanted, bad, encoding=form.encoding), size)


def _stream_parquet(
    path: Path, wanted: Wanted, form: TableForm, bad: BadRows, size: int
) -> Iterator[pd.DataFrame]:
    from mcbert.features.corpus.formats.arrow import stream_parquet

    _require_unset(path, form, "delimiter", "quoting", "encoding")
    return stream_parquet(path, wanted, bad, size)


def _read_json_lines(path: Path, wanted: Wanted, form: TableForm, bad: BadRows) -> pd.DataFrame:
    _require_unset(path, form, "delimiter", "quoting")
    return read_jsonl(path, wanted, bad, encoding=form.encoding)


def _read_parquet(path: Path, wanted: Wanted, form: TableForm, bad: BadRows) -> pd.DataFrame:
    from mcbert.features.corpus.formats.arrow import read_parquet

    _require_unset(path, form, "delimiter", "quoting", "encoding")
    return read_parquet(path, wanted, bad)


def _require_unset(path: Path, form: TableForm, *names: str) -> None:
    for name in names:
        if getattr(form, name) != getattr(TableForm(), name):
            raise CorpusError(f"{path}: corpus.{name} means nothing for {path.suffix}; leave it out")


READERS: dict[str, Callable[[Path, Wanted, TableForm, BadRows], pd.DataFrame]] = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}

STREAMS: dict[str, Callable[[Path, Wanted, TableForm, BadRows, int], Iterator[pd.DataFrame]]] = {
    ".csv": _stream_separated,
    ".tsv": _stream_separated,
    ".jsonl": _stream_json_lines,
    ".parquet": _stream_parquet,
}
"""As `READERS`, in blocks of at most so many rows."""


def is_separator_line(cells: Sequence[str], delimiter: str) -> bool:
    """Tell whether a first line, split into cells, is Excel's ``sep=;`` and no header."""
    return bool(_SEPARATOR_LINE.fullmatch(delimiter.join(cells)))


def header_delimiter(path: Path, encoding: str) -> str:
    """Return what a first line ``sep=`` names, as Excel writes and reads it, or what the header shows.

    That is the comma, unless the header is one field for it and several for one of the others.

    Raises
    ------
    CorpusError
        The file cannot be read.
    """
    named = _SEPARATOR_LINE.fullmatch(next(iter(Lines(path, encoding)), "").rstrip("\r\n"))
    if named:
        return named[1]
    counts = {delimiter: _fields(path, encoding, delimiter) for delimiter in DELIMITERS}
    if counts[","] > 1 or max(counts.values()) < 2:
        return ","
    found = max(counts, key=lambda delimiter: counts[delimiter])
    log.debug("%s: the fields of the header stand apart by %r, and so those of the rows", path, found)
    return found


def _fields(path: Path, encoding: str, delimiter: str) -> int:
    """Count the fields of the header; 0 where it cannot be split so."""
    try:
        rows = csv.reader(Lines(path, encoding), delimiter=delimiter, strict=True)
        return len(next(filter(None, rows), []))
    except csv.Error:
        return 0
