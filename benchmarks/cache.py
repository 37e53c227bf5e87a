"""The feature cache on the disk: writing, opening and reading states, beside h5py reading the same files.

    python benchmarks/cache.py

20,000 texts of 13 layers x 3 poolings x 384 columns in float16, 600 MB, in units of 1,820 texts as 65,536
tokens make them. h5py checks nothing; the cache checks every byte. Reads come from the page cache. The last
line is JSON: medians in seconds, of writing and of each way of reading.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from mcbert.features.cache import FeatureStore, StoreSpec, begin, finish, write_unit

SPEC = StoreSpec(
    layers=tuple(range(13)), poolings=("max", "mean", "cls"), hidden_size=384, storage_dtype="float16"
)
UNIT = 1820
LAYERS = (5, 6, 7)


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def write(folder: Path, n_texts: int, rng: np.random.Generator) -> float:
    """Write a cache of random states; return the seconds that it took without making them up."""
    units = list(itertools.pairwise((*range(0, n_texts, UNIT), n_texts)))
    begin(folder, {"made": n_texts}, {})
    took = 0.0
    for start, stop in units:
        shape = (len(SPEC.layers), len(SPEC.poolings), stop - start, SPEC.hidden_size)
        states = rng.standard_normal(shape, dtype=np.float32).astype(np.float16).transpose(2, 0, 1, 3)
        took += seconds(
            lambda start=start, states=states: write_unit(folder, SPEC, start=start, states=states)
        )
    return took + seconds(lambda: finish(folder, SPEC, units, rng.permutation(n_texts)))


def plain(folder: Path, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Read the same states with h5py."""
    columns = []
    for layer in LAYERS:
        parts = []
        for path in sorted(folder.glob("unit-*.h5")):
            with h5py.File(path) as file:
                parts.append(file[f"layer_{layer:02d}/max"][:])
        columns.append(np.concatenate(parts)[index[rows]].astype(np.float32))
    return np.hstack(columns)


def main() -> None:
    """Write, read, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "cache"
        found["write"] = [write(folder, args.texts, rng)]
        store = FeatureStore.open(folder)
        every, some = np.arange(args.texts), np.sort(rng.choice(args.texts, args.texts // 10, replace=False))
        if not np.array_equal(store.states(layers=LAYERS, pooling="max"), plain(folder, store.index, every)):
            raise SystemExit("the cache and h5py read other states")
        for _ in range(args.repeats):
            for name, rows in (("all", every), ("a tenth", some)):
                ways = {
                    "cache": lambda rows=rows: store.states(layers=LAYERS, pooling="max", rows=rows),
                    "h5py": lambda rows=rows: plain(folder, store.index, rows),
                }
                for way, read in ways.items():
                    found.setdefault(f"3 layers, {name} rows: {way}", []).append(seconds(read))
            found.setdefault("open", []).append(seconds(lambda: FeatureStore.open(folder)))
    print(json.dumps({name: round(statistics.median(values), 4) for name, values in found.items()}))


if __name__ == "__main__":
    main()
