"""Write a cache: `begin` says which one it is, `write_unit` adds to it, `finish` writes the manifest.

    begin(folder, fingerprint, about)
    for start, stop in pending(folder, spec, units):
        write_unit(folder, spec, start=start, states=states)   # (n_unit, n_layers, n_poolings, hidden_size)
    finish(folder, spec, units, index)

A unit is written beside its name, synced and then renamed, so that a file of that name is whole, also after
a power cut: its existence is the acknowledgement. A kill costs the unit in hand. Writers of different units
need not know of each other; two of the same unit write the same bytes, of which the last stay.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.cache.disk import make_folder, remedy, sync_folder, writing
from mcbert.features.cache.manifest import (
    IDENTITY,
    INDEX,
    MANIFEST,
    Manifest,
    UnitFile,
    digest,
    read_identity,
    require_same,
    seal,
)
from mcbert.features.cache.stored import StoreError, StoreSpec
from mcbert.features.cache.unit import Header, Unit, head_bytes, read_head, require_unit, unit_name
from mcbert.files import writing_beside

log = logging.getLogger(__name__)

PRIVATE = 0o600  # states tell of their texts: a cache is its owner's alone


def begin(folder: str | os.PathLike[str], fingerprint: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Make the folder of a cache and say, first of all, which cache it will be.

    Whoever calls this holds the cache's lock: what killed writers left half done is removed.

    Parameters
    ----------
    fingerprint : mapping
        Every field that could change one of its bits, JSON-able.
    about : mapping
        ``encoder``, ``corpus`` and ``created`` (ISO time), for people; those of the first call stay.

    Raises
    ------
    StoreError
        The folder holds another cache, or cannot be written.
    """
    folder = Path(folder)
    path = folder / IDENTITY
    if path.exists():
        try:
            found = read_identity(folder)[0].fingerprint
        except StoreError as error:
            log.warning("%s", error)
        else:
            require_same(folder, found, fingerprint)
            _clear(folder)
            return
    fields = dict(fingerprint)
    data = seal({"fingerprint": fields, "digest": digest(fields), "about": dict(about)})
    with writing(path, "which cache this is", len(data)):
        make_folder(folder)
        _clear(folder)
        _write(path, data)


