"""The caches in a folder, and how to be rid of one: ``python -m mcbert caches``."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mcbert.features.cache.disk import sync_folder
from mcbert.features.cache.lock import NAME as LOCK
from mcbert.features.cache.lock import holder, locked
from mcbert.features.cache.manifest import IDENTITY, MANIFEST, SCHEMA, Identity, read_identity
from mcbert.features.cache.read import FeatureStore
from mcbert.features.cache.stored import StoreError
from mcbert.features.cache.unit import read_head
from mcbert.features.cache.verify import UNITS

_DIGEST = re.compile(r"[0-9a-f]{16}")
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
_REMOVED = ".removed-"
OTHER_VERSION = "of another version"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheInfo:
    """Facts about a cache that need no reading of its states."""

    digest: str
    """Name of its folder: the first 16 digits of the digest of its fingerprint."""

    state: str
    """``whole``, ``unfinished``, ``being written by ...``, ``damaged: ...`` or ``of another version``."""

    n_bytes: int
    """Bytes that its files take on the disk."""

    encoder: str
    corpus: str

    created: str
    """ISO time by the clock of the machine that began it; empty when unknown."""

    n_texts: int
    """Distinct texts, of an unfinished cache those acknowledged."""

    layers: tuple[int, ...]


def caches(folder: str | os.PathLike[str]) -> list[CacheInfo]:
    """Return the caches in `folder`, by the time that they were begun, then by digest."""
    return sorted(map(describe, _folders(Path(folder))), key=lambda info: (info.created, info.digest))


def describe(folder: str | os.PathLike[str]) -> CacheInfo:
    """Return what is known of one cache, whatever its state."""
    folder, identity = Path(folder), None
    try:
        identity = read_identity(folder)[0]
        n_texts, state = _texts_and_state(folder, identity)
    except StoreError as error:
        n_texts = _written(folder)
        state = f"damaged: {error}" if (folder / IDENTITY).exists() else f"{OTHER_VERSION}: no {IDENTITY}"
    writer = holder(folder / LOCK)
    about = identity.about if identity else {}
    return CacheInfo(
        digest=folder.name,
        state=f"being written by {writer}" if writer is not None else state,
        n_bytes=sum(path.lstat().st_blocks * 512 for path in folder.iterdir()),
        encoder=about.get("encoder", ""),
        corpus=about.get("corpus", ""),
        created=about.get("created", ""),
        n_texts=n_texts,
        layers=tuple(identity.fingerprint.get("layers", ())) if identity else (),
    )


def _texts_and_state(folder: Path, identity: Identity) -> tuple[int, str]:
    if identity.schema != SCHEMA:
        return 0, OTHER_VERSION
    if (folder / MANIFEST).exists():
        return FeatureStore.open(folder).n_texts, "whole"
    return _written(folder), "unfinished"


def remove(folder: str | os.PathLike[str], digest: str) -> Path:
    """Delete one cache.

    Parameters
    ----------
    folder : Path
        Folder of all caches.
    digest : str
        The cache's digest, or as many of its first digits as make it the only one.

    Returns
    -------
    Path
        The cache's folder, which is gone.

    Raises
    ------
    StoreError
        Not the digest of one cache in `folder`, a link to elsewhere, or a cache that is being written.
    """
    if not _PREFIX.fullmatch(digest):
        raise StoreError(f"--remove: got {digest!r}, accepted: the first digits of a cache's digest")
    folder = Path(folder)
    for leftover in folder.glob(f"{_REMOVED}*"):  # of a removal that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    matching = [path for path in _folders(folder) if path.name.startswith(digest[:16])]
    if len(matching) != 1:
        names = ", ".join(path.name for path in matching) or "none"
        raise StoreError(
            f"--remove: got {digest!r}, accepted: the digest of one cache in {folder}; found {names}"
        )
    target = matching[0]
    if target.is_symlink():
        raise StoreError(f"{target}: not removed: a link to elsewhere; remove it by hand")
    with locked(target):
        doomed = folder / f"{_REMOVED}{target.name}-{os.getpid()}"
        target.replace(doomed)  # at once: what is half deleted is no cache
        sync_folder(folder)
        shutil.rmtree(doomed)
    return target


def _folders(folder: Path) -> Iterator[Path]:
    """Yield what is named like a cache, links included."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if _DIGEST.fullmatch(path.name) and path.is_dir())


def _written(folder: Path) -> int:
    """Return the distinct texts of the units that are on the disk."""
    total = 0
    for path in folder.glob(UNITS):
        try:
            unit = read_head(path).unit
        except StoreError:
            continue
        total += unit.stop - unit.start
    return total
