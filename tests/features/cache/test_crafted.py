"""Caches that somebody sent, every checksum right: `verify` calls damaged what reading refuses."""

import io
import os

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError, describe, locked, revoke, verify
from mcbert.features.cache.manifest import digest
from mcbert.pipeline.cli import main
from tests.features.cache.damage import change_sealed, record, reseal, vouch

NAME = "0123456789abcdef"
UNIT = "unit-000000000.h5"
MINE = b"a file of the reader's own, of which nothing may be told or changed\n"


@pytest.fixture
def cache(made, tmp_path):
    return made.fill(tmp_path / "caches" / NAME)


def index(change):
    def spoil(folder):
        found = np.load(folder / "index.npy")
        buffer = io.BytesIO()
        np.save(buffer, change(found))
        (folder / "index.npy").write_bytes(buffer.getvalue())
        vouch(folder)

    return spoil


def raw_index(text):
    def spoil(folder):
        header = text.encode("latin1")
        (folder / "index.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        vouch(folder)

    return spoil


def manifest(**changes):
    return lambda folder: change_sealed(folder / "manifest.json", lambda found: found.update(changes))


def spec(**changes):
    return lambda folder: change_sealed(folder / "manifest.json", lambda found: found["spec"].update(changes))


def first_unit(**changes):
    return lambda folder: change_sealed(
        folder / "manifest.json", lambda found: found["units"][0].update(changes)
    )


def identity(change):
    def spoil(folder):
        change_sealed(folder / "identity.json", change)
        vouch(folder)

    return spoil


def of_fingerprint(fields):
    return {"fingerprint": fields, "digest": digest(fields)}


def records(change):
    def spoil(folder):
        found = record(folder / UNIT)
        change(found)
        reseal(folder / UNIT, found)
        vouch(folder)

    return spoil


def unit(**changes):
    return records(lambda found: found.update(changes))


def shape(**changes):
    return records(lambda found: found["spec"].update(changes))


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


SPOILT = {
    "index below -1": index(lambda found: np.where(found == 2, -5, found)),
    "index beyond": index(lambda found: found + 10),
    "index of floats": index(lambda found: found.astype(float)),
    "index of text": index(lambda found: found.astype(str)),
    "index in two dimensions": index(lambda found: found.reshape(2, -1)),
    "index of 10^15 rows": raw_index(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,)}\n"
    ),
    "index with a nested header": raw_index("(" * 5000),
    "manifest of another type": manifest(units=3),
    "manifest of no unit": manifest(units=[]),
    "manifest of more texts": manifest(n_texts=10**15),
    "manifest with a float": manifest(n_texts=7.0),
    "manifest with a key of its own": manifest(more=1),
    "spec of other layers": spec(layers=[2, 6]),
    "spec of fewer layers": spec(layers=[2]),
    "spec of 10^15 columns": spec(hidden_size=10**15),
    "spec of text": spec(layers="25"),
    "spec of numbers for names": spec(poolings=[1, 2]),
    "spec of another dtype": spec(storage_dtype="float32"),
    "file of 10^15 texts": first_unit(stop=10**15),
    "file with a head of 10^15 bytes": first_unit(head=10**15),
    "file with another head": first_unit(crc32=1),
    "file of a negative start": first_unit(start=-4),
    "file of text": first_unit(stop="4"),
    "identity of other layers": identity(
        lambda found: found.update(of_fingerprint(found["fingerprint"] | {"layers": [2, 6]}))
    ),
    "identity of layers of text": identity(
        lambda found: found.update(of_fingerprint(found["fingerprint"] | {"layers": 3}))
    ),
    "identity of a list for people": identity(lambda found: found.update(about=[1])),
    "identity of no text": identity(lambda found: found.update(about={"encoder": 3})),
    "identity of another type": identity(lambda found: found.update(fingerprint=[])),
    "unit to 10^15": unit(stop=10**15),
    "unit from -1": unit(start=-1),
    "unit of other texts": unit(start=4, stop=6),
    "unit of text": unit(start="0"),
    "unit of floats": unit(stop=2.0),
    "unit without a stop": records(lambda found: found.pop("stop")),
    "unit of one checksum": unit(crc32=[1]),
    "unit of a text for checksums": unit(crc32="abcd"),
    "unit of nested checksums": unit(crc32=nested(100)),
    "unit that skips what is not in it": unit(skipped=[5]),
    "unit of a number for what it skips": unit(skipped=3),
    "unit with a key of its own": unit(more=1),
    "unit of no spec": unit(spec=None),
    "unit of other layers": shape(layers=[2, 6]),
    "unit of 10^15 columns": shape(hidden_size=10**15),
    "unit of another dtype": shape(storage_dtype="float32"),
    "a list for a record": lambda folder: (reseal(folder / UNIT, [1, 2]), vouch(folder)),
    "a deep list for a record": lambda folder: (reseal(folder / UNIT, nested(180)), vouch(folder)),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", SPOILT)
def test_what_reading_refuses_verify_calls_damaged(cache, how, capsys):
    SPOILT[how](cache)
    with pytest.raises(StoreError) as refused:
        store = FeatureStore.open(cache)
        store.states(layers=(2, 5), pooling="max", rows=np.arange(4))
    assert "\n" not in str(refused.value)
    damages = verify(cache)
    assert damages
    assert all("\n" not in str(damage) for damage in damages)
    describe(cache)
    assert main(["verify", str(cache)]) == 1
    assert main(["caches", "--cache", str(cache.parent)]) == 0
    assert NAME in capsys.readouterr().out


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_crafted_can_be_taken_back(made, cache, how):
    SPOILT[how](cache)
    revoke(cache, verify(cache))
    (cache / "identity.json").unlink()
    made.fill(cache)
    assert verify(cache) == []
    made.expect(cache)


NAMES = ["identity.json", "index.npy", "manifest.json", UNIT, ".lock"]


@pytest.fixture(params=NAMES)
def linked(request, cache, tmp_path):
    """A cache of which one file is a link to a file of the reader's; the name and that file."""
    mine = tmp_path / "mine"
    mine.write_bytes(MINE)
    (cache / request.param).unlink(missing_ok=True)
    (cache / request.param).symlink_to(mine)
    return request.param, mine


def test_a_link_in_a_cache_is_neither_read_nor_written(made, cache, linked, capsys):
    name, mine = linked
    if name != ".lock":
        with pytest.raises(StoreError, match="a link, which is not followed"):
            FeatureStore.open(cache).states(layers=(2,), pooling="max")
        assert [damage.file for damage in verify(cache)] == [name]
    describe(cache)
    main(["verify", str(cache), "--repair"])
    main(["caches", "--cache", str(cache.parent)])
    try:
        with locked(cache):
            made.begin(cache)
            made.write(cache)
    except (StoreError, OSError) as error:
        assert "a link, which is not followed" in str(error)
    said = capsys.readouterr()
    assert mine.read_bytes() == MINE
    assert "reader's own" not in said.out + said.err


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", NAMES)
def test_nobody_waits_at_a_named_pipe_in_a_cache(cache, name):
    (cache / name).unlink(missing_ok=True)
    os.mkfifo(cache / name)
    if name != ".lock":
        with pytest.raises(StoreError, match="a named pipe"):
            FeatureStore.open(cache).states(layers=(2,), pooling="max")
        assert verify(cache)
    describe(cache)
    main(["verify", str(cache), "--repair"])


def test_a_cache_may_be_reached_through_a_link(made, cache, tmp_path):
    (tmp_path / "short").symlink_to(cache)
    assert verify(tmp_path / "short") == []
    made.expect(tmp_path / "short")
