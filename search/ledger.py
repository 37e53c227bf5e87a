"""The append-only ledger by which a killed `python -m pipeline gridsearch` goes on where it was.

JSON Lines; a line is `{"crc32":"<8 hex digits of the row's bytes>","row":<row>}`. The first row says which
search this is. Each row is one write to a file opened for appending; the file is synced at most once a second
and at the end. What follows the last valid line (a torn write) is cut off when the ledger is opened again.
"""

import fcntl
import json
import logging
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

LOG = logging.getLogger(__name__)
FORMAT = 1
SYNC_SECONDS = 1.0
_PREFIX = b'{"crc32":"'
_MIDDLE = b'","row":'
_BODY = len(_PREFIX) + 8 + len(_MIDDLE)


class Ledger:
    """Rows by candidate id, on disk and in `rows`.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    identity : mapping of str to JSON values
        What the rows depend on. A ledger of another identity is refused.

    Attributes
    ----------
    rows : dict of str to dict
        The rows by their `candidate_id`, those of an earlier, killed search included.

    Raises
    ------
    ValueError
        If the file is no ledger, belongs to another search, or is being written by another process.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._synced = 0.0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._load(
                json.loads(json.dumps(identity))
            )  # tuples become lists, as they will be when read back
        except BaseException:
            os.close(self._file)
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row unless its candidate has one already; a backend may run a task twice."""
        if row["candidate_id"] not in self.rows:
            self._write(row)
            self.rows[row["candidate_id"]] = json.loads(json.dumps(row))

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"{self.path}: another process is searching into this file; wait for it"
            ) from error

    def _load(self, identity: dict[str, Any]) -> None:
        content = self.path.read_bytes()
        valid, rows = _valid_rows(content)
        if not rows and b"\n" in content:
            raise ValueError(f"{self.path}: line 1 is not the head of a search's ledger; move the file away")
        if valid < len(content):
            LOG.warning("%s: %d bytes after the last whole row cut off", self.path, len(content) - valid)
            os.ftruncate(self._file, valid)
        if not rows:
            self._write({"format": FORMAT, "identity": identity})
            return
        self._require(rows[0], identity)
        for row in rows[1:]:
            self.rows.setdefault(row["candidate_id"], row)

    def _require(self, head: dict[str, Any], identity: dict[str, Any]) -> None:
        if head.get("format") != FORMAT:
            found = head.get("format")
            raise ValueError(f"{self.path}: format: got {found!r}, accepted: {FORMAT}; move the file away")
        stored = head["identity"]
        for key in (*identity, *stored):
            if stored.get(key) != identity.get(key):
                raise ValueError(
                    f"{self.path}: holds another search: {key} was {_short(stored.get(key))}, "
                    f"now {_short(identity.get(key))}; use another run name or move the file away"
                )

    def _write(self, row: Mapping[str, Any]) -> None:
        body = json.dumps(row, separators=(",", ":"), allow_nan=False).encode()
        line = _PREFIX + f"{zlib.crc32(body):08x}".encode() + _MIDDLE + body + b"}\n"
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes written; is the disk full?")
        now = time.monotonic()
        if now - self._synced >= SYNC_SECONDS:
            os.fsync(self._file)
            self._synced = now


def _valid_rows(content: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Return the length of the valid beginning of a ledger and its rows."""
    rows: list[dict[str, Any]] = []
    end = 0
    for line in content.splitlines(keepends=True):
        body = line[_BODY:-2]
        frame = _PREFIX + f"{zlib.crc32(body):08x}".encode() + _MIDDLE + body + b"}\n"
        if line != frame:
            break
        rows.append(json.loads(body))
        end += len(line)
    return end, rows


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
