"""An append-only file of records that survives a kill at any byte: units of extraction, candidates.

JSON Lines; a line is ``{"crc32":"<8 hex digits of the row's bytes>","row":<row>}``. Each record is one write
to a file opened for appending. What a crash leaves torn at the end is cut off on the next open, so a record
either is there whole or is not there. A line that was damaged later is left out, and only that line.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mcbert.files.opening import open_file

log = logging.getLogger(__name__)

_PREFIX = b'{"crc32":"'
_MIDDLE = b'","row":'
_BODY = len(_PREFIX) + 8 + len(_MIDDLE)


class Scan(NamedTuple):
    """Contents of a journal's bytes."""

    records: list[dict[str, Any]]
    """The whole records, in order."""

    damaged: list[int]
    """Numbers, from 1, of lines before the last whole record that are not whole themselves."""

    end: int
    """Bytes up to the end of the last whole record; the rest is torn."""


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the line that stands for `record`."""
    return _framed(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None when the line is torn or damaged."""
    body = line[_BODY:-2]
    if line != _framed(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def scan(content: bytes) -> Scan:
    """Read the bytes of a journal without touching the file: for those who do not write it."""
    records: list[dict[str, Any]] = []
    damaged: list[int] = []
    suspects: list[int] = []
    at = end = 0
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        at += len(line) + 1
        record = decode(line + b"\n")
        if record is None:
            suspects.append(number)
        else:
            records.append(record)
            damaged += suspects
            suspects.clear()
            end = at
    return Scan(records, damaged, end)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: without it a power cut may undo the making of a file."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _framed(body: bytes) -> bytes:
    return _PREFIX + f"{zlib.crc32(body):08x}".encode() + _MIDDLE + body + b"}\n"


class Journal:
    """Records in the order they were acknowledged.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    mode : int
        Of a new file, less what the umask takes: a cache's are its owner's alone.

    Attributes
    ----------
    records : list of dict
        All records, those of an earlier, killed process included.

    Raises
    ------
    ValueError
        The file is no journal (it is left alone), or another process has it open.
    """

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        new = not os.path.lexists(path)
        self._file = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, mode)
        try:
            self._lock()
            self._load()
            if new:
                _sync_folder(path.parent)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> None:
        """Write one record; with `sync` it is on the disk when this returns."""
        line = encode(record)
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes; is the disk full?")
        except OSError as error:
            os.ftruncate(self._file, before)  # a torn line would spoil the one after it
            raise OSError(error.errno, f"cannot be written: {error.strerror}", str(self.path)) from error
        if sync:
            self.sync()
        self.records.append(json.loads(line)["row"])

    def sync(self) -> None:
        """Put everything appended so far on the disk."""
        os.fdatasync(self._file)

    def reset(self) -> None:
        """Take every record back, on the disk too."""
        os.ftruncate(self._file, 0)
        os.fsync(self._file)
        self.records.clear()

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            writers = [r["writer"] for r in scan(self._content()).records if "writer" in r]
            who = f": {writers[-1]}" if writers else ""
            raise ValueError(
                f"{self.path}: another process is writing this file{who}; wait for it"
            ) from error

    def _content(self) -> bytes:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            return file.read()

    def _load(self) -> None:
        content = self._content()
        found = scan(content)
        if not found.records and b"\n" in content and not content.startswith((_PREFIX, b"\0")):
            raise ValueError(f"{self.path}: line 1 is not a whole record of ours; move the file away")
        for number in found.damaged:
            log.warning("%s: line %d is damaged and is left out", self.path, number)
        if found.end < len(content):
            torn = len(content) - found.end
            log.warning("%s: %d bytes after the last whole record cut off", self.path, torn)
            os.ftruncate(self._file, found.end)
        self.records = found.records
