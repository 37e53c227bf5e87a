"""Open files of untrusted folders: regular ones only, never through a link, without waiting.

A cache, a run or a model that somebody sent may hold a link to a file of the reader's, which would be read,
shown or emptied, or a named pipe, at which a reader waits for ever. The kind is checked on what was opened,
not on the name before: nothing can take its place between.

python -m pytest tests/files/test_opening.py
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = {
    stat.S_IFLNK: "a link, which is not followed",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
MOST = 1 << 26  # bytes of a file that is read as a whole, unless its reader says how many


class RefusedFileError(OSError):
    """Raised for a path that is no regular file, or larger than its reader accepts."""


def refused(path: str | os.PathLike[str], reason: str) -> RefusedFileError:
    """Return the error that says why a file is refused."""
    return RefusedFileError(errno.EINVAL, reason, os.fspath(path))


def open_file(
    path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o666, *, links: bool = False
) -> int:
    """Open a regular file; return its descriptor.

    Parameters
    ----------
    flags, mode : int
        As for `os.open`; `O_TRUNC` would empty a file before its kind is known and is not for here.
    links : bool
        Whether the path itself may be a link, as of a file that the user names. Folders on the way may be.

    Raises
    ------
    RefusedFileError
        A link, a folder, a named pipe, a device or a socket.
    OSError
        The system's reason, where there is another.
    """
    follow = 0 if links else os.O_NOFOLLOW
    try:
        file = os.open(path, flags | follow | os.O_NONBLOCK, mode)
    except OSError as error:
        kind = _kind(path, links)
        if kind in KINDS:
            raise refused(path, f"it is {KINDS[kind]}; accepted: a file") from error
        raise
    kind = stat.S_IFMT(os.fstat(file).st_mode)
    if kind != stat.S_IFREG:
        os.close(file)
        raise refused(path, f"it is {KINDS.get(kind, 'no file')}; accepted: a file")
    return file


def _kind(path: str | os.PathLike[str], links: bool) -> int:
    try:
        return stat.S_IFMT(Path(path).stat(follow_symlinks=links).st_mode)
    except OSError:
        return 0


@contextmanager
def opened(path: str | os.PathLike[str], *, links: bool = False) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading; raises as `open_file` does."""
    with os.fdopen(open_file(path, links=links), "rb") as file:
        yield file


def read_bytes(path: str | os.PathLike[str], most: int = MOST, *, links: bool = False) -> bytes:
    """Return the content of a regular file of at most so many bytes; raises as `open_file` does."""
    with opened(path, links=links) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise refused(path, f"more than {most:,} bytes; accepted: fewer")
    return content


def require_own(folder: str | os.PathLike[str], within: Path | None = None) -> None:
    """Make sure that a folder holds files and folders only, at any depth; it need not be there.

    Parameters
    ----------
    within : Path, optional
        Links to files below this folder are accepted, too.

    Raises
    ------
    RefusedFileError
        Names the first link, named pipe, device or socket.
    """
    folders = [Path(folder)]
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop()), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                kind = _kind(entry.path, links=False)
                if kind == stat.S_IFLNK and within is not None and _leads(entry.path, within):
                    continue
                if kind in KINDS:  # else it is gone, as a temporary file of another process
                    raise refused(entry.path, f"it is {KINDS[kind]}; accepted: files and folders")


def _leads(link: str, within: Path) -> bool:
    target = Path(link).resolve()
    return target.is_file() and target.is_relative_to(within.resolve())
