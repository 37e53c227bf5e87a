"""Read a finished feature cache; every number is checked against its checksum on the way.

    store = FeatureStore.open(folder)
    X = store.states(layers=(6, 8, 11), pooling="max", rows=train)   # (n_train, 3 * hidden_size), float32

A folder holds ``identity.json`` (the fingerprint), an HDF5 file for each unit of distinct texts, which are
numbered from short to long, ``index.npy`` (corpus row -> distinct text) and ``manifest.json``. A unit's file
has one contiguous dataset per (layer, pooling), ``layer_06/max`` of shape (n_texts, hidden_size).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.cache.disk import opened, remedy
from mcbert.features.cache.manifest import (
    Identity,
    Manifest,
    UnitFile,
    read_identity,
    read_index,
    read_manifest,
    require_match,
    require_same,
)
from mcbert.features.cache.stored import StoreError
from mcbert.features.cache.unit import Header, StateReader, head_of, require_size, where
from mcbert.features.spec import parse_poolings


class FeatureStore:
    """A finished cache, opened for reading; many processes may do so at once.

    Attributes
    ----------
    layers, poolings : tuple
        What is stored.
    hidden_size : int
        Columns of one layer.
    n_texts : int
        Distinct texts.
    index : ndarray of int64, (n_rows,)
        Corpus row -> number of its distinct text; -1 for a row that was skipped.
    fingerprint : dict
        The fields that identify the cache.
    digest : str
        Their sha256.
    about : dict
        What people call it: ``encoder``, its ``revision`` where one was asked for, ``corpus``, ``created``.

    Examples
    --------
    >>> import mcbert, tempfile
    >>> made = mcbert.extract(["Hello", "Hallo"], mcbert.SAMPLES / "encoder", cache=tempfile.mkdtemp())
    >>> store = mcbert.FeatureStore.open(made.folder)
    >>> store.layers[-1], store.poolings, store.n_rows
    (12, ('max', 'mean', 'cls'), 2)
    >>> store.states(layers=[6, 8], pooling="mean", rows=[1]).shape == (1, 2 * store.hidden_size)
    True
    """

    def __init__(self, folder: Path, identity: Identity, manifest: Manifest, index: np.ndarray) -> None:
        self.folder, self.index = folder, index
        self.fingerprint, self.digest, self.about = identity.fingerprint, identity.digest, identity.about
        self.spec, self.n_texts = manifest.spec, manifest.n_texts
        self.layers, self.poolings = manifest.spec.layers, manifest.spec.poolings
        self.hidden_size = manifest.spec.hidden_size
        self._units = manifest.units
        self._heads: dict[UnitFile, Header] = {}
        self._bounds = np.array([0, *(unit.stop for unit in manifest.units)])

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FeatureStore:
        """Open a finished cache; cheap, the files of its units are checked when they are read.

        Raises
        ------
        StoreError
            No manifest (unfinished); a damaged manifest, identity or index; a file that is missing or cut.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        identity, crc = read_identity(folder)
        require_match(folder, identity, crc, manifest)
        store = cls(folder, identity, manifest, read_index(folder, manifest))
        for unit in manifest.units:
            require_size(folder / unit.name, manifest.file_size(unit))
        return store

    @property
    def n_rows(self) -> int:
        """Number of corpus rows."""
        return len(self.index)

    @property
    def skipped_rows(self) -> np.ndarray:
        """Corpus rows without states, int64 (n_skipped,): their texts had no finite state."""
        return np.flatnonzero(self.index < 0)

    def require(self, wanted: Mapping[str, Any]) -> None:
        """Raise when the cache is not the one that `wanted` describes, naming the fields."""
        require_same(self.folder, self.fingerprint, wanted)

    def states(self, *, layers: Sequence[int], pooling: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Read pooled states.

        Parameters
        ----------
        layers : sequence of int
            Layers, in the order their columns shall have.
        pooling : str
            One of `poolings`, or one for each layer, joined by + ("max+mean").
        rows : ndarray of int, optional
            Corpus rows; all without it.

        Returns
        -------
        ndarray
            (n_rows asked, len(layers) * hidden_size), float32, columns layer by layer.

        Raises
        ------
        StoreError
            A layer or pooling that is not in the cache; not as many poolings as layers; a row that was
            skipped; damage, named by file, layer, pooling and texts, with the command that repairs it.
        """
        try:
            poolings = parse_poolings(pooling, len(layers))
        except ValueError as error:
            raise StoreError(f"{self.folder}: {error}") from error
        datasets = [self._dataset(layer, one) for layer, one in zip(layers, poolings, strict=True)]
        wanted = self._texts(rows)
        out = np.empty((len(wanted), len(layers) * self.hidden_size), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        texts = wanted[order]
        borders = np.searchsorted(texts, self._bounds)
        reader = StateReader()
        for unit, low, high in zip(self._units, borders, borders[1:], strict=False):
            if low < high:
                within, places = texts[low:high] - unit.start, order[low:high]
                self._gather(unit, reader, datasets=datasets, within=within, places=places, out=out)
        return out

    def _gather(
        self,
        unit: UnitFile,
        reader: StateReader,
        *,
        datasets: Sequence[int],
        within: np.ndarray,
        places: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Copy the rows `within` a unit to the rows `places` of `out`, dataset by dataset."""
        h = self.hidden_size
        with self._opened(unit) as (file, head):
            for k, dataset in enumerate(datasets):
                states, fault = reader.read(file, head, dataset)
                if fault:
                    raise StoreError(f"{self.folder / unit.name}: {where(head.unit, dataset)}: {fault}")
                out[places, k * h : (k + 1) * h] = states[within]

    @contextmanager
    def _opened(self, unit: UnitFile) -> Iterator[tuple[int, Header]]:
        """Open the file of a unit, whose head is checked the first time; damage is told with its remedy."""
        path = self.folder / unit.name
        try:
            with opened(path) as file:
                if unit not in self._heads:
                    head = head_of(file, path)
                    unit.require(head, self.spec, path)
                    self._heads[unit] = head
                yield file, self._heads[unit]
        except StoreError as error:
            raise StoreError(f"{error}; {remedy(self.folder)}") from error

    def _dataset(self, layer: int, pooling: str) -> int:
        if layer not in self.layers:
            raise StoreError(f"{self.folder}: no layer {layer}; in the cache: {list(self.layers)}")
        if pooling not in self.poolings:
            raise StoreError(f"{self.folder}: no pooling {pooling!r}; in the cache: {list(self.poolings)}")
        return self.spec.datasets.index((layer, pooling))

    def _texts(self, rows: np.ndarray | None) -> np.ndarray:
        try:
            asked = np.arange(self.n_rows)[slice(None) if rows is None else rows]
        except IndexError as error:
            raise StoreError(f"{self.folder}: rows: {error}; accepted: 0 to {self.n_rows - 1}") from error
        wanted = self.index[asked]
        if (wanted < 0).any():
            row = asked[np.argmax(wanted < 0)]
            raise StoreError(
                f"{self.folder}: corpus row {row} has no states: its text was skipped "
                f"(one of {len(self.skipped_rows)} skipped rows); leave such rows out"
            )
        return wanted
