import json

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError, begin, finish
from mcbert.features.cache.manifest import read_identity
from mcbert.features.cache.sealed import seal


def test_unfinished_is_never_taken_for_whole(made, tmp_path):
    begin(tmp_path, made.fields, {})
    made.write(tmp_path, made.shards[0], most=1)
    with pytest.raises(StoreError, match="distinct texts 2-3 are not written yet"):
        finish(tmp_path, made.spec, made.shards, made.index)
    made.write(tmp_path, made.shards[0])
    with pytest.raises(StoreError, match="distinct texts 4-5 are not written yet"):
        finish(tmp_path, made.spec, made.shards, made.index)
    with pytest.raises(
        StoreError, match="no manifest.json: not a feature cache, or one that is not finished"
    ):
        FeatureStore.open(tmp_path)


def test_identity_is_written_first_and_stays(made, tmp_path):
    begin(tmp_path / "c", made.fields, {"encoder": "first"})
    begin(tmp_path / "c", made.fields | {"layers": (2, 5)}, {"encoder": "second"})
    identity = read_identity(tmp_path / "c")[0]
    assert identity.fingerprint == made.fields
    assert identity.about == {"encoder": "first"}


def test_another_cache_in_the_folder_is_refused_by_its_fields(made, tmp_path):
    begin(tmp_path, made.fields, {})
    with pytest.raises(StoreError, match="of another configuration: encoder: 'e' -> 'f'"):
        begin(tmp_path, made.fields | {"encoder": "f"}, {})


def test_a_damaged_identity_is_written_again(made, tmp_path, caplog):
    begin(tmp_path, made.fields, {})
    path = tmp_path / "identity.json"
    path.write_bytes(path.read_bytes()[:-9])
    begin(tmp_path, made.fields, {})
    assert "identity.json: damaged or changed" in caplog.text
    assert read_identity(tmp_path)[0].fingerprint == made.fields


def test_texts_in_no_file(made, tmp_path):
    begin(tmp_path, made.fields, {})
    made.write(tmp_path, made.shards[1])
    with pytest.raises(StoreError, match="distinct texts 0-4 are in no file, or in two"):
        finish(tmp_path, made.spec, made.shards[1:], made.index)


@pytest.mark.parametrize("index", [[0, 7], [-1, 3]])
def test_an_index_beyond_the_texts(made, tmp_path, index):
    begin(tmp_path, made.fields, {})
    for shard in made.shards:
        made.write(tmp_path, shard)
    with pytest.raises(StoreError, match="index: got .*, accepted: 0 to 6"):
        finish(tmp_path, made.spec, made.shards, np.array(index))


def test_a_damaged_file_cannot_be_finished(made, tmp_path):
    begin(tmp_path, made.fields, {})
    for shard in made.shards:
        made.write(tmp_path, shard)
    path = tmp_path / "rows-000000004.h5"
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"?" + data[9:])
    with pytest.raises(StoreError, match="rows-000000004.h5: damaged HDF5 metadata; run: .* --repair"):
        finish(tmp_path, made.spec, made.shards, made.index)
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_other_layers_cannot_be_finished(make, made, tmp_path):
    begin(tmp_path, made.fields, {})
    for shard in made.shards:
        made.write(tmp_path, shard)
    other = make((0, 2, 4), (4, 6, 7), layers=(2, 6))
    with pytest.raises(StoreError, match="rows-000000000.journal: of other texts, layers or poolings"):
        finish(tmp_path, other.spec, other.shards, other.index)


def test_half_written_files_are_cleared_away(made, tmp_path):
    litter = tmp_path / "manifest.json.partial-x1"
    litter.write_text("{")
    made.fill(tmp_path)
    assert not litter.exists()


def test_a_cache_of_no_texts(made, tmp_path):
    begin(tmp_path, made.fields, {})
    finish(tmp_path, made.spec, [], np.array([], dtype=np.int64))
    store = FeatureStore.open(tmp_path)
    assert store.states(layers=(2,), pooling="max").shape == (0, 3)


@pytest.mark.parametrize("name", ["identity.json", "manifest.json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop(next(iter(c))),
        lambda c: c.update(spec=3, about=4, extra=5),
        lambda c: c.update({key: None for key in c}),
        lambda c: c.update(digest="0" * 64, files=[{"start": "a"}]),
    ],
)
def test_sealed_files_of_another_make(cache, name, change):
    path = cache / name
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_bytes(seal(content))
    with pytest.raises(StoreError, match=f"{name}|manifest"):
        FeatureStore.open(cache)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"checksum": 3}', "[" * 100_000, '{"checksum": "\\ud800"}', "\xff", "1e999"],
)
def test_what_is_no_sealed_file(cache, text):
    (cache / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="manifest.json: damaged or changed, its checksum differs; run: "):
        FeatureStore.open(cache)


@pytest.mark.parametrize(
    "name", ["identity.json", "index.npy", "rows-000000000.h5", "rows-000000004.journal"]
)
def test_a_missing_file_is_named(cache, name):
    (cache / name).unlink()
    with pytest.raises(StoreError, match=f"{name}.*run: python -m mcbert verify .* --repair"):
        FeatureStore.open(cache).states(layers=(2,), pooling="max")


def test_an_identity_of_another_cache(make, made, cache, tmp_path):
    other = make((0, 2, 4), (4, 6, 7), seed=1).fill(tmp_path / "other")
    (cache / "identity.json").write_bytes((other / "identity.json").read_bytes())
    with pytest.raises(StoreError, match="identity.json: not the one that the manifest was written for"):
        FeatureStore.open(cache)
