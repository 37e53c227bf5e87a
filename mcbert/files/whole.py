"""Files and folders that are whole or absent: written beside the target, then renamed onto it; checksums.

python -m pytest tests/files/test_whole.py
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mcbert.files.opening import open_file, opened


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with the line ends it has, so that `path` never holds half of it.

    Parameters
    ----------
    path : Path
        The target; its folder exists.
    text : str
        The whole content.

    Raises
    ------
    UnicodeEncodeError
        If the text holds a lone surrogate, which UTF-8 cannot hold; nothing is written then.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that `path` never holds half of it; its folder exists."""
    with writing_beside(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing_beside(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Yield a file that takes the name of `path` when the block ends, and is gone when it fails.

    A link that has the name of `path` is replaced, not followed.

    Parameters
    ----------
    mode : int
        Permissions of the file, as far as the umask leaves them.

    Raises
    ------
    OSError
        It cannot be written; the error names `path`.
    """
    # machines that share the folder have processes of the same number, which may write the same file
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        number = open_file(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside)):
            raise
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write in, which replaces `folder` when the block ends, and is gone when it fails.

    Nothing is synced: a power cut may leave files of it empty, a kill does not.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    beside.mkdir(parents=True)
    try:
        yield beside
        shutil.rmtree(folder, ignore_errors=True)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk: a power cut may undo a rename without."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def take_mode(paths: Iterable[Path], *, of: Path) -> None:
    """Give files the mode of another, such as one that was just written: the mode that the umask gives."""
    mode = stat.S_IMODE(of.stat().st_mode)
    for path in paths:
        path.chmod(mode)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; the file may be one that a link leads to."""
    with opened(path, links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of files in their order, each led by its name and size, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
