import io
import time
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.features.cache import FeatureStore, StoreError, StoreSpec, hdf5, verify
from tests.features.cache.damage import record, reseal, vouch

SPEC = StoreSpec(layers=(2, 5), poolings=("max", "cls"), hidden_size=3, storage_dtype="float16")
UNIT = "unit-000000000.h5"


def create(path, n_texts=7):
    head = bytes(512) + hdf5.metadata(SPEC, n_texts, 512)
    path.write_bytes(head + bytes(4 * n_texts * 6))
    return len(head)


def test_the_same_shape_gives_the_same_bytes_on_another_day():
    first = hdf5.metadata(SPEC, 7, 512)
    time.sleep(1.1)  # times in HDF5 are whole seconds
    assert hdf5.metadata(SPEC, 7, 512) == first


@given(
    n_layers=st.integers(1, 50),
    n_poolings=st.integers(1, 4),
    n_texts=st.integers(1, 40),
    hidden_size=st.sampled_from([1, 3, 32, 100]),
    dtype=st.sampled_from(["float16", "float32"]),
    block=st.sampled_from([512, 2048]),
)
@settings(max_examples=30)
def test_any_hdf5_reader_finds_the_states_behind_the_metadata(
    n_layers, n_poolings, n_texts, hidden_size, dtype, block
):
    names = ("max", "mean", "cls", "last")[:n_poolings]
    spec = StoreSpec(
        layers=tuple(range(n_layers)), poolings=names, hidden_size=hidden_size, storage_dtype=dtype
    )
    states = np.random.default_rng(0).normal(size=(n_layers, n_poolings, n_texts, hidden_size)).astype(dtype)
    whole = bytes(block) + hdf5.metadata(spec, n_texts, block) + states.tobytes()
    with h5py.File(io.BytesIO(whole)) as file:
        found = [file[f"layer_{layer:02d}/{name}"] for layer, name in spec.datasets]
        assert {(d.chunks, d.compression, d.dtype) for d in found} == {(None, None, spec.dtype)}
        assert b"".join(d[:].tobytes() for d in found) == states.tobytes()


def virtual(file, other, _secret):
    layout = h5py.VirtualLayout(shape=(2, 3), dtype=np.float16)
    layout[:] = h5py.VirtualSource(str(other), "x", shape=(2, 3))
    file.create_virtual_dataset("layer_02/max", layout)


def moved(file, _other, _secret):
    file["in its place"] = np.zeros((2, 3), dtype=np.float16)
    file["layer_02/max"] = np.zeros((2, 3), dtype=np.float16)


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
        "layer_02/max", (2, 3), np.float16, external=[(str(secret), 0, 12)]
    ),
    "dtype": put(np.zeros((2, 3), dtype=np.int16)),
    "shape": put(np.zeros((2, 4), dtype=np.float16)),
    "huge": dataset(1 << 40, 3, chunks=(1024, 3)),
    "filter": dataset(2, 3, compression="gzip"),
    "chunked": dataset(2, 3, chunks=(1, 3)),
    "group": lambda file, *_: file.create_group("layer_02/max"),
    "moved": moved,
}


def spoil(path, kind, folder):
    """Put something that is no plain dataset in the place of layer 2, max."""
    other, secret = folder / "other.h5", folder / "secret.bin"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones((2, 3), dtype=np.float16)
    secret.write_bytes(b"\x3c" * 12)
    with h5py.File(path, "r+") as file:
        del file["layer_02/max"]
        HOSTILE[kind](file, other, secret)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_changed_file_never_reaches_hdf5(cache, tmp_path, kind, monkeypatch):
    spoil(cache / UNIT, kind, tmp_path)
    monkeypatch.setattr(hdf5, "check", lambda path, *_, **__: path.name != UNIT or pytest.fail("given"))
    with pytest.raises(StoreError, match="checksum|that it was made with"):
        FeatureStore.open(cache).states(layers=(2,), pooling="max")
    assert [damage.file for damage in verify(cache)] == [UNIT]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_found_even_when_every_checksum_is_right(cache, tmp_path, kind):
    """Reading goes by place and so to no other file; what another HDF5 reader would see is not that."""
    path = cache / UNIT
    extent, size = 2 * 6, path.stat().st_size
    spoil(path, kind, tmp_path)
    if path.stat().st_size > size:
        path.write_bytes(path.read_bytes() + bytes(4 * extent))  # states of its own, behind what was added
    fields = record(path)
    start = path.stat().st_size - 4 * extent
    data = path.read_bytes()[start:]
    sums = [zlib.crc32(data[k * extent : (k + 1) * extent]) for k in range(4)]
    reseal(path, fields | {"crc32": sums}, start)
    vouch(cache)
    read = FeatureStore.open(cache).states(layers=(2,), pooling="max", rows=np.arange(2))
    assert read.tobytes() == np.frombuffer(data[:extent], "<f2").astype(np.float32).tobytes()
    with pytest.raises(StoreError, match=r"layer_02(/max)? is (missing or a link|not a plain)"):
        hdf5.check(path, SPEC, n_texts=2, start=start)
    assert [damage.file for damage in verify(cache)] == [UNIT]


def test_resealing_alone_is_not_what_is_refused(made, cache):
    reseal(cache / UNIT, record(cache / UNIT))
    vouch(cache)
    made.expect(cache)
    assert verify(cache) == []


def test_garbage_is_not_hdf5(tmp_path):
    start = create(tmp_path / "a")
    hdf5.check(tmp_path / "a", SPEC, n_texts=7, start=start)
    for content in (b"", b"not hdf5", bytes(5000), (tmp_path / "a").read_bytes()[:600]):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(StoreError, match="b: cannot be read as HDF5"):
            hdf5.check(tmp_path / "b", SPEC, n_texts=7, start=start)
