"""JSON with a checksum of itself, in one spelling only: a flipped bit anywhere in the file is seen."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcbert.features.cache.errors import StoreError
from mcbert.files import read_bytes

LARGEST = 1 << 31  # bytes; an index takes 8 a row, a journal some 400 a unit of M-BERT's size
REPAIR = "python -m mcbert verify {folder} --repair"


def remedy(folder: Path) -> str:
    """Return what to do about damage in a cache."""
    return f"run: {REPAIR.format(folder=folder)}"


def seal(content: Mapping[str, Any]) -> bytes:
    """Return JSON with a checksum of itself."""
    checksum = hashlib.sha256(_spelt(content)).hexdigest()
    return _spelt({**content, "checksum": checksum}) + b"\n"


def _spelt(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


def unseal(path: Path) -> tuple[dict[str, Any], int]:
    """Read sealed JSON.

    Returns
    -------
    content : dict
        Without the checksum.
    crc : int
        crc32 of the file.

    Raises
    ------
    StoreError
        A bit of the file is not as it was written.
    """
    data = read_file(path)
    try:
        content = json.loads(data)
        del content["checksum"]
        whole = seal(content) == data
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: damaged or changed, its checksum differs; {remedy(path.parent)}")
    return content, zlib.crc32(data)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of a cache; a link is not followed."""
    try:
        return read_bytes(path, LARGEST)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {remedy(path.parent)}") from error


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn what a file of another make does to our reading of it into one line."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{path}: not a file of this version's caches ({type(error).__name__}: {error})"
        ) from error
