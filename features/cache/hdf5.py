"""The only place where HDF5 is spoken: its metadata are made in memory, a file is checked against them.

Contiguous datasets in the file format of HDF5 1.8, without times: the same shape gives the same bytes on
every day. All metadata come first, then the datasets without a gap between them, so that the states of a unit
are written in one piece and read by their place. HDF5 itself never writes to a disk: it tells of a full one
only on closing, and ignores Ctrl-C meanwhile.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcbert.features.cache.disk import HEAD, HEAD_OF_DATASET
from mcbert.features.cache.stored import StoreError, StoreSpec, dataset_name
from mcbert.files import opened

FORMAT = ("v108", "v108")  # from v110 on, a file that was not closed is refused
ALIGNMENT = 64  # bytes; the states begin on a cache line where a row is a multiple of one


class _Metadata(io.BytesIO):
    """Keeps the first bytes of a file; states, which come after, are dropped."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def write(self, data: Any, /) -> int:
        return super().write(data) if self.tell() < self._kept else len(data)


def metadata(spec: StoreSpec, n_texts: int, user_block: int) -> bytes:
    """Return what lies between a file's user block and its first state.

    Parameters
    ----------
    n_texts : int
        Rows of each dataset.
    user_block : int
        Bytes before HDF5's own: a power of two, 512 or more.

    Raises
    ------
    StoreError
        This version of HDF5 does not put the datasets one after the other, behind all else.
    """
    most = user_block + HEAD + HEAD_OF_DATASET * spec.n_datasets
    memory = _Metadata(most)
    alignment = math.gcd(ALIGNMENT, spec.stride)
    with h5py.File(
        memory,
        "w",
        libver=FORMAT,
        userblock_size=user_block,
        alignment_threshold=1,
        alignment_interval=alignment,
    ) as file:
        datasets = [
            dataset for layer in spec.layers for dataset in _create(file, layer, spec=spec, n_texts=n_texts)
        ]
        file.flush()  # all metadata have their place before the first state gets one
        offsets = [_allocate(dataset, spec.dtype) for dataset in datasets]
    start, extent = offsets[0], n_texts * spec.stride
    if offsets != [start + k * extent for k in range(len(offsets))] or start >= most:
        raise StoreError(f"HDF5 {h5py.version.hdf5_version} does not put datasets one after the other")
    return memory.getvalue()[user_block:start]


def _create(file: h5py.File, layer: int, *, spec: StoreSpec, n_texts: int) -> list[h5py.h5d.DatasetID]:
    timeless = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    timeless.set_obj_track_times(False)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dtype = h5py.h5t.py_create(spec.dtype, logical=True)
    space = h5py.h5s.create_simple((n_texts, spec.hidden_size))
    group = h5py.h5g.create(file.id, dataset_name(layer, "").strip("/").encode(), gcpl=timeless)
    return [h5py.h5d.create(group, pooling.encode(), dtype, space, plan) for pooling in spec.poolings]


def _allocate(dataset: h5py.h5d.DatasetID, dtype: np.dtype[np.generic]) -> int:
    """Give a dataset its place, as HDF5 does on the first number written; return the place."""
    first = dataset.get_space()
    first.select_hyperslab((0, 0), (1, 1))
    dataset.write(h5py.h5s.create_simple((1,)), first, np.zeros(1, dtype))
    return int(dataset.get_offset())


def check(path: Path, spec: StoreSpec, *, n_texts: int, start: int) -> None:
    """Make sure that HDF5 finds in a file the datasets that lie there, and no way to another file.

    Parameters
    ----------
    n_texts : int
        Rows of each dataset.
    start : int
        Bytes before the first state.

    Raises
    ------
    StoreError
        A link, external or virtual data, a filter, another dtype, shape or place.
    """
    shape, extent = (n_texts, spec.hidden_size), n_texts * spec.stride
    try:
        # opened by us: of what has the name later nothing is read, and a link is not followed
        with opened(path) as opened_file, h5py.File(opened_file, "r") as file:
            for k, (layer, pooling) in enumerate(spec.datasets):
                name = dataset_name(layer, pooling)
                _check_dataset(file, name, shape=shape, dtype=spec.dtype, offset=start + k * extent)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except Exception as error:  # h5py has no class of its own for what it finds wrong
        raise StoreError(f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())[:200]})") from error


def _check_dataset(
    file: h5py.File, name: str, *, shape: tuple[int, int], dtype: np.dtype[np.generic], offset: int
) -> None:
    for part in (name.split("/")[0], name):
        if not isinstance(file.get(part, getlink=True), h5py.HardLink):
            raise StoreError(f"{part} is missing or a link to elsewhere, which is not followed")
    data = file[name]
    if (
        not isinstance(data, h5py.Dataset)
        or data.is_virtual
        or data.external is not None
        or data.chunks is not None
        or data.shape != shape
        or data.dtype != dtype
        or data.id.get_offset() != offset
    ):
        raise StoreError(f"{name} is not a plain contiguous {dtype} dataset of shape {shape}")
