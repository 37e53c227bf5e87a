"""Locks on a cache or a run, one process at a time: holding, waiting, taking over from a dead holder."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcbert.features.cache.disk import write_at, writing
from mcbert.features.cache.stored import StoreError
from mcbert.files import open_file

log = logging.getLogger(__name__)

NAME = ".lock"
GRACE = 0.2  # seconds that even the impatient wait: a look at the lock takes it for a moment
POLL = 0.05  # seconds between two tries
CACHE_IN_USE = "another extraction is writing this cache"


def who() -> str:
    """Return how this process names itself to others."""
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


@contextmanager
def locked(
    folder: str | os.PathLike[str], wait: float = 0.0, *, in_use: str = CACHE_IN_USE, doing: str = ""
) -> Iterator[None]:
    """Hold a folder's lock; the system takes it from a process that dies.

    Parameters
    ----------
    folder : Path
        The cache, or the run; must be there.
    wait : float
        Seconds to wait for another holder.
    in_use : str
        What is said of a folder that another holds.
    doing : str
        What this process tells others of itself, besides its number, machine and time.

    Raises
    ------
    StoreError
        Another process still holds it; the message says which.
    OSError
        The lock is no file of the folder but a link, say: nothing is written to it.
    """
    folder = Path(folder)
    file = _acquire(folder / NAME, wait, in_use)
    try:
        before = _text(file)
        if before:
            log.warning("%s: %s ended without giving the lock back; going on after it", folder, before)
        with writing(folder / NAME, "who holds it", 4096):
            _sign(file, f"{who()}, {doing}" if doing else who())
        yield
    finally:
        os.ftruncate(file, 0)
        os.close(file)


def holder(path: Path) -> str | None:
    """Return what is written in a file that another process holds locked, or None when none does.

    A link, which is not followed, is held by no one.
    """
    try:
        file = open_file(path)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _text(file)
    finally:
        os.close(file)
    return None


def _acquire(path: Path, wait: float, in_use: str) -> int:
    deadline = time.monotonic() + max(wait, GRACE)
    said = ""
    while True:
        file = open_file(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = _text(file)
            os.close(file)
            if time.monotonic() >= deadline:
                raise StoreError(f"{path.parent}: {in_use}: {other}") from error
            if wait and other != said:
                log.info("%s: waiting up to %.0f s for %s", path.parent, wait, other)
                said = other
            time.sleep(POLL)
            continue
        if _same(file, path):
            return file
        os.close(file)  # the cache was removed while this process waited


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _text(file: int) -> str:
    return os.pread(file, 4096, 0).decode(errors="replace").strip()


def _sign(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    write_at(file, memoryview(text.encode()), 0)
