"""Room on the disk: how much a cache takes, whether it is there, and one clear line when it is not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcbert.features.cache.errors import StoreError, StoreFullError
from mcbert.features.cache.spec import StoreSpec
from mcbert.files import RefusedFileError

METADATA = 4096  # bytes per dataset that HDF5 and the journal take at most beside the states
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


def bytes_needed(spec: StoreSpec, n_texts: int) -> int:
    """Return the bytes that the states of `n_texts` distinct texts take on the disk, metadata included."""
    return spec.n_datasets * (n_texts * spec.stride + METADATA) if n_texts else 0


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
        raise StoreError(f"{where}: {cause}: mend that; {again}") from error
