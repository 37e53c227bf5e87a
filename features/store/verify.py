"""Read a whole cache against its checksums, and take back what is damaged: ``python -m mcbert verify``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mcbert.features.store.durable import opened, sync_folder
from mcbert.features.store.errors import StoreError
from mcbert.features.store.lock import locked
from mcbert.features.store.manifest import (
    IDENTITY,
    INDEX,
    MANIFEST,
    File,
    read_identity,
    read_index,
    read_manifest,
    require_match,
)
from mcbert.features.store.reading import UnitReader, check_file, read_journal
from mcbert.features.store.records import Head, Unit, contents, revocation
from mcbert.features.store.sealed import read_file, remedy
from mcbert.features.store.spec import StoreSpec
from mcbert.files.journal import Journal, scan

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
        if self.texts is None or self.layer is None:
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
    if not any(os.path.lexists(folder / name) for name in (IDENTITY, MANIFEST)):
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
        if os.path.lexists(folder / MANIFEST):
            _put_away(folder / MANIFEST)
        units = {(damage.file, damage.texts) for damage in damages if damage.texts}
        journals = {damage.file for damage in damages if damage.file.endswith(JOURNAL)}
        for name in sorted(journals | {Path(file).with_suffix(JOURNAL).name for file, _ in units}):
            path = folder / name
            if not _is_journal(path):
                _put_away(path)
                continue
            with Journal(path) as journal:
                for file, texts in sorted(units):
                    if Path(file).with_suffix(JOURNAL).name == name:
                        journal.append(revocation(texts))


def _is_journal(path: Path) -> bool:
    try:
        return bool(scan(read_file(path)).records)
    except StoreError:
        return False


def _put_away(path: Path) -> None:
    if os.path.lexists(path):
        path.replace(path.with_name(f"{path.name}.bad"))
        sync_folder(path.parent)


def _damages(folder: Path) -> Iterator[Damage]:
    """Check as readers do, by the same functions, but go on after the first fault."""
    identity = manifest = None
    try:
        identity = read_identity(folder)
    except StoreError as error:
        yield _damage(folder, IDENTITY, error)
    if os.path.lexists(folder / MANIFEST):
        try:
            manifest = read_manifest(folder)
            read_index(folder, manifest)
        except StoreError as error:
            yield _damage(folder, INDEX if manifest else MANIFEST, error)
    if identity and manifest:
        try:
            require_match(folder, *identity, manifest)
        except StoreError as error:
            yield _damage(folder, IDENTITY, error)
    if manifest and manifest.files:
        for file in manifest.files:
            yield from _damages_of_finished(folder, file, manifest.spec)
    else:
        for path in sorted(folder.glob(f"rows-*{JOURNAL}")):
            yield from _damages_of_file(path)


def _damages_of_finished(folder: Path, file: File, spec: StoreSpec) -> Iterator[Damage]:
    """Check a journal that the manifest knows and the HDF5 file beside it."""
    try:
        head, units = read_journal(folder, file, spec)
    except StoreError as error:
        yield _damage(folder, file.shard.journal, error)
        yield from _damages_of_file(folder / file.shard.journal, told=True)
    else:
        yield from _damages_of_states(folder / file.shard.name, head, units)


def _damages_of_file(path: Path, *, told: bool = False) -> Iterator[Damage]:
    """Check as much as a journal vouches for; `told`: that the journal is damaged is known already."""
    try:
        content = read_file(path)
        found = contents(scan(content).records, path)
    except StoreError as error:
        if not told:
            yield _damage(path.parent, path.name, error)
        return
    for unit in found.strangers:
        fault = f"distinct texts {unit[0]}-{unit[1] - 1}: no unit of this file"
        yield Damage(file=path.name, fault=fault, texts=unit)
    for number in scan(content).damaged if not told else ():
        yield Damage(file=path.name, fault=f"line {number} is not whole")
    if found.units and found.head is None and not told:
        yield Damage(file=path.name, fault="the line that says what the file holds is missing")
    if found.head is not None:
        yield from _damages_of_states(path.with_suffix(".h5"), found.head, found.units.values())


def _damages_of_states(path: Path, head: Head, units: Iterable[Unit]) -> Iterator[Damage]:
    try:
        check_file(path, head.spec, head.layout)
    except StoreError as error:
        yield _damage(path.parent, path.name, error)
        if not _is_readable(path):
            return
    with opened(path) as file:
        reader = UnitReader(file, head)
        for dataset, (layer, pooling) in enumerate(head.spec.datasets):
            for unit in units:
                _, fault = reader.read(unit, dataset)
                if fault:
                    texts = (unit.start, unit.stop)
                    yield Damage(file=path.name, fault=fault, texts=texts, layer=layer, pooling=pooling)


def _is_readable(path: Path) -> bool:
    try:
        with opened(path):
            return True
    except StoreError:
        return False


def _damage(folder: Path, name: str, error: StoreError) -> Damage:
    fault = str(error).removeprefix(f"{folder / name}: ").removesuffix(f"; {remedy(folder)}")
    return Damage(file=name, fault=fault)
