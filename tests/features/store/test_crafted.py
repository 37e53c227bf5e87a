"""Caches that somebody sent, every checksum right: `verify` calls damaged what reading refuses."""

import io
import json
import os
import zlib

import numpy as np
import pytest

from mcbert.features.store import FeatureStore, StoreError, begin, describe, locked, revoke, verify
from mcbert.features.store.fingerprint import digest
from mcbert.features.store.sealed import seal
from mcbert.files.journal import encode, scan
from mcbert.pipeline.cli import main

NAME = "0123456789abcdef"
JOURNAL = "rows-000000000.journal"
MINE = b"a file of the reader's own, of which nothing may be told or changed\n"


@pytest.fixture
def cache(made, tmp_path):
    return made.fill(tmp_path / "caches" / NAME)


def change_sealed(path, change):
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_bytes(seal(content))


def vouch(folder):
    """Make the manifest's checksums those of the files."""

    def change(manifest):
        manifest["identity"] = zlib.crc32((folder / "identity.json").read_bytes())
        manifest["index"] = zlib.crc32((folder / "index.npy").read_bytes())
        for entry in manifest["files"]:
            name = f"rows-{entry['start']:09d}.journal"
            entry["journal"] = zlib.crc32((folder / name).read_bytes())

    change_sealed(folder / "manifest.json", change)


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


def first_file(**changes):
    return lambda folder: change_sealed(
        folder / "manifest.json", lambda found: found["files"][0].update(changes)
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
        path = folder / JOURNAL
        found = scan(path.read_bytes()).records
        change(found)
        path.write_bytes(b"".join(map(encode, found)))
        vouch(folder)

    return spoil


def unit(**changes):
    return records(lambda found: found[2].update(changes))


def head(part, **changes):
    return records(lambda found: found[1][part].update(changes))


def nested(depth=2000):
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
    "manifest of another type": manifest(files=3),
    "manifest of no file": manifest(files=[]),
    "manifest of more texts": manifest(n_texts=10**15),
    "manifest with a float": manifest(n_texts=7.0),
    "manifest with a key of its own": manifest(more=1),
    "spec of other layers": spec(layers=[2, 6]),
    "spec of fewer layers": spec(layers=[2]),
    "spec of 10^15 columns": spec(hidden_size=10**15),
    "spec of text": spec(layers="25"),
    "spec of numbers for names": spec(poolings=[1, 2]),
    "spec of another dtype": spec(storage_dtype="float32"),
    "file of 10^15 texts": first_file(stop=10**15),
    "file of another size": first_file(size=10**15),
    "file of a negative start": first_file(start=-4),
    "file of text": first_file(stop="4"),
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
    "unit of text": unit(start="0"),
    "unit of floats": unit(stop=2.0),
    "unit without a stop": records(lambda found: found[2].pop("stop")),
    "unit of one checksum": unit(crc32=[1]),
    "unit of a text for checksums": unit(crc32="abcd"),
    "unit of nested checksums": unit(crc32=nested(100)),
    "unit that skips what is not in it": unit(skipped=[5]),
    "unit of a number for what it skips": unit(skipped=3),
    "unit beside the file's": records(lambda found: found.append({**found[2], "start": 1, "stop": 2})),
    "a revocation of a list": records(lambda found: found.append({"revoked": [1], "stop": 2})),
    "head of other bounds": head("shard", bounds=[0, 1, 4]),
    "head of bounds of text": head("shard", bounds="04"),
    "head of one number for bounds": head("shard", bounds=4),
    "head of 10^15 texts": head("shard", bounds=[0, 10**15]),
    "head of no shard": records(lambda found: found[1].update(shard=None)),
    "head of another spec": head("spec", layers=[2, 6]),
    "head of offsets of text": head("layout", offsets=["a", "b", "c", "d"]),
    "head of a size of floats": head("layout", size=1e15),
    "head with a key of its own": head("layout", more=1),
    "record of numbers": records(lambda found: found.append({"start": 3})),
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


@pytest.mark.parametrize("how", [how for how in SPOILT if not how.startswith("head of one number")])
def test_what_was_crafted_can_be_taken_back(made, cache, how):
    SPOILT[how](cache)
    revoke(cache, verify(cache))
    (cache / "identity.json").unlink()
    try:
        made.fill(cache)
    except StoreError as error:
        assert "move" in str(error)
    else:
        assert verify(cache) == []
        made.expect(cache)


NAMES = ["identity.json", "index.npy", "manifest.json", "rows-000000000.h5", JOURNAL, ".lock"]


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
        with pytest.raises(StoreError, match="a link, which is not followed|the journal"):
            FeatureStore.open(cache).states(layers=(2,), pooling="max")
        assert [damage.file for damage in verify(cache)] == [name]
    describe(cache)
    main(["verify", str(cache), "--repair"])
    main(["caches", "--cache", str(cache.parent)])
    try:
        with locked(cache):
            begin(cache, made.fields, {})
            for shard in made.shards:
                made.write(cache, shard)
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
