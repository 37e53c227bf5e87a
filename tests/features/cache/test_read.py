import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcbert.features.cache import (
    FeatureStore,
    StoreError,
    begin,
    caches,
    describe,
    finish,
    locked,
    pending,
    remove,
    require_space,
    revoke,
    verify,
    write_unit,
)
from tests.features.cache.damage import flip, place


def test_states_come_back_in_corpus_order_layer_by_layer(made, cache):
    store = FeatureStore.open(cache)
    assert (store.layers, store.poolings, store.hidden_size) == ((2, 5), ("max", "cls"), 3)
    assert (store.n_rows, store.n_texts) == (8, 7)
    assert store.fingerprint == made.fields
    assert store.about["encoder"] == "samples/encoder"
    half = made.states.astype(np.float32)
    X = store.states(layers=(5, 2), pooling="cls")
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.hstack([half[made.index, 1, 1], half[made.index, 0, 1]]))
    mixed = store.states(layers=(2, 2, 5), pooling="cls+max+cls")
    of_blocks = [half[made.index, layer, pooling] for layer, pooling in ((0, 1), (0, 0), (1, 1))]
    np.testing.assert_array_equal(mixed, np.hstack(of_blocks))
    rows = np.array([7, 0, 2, 2, -1])
    np.testing.assert_array_equal(
        store.states(layers=(2,), pooling="max", rows=rows), half[made.index[rows], 0, 0]
    )
    mask = np.arange(8) % 2 == 0
    np.testing.assert_array_equal(
        store.states(layers=(2,), pooling="max", rows=mask), half[made.index[mask], 0, 0]
    )
    assert store.states(layers=(2, 5), pooling="max", rows=np.array([], dtype=int)).shape == (0, 6)


def test_a_folder_may_be_given_as_text(made, tmp_path):
    folder = str(tmp_path / "0123456789abcdef")
    require_space(folder, 0)
    begin(folder, made.fields, {})
    assert pending(folder, made.spec, made.units) == list(made.units)
    for start, stop in made.units:
        write_unit(folder, made.spec, start=start, states=made.states[start:stop])
    with locked(folder):
        finish(folder, made.spec, made.units, made.index)
    half = made.states[made.index, 0, 1].astype(np.float32)
    np.testing.assert_array_equal(FeatureStore.open(folder).states(layers=(2,), pooling="cls"), half)
    assert describe(folder) == caches(str(tmp_path))[0]
    assert verify(folder) == []
    revoke(folder, [])
    assert describe(folder).state == "unfinished"
    assert str(remove(str(tmp_path), "0123")) == folder


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_both_storage_dtypes(make, tmp_path, dtype):
    made = make(0, 5, 9, dtype=dtype, hidden_size=17, layers=(0,), poolings=("mean",))
    made.expect(made.fill(tmp_path))


def test_what_is_not_in_the_cache(cache):
    store = FeatureStore.open(cache)
    with pytest.raises(StoreError, match=r"no layer 9; in the cache: \[2, 5\]"):
        store.states(layers=(9,), pooling="max")
    with pytest.raises(StoreError, match="no pooling 'mean'"):
        store.states(layers=(2,), pooling="mean")
    with pytest.raises(StoreError, match=r"pooling: got 'max\+cls' for 1 layers"):
        store.states(layers=(2,), pooling="max+cls")
    with pytest.raises(StoreError, match="rows: index 8 is out of bounds .*accepted: 0 to 7"):
        store.states(layers=(2,), pooling="max", rows=np.array([3, 8]))


def test_another_configuration_is_named_by_its_field(made, cache):
    FeatureStore.open(cache).require(made.fields | {"layers": (2, 5)})
    with pytest.raises(StoreError, match="encoder: 'e' -> 'f'"):
        FeatureStore.open(cache).require(made.fields | {"encoder": "f"})


def test_skipped_texts_have_no_states(made, tmp_path):
    made.begin(tmp_path)
    states = made.states.copy()
    states[3] = np.inf
    for start, stop in made.units:
        skipped = [3] if start == 2 else ()
        write_unit(tmp_path, made.spec, start=start, states=states[start:stop], skipped=skipped)
    index = np.array([0, 3, 1, 3, 6])
    finish(tmp_path, made.spec, made.units, index)
    store = FeatureStore.open(tmp_path)
    assert store.skipped_rows.tolist() == [1, 3]
    assert store.index.tolist() == [0, -1, 1, -1, 6]
    kept = np.array([0, 2, 4])
    np.testing.assert_array_equal(
        store.states(layers=(5,), pooling="max", rows=kept), made.states[index[kept], 1, 0].astype("float32")
    )
    for rows in (None, np.array([0, 3])):
        row = 1 if rows is None else 3
        with pytest.raises(StoreError, match=f"corpus row {row} has no states: its text was skipped"):
            store.states(layers=(5,), pooling="max", rows=rows)


def test_damage_is_named_by_file_layer_pooling_texts_and_remedy(cache):
    path = cache / "unit-000000004.h5"
    store = FeatureStore.open(cache)
    store.states(layers=(5,), pooling="cls")
    flip(path, place(path, 3) + 1)  # layer 5, cls
    said = (
        rf"{path}: layer_05/cls: distinct texts 4-5: the checksum differs; "
        rf"run: python -m mcbert verify {cache} --repair"
    )
    for reader in (store, FeatureStore.open(cache)):
        with pytest.raises(StoreError, match=said):
            reader.states(layers=(5,), pooling="cls")
        reader.states(layers=(5,), pooling="max")
        reader.states(layers=(5,), pooling="cls", rows=np.array([0, 3, 6]))


def test_a_cache_moves_as_a_folder(made, cache, tmp_path):
    shutil.copytree(cache, tmp_path / "elsewhere")
    shutil.rmtree(cache)
    made.expect(tmp_path / "elsewhere")


def test_a_file_that_goes_while_the_cache_is_open_is_named(cache):
    store = FeatureStore.open(cache)
    (cache / "unit-000000004.h5").unlink()
    store.states(layers=(2,), pooling="max", rows=np.array([0, 6]))
    with pytest.raises(StoreError, match="unit-000000004.h5: .*No such file .*--repair"):
        store.states(layers=(2,), pooling="max")


READER = """
import sys, zlib
from pathlib import Path
from mcbert.features.cache import FeatureStore
store = FeatureStore.open(Path(sys.argv[1]))
for _ in range(20):
    sums = [zlib.crc32(store.states(layers=(k,), pooling=p)) for k in store.layers for p in store.poolings]
print(sums)
"""


def test_four_processes_read_at_once(make, tmp_path):
    folder = make(0, 50, 100, 150, 190, hidden_size=64).fill(tmp_path)
    root = Path(__file__).parents[3]
    children = [
        subprocess.Popen([sys.executable, "-c", READER, str(folder)], cwd=root, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    said = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert len(said) == 1
