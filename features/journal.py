"""An append-only file of JSON records that survives a kill at any byte.

One record a line: JSON, a tab, the CRC-32 of the JSON. What a crash leaves torn at the end is cut off on
the next open, so a record either is in the journal whole or is not there.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the line that stands for `record`."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{text}\t{zlib.crc32(text.encode()):08x}\n".encode()


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None when the line is torn or damaged."""
    text, _, crc = line.rpartition(b"\t")
    if not line.endswith(b"\n") or crc.strip() != f"{zlib.crc32(text):08x}".encode():
        return None
    record: dict[str, Any] = json.loads(text)
    return record


class Journal:
    """Records in the order they were acknowledged.

    Opening reads the valid head of the file and truncates the rest.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._file = path.open("a+b")
        self._file.seek(0)
        good = 0
        for line in self._file:
            record = decode(line)
            if record is None:
                break
            self.records.append(record)
            good += len(line)
        self._file.truncate(good)
        self._file.seek(good)

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> None:
        """Write one record; with `sync` it is on the disk when this returns."""
        self._file.write(encode(record))
        self._file.flush()
        if sync:
            os.fdatasync(self._file.fileno())
        self.records.append(dict(record))

    def close(self) -> None:
        """Sync and close."""
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
