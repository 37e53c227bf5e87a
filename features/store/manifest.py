"""What makes a folder a cache: ``identity.json`` is written first, ``manifest.json`` last.

A manifest's existence means that the cache is whole. It holds a checksum of every other file or, for an HDF5
file, of the journal that does.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.store import fingerprint as fp
from mcbert.features.store.durable import PARTIAL, make_folder, opened, write_whole
from mcbert.features.store.errors import StoreError
from mcbert.features.store.records import Contents, contents
from mcbert.features.store.sealed import parsing, read_file, remedy, seal, unseal
from mcbert.features.store.space import writing
from mcbert.features.store.spec import Shard, StoreSpec, require_whole
from mcbert.files.arrays import ArrayError, read_array
from mcbert.files.journal import scan

log = logging.getLogger(__name__)

SCHEMA = 2  # of the folder's layout; part of the fingerprint
IDENTITY, INDEX, MANIFEST = "identity.json", "index.npy", "manifest.json"


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which cache this is."""

    fingerprint: dict[str, Any]
    """Every field that could change one of its bits."""

    digest: str
    """sha256 of the fingerprint."""

    about: dict[str, str]
    """What people call it: ``encoder``, ``corpus``, ``created``; nothing depends on it."""

    def __post_init__(self) -> None:
        """Refuse what `begin` does not write."""
        if not isinstance(self.fingerprint, dict) or fp.digest(self.fingerprint) != self.digest:
            raise StoreError("the digest is not that of the fingerprint")
        if not isinstance(self.about, dict) or not all(isinstance(v, str) for v in self.about.values()):
            raise StoreError("about: accepted: text by name")
        layers = self.fingerprint.get("layers", ())
        if not isinstance(layers, list | tuple):
            raise StoreError("layers: accepted: a list of numbers")
        require_whole("layers", layers)


@dataclasses.dataclass(frozen=True)
class File:
    """An HDF5 file of a finished cache."""

    start: int
    """First distinct text."""

    stop: int
    """The number after the last."""

    size: int
    """Bytes."""

    journal: int
    """crc32 of its journal."""

    def __post_init__(self) -> None:
        """Refuse what are no numbers of texts and bytes."""
        require_whole("files", (self.start, self.stop, self.size, self.journal))

    @property
    def shard(self) -> Shard:
        """Its texts as one unit: for its names."""
        return Shard((self.start, self.stop))


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a finished cache."""

    spec: StoreSpec
    files: tuple[File, ...]
    n_texts: int
    """Distinct texts."""

    identity: int
    """crc32 of identity.json."""

    index: int
    """crc32 of index.npy."""

    def __post_init__(self) -> None:
        """Refuse files that leave texts out, overlap, or are too small for what they are said to hold."""
        require_whole("manifest", (self.n_texts, self.identity, self.index))
        at = 0
        for file in self.files:
            if file.start != at or file.stop <= at:
                raise StoreError(f"files: got texts {file.start} to {file.stop} after {at}")
            if (file.stop - file.start) * self.spec.stride * self.spec.n_datasets > file.size:
                raise StoreError(f"files: {file.size} bytes hold no {file.stop - file.start} texts")
            at = file.stop
        if at != self.n_texts:
            raise StoreError(f"n_texts: got {self.n_texts}, accepted: {at}, those of the files")


def begin(folder: str | os.PathLike[str], fingerprint: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Make the folder of a cache and say, first of all, which cache it will be.

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
            return
    fields = dict(fingerprint)
    data = seal({"fingerprint": fields, "digest": fp.digest(fields), "about": dict(about)})
    with writing(path, "which cache this is", len(data)):
        make_folder(folder)
        write_whole(path, data)


def finish(
    folder: str | os.PathLike[str], spec: StoreSpec, shards: Iterable[Shard], index: np.ndarray
) -> None:
    """Write the manifest, last; whoever calls this holds the cache's lock.

    Parameters
    ----------
    shards : iterable of Shard
        All files, in order.
    index : ndarray of int, (n_rows,)
        Corpus row -> distinct text. Rows of texts that were skipped become -1.

    Raises
    ------
    StoreError
        A unit is not acknowledged, a file or the identity is damaged, or there is no room.
    """
    folder = Path(folder)
    _, identity = read_identity(folder)
    files, skipped, n_texts = [], [], 0
    for shard in shards:
        if shard.start != n_texts:
            raise StoreError(f"{folder}: distinct texts {n_texts}-{shard.start} are in no file, or in two")
        file, found = _finished(folder, spec, shard)
        files.append(file)
        skipped += [text for unit in found.units.values() for text in unit.skipped]
        n_texts = shard.stop
    if len(index) and not 0 <= index.min() <= index.max() < n_texts:
        raise StoreError(f"{folder}: index: got {index.min()} to {index.max()}, accepted: 0 to {n_texts - 1}")
    table = io.BytesIO()
    np.save(table, np.where(np.isin(index, skipped), -1, index).astype("<i8"), allow_pickle=False)
    manifest = Manifest(spec, tuple(files), n_texts, identity, zlib.crc32(table.getvalue()))
    with writing(folder / MANIFEST, "the manifest and the index", len(table.getvalue())):
        for litter in folder.glob(f"*{PARTIAL}-*"):
            litter.unlink()
        write_whole(folder / INDEX, table.getvalue())
        write_whole(folder / MANIFEST, seal(dataclasses.asdict(manifest)))


def _finished(folder: Path, spec: StoreSpec, shard: Shard) -> tuple[File, Contents]:
    path = folder / shard.journal
    content = read_file(path) if os.path.lexists(path) else b""
    found = contents(scan(content).records, path)
    left = found.pending(shard)
    if found.head is None or left:
        start, stop = left[0] if left else (shard.start, shard.stop)
        raise StoreError(f"{folder}: distinct texts {start}-{stop - 1} are not written yet")
    if (found.head.shard, found.head.spec) != (shard, spec):
        raise StoreError(f"{path}: of other texts, layers or poolings than this cache's")
    with opened(folder / shard.name) as file:
        if not found.head.layout.intact(file):
            raise StoreError(f"{folder / shard.name}: damaged HDF5 metadata; {remedy(folder)}")
    return File(shard.start, shard.stop, found.head.layout.size, zlib.crc32(content)), found


def require_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise when a cache is not the one that `wanted` describes, naming the fields."""
    differing = fp.differences(found, json.loads(json.dumps(wanted)))
    if differing:
        raise StoreError(f"{folder}: the cache is of another configuration: {'; '.join(differing)}")


