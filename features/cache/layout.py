"""Where the datasets of an HDF5 file lie, and a checksum of all its other bytes, HDF5's metadata.

HDF5 cannot tell after a crash what of a file is on the disk, and a flipped bit in its metadata may read as
other numbers. So HDF5 writes a file once, before the first state; the journal says where the states go and
what the rest must be for ever.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcbert.features.cache.durable import read_at, write_at
from mcbert.features.cache.errors import StoreError
from mcbert.features.cache.spec import StoreSpec, require_whole

MOST_METADATA = 1 << 16  # bytes per dataset; v108 takes some 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The bytes of one HDF5 file."""

    size: int
    """Bytes of the file."""

    offsets: tuple[int, ...]
    """First byte of each dataset, in the order of `StoreSpec.datasets`."""

    extent: int
    """Bytes of each dataset."""

    metadata: int
    """crc32 of all bytes that lie in no dataset."""

    def __post_init__(self) -> None:
        """Refuse what are no numbers of bytes."""
        require_whole("the layout", (self.size, *self.offsets, self.extent, self.metadata))

    @classmethod
    def of(cls, fields: Mapping[str, Any], spec: StoreSpec, n_texts: int) -> Layout:
        """Return the layout that was stored as JSON.

        Raises
        ------
        StoreError
            Datasets that overlap, lie outside the file or are not of the size that `spec` asks for.
        """
        layout = cls(**(dict(fields) | {"offsets": tuple(fields["offsets"])}))
        gaps = list(layout.gaps())
        if (
            len(layout.offsets) != spec.n_datasets
            or layout.extent != n_texts * spec.stride
            or any(start > stop for start, stop in gaps)
            or sum(stop - start for start, stop in gaps) > spec.n_datasets * MOST_METADATA
        ):
            raise StoreError("the datasets overlap or are not of the size that the cache's shape asks for")
        return layout

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the bytes before, between and after the datasets."""
        at = 0
        for offset in sorted(self.offsets):
            yield at, offset
            at = offset + self.extent
        yield at, self.size

    def intact(self, file: int) -> bool:
        """Return whether an open file has the size and the metadata that it was made with."""
        return os.fstat(file).st_size == self.size and checksum(file, list(self.gaps())) == self.metadata


@dataclasses.dataclass(frozen=True)
class Blank:
    """A file whose datasets hold nothing yet."""

    layout: Layout
    """Where they lie."""

    metadata: tuple[bytes, ...]
    """The bytes of every gap between them."""

    @classmethod
    def of(cls, layout: Layout, metadata: Sequence[bytes]) -> Blank:
        """Return the file with these bytes in the gaps of `layout`."""
        crc = 0
        for piece in metadata:
            crc = zlib.crc32(piece, crc)
        return cls(dataclasses.replace(layout, metadata=crc), tuple(metadata))

    def put(self, file: int) -> None:
        """Give an open file its size, its room on the disk and its metadata; datasets stay as they are."""
        os.ftruncate(file, self.layout.size)
        os.posix_fallocate(file, 0, self.layout.size)  # a full disk shows now, not in the middle of the run
        for (start, _), piece in zip(self.layout.gaps(), self.metadata, strict=True):
            write_at(file, memoryview(piece), start)
        os.fsync(file)


def checksum(file: int, ranges: Sequence[tuple[int, int]]) -> int:
    """Return crc32 of the bytes in `ranges`, one after the other."""
    crc = 0
    for start, stop in ranges:
        crc = zlib.crc32(_read(file, start, stop), crc)
    return crc


def _read(file: int, start: int, stop: int) -> bytes:
    buffer = bytearray(stop - start)
    return bytes(buffer[: read_at(file, memoryview(buffer), start)])
