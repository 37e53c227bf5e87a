"""Vectors of a table of texts: those that ``mcbert embed`` wrote, or of texts that are encoded on the way.

write_vectors(texts, encoder, Path("vectors.npy"), made, n_texts=5)     # resumes after a kill
StoredVectors.open(Path("vectors.npy")).blocks(4096)                    # read a block at a time
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from mcbert.execution import Track, untracked
from mcbert.features.corpus.formats.arrow import batches_of, opened_parquet
from mcbert.files.arrays import map_array
from mcbert.finetune.embeddings.vector_file import VectorFile, read_made, record_of, writing_vectors
from mcbert.results.csv_files import writing
from mcbert.results.csv_rows import CsvStream
from mcbert.results.schema.texts import VECTOR_IDS

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder

log = logging.getLogger(__name__)

VERSION = 1  # of the format of an output; part of its record

BLOCK = 4096
"""Texts held, sorted by length and encoded at once, and the work that a kill can cost."""

MOST_DIGITS = 18
"""Most digits of a row's number."""

FREE = ("name", "device", "dtype", "tokens_per_batch", "batch_size")
"""Keys of a model's record that change the last digits of a vector at most."""

Name = tuple[int, str]  # data row of the input that was embedded, id there
Parts = list[tuple[Path, Path]]  # a file, and the name that it shall have; the output last


class TextTable(Protocol):
    """A table of texts that can be read any number of times."""

    @property
    def path(self) -> Path:
        """The table."""

    def blocks(self, size: int) -> Iterator[pd.DataFrame]:
        """Yield its usable rows: text, ``given_id`` and ``_row``, their number in the file."""


