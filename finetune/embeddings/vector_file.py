"""A file of vectors that is written block by block, survives a kill at any byte, and appears as a whole.

Beside the output lies a folder, ``.<output>.partial``: the vectors so far as a ``.npy`` whose header already
has the final shape, and a journal of the blocks that are on the disk. A new start with the same inputs
continues after the last of them; with other inputs it begins anew. ``<output>.json`` records the inputs.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.cache.disk import make_folder, write_at, writing
from mcbert.features.cache.manifest import digest
from mcbert.files import open_file, read_bytes, sync, write_text
from mcbert.files.journal import Journal, scan
from mcbert.files.objects import parse

log = logging.getLogger(__name__)

VECTORS, JOURNAL, RECORD = "vectors.npy", "journal.jsonl", "made.json"
_PUBLISHING = {"publishing": True}


class VectorFile:
    """A partial output; `writing_vectors` opens it.

    Attributes
    ----------
    folder : Path
        Where other files of the output may be made.
    blocks : int
        Blocks that are on the disk, of earlier, killed processes too.
    vectors : Path
        The array, (n_rows, dimension), float32; whole once all blocks are there.
    """

    def __init__(self, folder: Path, journal: Journal, shape: tuple[int, int]) -> None:
        self.folder, self.vectors, self._journal, self._shape = folder, folder / VECTORS, journal, shape
        done = [record["rows"] for record in journal.records if "rows" in record]
        self.blocks, self._rows = len(done), done[-1] if done else 0

    @property
    def is_publishing(self) -> bool:
        """Whether everything is written, and a process began to rename it."""
        return _PUBLISHING in self._journal.records

    def append(self, vectors: np.ndarray) -> None:
        """Write the next block, (n, dimension), float32; it is on the disk when this returns."""
        header = _header(self._shape)
        data = np.ascontiguousarray(vectors, dtype="<f4").data.cast("B")
        with writing(self.vectors, f"rows from {self._rows}", len(data)):
            file = open_file(self.vectors, os.O_WRONLY | os.O_CREAT)  # its folder is its owner's
            try:
                write_at(file, memoryview(header), 0)
                write_at(file, data, len(header) + self._rows * self._shape[1] * 4)
                os.fsync(file)
            finally:
                os.close(file)
        self._rows += len(vectors)
        self._journal.append({"block": self.blocks, "rows": self._rows})
        self.blocks += 1

    def publish(self, parts: Sequence[tuple[Path, Path]], made: Mapping[str, Any]) -> None:
        """Rename files of the folder to their final names, the output last; after a kill, call it again.

        An output that is there is removed first, so that no one ever finds parts of two beside each other.

        Parameters
        ----------
        parts : sequence of (Path, Path)
            File and name.
        made : mapping
            The inputs that the output was made of.
        """
        (last, output), record = parts[-1], self.folder / RECORD
        if not self.is_publishing:
            write_text(record, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
            for path in (*(path for path, _ in parts), record):
                sync(path)
            self._journal.append(_PUBLISHING)
        if last.exists():
            for path in (record_of(output), output):
                path.unlink(missing_ok=True)
        for path, name in (*parts, (record, record_of(output))):
            if path.exists():
                path.replace(name)
        sync(output.parent)


@contextmanager
def writing_vectors(output: Path, shape: tuple[int, int], made: Mapping[str, Any]) -> Iterator[VectorFile]:
    """Continue an output or begin it; the partial folder is removed when the block ends without error.

    Parameters
    ----------
    output : Path
        Where the vectors shall be.
    shape : (int, int)
        Rows and columns of all of them.
    made : mapping
        The inputs that decide them, in JSON's types: a partial output of other inputs is not continued.

    Raises
    ------
    ValueError
        Another process is writing the same output.
    """
    folder = _partial(output)
    make_folder(folder)
    with Journal(folder / JOURNAL) as journal:
        first = _first_record(shape, made)
        if not _goes_on(journal, first, folder, shape):
            if journal.records:
                log.info("%s: the partial output is of other inputs; beginning anew", output)
            for path in folder.iterdir():
                if path.name != JOURNAL:
                    path.unlink()
            journal.reset()
            journal.append(first)
        yield VectorFile(folder, journal, shape)
    shutil.rmtree(folder, ignore_errors=True)


def is_made(output: Path, made: Mapping[str, Any]) -> bool:
    """Whether an output is there and was made of the same inputs."""
    try:
        return output.is_file() and bool(parse(read_bytes(record_of(output), links=True)) == made)
    except (OSError, ValueError):
        return False


def read_made(output: Path) -> dict[str, Any]:
    """Read the record of an output: the inputs that it was made of.

    Raises
    ------
    ValueError
        No output, or none that says so.
    """
    record = record_of(output)
    if not output.is_file():
        raise ValueError(f"{output}: no such file")
    try:
        made: object = parse(read_bytes(record, links=True))
    except OSError as error:
        raise ValueError(
            f"{output}: no {record.name} beside it, which says what made it; accepted: an output of embed"
        ) from error
    except ValueError as error:
        raise ValueError(f"{record}: damaged ({error}); run embed again") from error
    if not isinstance(made, dict):
        raise ValueError(f"{record}: damaged ({type(made).__name__}); run embed again")
    return made


def is_published(output: Path, shape: tuple[int, int], made: Mapping[str, Any]) -> bool:
    """Whether a killed process had begun to rename an output of the same inputs."""
    try:
        records = scan(read_bytes(_partial(output) / JOURNAL)).records
    except OSError:
        return False
    return records[:1] == [_first_record(shape, made)] and _PUBLISHING in records


def _partial(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def record_of(output: Path) -> Path:
    """Return the file beside an output that records its inputs."""
    return output.with_name(f"{output.name}.json")


def _first_record(shape: tuple[int, int], made: Mapping[str, Any]) -> dict[str, Any]:
    return {"of": digest(made), "shape": list(shape)}


def _goes_on(journal: Journal, first: dict[str, Any], folder: Path, shape: tuple[int, int]) -> bool:
    """Whether the records are those of the same output, without a gap, and their vectors are there."""
    records = journal.records
    if records[:1] != [first] or _PUBLISHING in records:
        return records[:1] == [first]
    blocks = records[1:]
    needed = len(_header(shape)) + blocks[-1]["rows"] * shape[1] * 4 if blocks else 0
    held = (folder / VECTORS).stat().st_size if (folder / VECTORS).exists() else 0
    return [record["block"] for record in blocks] == list(range(len(blocks))) and held >= needed


def _header(shape: tuple[int, int]) -> bytes:
    """Return the header of a ``.npy`` of this shape."""
    buffer = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()
