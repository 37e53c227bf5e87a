"""Read a whole cache against its checksums, and take back what is damaged: ``python -m pipeline verify``."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from features.store.durable import opened, sync_folder
from features.store.errors import StoreError
from features.store.journal import Journal, scan
from features.store.lock import locked
from features.store.manifest import IDENTITY, INDEX, MANIFEST, read_identity, read_index, read_manifest
from features.store.reading import UnitReader, check_file
from features.store.records import Head, Unit, contents, revocation
from features.store.sealed import read_file, remedy

JOURNAL = ".journal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is not as it was written."""

    file: str
    """Name of the file in the cache's folder."""

    fault: str
    """What is wrong."""

    texts: tuple[int, int] | None = None
    """Distinct texts (start, stop) whose unit is damaged; None when it is not states that are."""

    layer: int | None = None
    """Layer of the damaged states."""

    pooling: str | None = None
    """Pooling of the damaged states."""

    def __str__(self) -> str:
        """Return one line."""
        if self.texts is None:
            return f"{self.file}: {self.fault}"
        where = f"layer {self.layer}, {self.pooling}: distinct texts {self.texts[0]}-{self.texts[1] - 1}"
        return f"{self.file}: {where}: {self.fault}"


def verify(folder: str | os.PathLike[str]) -> list[Damage]:
    """Read everything in a cache, or in an unfinished one everything acknowledged.

    Returns
    -------
    list of Damage
        Nothing when all of it is as it was written.

    Raises
    ------
    StoreError
        The folder is no cache.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in (IDENTITY, MANIFEST)):
        raise StoreError(f"{folder}: neither {IDENTITY} nor {MANIFEST}: not a feature cache")
    return list(_damages(folder))


def revoke(folder: str | os.PathLike[str], damages: Iterable[Damage]) -> None:
    """Take back what is damaged, so that the next extraction encodes that again and nothing else.

    The manifest is renamed away first: from then on the cache is an unfinished one.

    Raises
    ------
    StoreError
        Another process is writing the cache.
    """
    folder = Path(folder)
    with locked(folder):
        if (folder / MANIFEST).exists():
            _put_away(folder / MANIFEST)
        units = {(damage.file, damage.texts) for damage in damages if damage.texts}
        journals = {damage.file for damage in damages if damage.file.endswith(JOURNAL)}
        for name in sorted(journals | {Path(file).with_suffix(JOURNAL).name for file, _ in units}):
            path = folder / name
            if not path.is_file() or not scan(path.read_bytes()).records:
                _put_away(path)
                continue
            with Journal(path) as journal:
                for file, texts in sorted(units):
                    if Path(file).with_suffix(JOURNAL).name == name:
                        journal.append(revocation(texts))


def _put_away(path: Path) -> None:
    if path.exists():
        path.replace(path.with_name(f"{path.name}.bad"))
        sync_folder(path.parent)


def _damages(folder: Path) -> Iterator[Damage]:
    identity = manifest = None
    try:
        identity = read_identity(folder)[1]
    except StoreError as error:
        yield _damage(folder, IDENTITY, error)
    if (folder / MANIFEST).exists():
        try:
            manifest = read_manifest(folder)
            read_index(folder, manifest)
        except StoreError as error:
            yield _damage(folder, INDEX if manifest else MANIFEST, error)
    if manifest and identity not in (None, manifest.identity):
        yield Damage(file=IDENTITY, fault="not the one that the manifest was written for")
    sums = {file.shard.journal: file.journal for file in manifest.files} if manifest else {}
    for name in sums or sorted(path.name for path in folder.glob(f"rows-*{JOURNAL}")):
        yield from _damages_of_file(folder, name, sums.get(name))


def _damages_of_file(folder: Path, name: str, crc: int | None) -> Iterator[Damage]:
    """Check a journal and the HDF5 file beside it; without a `crc` the cache is unfinished."""
    path = folder / name
    try:
        content = read_file(path)
        found = contents(scan(content).records, path)
    except StoreError as error:
        yield _damage(folder, name, error)
        return
    if crc is not None and zlib.crc32(content) != crc:
        yield Damage(file=name, fault="the checksum differs")
    elif crc is None:
        for number in scan(content).damaged:
            yield Damage(file=name, fault=f"line {number} is not whole")
        if found.units and found.head is None:
            yield Damage(file=name, fault="the line that says what the file holds is missing")
    if found.head is not None:
        yield from _damages_of_states(path.with_suffix(".h5"), found.head, found.units.values())


def _damages_of_states(path: Path, head: Head, units: Iterable[Unit]) -> Iterator[Damage]:
    try:
        check_file(path, head.spec, head.layout)
    except StoreError as error:
        yield _damage(path.parent, path.name, error)
        if not path.is_file():
            return
    with opened(path) as file:
        reader = UnitReader(file, head)
        for dataset, (layer, pooling) in enumerate(head.spec.datasets):
            for unit in units:
                _, fault = reader.read(unit, dataset)
                if fault:
                    texts = (unit.start, unit.stop)
                    yield Damage(file=path.name, fault=fault, texts=texts, layer=layer, pooling=pooling)


def _damage(folder: Path, name: str, error: StoreError) -> Damage:
    fault = str(error).removeprefix(f"{folder / name}: ").removesuffix(f"; {remedy(folder)}")
    return Damage(file=name, fault=fault)
