"""Read JSON Lines: one object a line, as datasets are mostly published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert.features.corpus.errors import ONE_LABEL, BadRow, BadRows, CorpusError, Place, shown
from mcbert.features.corpus.formats.lines import Lines, is_encodable
from mcbert.features.corpus.formats.rows import NUMBERED, PLACE, Record, RowBuffer, Wanted


class _RefusedError(Exception):
    def __init__(self, reason: str, column: str = "") -> None:
        super().__init__(reason)
        self.reason, self.column = reason, column


def read_jsonl(path: Path, wanted: Wanted, bad: BadRows, *, encoding: str = "utf-8") -> pd.DataFrame:
    """Read columns of a JSON Lines file.

    Returns
    -------
    DataFrame
        String columns and `rows.PLACE`; an optional key that is absent or null gives an empty text.

    Raises
    ------
    CorpusError
        The file is empty, or a required key is in no line at all.
    """
    buffer = RowBuffer(str(path), wanted.names)
    seen: dict[str, None] = {}
    for row, line, cells in records(path, wanted, bad, encoding=encoding, seen=seen):
        buffer.add(row, line, cells)
    if not seen:
        return buffer.frame()
    return buffer.frame()[[*wanted.places(list(seen), str(path)), *PLACE]]


def records(
    path: Path, wanted: Wanted, bad: BadRows, *, encoding: str = "utf-8", seen: dict[str, None] | None = None
) -> Iterator[Record]:
    """Yield the rows one after the other, a cell for each of ``wanted.names``.

    Parameters
    ----------
    seen : dict, optional
        Is given every key that some line has.

    Raises
    ------
    CorpusError
        The file is empty.
    """
    lines = Lines(path, encoding)
    seen = {} if seen is None else seen
    keys = [(wanted.theirs(name), "" if name in wanted.optional else _ABSENT) for name in wanted.names]
    row = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row += 1
        record: dict[str, Any] = {}
        try:
            record = _record(line, lines.undecodable_in(number, number))
            if not record.keys() <= seen.keys():
                seen.update(dict.fromkeys(record))
            cells = [record.get(key, default) for key, default in keys]
            # only an escape can bring a surrogate into a line that decodes
            if "\\u" in line or set(map(type, cells)) != {str}:
                cells = _cells(record, wanted)
            yield row, number, cells
        except _RefusedError as error:
            given = record.get(wanted.theirs("id"))
            known = given if isinstance(given, str) else ""
            bad.add(BadRow(Place(str(path), row, number), error.column, error.reason, known))
    if row == 0:
        raise CorpusError(f"{path}: the file is empty")


def _record(line: str, undecodable: str) -> dict[str, Any]:
    if undecodable:
        raise _RefusedError(undecodable)
    try:
        record = _DECODER.decode(line)
    except RecursionError as error:
        raise _RefusedError("nested too deeply to be read") from error
    except ValueError as error:
        raise _RefusedError(f"not JSON: {getattr(error, 'msg', error)}") from error
    if not isinstance(record, dict):
        raise _RefusedError(f"got {type(record).__name__}, accepted: an object")
    return record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError("the key stands twice in the object", twice)
    return record


def _cells(record: dict[str, Any], wanted: Wanted) -> list[str]:
    cells = [_cell(record, name, wanted) for name in wanted.names]
    for name, cell in zip(wanted.names, cells, strict=True):
        if not is_encodable(cell):
            raise _RefusedError("a lone surrogate, which is not a character", wanted.theirs(name))
    return cells


def _cell(record: dict[str, Any], name: str, wanted: Wanted) -> str:
    value = record.get(wanted.theirs(name), _ABSENT)
    if type(value) is str:
        return value
    if name in NUMBERED and type(value) is int:
        return str(value)
    if name in wanted.optional and (value is None or value is _ABSENT):
        return ""
    if value is _ABSENT:
        raise _RefusedError("the key is missing", wanted.theirs(name))
    if name == "label" and isinstance(value, list):
        raise _RefusedError(f"got a list of {len(value)}: {ONE_LABEL}", wanted.theirs(name))
    given = type(value).__name__ if isinstance(value, list | dict) else shown(value)
    raise _RefusedError(f"got {given}, accepted: text", wanted.theirs(name))


_ABSENT = object()
_DECODER = json.JSONDecoder(object_pairs_hook=_once)
