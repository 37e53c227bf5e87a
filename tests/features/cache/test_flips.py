"""Damage of every kind in every file of a cache: an error that names the remedy, never another number."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError
from tests.features.cache.conftest import Made
from tests.features.cache.damage import flip, place

ROOT = Path(__file__).parents[3]
TINY = Made.of(0, 2, 3, layers=(1,), poolings=("max",), hidden_size=2)
N_DATA = 600
N_FUZZED = 150


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return TINY.fill(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def alarm():
    """A reader that hangs is a failure."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def read_everything(folder):
    store = FeatureStore.open(folder)
    return [store.states(layers=store.layers, pooling=pooling) for pooling in store.poolings]


def unnoticed(folder, path, damaged):
    """Return whether a damaged file reads as if it were whole; put the right bytes back."""
    right = path.read_bytes()
    path.write_bytes(damaged)
    try:
        read_everything(folder)
    except StoreError as error:
        return f"python -m mcbert verify {folder} --repair" not in str(error)
    finally:
        path.write_bytes(right)
    return True


def files_of(folder):
    return sorted(path for path in folder.iterdir() if path.name != ".lock")


def test_there_are_no_other_files_than_those_whose_bits_are_flipped(tiny):
    assert sorted(path.suffix for path in files_of(tiny)) == [".h5", ".h5", ".json", ".json", ".npy"]
    read_everything(tiny)


def test_a_flipped_bit_of_every_byte_of_every_file(tiny):
    rng = np.random.default_rng(0)
    missed, n_flips = [], 0
    for path in files_of(tiny):
        for position, bit in enumerate(rng.integers(8, size=path.stat().st_size)):
            flip(path, position, bit)
            try:
                read_everything(tiny)
            except StoreError:
                pass
            else:
                missed.append((path.name, position, bit))
            flip(path, position, bit)
            n_flips += 1
    assert missed == []
    assert n_flips > 3000
    TINY.expect(tiny)


def test_every_bit_of_the_manifest(tiny):
    path = tiny / "manifest.json"
    for position in range(path.stat().st_size):
        for bit in range(8):
            flip(path, position, bit)
            with pytest.raises(StoreError, match="manifest.json: damaged or changed"):
                FeatureStore.open(tiny)
            flip(path, position, bit)
    TINY.expect(tiny)


def test_flipped_bits_of_states(tmp_path):
    made = Made.of(0, 100, 200, 300, layers=(0, 1), hidden_size=32)
    folder = made.fill(tmp_path)
    rng = np.random.default_rng(1)
    for _ in range(N_DATA):
        path = folder / f"unit-{100 * rng.integers(3):09d}.h5"
        dataset = rng.integers(4)
        flip(path, position := int(place(path, dataset) + rng.integers(6400)), bit := rng.integers(8))
        layer, pooling = made.spec.datasets[dataset]
        with pytest.raises(StoreError, match=f"{path.name}: layer_0{layer}/{pooling}: .*checksum"):
            FeatureStore.open(folder).states(layers=(layer,), pooling=pooling)
        flip(path, position, bit)
    made.expect(folder)


def test_truncations_and_additions(tiny):
    rng = np.random.default_rng(2)
    for path in files_of(tiny):
        right = path.read_bytes()
        sizes = {0, 1, len(right) - 1, *rng.integers(len(right), size=40).tolist()}
        for damaged in (*(right[:size] for size in sizes), right + b"\n", right + b"\0", right * 2):
            assert not unnoticed(tiny, path, damaged), (path.name, len(damaged))
    TINY.expect(tiny)


def test_random_bytes_in_headers(tiny):
    rng = np.random.default_rng(3)
    for path in tiny.glob("*.h5"):
        right = path.read_bytes()
        for _ in range(N_FUZZED):
            damaged = bytearray(right)
            start = int(rng.integers(0, len(right) - 8))
            damaged[start : start + 8] = rng.bytes(8)
            assert bytes(damaged) != right
            assert not unnoticed(tiny, path, bytes(damaged))
    TINY.expect(tiny)


def test_swapped_files_and_pages(tmp_path):
    made = Made.of(0, 100, 200, layers=(0,), poolings=("max",), hidden_size=64)
    folder = made.fill(tmp_path)
    first, second = sorted(folder.glob("*.h5"))
    data = first.read_bytes()
    assert not unnoticed(folder, first, second.read_bytes())
    assert not unnoticed(folder, first, data[:4096] + data[8192:12288] + data[4096:8192] + data[12288:])


def test_a_file_of_another_cache_of_the_same_shape(tmp_path):
    made, other = (
        Made.of(0, 100, layers=(0,), poolings=("max",), hidden_size=64, seed=seed) for seed in (0, 1)
    )
    folder, elsewhere = made.fill(tmp_path / "a"), other.fill(tmp_path / "b")
    name = "unit-000000000.h5"
    assert not unnoticed(folder, folder / name, (elsewhere / name).read_bytes())


FUZZ = """
import signal, sys
from pathlib import Path
import numpy as np
from mcbert.features.cache import StoreError, StoreSpec, hdf5
spec = StoreSpec(layers=(0, 1), poolings=("max", "cls"), hidden_size=3, storage_dtype="float16")
path, rng = Path(sys.argv[1]), np.random.default_rng(int(sys.argv[2]))
head = bytes(512) + hdf5.metadata(spec, 9, 512)
right, refused = head + bytes(4 * 9 * 6), 0
for _ in range(int(sys.argv[3])):
    damaged = bytearray(right)
    for start in rng.integers(512, len(right) - 8, size=rng.integers(1, 4)):
        damaged[start : start + 8] = rng.bytes(8)
    path.write_bytes(damaged)
    signal.alarm(10)
    try:
        hdf5.check(path, spec, n_texts=9, start=len(head))
    except StoreError:
        refused += 1
    signal.alarm(0)
print(refused)
"""


def test_what_reaches_hdf5_with_right_checksums_neither_hangs_nor_escapes(tmp_path):
    n = N_FUZZED
    command = [sys.executable, "-c", FUZZ, str(tmp_path / "a.h5"), os.environ.get("MCBERT_SEED", "0"), str(n)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert n / 10 < int(done.stdout) <= n
