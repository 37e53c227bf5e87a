"""Files that are there whole or not at all, also after a power cut, and that only their owner reads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcbert.features.cache.errors import StoreError
from mcbert.files import open_file

PARTIAL = ".partial"


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and put its name on the disk."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: without it a power cut may undo a rename."""
    with opened(folder, os.O_RDONLY | os.O_DIRECTORY) as handle:
        os.fsync(handle)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file of a cache, never through a link, or a folder to sync; yield its descriptor.

    Raises
    ------
    StoreError
        It cannot be opened for reading.
    OSError
        It cannot be opened for writing; the writer knows what for.
    """
    try:
        file = os.open(path, flags) if flags & os.O_DIRECTORY else open_file(path, flags, 0o600)
    except OSError as error:
        if flags & os.O_RDWR:
            raise
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data`, bytes, at `offset`; the kernel takes at most 2 GiB in one call."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def read_at(file: int, buffer: memoryview, offset: int) -> int:
    """Fill `buffer`, bytes, from `offset`; return how many were read, fewer only at the file's end."""
    total = 0
    while total < len(buffer):
        read = os.preadv(file, [buffer[total:]], offset + total)
        if not read:
            break
        total += read
    return total


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file: after a kill or a power cut it holds all of the old content or all of the new."""
    file, name = tempfile.mkstemp(prefix=f"{path.name}{PARTIAL}-", dir=path.parent)
    try:
        try:
            write_at(file, memoryview(data), 0)
            os.fsync(file)
        finally:
            os.close(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    sync_folder(path.parent)
