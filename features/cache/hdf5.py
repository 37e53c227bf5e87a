"""The only place where HDF5 is spoken: files are created whole, checked before reading, never written again.

Contiguous datasets, allocated early and never filled, in the file format of HDF5 1.8, without times: the same
shape gives the same bytes on every day, so that damaged metadata can be made again. The library writes to
memory only; a full disk, which it takes badly, is none of its business.
"""

from __future__ import annotations

import io
from pathlib import Path

import h5py

from mcbert.features.cache.errors import StoreError
from mcbert.features.cache.layout import Blank, Layout
from mcbert.features.cache.spec import StoreSpec, dataset_name
from mcbert.files import opened

FORMAT = ("v108", "v108")  # from v110 on, a file that was not closed is refused
ALIGNMENT = 64  # bytes; datasets begin on a cache line


class _Memory:
    """A file of any length that keeps only what was written to it; HDF5 asks for no more than this."""

    def __init__(self) -> None:
        self._writes: list[tuple[int, bytes]] = []
        self._at = self.size = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset if whence == io.SEEK_SET else self.size + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: bytes | memoryview) -> int:
        self._writes.append((self._at, bytes(data)))
        self.size = max(self.size, self._at + len(data))
        return len(data)

    def read(self, n_bytes: int) -> bytes:
        return self.between(self._at, self._at + n_bytes)

    def truncate(self, size: int) -> None:
        self.size = size

    def flush(self) -> None:
        pass

    def between(self, start: int, stop: int) -> bytes:
        found = bytearray(stop - start)
        for at, data in self._writes:
            low, high = max(at, start), min(at + len(data), stop)
            if low < high:
                found[low - start : high - start] = data[low - at : high - at]
        return bytes(found)


def blank(spec: StoreSpec, n_texts: int) -> Blank:
    """Return everything of a file but its datasets, and where those lie."""
    memory = _Memory()
    with h5py.File(memory, "w", libver=FORMAT, alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
        offsets = [
            offset for layer in spec.layers for offset in _allocate(file, layer, spec=spec, n_texts=n_texts)
        ]
    layout = Layout(size=memory.size, offsets=tuple(offsets), extent=n_texts * spec.stride, metadata=0)
    return Blank.of(layout, [memory.between(start, stop) for start, stop in layout.gaps()])


def _allocate(file: h5py.File, layer: int, *, spec: StoreSpec, n_texts: int) -> list[int]:
    timeless = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    timeless.set_obj_track_times(False)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dtype = h5py.h5t.py_create(spec.dtype, logical=True)
    space = h5py.h5s.create_simple((n_texts, spec.hidden_size))
    group = h5py.h5g.create(file.id, dataset_name(layer, "").strip("/").encode(), gcpl=timeless)
    return [
        h5py.h5d.create(group, pooling.encode(), dtype, space, plan).get_offset() for pooling in spec.poolings
    ]


def check(path: Path, spec: StoreSpec, layout: Layout) -> None:
    """Make sure that a file holds plain datasets where `layout` says, and no way to another file.

    Raises
    ------
    StoreError
        A link, external or virtual data, a filter, another dtype, shape or place.
    """
    try:
        # opened by us: of what has the name later nothing is read, and a link is not followed
        with opened(path) as opened_file, h5py.File(opened_file, "r") as file:
            for (layer, pooling), offset in zip(spec.datasets, layout.offsets, strict=True):
                _check_dataset(file, dataset_name(layer, pooling), spec, extent=layout.extent, offset=offset)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except Exception as error:  # h5py has no class of its own for what it finds wrong
        raise StoreError(f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())[:200]})") from error


def _check_dataset(file: h5py.File, name: str, spec: StoreSpec, *, extent: int, offset: int) -> None:
    for part in (name.split("/")[0], name):
        if not isinstance(file.get(part, getlink=True), h5py.HardLink):
            raise StoreError(f"{part} is missing or a link to elsewhere, which is not followed")
    data = file[name]
    shape = (extent // spec.stride, spec.hidden_size)
    if (
        not isinstance(data, h5py.Dataset)
        or data.is_virtual
        or data.external is not None
        or data.chunks is not None
        or data.shape != shape
        or data.dtype != spec.dtype
        or data.id.get_offset() != offset
    ):
        raise StoreError(f"{name} is not a plain contiguous {spec.dtype} dataset of shape {shape}")
