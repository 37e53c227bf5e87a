"""Small caches of random states; nothing is encoded."""

from __future__ import annotations

import dataclasses
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreSpec, begin, finish, pending, write_unit

ABOUT = {"encoder": "samples/encoder", "corpus": "texts.csv", "created": "2026-01-02T03:04:05+00:00"}


@dataclasses.dataclass(frozen=True)
class Made:
    """What a cache is made of, and how to make it."""

    spec: StoreSpec
    units: tuple[tuple[int, int], ...]
    states: np.ndarray  # (n_texts, n_layers, n_poolings, hidden_size), in the storage dtype
    index: np.ndarray
    fields: dict[str, object]

    @classmethod
    def of(cls, *bounds, layers=(2, 5), poolings=("max", "cls"), hidden_size=3, dtype="float16", seed=0):
        spec = StoreSpec(layers=layers, poolings=poolings, hidden_size=hidden_size, storage_dtype=dtype)
        rng = np.random.default_rng(seed)
        n_texts = bounds[-1]
        states = rng.normal(size=(n_texts, len(layers), len(poolings), hidden_size)).astype(dtype)
        index = np.concatenate([np.arange(n_texts), rng.integers(0, n_texts, n_texts // 4)])
        fields = {"layers": list(layers), "poolings": list(poolings), "encoder": "e", "seed": seed}
        return cls(spec, tuple(pairwise(bounds)), states, index, fields)

    def begin(self, folder: Path, **about):
        begin(folder, self.fields, ABOUT | about)

    def write(self, folder: Path, most=None):
        """Write at most `most` units of what is pending; return their starts."""
        units = pending(folder, self.spec, self.units)[:most]
        for start, stop in units:
            write_unit(folder, self.spec, start=start, states=self.states[start:stop])
        return [start for start, _ in units]

    def finish(self, folder: Path):
        finish(folder, self.spec, self.units, self.index)

    def fill(self, folder: Path) -> Path:
        """Make the cache, or what is missing of it."""
        if not (folder / "manifest.json").exists():
            self.begin(folder)
            self.write(folder)
            self.finish(folder)
        return folder

    def expect(self, folder: Path):
        """Require that every state in the finished cache is bit for bit the one that was written."""
        store = FeatureStore.open(folder)
        for i, layer in enumerate(self.spec.layers):
            for j, pooling in enumerate(self.spec.poolings):
                read = store.states(layers=(layer,), pooling=pooling)
                assert read.tobytes() == self.states[self.index, i, j].astype(np.float32).tobytes()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for the disk: no test pulls a plug, and the simulated ones count calls."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


@pytest.fixture(scope="session")
def make():
    return Made.of


@pytest.fixture(scope="session")
def made():
    """Seven texts in four units, of which the last has one text."""
    return Made.of(0, 2, 4, 6, 7)


@pytest.fixture
def cache(made, tmp_path):
    return made.fill(tmp_path / "cache")
