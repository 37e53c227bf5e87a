"""Read a whole cache against its checksums, and take back what is damaged: ``python -m mcbert verify``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mcbert.features.cache import hdf5
from mcbert.features.cache.disk import opened, remedy, sync_folder
from mcbert.features.cache.lock import locked
from mcbert.features.cache.manifest import (
    IDENTITY,
    INDEX,
    MANIFEST,
    SCHEMA,
    UnitFile,
    read_identity,
    read_index,
    read_manifest,
    require_match,
    require_schema,
)
from mcbert.features.cache.stored import StoreError, StoreSpec
from mcbert.features.cache.unit import StateReader, head_of

UNITS = "unit-*.h5"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is not as it was written."""

    file: str
    """Name of the file in the cache's folder."""

    fault: str
    """Description of the damage."""

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
    """Read everything in a cache, or in an unfinished one every unit that is there.

    Returns
    -------
    list of Damage
        Nothing when all of it is as it was written.

    Raises
    ------
    StoreError
        The folder is no cache, or one of another version.
    """
    folder = Path(folder)
    if not any(os.path.lexists(folder / name) for name in (IDENTITY, MANIFEST)):
        raise StoreError(f"{folder}: neither {IDENTITY} nor {MANIFEST}: not a feature cache")
    try:
        schema = read_identity(folder)[0].schema
    except StoreError:
        schema = SCHEMA  # as far as can be known; the damage is told below
    require_schema(folder, schema)
    return list(_damages(folder))


def revoke(folder: str | os.PathLike[str], damages: Iterable[Damage]) -> None:
    """Take back what is damaged, so that the next extraction encodes that again and nothing else.

    The manifest is renamed away first: from then on the cache is an unfinished one. The files of damaged
    units are kept beside it, their names ending in ``.bad``.

    Raises
    ------
    StoreError
        Another process is writing the cache.
    """
    folder = Path(folder)
    with locked(folder):
        damaged = {damage.file for damage in damages}
        units = sorted(path.name for path in folder.glob(UNITS) if path.name in damaged)
        for name in (MANIFEST, *units):
            if os.path.lexists(folder / name):
                (folder / name).replace(folder / f"{name}.bad")
                sync_folder(folder)


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
    reader = StateReader()
    if manifest:
        for unit in manifest.units:
            yield from _damages_of_unit(folder / unit.name, reader, unit, manifest.spec)
    else:
        for path in sorted(folder.glob(UNITS)):
            yield from _damages_of_unit(path, reader)


def _damages_of_unit(
    path: Path, reader: StateReader, unit: UnitFile | None = None, spec: StoreSpec | None = None
) -> Iterator[Damage]:
    """Check the head of a file, with the manifest where that is there, then what HDF5 and the states say."""
    try:
        with opened(path) as file:
            head = head_of(file, path)
            if unit and spec:
                unit.require(head, spec, path)
            n_texts = head.unit.stop - head.unit.start
            hdf5.check(path, head.unit.spec, n_texts=n_texts, start=head.size)
            for dataset, (layer, pooling) in enumerate(head.unit.spec.datasets):
                _, fault = reader.read(file, head, dataset)
                if fault:
                    texts = (head.unit.start, head.unit.stop)
                    yield Damage(file=path.name, fault=fault, texts=texts, layer=layer, pooling=pooling)
    except StoreError as error:
        yield _damage(path.parent, path.name, error)


def _damage(folder: Path, name: str, error: StoreError) -> Damage:
    fault = str(error).removeprefix(f"{folder / name}: ").removesuffix(f"; {remedy(folder)}")
    return Damage(file=name, fault=fault)
