"""What makes a folder a cache: ``identity.json`` is written first, ``manifest.json`` last.

A manifest's existence means that the cache is whole. It holds a checksum of every other file or, for the file
of a unit, of the head that holds those of its states. Both are JSON with a checksum of itself, in one
spelling only: a flipped bit anywhere in the file is seen.

The identity is a fingerprint: every field that could change a bit of the states. Labels are left out on
purpose: relabelling a corpus must not cost an extraction.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.cache.disk import read_file, remedy
from mcbert.features.cache.stored import StoreError, StoreSpec, require_whole
from mcbert.features.cache.unit import MOST_HEAD, Header, unit_name
from mcbert.files.arrays import ArrayError, read_array

SCHEMA = 3  # of the folder's layout; part of the fingerprint
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
        if not isinstance(self.fingerprint, dict) or digest(self.fingerprint) != self.digest:
            raise StoreError("the digest is not that of the fingerprint")
        if not isinstance(self.about, dict) or not all(isinstance(v, str) for v in self.about.values()):
            raise StoreError("about: accepted: text by name")
        layers = self.fingerprint.get("layers", ())
        if not isinstance(layers, list | tuple):
            raise StoreError("layers: accepted: a list of numbers")
        require_whole("layers", layers)

    @property
    def schema(self) -> object:
        """Version of the folder's layout."""
        return self.fingerprint.get("schema", SCHEMA)


@dataclasses.dataclass(frozen=True)
class UnitFile:
    """The file of a unit of a finished cache."""

    start: int
    """First distinct text."""

    stop: int
    """The number after the last."""

    head: int
    """Bytes before the first state."""

    crc32: int
    """Checksum of them."""

    def __post_init__(self) -> None:
        """Refuse what are no numbers of texts and bytes."""
        require_whole("units", (self.start, self.stop, self.head, self.crc32))
        if self.head > MOST_HEAD:
            raise StoreError(f"units: got a head of {self.head} bytes, accepted: {MOST_HEAD} at most")

    @property
    def name(self) -> str:
        """Name of the file."""
        return unit_name(self.start)

    def require(self, head: Header, spec: StoreSpec, path: Path) -> None:
        """Raise unless a file has the head that this was written for."""
        found = (head.unit.start, head.unit.stop, head.unit.spec, head.size, head.crc32)
        if found != (self.start, self.stop, spec, self.head, self.crc32):
            raise StoreError(f"{path}: not the file that the manifest was written for")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a finished cache."""

    spec: StoreSpec
    units: tuple[UnitFile, ...]
    n_texts: int
    """Distinct texts."""

    identity: int
    """crc32 of identity.json."""

    index: int
    """crc32 of index.npy."""

    schema: int = SCHEMA
    """Of the folder's layout."""

    def __post_init__(self) -> None:
        """Refuse units that leave texts out or overlap."""
        require_whole("manifest", (self.n_texts, self.identity, self.index))
        at = 0
        for unit in self.units:
            if unit.start != at or unit.stop <= at:
                raise StoreError(f"units: got texts {unit.start} to {unit.stop} after {at}")
            at = unit.stop
        if at != self.n_texts:
            raise StoreError(f"n_texts: got {self.n_texts}, accepted: {at}, those of the units")

    def file_size(self, unit: UnitFile) -> int:
        """Return the bytes of the file of one of the units."""
        return unit.head + (unit.stop - unit.start) * self.spec.stride * self.spec.n_datasets


def digest(fields: Mapping[str, Any]) -> str:
    """Return sha256 of the fields as canonical JSON."""
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return ``field: found -> wanted`` for every field that differs, sorted by name."""
    names = sorted(found.keys() | wanted.keys())
    return [f"{n}: {found.get(n)!r} -> {wanted.get(n)!r}" for n in names if found.get(n) != wanted.get(n)]


def require_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise when a cache is not the one that `wanted` describes, naming the fields."""
    differing = differences(found, json.loads(json.dumps(wanted)))
    if differing:
        raise StoreError(f"{folder}: the cache is of another configuration: {'; '.join(differing)}")


def require_match(folder: Path, identity: Identity, crc: int, manifest: Manifest) -> None:
    """Raise where identity.json is not the one that a manifest was written for, or tells of other states."""
    path, spec = folder / IDENTITY, dataclasses.asdict(manifest.spec)
    if crc != manifest.identity:
        raise StoreError(f"{path}: not the one that the manifest was written for; {remedy(folder)}")
    told = {name: value for name, value in identity.fingerprint.items() if name in spec}
    differing = differences(told, {name: json.loads(json.dumps(spec[name])) for name in told})
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
        No manifest (unfinished), a damaged one, or one of another version.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise StoreError(f"{folder}: no {MANIFEST}: not a feature cache, or one that is not finished yet")
    content, _ = unseal(path)
    require_schema(folder, content.get("schema"))
    with parsing(path):
        units = tuple(UnitFile(**entry) for entry in content.pop("units"))
        return Manifest(StoreSpec.of(content.pop("spec")), units, **content)


def require_schema(folder: Path, schema: object) -> None:
    """Raise when a cache has the layout of another version, which is never read as if it were this one's."""
    if schema != SCHEMA:
        raise StoreError(
            f"{folder}: a feature cache of another version of mcbert, with other files in it: the same "
            f"extract makes it anew; python -m mcbert caches --cache {folder.parent} --remove {folder.name} "
            "frees its room"
        )


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


def seal(content: Mapping[str, Any]) -> bytes:
    """Return JSON with a checksum of itself."""
    checksum = hashlib.sha256(_spelt(content)).hexdigest()
    return _spelt({**content, "checksum": checksum}) + b"\n"


def _spelt(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


def unseal(path: Path) -> tuple[dict[str, Any], int]:
    """Read sealed JSON.

    Returns
    -------
    content : dict
        Without the checksum.
    crc : int
        crc32 of the file.

    Raises
    ------
    StoreError
        A bit of the file is not as it was written.
    """
    data = read_file(path)
    try:
        content = json.loads(data)
        del content["checksum"]
        whole = seal(content) == data
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: damaged or changed, its checksum differs; {remedy(path.parent)}")
    return content, zlib.crc32(data)


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn what a file of another make does to our reading of it into one line."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{path}: not a file of this version's caches ({type(error).__name__}: {error})"
        ) from error
