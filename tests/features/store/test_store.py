import json

import h5py
import numpy as np
import pytest

from features.store import FeatureStore, StoreError, StoreWriter, dataset_name

FIELDS = {"layers": [2, 5], "poolings": ["max", "cls"], "storage_dtype": "float16", "encoder": "e"}
INDEX = np.array([0, 1, 1, 2, 3, 0, 4, 5, 6], dtype=np.int64)


@pytest.fixture
def states():
    return np.random.default_rng(0).normal(size=(7, 2, 2, 3)).astype(np.float32)


def writer(folder):
    return StoreWriter(folder, FIELDS, index=INDEX, hidden_size=3, rows_per_file=4, unit_rows=2)


def fill(folder, states):
    out = writer(folder)
    for start, stop in out.pending():
        out.write_unit(start, states[start:stop])
    out.finish()


def test_states_come_back_in_corpus_order_layer_by_layer(tmp_path, states):
    fill(tmp_path, states)
    store = FeatureStore.open(tmp_path)
    assert (store.layers, store.poolings, store.n_rows, store.n_texts) == ((2, 5), ("max", "cls"), 9, 7)
    X = store.states(layers=(5, 2), pooling="cls")
    assert X.dtype == np.float32
    half = states.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(X, np.hstack([half[INDEX, 1, 1], half[INDEX, 0, 1]]))
    rows = np.array([8, 0, 2])
    np.testing.assert_array_equal(
        store.states(layers=(2,), pooling="max", rows=rows), half[INDEX[rows], 0, 0]
    )


def test_datasets_are_contiguous_and_plain(tmp_path, states):
    fill(tmp_path, states)
    with h5py.File(tmp_path / "rows-000000004.h5") as file:
        data = file["layer_05/cls"]
        assert data.chunks is None
        assert data.compression is None
        assert data.shape == (3, 3)
        assert data.id.get_offset() is not None


def test_unfinished_is_never_taken_for_whole(tmp_path, states):
    out = writer(tmp_path)
    out.write_unit(0, states[0:2])
    with pytest.raises(StoreError, match="rows 2 to 4 are not written yet"):
        out.finish()
    with pytest.raises(StoreError, match="not a feature cache, or one that is not finished"):
        FeatureStore.open(tmp_path)


def test_a_second_writer_goes_on_after_the_acknowledged_units(tmp_path, states):
    writer(tmp_path).write_unit(0, states[0:2])
    out = writer(tmp_path)
    assert list(out.pending()) == [(2, 4), (4, 6), (6, 7)]
    for start, stop in list(out.pending()):
        out.write_unit(start, states[start:stop])
    out.finish()
    fresh = tmp_path / "fresh"
    fill(fresh, states)
    for name in ("rows-000000000.h5", "rows-000000004.h5"):
        with h5py.File(tmp_path / name) as a, h5py.File(fresh / name) as b:
            for layer in (2, 5):
                for pooling in ("max", "cls"):
                    key = dataset_name(layer, pooling)
                    assert a[key][:].tobytes() == b[key][:].tobytes()


def test_a_torn_acknowledgement_is_done_again(tmp_path, states):
    fill(tmp_path, states)
    (tmp_path / "manifest.json").unlink()
    journal = tmp_path / "rows-000000000.journal"
    journal.write_bytes(journal.read_bytes()[:-3])
    assert list(writer(tmp_path).pending()) == [(2, 4)]


def test_acknowledged_rows_are_gone_with_their_file(tmp_path, states):
    fill(tmp_path, states)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "rows-000000004.h5").unlink()
    assert list(writer(tmp_path).pending()) == [(4, 6), (6, 7)]
    writer(tmp_path).write_unit(4, states[4:6])
    assert list(writer(tmp_path).pending()) == [(6, 7)]


def test_a_manifest_that_was_changed(tmp_path, states):
    fill(tmp_path, states)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["fingerprint"]["encoder"] = "another"
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="digest does not match"):
        FeatureStore.open(tmp_path)


def test_another_configuration_is_named_by_its_field(tmp_path, states):
    fill(tmp_path, states)
    with pytest.raises(StoreError, match="encoder: 'e' -> 'f'"):
        FeatureStore.open(tmp_path).require(FIELDS | {"encoder": "f"})


@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "raw", "shape"])
def test_a_file_that_points_elsewhere_is_refused(tmp_path, states, kind):
    fill(tmp_path, states)
    path = tmp_path / "rows-000000000.h5"
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros((4, 3), dtype=np.float16)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(24))
    with h5py.File(path, "r+") as file:
        del file["layer_02/max"]
        if kind == "soft":
            file["layer_02/max"] = h5py.SoftLink("/layer_05/max")
        elif kind == "external":
            file["layer_02/max"] = h5py.ExternalLink(str(other), "x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(4, 3), dtype=np.float16)
            layout[:] = h5py.VirtualSource(str(other), "x", shape=(4, 3))
            file.create_virtual_dataset("layer_02/max", layout)
        elif kind == "raw":
            file.create_dataset("layer_02/max", (4, 3), np.float16, external=[(str(secret), 0, 24)])
        else:
            file["layer_02/max"] = np.zeros((4, 4), dtype=np.float16)
    with pytest.raises(StoreError, match="layer_02/max is"):
        FeatureStore.open(tmp_path)


def test_garbage_is_not_hdf5(tmp_path, states):
    fill(tmp_path, states)
    (tmp_path / "rows-000000000.h5").write_bytes(b"not hdf5")
    with pytest.raises(StoreError, match="cannot be read as HDF5"):
        FeatureStore.open(tmp_path)


def test_what_is_not_in_the_cache(tmp_path, states):
    fill(tmp_path, states)
    store = FeatureStore.open(tmp_path)
    with pytest.raises(StoreError, match=r"no layer 9; in the cache: \[2, 5\]"):
        store.states(layers=(9,), pooling="max")
    with pytest.raises(StoreError, match="no pooling 'mean'"):
        store.states(layers=(2,), pooling="mean")
