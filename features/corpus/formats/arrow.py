"""Read columns of text out of Arrow batches: Parquet files and Hugging Face datasets. Needs pyarrow."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert.features.corpus.errors import ONE_LABEL, BadRow, BadRows, CorpusError, Place, shown
from mcbert.features.corpus.formats.lines import RATIO, UNPACKED, reading
from mcbert.features.corpus.formats.rows import NUMBERED, RowBuffer, Wanted
from mcbert.files import opened

ROWS = 1_000_000  # that a file may always have
BATCH = 65_536  # rows read at once
SHARED = 1 << 28  # bytes that the texts of a column may always take, however many rows share one


def read_parquet(path: Path, wanted: Wanted, bad: BadRows) -> pd.DataFrame:
    """Read columns of a Parquet file.

    Raises
    ------
    CorpusError
        No pyarrow, not a Parquet file, a column that is missing or of another type than text.
    """
    with opened_parquet(path) as (file, schema):
        theirs = [wanted.theirs(name) for name in wanted.places(schema.names, str(path))]
        return frame_of(batches_of(path, file, theirs), schema, wanted, bad, file=str(path))


def stream_parquet(path: Path, wanted: Wanted, bad: BadRows, size: int) -> Iterator[pd.DataFrame]:
    """Read columns of a Parquet file, at most `size` rows at a time; otherwise as `read_parquet`."""
    first = 0
    with opened_parquet(path) as (file, schema):
        theirs = [wanted.theirs(name) for name in wanted.places(schema.names, str(path))]
        for batch in batches_of(path, file, theirs, size):
            yield frame_of([batch], schema, wanted, bad, file=str(path), first=first)
            first += batch.num_rows


@contextlib.contextmanager
def opened_parquet(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a Parquet file; give it and its schema, and turn what is wrong with it into one line."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise CorpusError(f"{path}: reading Parquet needs pyarrow: pip install mcbert[parquet]") from error
    with reading(path):
        try:
            with opened(path, links=True) as kind:  # a named pipe would be waited at
                n_bytes = os.fstat(kind.fileno()).st_size
            with pq.ParquetFile(path) as file:
                _require_bounded(path, file.metadata, n_bytes)
                schema = file.schema_arrow
            texts = [field.name for field in schema if _is_text(field.type)]
            with pq.ParquetFile(path, read_dictionary=texts) as file:
                yield file, schema
        except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of names in the schema
            raise CorpusError(f"{path}: it cannot be read as Parquet: {error}") from error


def _require_bounded(path: Path, metadata: Any, n_bytes: int) -> None:
    """Refuse a file that holds far more than its size: a row of texts takes some bytes, however packed."""
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    unpacked, n_rows = sum(group.total_byte_size for group in groups), metadata.num_rows
    if n_rows > max(ROWS, n_bytes) or unpacked > max(UNPACKED, RATIO * n_bytes):
        raise CorpusError(
            f"{path}: {n_rows:,} rows of {unpacked:,} bytes in a file of {n_bytes:,}; accepted: no more rows "
            f"than bytes, and {RATIO} times its size"
        )


def batches_of(path: Path, file: Any, columns: Sequence[str], size: int = BATCH) -> Iterator[Any]:
    """Read columns of a file that `opened_parquet` gave, at most `size` rows at a time.

    A text that many rows share is held once in the file, however large: what the rows take is measured before
    each has its own.

    Raises
    ------
    CorpusError
        A column takes far more than the size of the file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    n_bytes = path.stat().st_size
    most, taken = max(SHARED, RATIO * n_bytes), Counter[str]()
    for batch in file.iter_batches(batch_size=size, columns=list(columns)):
        dense = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
                lengths = pc.binary_length(column.dictionary).take(column.indices)
                taken[name] += pc.sum(lengths).as_py() or 0
                if taken[name] > most:
                    raise CorpusError(
                        f"{path}: column {name}: {taken[name]:,} bytes of text in a file of {n_bytes:,}, its "
                        f"rows share large texts; accepted: at most {most:,} bytes"
                    )
                dense.append(column.dictionary_decode())
            else:
                dense.append(column)
        yield pa.RecordBatch.from_arrays(dense, batch.schema.names)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def frame_of(
    batches: Iterable[Any],
    schema: Any,
    wanted: Wanted,
    bad: BadRows,
    *,
    file: str,
    label_names: Sequence[str] = (),
    first: int = 0,
) -> pd.DataFrame:
    """Read the wanted columns of Arrow record batches or tables.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch or pyarrow.Table
    schema : pyarrow.Schema
        Theirs.
    file : str
        Name of it in messages.
    label_names : sequence of str
        Names of the labels where the label column holds their numbers.
    first : int
        Rows of the file before these.

    Returns
    -------
    DataFrame
        String columns and `rows.PLACE`, no lines.
    """
    names = list(wanted.places(schema.names, file))
    for name in names:
        _require_texts(schema.field(wanted.theirs(name)).type, name, wanted, file)
    coded = {"label": label_names} if label_names else {}
    buffer = RowBuffer(file, names)
    row = first
    for batch in batches:
        for values in zip(*(_values(batch[wanted.theirs(name)]) for name in names), strict=True):
            row += 1
            cells = [_cell(v, name, wanted, coded) for name, v in zip(names, values, strict=True)]
            wrong = next((k for k, cell in enumerate(cells) if cell is None), None)
            if wrong is None:
                buffer.add(row, 0, [cell for cell in cells if cell is not None])
            else:
                reason = _reason(values[wrong], names[wrong], coded)
                known = dict(zip(names, cells, strict=True)).get("id") or ""
                bad.add(BadRow(Place(file, row), wanted.theirs(names[wrong]), reason, known))
    return buffer.frame()


def _require_texts(kind: Any, name: str, wanted: Wanted, file: str) -> None:
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    if (
        _is_text(kind)
        or types.is_string_view(kind)
        or types.is_null(kind)
        or (name in NUMBERED and types.is_integer(kind))
    ):
        return
    accepted = "text or whole numbers" if name in NUMBERED else "text"
    if name == "label" and types.is_nested(kind):
        accepted = f"text or whole numbers: {ONE_LABEL}"
    raise CorpusError(f"{file}: column {wanted.theirs(name)}: its type is {kind}, accepted: {accepted}")


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # Parquet says that it is text, but nobody checked when it was written
        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _cell(value: Any, name: str, wanted: Wanted, coded: Mapping[str, Sequence[str]]) -> str | None:
    """Return the text of a cell; None where there is none."""
    if name in coded and isinstance(value, int):
        return coded[name][value] if 0 <= value < len(coded[name]) else None
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return "" if value is None and name in wanted.optional else None


def _reason(value: Any, name: str, coded: Mapping[str, Sequence[str]]) -> str:
    if isinstance(value, bytes):
        return "its bytes are not utf-8"
    if name in coded:
        return f"got {shown(value)}, which stands for no label; accepted: 0 to {len(coded[name]) - 1}"
    return f"got {shown(value)}, accepted: text"
