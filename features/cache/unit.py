"""A unit, the states of consecutive distinct texts, in a file of its own: how one is laid out and read.

    record      which texts, the shape, a checksum of each dataset: JSON in HDF5's user block, led by the
                checksum and the length of the head
    metadata    HDF5's own; record and metadata together are the head
    states      one contiguous dataset for each layer and pooling, (n_texts, hidden_size), without gaps

States are read by their place, not through HDF5, so that nothing a file says leads to another. They are read
into memory, then summed, then used: what was checked is what is returned. Pages come from the system's cache,
which all readers share; a mapped file would let a bad sector kill the process (SIGBUS) instead of raising.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
import zlib
from pathlib import Path

import numpy as np

from mcbert.features.cache import hdf5
from mcbert.features.cache.disk import opened, read_at, remedy
from mcbert.features.cache.stored import StoreError, StoreSpec, dataset_name, require_whole
from mcbert.files.objects import parse

MOST_HEAD = 1 << 26  # bytes; 39 datasets take some 15,000
MOST_UNIT = 1 << 31  # bytes of a unit in one dataset: what is read at once; by default some 6 MB of M-BERT
LEAST_BLOCK = 512  # bytes of HDF5's smallest user block; others are this times a power of two
_SUM = 8  # hexadecimal digits of the checksum that leads a head
_LEAD = re.compile(rb"([0-9a-f]{8}) (\d{8})\n")
_LEAD_BYTES = 18


def unit_name(start: int) -> str:
    """Return the name of the file of the unit that begins with a distinct text."""
    return f"unit-{start:09d}.h5"


def require_unit(spec: StoreSpec, start: int, stop: int) -> None:
    """Raise where a unit is too large to be read at once."""
    if (stop - start) * spec.stride > MOST_UNIT:
        raise StoreError(
            f"a unit of {stop - start} texts of {spec.stride} bytes each, accepted: {MOST_UNIT:,} bytes; "
            "extract.unit_rows makes it smaller"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """The record of a unit."""

    start: int
    """First distinct text."""

    stop: int
    """The number after the last."""

    spec: StoreSpec
    """Layers, poolings, hidden size and dtype of the states."""

    crc32: tuple[int, ...]
    """Checksum of the bytes of each dataset, in the order of `StoreSpec.datasets`."""

    skipped: tuple[int, ...] = ()
    """Distinct texts that had no finite state; their rows are zeros that no reader gets."""

    def __post_init__(self) -> None:
        """Refuse what no writer writes."""
        require_whole("a unit", (self.start, self.stop, *self.crc32, *self.skipped))
        if self.start >= self.stop or not all(self.start <= text < self.stop for text in self.skipped):
            raise StoreError(f"a unit: got texts {self.start} to {self.stop}, accepted: rising numbers")
        if len(self.crc32) != self.spec.n_datasets:
            raise StoreError(f"a unit: got {len(self.crc32)} checksums for {self.spec.n_datasets} datasets")
        require_unit(self.spec, self.start, self.stop)

    @property
    def extent(self) -> int:
        """Bytes of each dataset."""
        return (self.stop - self.start) * self.spec.stride


@dataclasses.dataclass(frozen=True)
class Header:
    """Header of a unit file: everything before its states."""

    unit: Unit
    size: int
    """Bytes, the record's and HDF5's."""

    crc32: int
    """Checksum of all of them but its own digits."""

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + self.unit.extent * self.unit.spec.n_datasets


def head_bytes(unit: Unit) -> bytes:
    """Return what comes before the states of a unit."""
    record = json.dumps(dataclasses.asdict(unit), separators=(",", ":"), allow_nan=False).encode()
    block = LEAST_BLOCK
    while block <= _LEAD_BYTES + len(record):
        block *= 2
    metadata = hdf5.metadata(unit.spec, unit.stop - unit.start, block)
    summed = b" %08d\n%b" % (block + len(metadata), record)
    summed = summed.ljust(block - _SUM, b"\0") + metadata
    return b"%08x" % zlib.crc32(summed) + summed


def read_head(path: Path) -> Header:
    """Return the head of a unit's file; raises as `head_of` does, or where there is no file."""
    with opened(path) as file:
        return head_of(file, path)


def head_of(file: int, path: Path) -> Header:
    """Return the head of an open file, checked.

    Raises
    ------
    StoreError
        No file of a unit, or one whose head or size is not as it was written.
    """
    head = _checked(file, path)
    _require(path, os.fstat(file).st_size, head.file_size)
    return head


def require_size(path: Path, n_bytes: int) -> None:
    """Make sure that a file is there whole, without reading it.

    Raises
    ------
    StoreError
        It is missing, no file, or of another size; the message says how to repair the cache.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            with opened(path):  # raises, and says what it is
                pass
        _require(path, status.st_size, n_bytes)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {remedy(path.parent)}") from error
    except StoreError as error:
        raise StoreError(f"{error}; {remedy(path.parent)}") from error


def _require(path: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise StoreError(f"{path}: {found:,} bytes, not the {wanted:,} that it was made with")


def _checked(file: int, path: Path) -> Header:
    lead = _LEAD.fullmatch(_bytes(file, _LEAD_BYTES))
    size = int(lead[2]) if lead else 0
    head = _bytes(file, min(size, MOST_HEAD))
    crc32 = zlib.crc32(head[_SUM:])
    if lead is None or len(head) != size or crc32 != int(lead[1], 16):
        raise StoreError(f"{path}: the checksum of its head differs")
    try:
        fields = parse(head[_LEAD_BYTES:].split(b"\0", 1)[0])
        spec, sums = StoreSpec.of(fields.pop("spec")), tuple(fields.pop("crc32"))
        unit = Unit(spec=spec, crc32=sums, skipped=tuple(fields.pop("skipped")), **fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: not the record of a unit ({error})") from error
    return Header(unit, size, crc32)


def _bytes(file: int, n_bytes: int) -> bytes:
    buffer = bytearray(n_bytes)
    return bytes(buffer[: read_at(file, memoryview(buffer), 0)])


class StateReader:
    """Reads units into one buffer, so that no memory is asked for with each."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, dtype=np.uint8)

    def read(self, file: int, head: Header, dataset: int) -> tuple[np.ndarray, str]:
        """Read a dataset of a unit.

        Parameters
        ----------
        file : int
            Descriptor of the unit's file.
        dataset : int
            Its place in `StoreSpec.datasets`.

        Returns
        -------
        states : ndarray
            (n_unit, hidden_size) in the storage dtype; good until the next call.
        fault : str
            What is wrong with them, or nothing.
        """
        unit, spec = head.unit, head.unit.spec
        if self._buffer.size < unit.extent:
            self._buffer = np.empty(unit.extent, dtype=np.uint8)
        raw = self._buffer[: unit.extent]
        states = raw.view(spec.dtype).reshape(-1, spec.hidden_size)
        try:
            if read_at(file, raw.data, head.size + dataset * unit.extent) < unit.extent:
                return states, "the file ends before them"
        except OSError as error:
            return states, f"cannot be read: {error.strerror}"
        return states, "" if zlib.crc32(raw.data) == unit.crc32[dataset] else "the checksum differs"


def where(unit: Unit, dataset: int) -> str:
    """Return how a message names one dataset of a unit."""
    return f"{dataset_name(*unit.spec.datasets[dataset])}: distinct texts {unit.start}-{unit.stop - 1}"
