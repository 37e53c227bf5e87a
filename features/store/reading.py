"""Rows of one HDF5 file, each unit checked against its journal before anyone sees a number of it.

A unit is read into memory, then summed, then used: what was checked is what is returned. Pages come from
the system's cache, which all readers share; a mapped file would let a bad sector kill the process (SIGBUS)
instead of raising.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcbert.features.store import hdf5
from mcbert.features.store.durable import opened, read_at
from mcbert.features.store.errors import StoreError
from mcbert.features.store.layout import Layout
from mcbert.features.store.manifest import File
from mcbert.features.store.records import Head, Unit, contents
from mcbert.features.store.sealed import read_file, remedy
from mcbert.features.store.spec import StoreSpec, dataset_name
from mcbert.files.journal import scan


def check_size(folder: Path, file: File) -> None:
    """Make sure that an HDF5 file is there whole, without reading it."""
    path = folder / file.shard.name
    size = 0
    if os.path.lexists(path):
        with opened(path) as number:
            size = os.fstat(number).st_size
    if size != file.size:
        raise StoreError(
            f"{path}: {size:,} bytes, not the {file.size:,} that it was made with; {remedy(folder)}"
        )


def check_file(path: Path, spec: StoreSpec, layout: Layout) -> None:
    """Make sure that a file has the size, the metadata and the datasets that it was made with.

    Raises
    ------
    StoreError
        It has not; HDF5 sees no file whose checksum is wrong.
    """
    with opened(path) as file:
        if os.fstat(file).st_size != layout.size:
            raise StoreError(f"{path}: not of the {layout.size:,} bytes that it was made with")
        if not layout.intact(file):
            raise StoreError(f"{path}: the checksum of its HDF5 metadata differs")
    hdf5.check(path, spec, layout)


def read_journal(folder: Path, file: File, spec: StoreSpec) -> tuple[Head, tuple[Unit, ...]]:
    """Return what a finished cache's HDF5 file holds and its units, all of them and no others, in order.

    Raises
    ------
    StoreError
        Its journal is not the one that the manifest was written for, or of other texts or states.
    """
    journal = folder / file.shard.journal
    content = read_file(journal)
    if zlib.crc32(content) != file.journal:
        raise StoreError(f"{journal}: damaged or changed, its checksum differs; {remedy(folder)}")
    found = contents(scan(content).records, journal)
    head = found.head
    if (
        head is None
        or (head.spec, head.shard.start, head.shard.stop) != (spec, file.start, file.stop)
        or head.layout.size != file.size
        or found.strangers
        or found.pending(head.shard)
    ):
        raise StoreError(f"{journal}: not the journal of distinct texts {file.start}-{file.stop - 1}")
    return head, tuple(found.units[start] for start in head.shard.units)


class UnitReader:
    """Reads the units of one open file into a buffer of its own.

    Parameters
    ----------
    file : int
        Descriptor of the HDF5 file.
    head : Head
        What the file holds, and where.
    """

    def __init__(self, file: int, head: Head) -> None:
        self._file, self._head = file, head
        self._buffer = np.empty(0, dtype=head.spec.dtype)

    def read(self, unit: Unit, dataset: int) -> tuple[np.ndarray, str]:
        """Read a unit of a dataset.

        Returns
        -------
        states : ndarray
            (n_unit, hidden_size) in the storage dtype; good until the next call.
        fault : str
            What is wrong with them, or nothing.
        """
        spec, n_rows = self._head.spec, unit.stop - unit.start
        if self._buffer.size < n_rows * spec.hidden_size:
            self._buffer = np.empty(n_rows * spec.hidden_size, dtype=spec.dtype)
        states = self._buffer[: n_rows * spec.hidden_size].reshape(n_rows, spec.hidden_size)
        data = states.data.cast("B")
        offset = self._head.layout.offsets[dataset] + (unit.start - self._head.shard.start) * spec.stride
        try:
            if read_at(self._file, data, offset) < len(data):
                return states, "the file ends before them"
        except OSError as error:
            return states, f"cannot be read: {error.strerror}"
        return states, "" if zlib.crc32(data) == unit.crc32[dataset] else "the checksum differs"


@dataclasses.dataclass(frozen=True)
class CheckedFile:
    """An HDF5 file of a finished cache whose journal and metadata are as they were written."""

    folder: Path
    head: Head
    units: tuple[Unit, ...]

    @classmethod
    def of(cls, folder: Path, file: File, spec: StoreSpec) -> CheckedFile:
        """Check the journal, then the metadata, then the datasets.

        Raises
        ------
        StoreError
            One of them is not as it was written.
        """
        path = folder / file.shard.name
        head, units = read_journal(folder, file, spec)
        try:
            check_file(path, spec, head.layout)
        except StoreError as error:
            raise StoreError(f"{error}; {remedy(folder)}") from error
        return cls(folder, head, units)

    def gather(
        self, texts: np.ndarray, places: np.ndarray, *, datasets: Sequence[int], out: np.ndarray
    ) -> None:
        """Copy the states of sorted `texts`, all of this file, to the rows `places` of `out`."""
        path, width = self.folder / self.head.shard.name, self.head.spec.hidden_size
        borders = np.searchsorted(texts, self.head.shard.bounds)
        with opened(path) as handle:
            reader = UnitReader(handle, self.head)
            for k, dataset in enumerate(datasets):
                for unit, low, high in zip(self.units, borders, borders[1:], strict=False):
                    if low == high:
                        continue
                    states, fault = reader.read(unit, dataset)
                    if fault:
                        name = dataset_name(*self.head.spec.datasets[dataset])
                        where = f"{path}: {name}: distinct texts {unit.start}-{unit.stop - 1}"
                        raise StoreError(f"{where}: {fault}; {remedy(self.folder)}")
                    out[places[low:high], k * width : (k + 1) * width] = states[texts[low:high] - unit.start]