def pending(
    folder: str | os.PathLike[str], spec: StoreSpec, units: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return which of the units, (start, stop) of distinct texts each, are still to be written, in order.

    Raises
    ------
    StoreError
        A unit that is too large to be read at once.
    """
    left = []
    for unit in units:
        require_unit(spec, *unit)
        if not _is_written(Path(folder) / unit_name(unit[0]), spec, unit):
            left.append(unit)
    return left


def _is_written(path: Path, spec: StoreSpec, unit: tuple[int, int]) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        _read(path, spec, unit)
    except StoreError as error:
        log.warning("%s; its texts are encoded again", error)
        return False
    return True


def _read(path: Path, spec: StoreSpec, unit: tuple[int, int]) -> Header:
    head = read_head(path)
    if ((head.unit.start, head.unit.stop), head.unit.spec) != (unit, spec):
        raise StoreError(f"{path}: of other texts, layers or poolings")
    return head


def write_unit(
    folder: str | os.PathLike[str],
    spec: StoreSpec,
    *,
    start: int,
    states: np.ndarray,
    skipped: Iterable[int] = (),
) -> None:
    """Put a unit on the disk, which acknowledges it.

    Parameters
    ----------
    start : int
        Its first distinct text.
    states : ndarray
        (n_unit, n_layers, n_poolings, hidden_size), in the storage dtype.
    skipped : iterable of int
        Distinct texts of the unit that have no finite state; zeros are stored for them.

    Raises
    ------
    StoreError
        Other states than the spec says, or a cache that is finished.
    StoreFullError
        There is no room for them.
    """
    path, stop = Path(folder) / unit_name(start), start + len(states)
    what = f"distinct texts {start}-{stop - 1}"
    _require_states(f"{path}: {what}", states, spec)
    if (path.parent / MANIFEST).exists():
        raise StoreError(f"{path.parent}: this cache is finished; nothing more is written to it")
    left_out = tuple(sorted(skipped))
    if left_out:
        if not start <= left_out[0] <= left_out[-1] < stop:
            raise StoreError(
                f"{path}: skipped: got {list(left_out)}, accepted: numbers from {start} to {stop - 1}"
            )
        states = states.copy(order="K")
        states[np.array(left_out) - start] = 0
    blocks = np.ascontiguousarray(states.transpose(1, 2, 0, 3))  # as they lie in the file
    sums = tuple(zlib.crc32(block) for layer in blocks for block in layer)
    unit = Unit(start=start, stop=stop, spec=spec, crc32=sums, skipped=left_out)
    with writing(path, f"the features of {what}", states.nbytes):
        _write(path, head_bytes(unit), blocks.data.cast("B"))


def _require_states(where: str, states: np.ndarray, spec: StoreSpec) -> None:
    shape = (len(states), len(spec.layers), len(spec.poolings), spec.hidden_size)
    if states.shape != shape or states.dtype != spec.dtype:
        raise StoreError(
            f"{where}: got states of shape {states.shape}, {states.dtype}; accepted: {shape}, {spec.dtype}"
        )


def finish(
    folder: str | os.PathLike[str], spec: StoreSpec, units: Sequence[tuple[int, int]], index: np.ndarray
) -> None:
    """Write the manifest, last; whoever calls this holds the cache's lock.

    Parameters
    ----------
    units : sequence of (int, int)
        All of them, in order.
    index : ndarray of int, (n_rows,)
        Corpus row -> distinct text. Rows of texts that were skipped become -1.

    Raises
    ------
    StoreError
        A unit is not written or damaged, the identity is, or there is no room.
    """
    folder = Path(folder)
    _, identity = read_identity(folder)
    files: list[UnitFile] = []
    skipped: list[int] = []
    n_texts = 0
    for unit in units:
        file, left_out = _finished(folder, spec, unit)
        files.append(file)
        skipped += left_out
        n_texts = unit[1]
    if len(index) and not 0 <= index.min() <= index.max() < n_texts:
        raise StoreError(f"{folder}: index: got {index.min()} to {index.max()}, accepted: 0 to {n_texts - 1}")
    table = io.BytesIO()
    np.save(table, np.where(np.isin(index, skipped), -1, index).astype("<i8"), allow_pickle=False)
    manifest = Manifest(spec, tuple(files), n_texts, identity, zlib.crc32(table.getvalue()))
    with writing(folder / MANIFEST, "the manifest and the index", len(table.getvalue())):
        _clear(folder)
        _write(folder / INDEX, table.getvalue())
        _write(folder / MANIFEST, seal(dataclasses.asdict(manifest)))


def folder_bytes(
    fingerprint: Mapping[str, Any],
    about: Mapping[str, str],
    *,
    units: Sequence[tuple[int, int]],
    n_rows: int,
    left: Sequence[tuple[int, int]],
) -> int:
    """Return the bytes that a cache's folder will grow by, to a few digits of its checksums.

    Parameters
    ----------
    fingerprint, about : mapping
        As of `begin`.
    units : sequence of (int, int)
        All units of the cache, (first, after the last) distinct text.
    n_rows : int
        Rows of the corpus.
    left : sequence of (int, int)
        The units that are still to be written.
    """
    spec, crc = StoreSpec.of(fingerprint), (1 << 32) - 1  # the longest checksum
    heads: dict[tuple[int, int], int] = {}
    for start, stop in units:
        unit = Unit(start=start, stop=stop, spec=spec, crc32=(crc,) * spec.n_datasets)
        heads[start, stop] = len(head_bytes(unit))
    states = sum(heads[unit] + (unit[1] - unit[0]) * spec.stride * spec.n_datasets for unit in left)
    files = tuple(UnitFile(*unit, head, crc) for unit, head in heads.items())
    manifest = Manifest(spec, files, units[-1][1] if units else 0, crc, crc)
    identity = {"fingerprint": dict(fingerprint), "digest": digest(fingerprint), "about": dict(about)}
    index = io.BytesIO()
    np.save(index, np.empty(0, dtype="<i8"), allow_pickle=False)
    sealed = len(seal(dataclasses.asdict(manifest))) + len(seal(identity))
    return states + sealed + len(index.getvalue()) + 8 * n_rows


def _finished(folder: Path, spec: StoreSpec, unit: tuple[int, int]) -> tuple[UnitFile, tuple[int, ...]]:
    path = folder / unit_name(unit[0])
    if not os.path.lexists(path):
        raise StoreError(f"{folder}: distinct texts {unit[0]}-{unit[1] - 1} are not written yet")
    try:
        head = _read(path, spec, unit)
    except StoreError as error:
        raise StoreError(f"{error}; {remedy(folder)}") from error
    return UnitFile(*unit, head.size, head.crc32), head.unit.skipped


def _write(path: Path, *parts: bytes | memoryview) -> None:
    with writing_beside(path, PRIVATE) as file:
        # a full disk shows before anything is written, and the writes take half the time
        os.posix_fallocate(file.fileno(), 0, sum(map(len, parts)))
        for part in parts:
            file.write(part)
    sync_folder(path.parent)


def _clear(folder: Path) -> None:
    """Remove what killed writers left beside the names of their files."""
    for litter in folder.glob(".*.tmp"):
        litter.unlink(missing_ok=True)
