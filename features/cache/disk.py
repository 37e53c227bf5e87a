"""The disk below a cache: folders and files of their owner alone, room, one clear line when it is used up."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mcbert.features.cache.stored import StoreError, StoreFullError, StoreSpec
from mcbert.files import RefusedFileError, open_file, read_bytes

HEAD, HEAD_OF_DATASET = 12_288, 512  # bytes that a unit's file takes at most beside its states
LARGEST = 1 << 31  # bytes of a file that is read as a whole; an index takes 8 a row
REPAIR = "python -m mcbert verify {folder} --repair"
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than its file system or this process's limit allows",
}
CLOSED = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
}


def remedy(folder: Path) -> str:
    """Return what to do about damage in a cache."""
    return f"run: {REPAIR.format(folder=folder)}"


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and put its name on the disk."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: without it a power cut may undo a rename."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file of a cache for reading, never through a link; yield its descriptor.

    Raises
    ------
    StoreError
        It is missing or no file.
    """
    try:
        file = open_file(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of a cache; a link is not followed."""
    try:
        return read_bytes(path, LARGEST)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {remedy(path.parent)}") from error


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


def bytes_needed(spec: StoreSpec, units: Iterable[tuple[int, int]]) -> int:
    """Return the bytes that units, (start, stop) of distinct texts each, take on the disk at most."""
    head = HEAD + HEAD_OF_DATASET * spec.n_datasets
    return sum(head + (stop - start) * spec.stride * spec.n_datasets for start, stop in units)


def bytes_free(folder: str | os.PathLike[str]) -> int:
    """Return the bytes that this user may still write below `folder`, which need not be there yet."""
    folder = Path(folder)
    there = next(f for f in (folder, *folder.absolute().parents) if f.is_dir())
    return shutil.disk_usage(there).free


def require_space(folder: str | os.PathLike[str], needed: int) -> None:
    """Refuse to begin what cannot end.

    Raises
    ------
    StoreFullError
        Fewer than `needed` bytes are free where `folder` is or will be.
    """
    free = bytes_free(folder)
    if needed > free:
        raise StoreFullError(
            f"{folder}: the features need {needed:,} bytes and {free:,} are free there; make room, choose "
            "another cache folder, or cache fewer layers, fewer poolings or storage_dtype float16"
        )


@contextmanager
def writing(path: Path, what: str, needed: int) -> Iterator[None]:
    """Turn what the system says of a failed write into one line.

    Parameters
    ----------
    path : Path
        The file being written.
    what : str
        What is being written to it, such as ``rows 0 to 1024``.
    needed : int
        Bytes that this takes.

    Raises
    ------
    StoreFullError
        The disk, the quota or a limit of file sizes is used up.
    StoreError
        A link or anything else that is no file; any other failure of the system, a read-only folder among
        them.
    """
    try:
        yield
    except StoreError:
        raise
    except RefusedFileError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        where = f"{path}: cannot write {what}, {needed:,} bytes"
        again = "what was written before is kept; then run the same command again"
        if error.errno in FULL:
            raise StoreFullError(
                f"{where}: {FULL[error.errno]}, {bytes_free(path.parent):,} bytes free: make room; {again}"
            ) from error
        cause = CLOSED.get(error.errno or 0) or os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{where}: {cause}: correct that; {again}") from error