def require_match(folder: Path, identity: Identity, crc: int, manifest: Manifest) -> None:
    """Raise where identity.json is not the one that a manifest was written for, or tells of other states."""
    path, spec = folder / IDENTITY, dataclasses.asdict(manifest.spec)
    if crc != manifest.identity:
        raise StoreError(f"{path}: not the one that the manifest was written for; {remedy(folder)}")
    told = {name: value for name, value in identity.fingerprint.items() if name in spec}
    differing = fp.differences(told, {name: json.loads(json.dumps(spec[name])) for name in told})
    if differing:
        raise StoreError(f"{path}: of other states than the manifest's: {'; '.join(differing)}")


def read_identity(folder: Path) -> tuple[Identity, int]:
    """Return which cache a folder holds, finished or not, and the crc32 of the file that says so."""
    path = folder / IDENTITY
    content, crc = unseal(path)
    with parsing(path):
        return Identity(**content), crc


def read_manifest(folder: Path) -> Manifest:
    """Return the content of a finished cache.

    Raises
    ------
    StoreError
        No manifest (unfinished), or a damaged one.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise StoreError(f"{folder}: no {MANIFEST}: not a feature cache, or one that is not finished yet")
    content, _ = unseal(path)
    with parsing(path):
        files = tuple(File(**entry) for entry in content.pop("files"))
        return Manifest(StoreSpec.of(content.pop("spec")), files, **content)


def read_index(folder: Path, manifest: Manifest) -> np.ndarray:
    """Return corpus row -> distinct text, int64 (n_rows,); -1 where the text was skipped.

    Raises
    ------
    StoreError
        Missing or damaged.
    """
    path = folder / INDEX
    data = read_file(path)
    if zlib.crc32(data) != manifest.index:
        raise StoreError(f"{path}: damaged or changed, its checksum differs; {remedy(folder)}")
    with parsing(path):
        try:
            index = read_array(io.BytesIO(data), len(data))
        except ArrayError as error:
            raise StoreError(str(error)) from error
        if (
            index.ndim != 1
            or index.dtype != np.int64
            or not ((index >= -1) & (index < manifest.n_texts)).all()
        ):
            raise StoreError(f"not whole numbers from -1 (skipped) to {manifest.n_texts - 1}, one a row")
    return index
