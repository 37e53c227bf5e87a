"""An append-only file of records that survives a kill at any byte: units of extraction, candidates.

JSON Lines; a line is ``{"crc32":"<8 hex digits of the row's bytes>","row":<row>}``. Each record is one
write to a
file opened for appending. What a crash leaves torn at the end is cut off on the next open, so a record
either is there whole or is not there.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_PREFIX = b'{"crc32":"'
_MIDDLE = b'","row":'
_BODY = len(_PREFIX) + 8 + len(_MIDDLE)


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the line that stands for `record`."""
    return _framed(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None when the line is torn or damaged."""
    body = line[_BODY:-2]
    if line != _framed(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def _framed(body: bytes) -> bytes:
    return _PREFIX + f"{zlib.crc32(body):08x}".encode() + _MIDDLE + body + b"}\n"


class Journal:
    """Records in the order they were acknowledged.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.

    Attributes
    ----------
    records : list of dict
        All records, those of an earlier, killed process included.

    Raises
    ------
    ValueError
        The file is no journal (it is left alone), or another process has it open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._load()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> None:
        """Write one record; with `sync` it is on the disk when this returns."""
        line = encode(record)
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes written; is the disk full?")
        if sync:
            self.sync()
        self.records.append(json.loads(line)["row"])

    def sync(self) -> None:
        """Put everything appended so far on the disk."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{self.path}: another process is writing this file; wait for it") from error

    def _load(self) -> None:
        content = self.path.read_bytes()
        valid = 0
        for line in content.splitlines(keepends=True):
            record = decode(line)
            if record is None:
                break
            self.records.append(record)
            valid += len(line)
        if not self.records and b"\n" in content:
            raise ValueError(f"{self.path}: line 1 is not a whole record of ours; move the file away")
        if valid < len(content):
            log.warning("%s: %d bytes after the last whole record cut off", self.path, len(content) - valid)
            os.ftruncate(self._file, valid)
