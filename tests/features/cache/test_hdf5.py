import time

import h5py
import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError, StoreSpec, hdf5
from mcbert.features.cache.layout import Layout
from tests.features.cache.damage import head_of, reseal

SPEC = StoreSpec(layers=(2, 5), poolings=("max", "cls"), hidden_size=3, storage_dtype="float16")


def create(path, n_texts=7):
    blank = hdf5.blank(SPEC, n_texts)
    with path.open("wb") as file:
        blank.put(file.fileno())
    return blank.layout


def test_the_same_shape_gives_the_same_bytes_on_another_day():
    first = hdf5.blank(SPEC, 7)
    time.sleep(1.1)  # times in HDF5 are whole seconds
    assert hdf5.blank(SPEC, 7) == first


def test_datasets_are_contiguous_and_plain(tmp_path):
    layout = create(tmp_path / "a")
    with h5py.File(tmp_path / "a") as file:
        found = [file[f"layer_{k:02d}/{p}"] for k, p in SPEC.datasets]
        assert [d.id.get_offset() for d in found] == list(layout.offsets)
        assert {(d.chunks, d.compression, d.shape, d.dtype.str) for d in found} == {
            (None, None, (7, 3), "<f2")
        }
    hdf5.check(tmp_path / "a", SPEC, layout)


def test_every_byte_is_in_a_dataset_or_in_the_metadata(tmp_path):
    layout = create(tmp_path / "a")
    gaps = list(layout.gaps())
    covered = sum(stop - start for start, stop in gaps) + SPEC.n_datasets * layout.extent
    assert covered == layout.size == (tmp_path / "a").stat().st_size


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [100, 110, 300, 400]},  # overlapping
        {"offsets": [100, 200, 300]},
        {"offsets": [100, 200, 300, 990]},  # beyond the end
        {"offsets": [-42, 200, 300, 400]},
        {"extent": 40},
        {"size": 1 << 40},  # a reader would sum terabytes of nothing
    ],
)
def test_layouts_that_cannot_be(change):
    fields = {"size": 1000, "offsets": [100, 200, 300, 400], "extent": 42, "metadata": 0}
    Layout.of(fields, SPEC, 7)
    with pytest.raises(StoreError, match="the datasets overlap or are not of the size|the layout: got -42"):
        Layout.of(fields | change, SPEC, 7)


def virtual(file, other, _secret):
    layout = h5py.VirtualLayout(shape=(4, 3), dtype=np.float16)
    layout[:] = h5py.VirtualSource(str(other), "x", shape=(4, 3))
    file.create_virtual_dataset("layer_02/max", layout)


def moved(file, _other, _secret):
    file["in its place"] = np.zeros((4, 3), dtype=np.float16)
    file["layer_02/max"] = np.zeros((4, 3), dtype=np.float16)


def linked_group(file, other, _secret):
    del file["layer_02"]
    file["layer_02"] = h5py.ExternalLink(str(other), "/")


def put(value):
    return lambda file, _other, _secret: file.__setitem__("layer_02/max", value)


def dataset(*shape, **options):
    return lambda file, _other, _secret: file.create_dataset("layer_02/max", shape, np.float16, **options)


HOSTILE = {
    "gone": lambda *_: None,
    "soft link": put(h5py.SoftLink("/layer_05/max")),
    "external link": lambda file, other, _: file.__setitem__(
        "layer_02/max", h5py.ExternalLink(str(other), "x")
    ),
    "group link": linked_group,
    "virtual": virtual,
    "external storage": lambda file, _, secret: file.create_dataset(
        "layer_02/max", (4, 3), np.float16, external=[(str(secret), 0, 24)]
    ),
    "dtype": put(np.zeros((4, 3), dtype=np.int16)),
    "shape": put(np.zeros((4, 4), dtype=np.float16)),
    "huge": dataset(1 << 40, 3, chunks=(1024, 3)),
    "filter": dataset(4, 3, compression="gzip"),
    "chunked": dataset(4, 3, chunks=(2, 3)),
    "group": lambda file, *_: file.create_group("layer_02/max"),
    "moved": moved,
}


def spoil(path, kind, folder):
    """Put something that is no plain dataset in the place of layer 2, max."""
    other, secret = folder / "other.h5", folder / "secret.bin"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones((4, 3), dtype=np.float16)
    secret.write_bytes(b"\x3c" * 24)
    with h5py.File(path, "r+") as file:
        del file["layer_02/max"]
        HOSTILE[kind](file, other, secret)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_changed_file_never_reaches_hdf5(cache, tmp_path, kind, monkeypatch):
    path = cache / "rows-000000000.h5"
    spoil(path, kind, tmp_path)
    monkeypatch.setattr(hdf5, "check", lambda *_: pytest.fail("given to HDF5"))
    with pytest.raises(StoreError, match="not the .* that it was made with|metadata differs"):
        FeatureStore.open(cache).states(layers=(2,), pooling="max")


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_even_when_every_checksum_is_right(cache, tmp_path, kind):
    path = cache / "rows-000000000.h5"
    spoil(path, kind, tmp_path)
    reseal(cache, path)
    with pytest.raises(StoreError, match=r"layer_02(/max)? is (missing or a link|not a plain)"):
        FeatureStore.open(cache).states(layers=(5,), pooling="cls")


def test_resealing_alone_is_not_what_is_refused(made, cache):
    reseal(cache, cache / "rows-000000000.h5")
    made.expect(cache)


def test_garbage_is_not_hdf5(tmp_path):
    layout = create(tmp_path / "a")
    for content in (b"", b"not hdf5", bytes(5000), (tmp_path / "a").read_bytes()[:200]):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(StoreError, match="b: cannot be read as HDF5"):
            hdf5.check(tmp_path / "b", SPEC, layout)


def test_head_says_what_the_file_holds(made, cache):
    head = head_of(cache / "rows-000000004.h5")
    assert (head.shard, head.spec) == (made.shards[1], made.spec)
    hdf5.check(cache / "rows-000000004.h5", head.spec, head.layout)
