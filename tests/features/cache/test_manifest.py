import json

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError, describe, finish, verify
from mcbert.features.cache.manifest import differences, digest, read_identity, seal
from tests.features.cache.damage import change_sealed


def test_order_of_fields_does_not_matter():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_differences_name_the_fields():
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: 2 -> 3", "c: None -> 4"]


def test_unfinished_is_never_taken_for_whole(made, tmp_path):
    made.begin(tmp_path)
    for start in (0, 2, 4, 6):
        with pytest.raises(StoreError, match=f"distinct texts {start}-.* are not written yet"):
            made.finish(tmp_path)
        made.write(tmp_path, most=1)
    with pytest.raises(StoreError, match="no manifest.json"):
        FeatureStore.open(tmp_path)


def test_identity_is_written_first_and_stays(made, tmp_path):
    made.begin(tmp_path / "c", encoder="first")
    made.begin(tmp_path / "c", encoder="second")
    identity = read_identity(tmp_path / "c")[0]
    assert identity.fingerprint == made.fields
    assert identity.about["encoder"] == "first"


def test_another_cache_in_the_folder_is_refused_by_its_fields(made, make, tmp_path):
    made.begin(tmp_path)
    with pytest.raises(StoreError, match="of another configuration: seed: 0 -> 1"):
        make(0, 2, 4, 6, 7, seed=1).begin(tmp_path)


def test_a_damaged_identity_is_written_again(made, tmp_path, caplog):
    made.begin(tmp_path)
    path = tmp_path / "identity.json"
    path.write_bytes(path.read_bytes()[:-9])
    made.begin(tmp_path)
    assert "identity.json: damaged or changed" in caplog.text
    assert read_identity(tmp_path)[0].fingerprint == made.fields


def test_a_cache_of_another_version_is_never_read_as_this_ones(made, cache):
    change_sealed(cache / "manifest.json", lambda found: found.update(schema=2))
    with pytest.raises(StoreError, match="of another version .*extract.*--remove"):
        FeatureStore.open(cache)
    assert describe(cache).state.startswith("damaged: ")
    fields = made.fields | {"schema": 2}
    content = {"fingerprint": fields, "digest": digest(fields), "about": {"encoder": "theirs"}}
    (cache / "identity.json").write_bytes(seal(content))
    with pytest.raises(StoreError, match="of another version of mcbert"):
        verify(cache)
    assert (describe(cache).state, describe(cache).encoder) == ("of another version", "theirs")
    (cache / "manifest.json").unlink()
    with pytest.raises(StoreError, match="of another version of mcbert"):
        verify(cache)
    assert describe(cache).state == "of another version"


def test_units_that_leave_texts_out(made, tmp_path):
    made.begin(tmp_path)
    made.write(tmp_path)
    with pytest.raises(StoreError, match="units: got texts 2 to 4 after 0"):
        finish(tmp_path, made.spec, made.units[1:], made.index)


@pytest.mark.parametrize("index", [[0, 7], [-1, 3]])
def test_an_index_beyond_the_texts(made, tmp_path, index):
    made.begin(tmp_path)
    made.write(tmp_path)
    with pytest.raises(StoreError, match="index: got .*, accepted: 0 to 6"):
        finish(tmp_path, made.spec, made.units, np.array(index))


def test_a_damaged_file_cannot_be_finished(made, tmp_path):
    made.begin(tmp_path)
    made.write(tmp_path)
    path = tmp_path / "unit-000000004.h5"
    data = path.read_bytes()
    path.write_bytes(data[:80] + b"?" + data[81:])
    with pytest.raises(StoreError, match="unit-000000004.h5: .*checksum.* --repair"):
        made.finish(tmp_path)
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_other_layers_cannot_be_finished(make, made, tmp_path):
    made.begin(tmp_path)
    made.write(tmp_path)
    other = make(0, 2, 4, 6, 7, layers=(2, 6))
    with pytest.raises(StoreError, match="unit-000000000.h5: of other texts"):
        other.finish(tmp_path)


def test_half_written_files_are_cleared_away(made, tmp_path):
    made.begin(tmp_path)
    litter = tmp_path / ".unit-000000000.h5.1234.tmp"
    litter.write_text("{")
    made.fill(tmp_path)
    assert not litter.exists()


def test_a_cache_of_no_texts(made, tmp_path):
    made.begin(tmp_path)
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
        lambda c: c.update(digest="0" * 64, units=[{"start": "a"}]),
    ],
)
def test_sealed_files_of_another_make(cache, name, change):
    path = cache / name
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_bytes(seal(content))
    with pytest.raises(StoreError, match=f"{name}|manifest|another version"):
        FeatureStore.open(cache)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"checksum": 3}', "[" * 100_000, '{"checksum": "\\ud800"}', "\xff", "1e999"],
)
def test_what_is_no_sealed_file(cache, text):
    (cache / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="manifest.json: .*checksum"):
        FeatureStore.open(cache)


@pytest.mark.parametrize("name", ["identity.json", "index.npy", "unit-000000000.h5", "unit-000000004.h5"])
def test_a_missing_file_is_named(cache, name):
    (cache / name).unlink()
    with pytest.raises(StoreError, match=f"{name}.*verify .* --repair"):
        FeatureStore.open(cache)


def test_an_identity_of_another_cache(make, cache, tmp_path):
    other = make(0, 2, 4, 6, 7, seed=1).fill(tmp_path / "other")
    (cache / "identity.json").write_bytes((other / "identity.json").read_bytes())
    with pytest.raises(StoreError, match="identity.json: .*manifest"):
        FeatureStore.open(cache)