def write_vectors(
    texts: TextTable,
    encoder: SentenceEncoder,
    output: Path,
    made: Mapping[str, Any],
    *,
    n_texts: int,
    track: Track = untracked,
) -> None:
    """Encode texts into an array with a table of ids beside it, or into a Parquet file.

    The output appears as a whole. Blocks that a killed process wrote are not encoded again.

    Parameters
    ----------
    output : Path
        Its suffix is a key of `FORMATS`; replaced where it is there.
    made : mapping
        Everything that decides the output, in JSON's types: its record.
    n_texts : int
        Usable texts.
    track : callable
        Progress display.

    Raises
    ------
    ValueError
        Naming a row whose vector is not finite.
    """
    with writing_vectors(output, (n_texts, encoder.dimension), made) as file:
        if not file.is_publishing:
            if file.blocks:
                log.info("embed: continuing after %d blocks", file.blocks)
            for number, rows in enumerate(track(texts.blocks(BLOCK), -(-n_texts // BLOCK), "embed (blocks)")):
                if number >= file.blocks:
                    file.append(encode_rows(encoder, texts.path, rows))
        file.publish(FORMATS[output.suffix.lower()](texts, file, output), made)


def _as_array(texts: TextTable, file: VectorFile, output: Path) -> Parts:
    """Write the table of ids of the array's rows; return it and the array."""
    ids = file.folder / "ids.csv"
    if not file.is_publishing:
        start = 0
        with writing(VECTOR_IDS, ids) as write:
            for rows in texts.blocks(BLOCK):
                write(_named(rows).assign(position=range(start, start + len(rows))))
                start += len(rows)
    return [(ids, ids_of(output)), (file.vectors, output)]


def _as_parquet(texts: TextTable, file: VectorFile, output: Path) -> Parts:
    """Write a Parquet file of row, id and vector; return it."""
    whole = file.folder / "vectors.parquet"
    if not file.is_publishing:
        _write_parquet(whole, _with_vectors(texts, file))
    return [(whole, output)]


def _write_parquet(path: Path, blocks: Iterator[tuple[pd.DataFrame, np.ndarray]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for rows, vectors in blocks:
            flat = pa.array(vectors.reshape(-1), type=pa.float32())
            named = _named(rows)
            batch = pa.table(
                {
                    "row": pa.array(named["row"], type=pa.int64()),
                    "id": pa.array(named["id"], type=pa.string()),
                    "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                }
            )
            writer = writer or pq.ParquetWriter(path, batch.schema)
            writer.write_table(batch)
    finally:
        if writer is not None:
            writer.close()


def _with_vectors(texts: TextTable, file: VectorFile) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    array, start = np.load(file.vectors, mmap_mode="r"), 0
    for rows in texts.blocks(BLOCK):
        yield rows, np.ascontiguousarray(array[start : start + len(rows)])
        start += len(rows)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the number in the input and the id of each row."""
    return rows[["_row", "given_id"]].rename(columns={"_row": "row", "given_id": "id"})


def ids_of(output: Path) -> Path:
    """Return the table of ids that lies beside an array."""
    return output.with_suffix(".ids.csv")


FORMATS: Mapping[str, Callable[[TextTable, VectorFile, Path], Parts]] = {
    ".npy": _as_array,
    ".parquet": _as_parquet,
}
"""Suffix of an output -> function that writes its files from the vectors and the texts."""


@dataclasses.dataclass(frozen=True)
class StoredVectors:
    """An output of ``embed``."""

    path: Path
    """The array or Parquet file."""

    n_rows: int
    """Number of vectors."""

    model: Mapping[str, Any]
    """The record of the model that made them."""

    @classmethod
    def open(cls, path: Path) -> StoredVectors:
        """Open an output of ``embed``.

        Raises
        ------
        ValueError
            It is none, or not as its record says.
        """
        made = read_made(path)
        try:
            version, n_rows, model = made["version"], int(made["input"]["texts"]), dict(made["model"])
            shape = n_rows, int(model["dimension"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}.json: not a record of embed ({type(error).__name__}: {error})"
            ) from error
        if version != VERSION:
            raise ValueError(f"{path}.json: version: got {version!r}, accepted: {VERSION}; run embed again")
        if min(shape) < 1:
            given = f"{shape[0]} texts of {shape[1]} numbers"
            raise ValueError(f"{path}.json: got {given}, accepted: at least one of each; run embed again")
        stored = cls(path, n_rows, model)
        found = stored._shape()
        if found != shape:
            raise ValueError(
                f"{path}: got vectors of shape {found}, accepted: {shape}, as {path.name}.json says"
            )
        return stored

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model["dimension"])

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the vectors, (at most `size`, dimension), float32; no more is read of the file at once."""
        if self._is_array:
            array = self._array()
            for start in range(0, self.n_rows, size):
                yield np.ascontiguousarray(array[start : start + size])
            return
        for batch in self._batches(size, "vector"):
            flat = batch.column(0).flatten().to_numpy()
            if len(flat) != len(batch) * self.dimension:
                raise ValueError(f"{self.path}: a vector is missing; run embed again")
            yield np.asarray(flat, dtype=np.float32).reshape(-1, self.dimension)

    def names(self) -> Iterator[Name]:
        """Yield the row in the input and the id of each vector."""
        if not self._is_array:
            for batch in self._batches(BLOCK, "row", "id"):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
            return
        ids, count = ids_of(self.path), 0
        for row, name in CsvStream(VECTOR_IDS, ids, ("row", "id")):
            count += 1
            if not row.isdecimal() or len(row) > MOST_DIGITS:
                given = f"{row[:20]!r}, accepted: a whole number from 1"
                raise ValueError(f"{ids}: row {count}: column row: got {given}; run embed again")
            yield int(row), name
        if count != self.n_rows:
            raise ValueError(f"{ids}: got {count} rows, accepted: {self.n_rows}, one for each vector")

    @property
    def _is_array(self) -> bool:
        return self.path.suffix.lower() == ".npy"

    def _shape(self) -> tuple[int, ...]:
        if self._is_array:
            return tuple(self._array().shape)
        with opened_parquet(self.path) as (file, schema):
            whole = all(schema.names.count(name) == 1 for name in ("row", "id", "vector"))
            width = getattr(schema.field("vector").type, "list_size", 0) if whole else 0
            return int(file.metadata.num_rows), int(width)

    def _array(self) -> np.ndarray:
        try:
            array = map_array(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"{self.path}: it cannot be read as an array: {reason}") from error
        except ValueError as error:
            raise ValueError(f"{self.path}: it cannot be read as an array: {error}") from error
        if array.dtype.kind != "f":
            raise ValueError(f"{self.path}: got numbers of dtype {array.dtype}, accepted: floats")
        return array

    def _batches(self, size: int, *columns: str) -> Iterator[Any]:
        with opened_parquet(self.path) as (file, _):
            yield from batches_of(self.path, file, columns, size)


@dataclasses.dataclass(frozen=True)
class TextVectors:
    """The vectors of a table of texts, which is encoded each time that they are read."""

    texts: TextTable
    """The texts."""

    n_rows: int
    """Number of usable texts."""

    encoder: SentenceEncoder
    """The model that encodes them."""

    @property
    def path(self) -> Path:
        """The table."""
        return self.texts.path

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.dimension

    @property
    def model(self) -> dict[str, Any]:
        """The record of the model."""
        return model_record(self.encoder)

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the vectors, (at most `size`, dimension), float32."""
        for rows in self.texts.blocks(size):
            yield encode_rows(self.encoder, self.path, rows)

    def names(self) -> Iterator[Name]:
        """Yield the row in the table and the id of each vector."""
        for rows in self.texts.blocks(BLOCK):
            yield from zip(rows["_row"].tolist(), rows["given_id"].tolist(), strict=True)


Vectors = StoredVectors | TextVectors


def model_record(encoder: SentenceEncoder) -> dict[str, Any]:
    """Return the model and how it encodes, in JSON's types; reads the model's files."""
    return {"name": encoder.name, "dimension": encoder.dimension, **encoder.identity()}


def encode_rows(encoder: SentenceEncoder, path: Path, rows: pd.DataFrame) -> np.ndarray:
    """Return the vectors of some rows of a table, (n_rows, dimension), float32.

    Raises
    ------
    ValueError
        Naming a row whose vector is not finite.
    """
    from mcbert.finetune.embeddings.sentence_encoder import VectorError

    try:
        return encoder.encode(rows["text"].tolist())
    except VectorError as error:
        row = rows["_row"].iloc[error.position]
        raise ValueError(f"{path}: row {row}: {encoder.name}: {error.reason}") from error


def is_stored(path: Path) -> bool:
    """Whether a file is an output of ``embed`` rather than a table of texts."""
    suffix = path.suffix.lower()
    return suffix == ".npy" or (suffix == ".parquet" and record_of(path).is_file())


def require_one_model(first: Vectors, second: Vectors) -> None:
    """Raise unless two sides' vectors are of one model; device, precision and batches may differ."""
    made, wanted = first.model, second.model
    for key in sorted((made.keys() | wanted.keys()) - set(FREE)):
        got, accepted = made.get(key), wanted.get(key)
        if got != accepted:
            if key == "model":  # checksums: say whose
                got, accepted = (f"{one.get('name')} ({str(one.get(key))[:12]})" for one in (made, wanted))
            raise ValueError(
                f"{first.path}: vectors of another model than those of {second.path}: {key}: got {got!r}, "
                f"accepted: {accepted!r}"
            )
