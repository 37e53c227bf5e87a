"""Write one HDF5 file of a cache, unit by unit; a unit is acknowledged only once it is on the disk.

    with ShardWriter(folder, Shard((0, 1024, 2000)), spec) as writer:
        for start, stop in writer.pending():
            writer.write(start, states)   # (n_unit, n_layers, n_poolings, hidden_size)

The states of a unit are written in place, synced, and then named in the journal with their checksums. A kill
or a power cut costs the unit in hand; the next writer goes on after the last acknowledged one.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mcbert.features.store import hdf5
from mcbert.features.store.durable import PARTIAL, make_folder, opened, sync_folder, write_at
from mcbert.features.store.errors import StoreError
from mcbert.features.store.layout import Blank, Layout
from mcbert.features.store.lock import who
from mcbert.features.store.manifest import MANIFEST
from mcbert.features.store.reading import UnitReader
from mcbert.features.store.records import Contents, Head, Unit, contents, revocation
from mcbert.features.store.sealed import read_file
from mcbert.features.store.space import bytes_needed, writing
from mcbert.features.store.spec import Shard, StoreSpec
from mcbert.files.journal import Journal, scan

log = logging.getLogger(__name__)


def pending(folder: str | os.PathLike[str], shard: Shard) -> list[tuple[int, int]]:
    """Return the (start, stop) of every unit that a writer has to look at, in order, and write nothing.

    Those are the units that are not acknowledged, or all of them where the file is not as its journal says: a
    writer mends that on entering, and then knows which units are left.
    """
    path, journal = Path(folder) / shard.name, Path(folder) / shard.journal
    if path.is_file() and journal.is_file():
        found = contents(scan(read_file(journal)).records, journal)
        with opened(path) as file:
            if found.head is not None and found.head.layout.intact(file):
                return found.pending(shard)
    return list(shard.units.items())


class ShardWriter:
    """The only writer of one HDF5 file, while it is entered.

    Parameters
    ----------
    folder : Path
        The cache's folder; what an earlier, interrupted writer acknowledged there is kept.
    shard : Shard
        The texts of this file.
    spec : StoreSpec
        What is stored of each.

    Raises
    ------
    StoreError
        On entering: the cache is finished, or the journal is of other texts.
    ValueError
        On entering: the journal is no journal, or another process writes this file.
    StoreFullError
        On entering: there is no room for the whole file.
    """

    def __init__(self, folder: str | os.PathLike[str], shard: Shard, spec: StoreSpec) -> None:
        self.folder, self.shard, self.spec = Path(folder), shard, spec
        self.path = self.folder / shard.name
        self._partial = self.path.with_name(self.path.name + PARTIAL)
        self._units: dict[int, Unit] = {}

    def __enter__(self) -> ShardWriter:
        if (self.folder / MANIFEST).exists():
            raise StoreError(f"{self.folder}: this cache is finished; nothing more is written to it")
        what, needed = f"the features of {_texts(*self._range)}", bytes_needed(self.spec, self.shard.n_texts)
        with writing(self.path, what, needed), ExitStack() as stack:
            make_folder(self.folder)
            self._journal = stack.enter_context(Journal(self.folder / self.shard.journal))
            self._journal.append({"writer": who()}, sync=False)
            self._layout = self._settle()
            self._units = contents(self._journal.records, self._journal.path).units
            self._file = stack.enter_context(opened(self.path, os.O_RDWR))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._journal.path, "the journal", 0):
            self._stack.close()

    def pending(self) -> list[tuple[int, int]]:
        """Return the (start, stop) of every unit that is not acknowledged, in order."""
        return Contents(None, self._units).pending(self.shard)

    def write(self, start: int, states: np.ndarray, skipped: Iterable[int] = ()) -> None:
        """Put a unit on the disk and acknowledge it.

        Parameters
        ----------
        start : int
            First distinct text of a pending unit.
        states : ndarray
            (n_unit, n_layers, n_poolings, hidden_size), in the storage dtype.
        skipped : iterable of int
            Distinct texts of the unit that have no finite state; zeros are stored for them.

        Raises
        ------
        StoreError
            No such unit is pending, or the states are of another shape or dtype.
        StoreFullError
            There is no room; what was acknowledged before is kept.
        """
        stop, left_out = self._checked(start, states), tuple(sorted(set(skipped)))
        if left_out:
            if left_out[0] < start or left_out[-1] >= stop:
                raise StoreError(
                    f"skipped: got {list(left_out)}, accepted: numbers from {start} to {stop - 1}"
                )
            states = states.copy()
            states[np.array(left_out) - start] = 0
        with writing(self.path, f"the features of {_texts(start, stop)}", states.nbytes):
            sums = self._put(start, states)
            os.fdatasync(self._file)
            unit = Unit(start, stop, sums, left_out)
            self._journal.append(unit.record())
        self._units[start] = unit

    @property
    def _range(self) -> tuple[int, int]:
        return self.shard.start, self.shard.stop

    def _checked(self, start: int, states: np.ndarray) -> int:
        stop = self.shard.units.get(start)
        if stop is None or start in self._units:
            why = "no unit begins there" if stop is None else "that unit is on the disk already"
            raise StoreError(f"{self.path}: distinct text {start}: {why}")
        shape = (stop - start, len(self.spec.layers), len(self.spec.poolings), self.spec.hidden_size)
        if states.shape != shape or states.dtype != self.spec.dtype:
            raise StoreError(
                f"{self.path}: {_texts(start, stop)}: got states of shape {states.shape}, {states.dtype}; "
                f"accepted: {shape}, {self.spec.dtype}"
            )
        return stop

    def _put(self, start: int, states: np.ndarray) -> tuple[int, ...]:
        sums = []
        within = (start - self.shard.start) * self.spec.stride
        for offset, (i, j) in zip(self._layout.offsets, np.ndindex(states.shape[1:3]), strict=True):
            block = np.ascontiguousarray(states[:, i, j]).data.cast("B")
            write_at(self._file, block, offset + within)
            sums.append(zlib.crc32(block))
        return tuple(sums)

    def _settle(self) -> Layout:
        """Make the file what its journal says, or begin both anew; return where its datasets lie."""
        found = contents(self._journal.records, self._journal.path)
        head = found.head
        if head is not None and (head.shard, head.spec) != (self.shard, self.spec):
            raise StoreError(f"{self._journal.path}: made for other texts, layers or poolings; move it away")
        self._partial.unlink(missing_ok=True)
        if head is not None and self.path.is_file():
            with opened(self.path) as file:
                if head.layout.intact(file):
                    return head.layout
        blank = hdf5.blank(self.spec, self.shard.n_texts)
        fresh = Head(self.shard, self.spec, blank.layout)
        if found.units and self.path.is_file() and head in (None, fresh):
            self._restore(fresh, blank)
        else:
            self._begin(blank, found)
        self._journal.append(fresh.record())
        return fresh.layout

    def _begin(self, blank: Blank, found: Contents) -> None:
        """Put an empty file in place; the journal forgets first, lest it vouch for what was never written."""
        if found.head or found.units:
            lost = f"{len(found.units)} acknowledged units are encoded again"
            self._journal.reset()
            self._journal.append({"writer": who()}, sync=False)
            if self.path.is_file():
                bad = self.path.with_name(self.path.name + ".bad")
                self.path.replace(bad)
                log.warning("%s: damaged beyond repair, moved to %s; %s", self.path, bad.name, lost)
            else:
                log.warning("%s: gone; %s", self.path, lost)
        try:
            with opened(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
                blank.put(file)
            self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _restore(self, fresh: Head, blank: Blank) -> None:
        """Give a damaged file the metadata of one made the same way; keep the units that are still right."""
        log.warning("%s: HDF5 metadata or size damaged; restored from a file made the same way", self.path)
        known = contents([*self._journal.records, fresh.record()], self._journal.path)
        with opened(self.path, os.O_RDWR) as file:
            blank.put(file)
            reader = UnitReader(file, fresh)
            for unit in known.units.values():
                if any(reader.read(unit, dataset)[1] for dataset in range(self.spec.n_datasets)):
                    log.warning("%s: damaged %s; encoded again", self.path, _texts(unit.start, unit.stop))
                    self._journal.append(revocation((unit.start, unit.stop)))


def _texts(start: int, stop: int) -> str:
    return f"distinct texts {start}-{stop - 1}"
