"""Vectors block by block: those that ``mcbert embed`` wrote, or of texts that are encoded on the way.

python -m pytest tests/pipeline/commands/test_vectors.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.pipeline.commands import encoders
from mcbert.pipeline.commands.embed import VERSION, ids_of

if TYPE_CHECKING:
    import numpy as np

    from mcbert.finetune.embeddings.encode import SentenceEncoder
    from mcbert.pipeline.inputs import TextTable

BLOCK = 4096
"""Rows whose names are read at once."""

MOST_DIGITS = 18
"""Of the number of a row."""

FREE = ("name", "device", "dtype", "tokens_per_batch", "batch_size")
"""What of a model's record changes the last digits of a vector at most."""

Name = tuple[int, str]  # data row of the input that was embedded, id there


@dataclasses.dataclass(frozen=True)
class StoredVectors:
    """An output of ``embed``."""

    path: Path
    """The array or Parquet file."""

    n_rows: int
    """Vectors."""

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
        from mcbert.finetune.embeddings.vector_file import read_made

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
        import numpy as np

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
        from mcbert.results.schema import VECTOR_IDS
        from mcbert.results.stream import Rows

        ids, count = ids_of(self.path), 0
        for row, name in Rows(VECTOR_IDS, ids, ("row", "id")):
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
        from mcbert.features.corpus.formats.arrow import opened_parquet

        with opened_parquet(self.path) as (file, schema):
            whole = all(schema.names.count(name) == 1 for name in ("row", "id", "vector"))
            width = getattr(schema.field("vector").type, "list_size", 0) if whole else 0
            return int(file.metadata.num_rows), int(width)

    def _array(self) -> np.ndarray:
        from mcbert.files.arrays import map_array

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
        from mcbert.features.corpus.formats.arrow import batches_of, opened_parquet

        with opened_parquet(self.path) as (file, _):
            yield from batches_of(self.path, file, columns, size)


@dataclasses.dataclass(frozen=True)
class TextVectors:
    """A table of texts, encoded each time that its vectors are asked for."""

    table: TextTable
    """The texts."""

    n_rows: int
    """Texts that can be used."""

    encoder: SentenceEncoder
    """What encodes them."""

    @property
    def path(self) -> Path:
        """The table."""
        return self.table.path

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.dimension

    @property
    def model(self) -> dict[str, Any]:
        """The record of the model."""
        return encoders.record(self.encoder)

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the vectors, (at most `size`, dimension), float32."""
        for rows in self.table.blocks(size):
            yield encoders.encoded(self.encoder, self.table, rows)

    def names(self) -> Iterator[Name]:
        """Yield the row in the table and the id of each vector."""
        for rows in self.table.blocks(BLOCK):
            yield from zip(rows["_row"].tolist(), rows["given_id"].tolist(), strict=True)


def is_stored(path: Path) -> bool:
    """Whether a file is an output of ``embed`` rather than a table of texts."""
    from mcbert.finetune.embeddings.vector_file import record_of

    suffix = path.suffix.lower()
    return suffix == ".npy" or (suffix == ".parquet" and record_of(path).is_file())


def require_one_model(first: StoredVectors | TextVectors, second: StoredVectors | TextVectors) -> None:
    """Raise unless vectors are of one model, on whatever device and in whatever batches it made them."""
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
