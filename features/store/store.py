"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its journal vouches.

A folder holds ``manifest.json`` (the fingerprint and the files), ``index.npy`` (corpus row -> distinct
text) and
HDF5 files of a fixed range of distinct texts each, in order of first appearance. A file has one contiguous,
preallocated dataset per (layer, pooling), ``layer_06/max`` of shape (n_texts, hidden_size), so a layer is one
contiguous read. Beside each file a journal names the units of rows that are on the disk, with a checksum:
HDF5 cannot tell after a crash.

    store = FeatureStore.open(folder)
    X = store.states(layers=(6, 8, 11), pooling="max", rows=train)   # (n_train, 3 * hidden_size), float32
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features.settings import STORAGE_DTYPES
from features.store import fingerprint as fp
from features.store.journal import Journal

SCHEMA = 1  # of the folder's layout; part of the fingerprint


class StoreError(ValueError):
    """A cache that is not whole, not ours or not the one asked for; the message says which file and why."""


def dataset_name(layer: int, pooling: str) -> str:
    """Return the HDF5 path of one layer and pooling."""
    return f"layer_{layer:02d}/{pooling}"


class FeatureStore:
    """A finished cache, opened for reading; many processes may do so at once.

    Attributes
    ----------
    layers, poolings : tuple
        What is stored.
    hidden_size : int
        Columns of one layer.
    index : ndarray of int64, (n_rows,)
        Corpus row -> number of its distinct text.
    fingerprint : dict
        The fields that identify the cache.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint: dict[str, Any] = manifest["fingerprint"]
        self.digest: str = manifest["digest"]
        self.layers: tuple[int, ...] = tuple(self.fingerprint["layers"])
        self.poolings: tuple[str, ...] = tuple(self.fingerprint["poolings"])
        self.hidden_size: int = manifest["hidden_size"]
        self.n_texts: int = manifest["n_texts"]
        self.index: np.ndarray = np.load(folder / "index.npy", allow_pickle=False)
        self._files: list[dict[str, Any]] = manifest["files"]

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a finished cache.

        Raises
        ------
        StoreError
            No manifest (unfinished), a manifest that does not match its digest, a file that is missing or
            not as declared.
        """
        path = folder / "manifest.json"
        if not path.is_file():
            raise StoreError(
                f"{folder}: no manifest.json: not a feature cache, or one that is not finished yet"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if fp.digest(manifest["fingerprint"]) != manifest["digest"]:
            raise StoreError(f"{path}: the digest does not match the fingerprint; the manifest was changed")
        store = cls(folder, manifest)
        for entry in store._files:
            with _open_checked(folder / entry["name"], store, entry["stop"] - entry["start"]):
                pass
        return store

    @property
    def n_rows(self) -> int:
        """Number of corpus rows."""
        return len(self.index)

    def require(self, wanted: Mapping[str, Any]) -> None:
        """Raise when the cache is not the one that `wanted` describes, naming the fields."""
        differing = fp.differences(self.fingerprint, wanted)
        if differing:
            raise StoreError(f"{self.folder}: the cache is of another configuration: {'; '.join(differing)}")

    def states(self, *, layers: Sequence[int], pooling: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Read pooled states.

        Parameters
        ----------
        layers : sequence of int
            Layers, in the order their columns shall have.
        pooling : str
            One of `poolings`.
        rows : ndarray of int, optional
            Corpus rows; all without it.

        Returns
        -------
        ndarray
            (n_rows asked, len(layers) * hidden_size), float32, columns layer by layer.

        Raises
        ------
        StoreError
            A layer or pooling that is not in the cache.
        """
        for layer in layers:
            if layer not in self.layers:
                raise StoreError(f"{self.folder}: no layer {layer}; in the cache: {list(self.layers)}")
        if pooling not in self.poolings:
            raise StoreError(f"{self.folder}: no pooling {pooling!r}; in the cache: {list(self.poolings)}")
        wanted = self.index if rows is None else self.index[rows]
        h = self.hidden_size
        out = np.empty((len(wanted), len(layers) * h), dtype=np.float32)
        for k, layer in enumerate(layers):
            out[:, k * h : (k + 1) * h] = self._distinct(dataset_name(layer, pooling))[wanted]
        return out

    def _distinct(self, name: str) -> np.ndarray:
        parts = []
        for entry in self._files:
            with h5py.File(self.folder / entry["name"], "r") as file:
                parts.append(file[name][:])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _open_checked(path: Path, store: FeatureStore, n_rows: int) -> h5py.File:
    """Open a file after checking that it holds plain datasets of the declared shape and no link elsewhere."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read as HDF5 ({error})") from error
    for layer in store.layers:
        for pooling in store.poolings:
            name = dataset_name(layer, pooling)
            for part in (name.split("/")[0], name):
                if not isinstance(file.get(part, getlink=True), h5py.HardLink):
                    raise StoreError(
                        f"{path}: {part} is missing or a link to elsewhere, which is not followed"
                    )
            data = file[name]
            plain = isinstance(data, h5py.Dataset) and not data.is_virtual and data.external is None
            if (
                not plain
                or data.shape != (n_rows, store.hidden_size)
                or data.dtype.name not in STORAGE_DTYPES
            ):
                raise StoreError(
                    f"{path}: {name} is not a plain float dataset of shape {(n_rows, store.hidden_size)}"
                )
    return file


class StoreWriter:
    """Write a cache unit by unit; a unit is acknowledged only once it is on the disk.

    Parameters
    ----------
    folder : Path
        The cache's folder; what an earlier, interrupted writer acknowledged there is kept.
    fingerprint : mapping
        The fields that identify the cache; must hold ``layers``, ``poolings`` and ``storage_dtype``.
    index : ndarray of int64, (n_rows,)
        Corpus row -> distinct text.
    hidden_size, rows_per_file, unit_rows : int
        Columns of a layer, distinct texts in one HDF5 file, and in one unit (`rows_per_file` is a multiple
        of it).
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Mapping[str, Any],
        *,
        index: np.ndarray,
        hidden_size: int,
        rows_per_file: int,
        unit_rows: int,
    ) -> None:
        if rows_per_file % unit_rows:
            raise ValueError(
                f"extract.rows_per_file: got {rows_per_file}, accepted: a multiple of {unit_rows}"
            )
        self.folder, self.fingerprint, self.index = folder, dict(fingerprint), index
        self.hidden_size, self.rows_per_file, self.unit_rows = hidden_size, rows_per_file, unit_rows
        self.n_texts = int(index.max()) + 1 if len(index) else 0
        folder.mkdir(parents=True, exist_ok=True)

    def pending(self) -> Iterator[tuple[int, int]]:
        """Yield the (start, stop) of every unit that is not acknowledged, in order."""
        for start, stop, path in self._ranges():
            with Journal(path.with_suffix(".journal")) as journal:
                done = {r["start"] for r in journal.records} if path.is_file() else set()
            for unit in range(start, stop, self.unit_rows):
                if unit not in done:
                    yield unit, min(unit + self.unit_rows, stop)

    def write_unit(self, start: int, states: np.ndarray) -> None:
        """Put a unit on the disk and acknowledge it.

        Parameters
        ----------
        start : int
            First distinct text of the unit.
        states : ndarray
            (n_unit, n_layers, n_poolings, hidden_size), float; finite also in the storage dtype.
        """
        first, stop, path = next(r for r in self._ranges() if r[0] <= start < r[1])
        stored = states.astype(self.fingerprint["storage_dtype"])
        crc = 0
        with self._file(path, stop - first) as file:
            for i, layer in enumerate(self.fingerprint["layers"]):
                for j, pooling in enumerate(self.fingerprint["poolings"]):
                    block = np.ascontiguousarray(stored[:, i, j])
                    file[dataset_name(layer, pooling)][start - first : start - first + len(block)] = block
                    crc = zlib.crc32(block.data, crc)
            file.flush()
            os.fdatasync(file.id.get_vfd_handle())
        with Journal(path.with_suffix(".journal")) as journal:
            journal.append({"start": start, "stop": start + len(states), "crc32": crc})

    def finish(self) -> None:
        """Write the manifest, last: its existence means that the cache is whole."""
        left = next(self.pending(), None)
        if left is not None:
            raise StoreError(f"{self.folder}: rows {left[0]} to {left[1]} are not written yet")
        partial = self.folder / f"index.{os.getpid()}.partial.npy"
        np.save(partial, self.index, allow_pickle=False)
        partial.replace(self.folder / "index.npy")
        manifest = {
            "fingerprint": self.fingerprint,
            "digest": fp.digest(self.fingerprint),
            "hidden_size": self.hidden_size,
            "n_texts": self.n_texts,
            "files": [{"name": path.name, "start": a, "stop": b} for a, b, path in self._ranges()],
        }
        partial = self.folder / f"manifest.json.partial-{os.getpid()}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "manifest.json")

    def _ranges(self) -> Iterator[tuple[int, int, Path]]:
        for start in range(0, self.n_texts, self.rows_per_file):
            stop = min(start + self.rows_per_file, self.n_texts)
            yield start, stop, self.folder / f"rows-{start:09d}.h5"

    def _file(self, path: Path, n_rows: int) -> h5py.File:
        if not path.is_file():
            path.with_suffix(".journal").unlink(missing_ok=True)
            partial = path.with_suffix(f".partial-{os.getpid()}")
            with h5py.File(partial, "w", libver="v108") as file:
                for layer in self.fingerprint["layers"]:
                    for pooling in self.fingerprint["poolings"]:
                        self._allocate(file, dataset_name(layer, pooling), n_rows)
            partial.replace(path)
        return h5py.File(path, "r+", libver="v108")

    def _allocate(self, file: h5py.File, name: str, n_rows: int) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.CONTIGUOUS)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # a full disk shows now, not in the middle of the run
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        dtype = h5py.h5t.py_create(np.dtype(self.fingerprint["storage_dtype"]), logical=True)
        space = h5py.h5s.create_simple((n_rows, self.hidden_size))
        group = file.require_group(name.split("/")[0])
        h5py.h5d.create(group.id, name.split("/")[1].encode(), dtype, space, plist)
