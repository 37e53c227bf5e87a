import shutil

import pytest

from mcbert.features.cache import FeatureStore, StoreError, locked, pending, revoke, verify
from tests.features.cache.damage import flip, place


def repaired(made, folder):
    """Take back what is damaged, write that again; return the starts of the units that this took."""
    revoke(folder, verify(folder))
    assert not (folder / "manifest.json").exists()
    made.begin(folder)
    written = made.write(folder)
    made.finish(folder)
    return written


def test_a_whole_cache_has_no_damage(cache):
    assert verify(cache) == []


def test_a_flipped_byte_is_named_and_only_its_unit_is_written_again(made, cache, tmp_path):
    shutil.copytree(cache, tmp_path / "right")
    path = cache / "unit-000000006.h5"
    flip(path, place(path, 1))  # layer 2, cls
    (damage,) = verify(cache)
    assert (damage.file, damage.texts, damage.layer, damage.pooling) == (path.name, (6, 7), 2, "cls")
    assert str(damage) == "unit-000000006.h5: layer 2, cls: distinct texts 6-6: the checksum differs"
    assert repaired(made, cache) == [6]
    assert verify(cache) == []
    made.expect(cache)
    assert path.read_bytes() == (tmp_path / "right" / path.name).read_bytes()


def test_a_unit_damaged_in_several_layers_is_taken_back_once(made, cache):
    path = cache / "unit-000000000.h5"
    for dataset in range(4):
        flip(path, place(path, dataset))
    assert [(d.layer, d.pooling) for d in verify(cache)] == [(2, "max"), (2, "cls"), (5, "max"), (5, "cls")]
    assert repaired(made, cache) == [0]
    made.expect(cache)


@pytest.mark.parametrize("name", ["identity.json", "index.npy", "manifest.json"])
def test_damage_beside_the_states_costs_no_unit(made, cache, name):
    path = cache / name
    flip(path, path.stat().st_size // 2)
    assert [(damage.file, damage.fault) for damage in verify(cache)] == [
        (name, "damaged or changed, its checksum differs")
    ]
    assert repaired(made, cache) == []
    assert verify(cache) == []
    made.expect(cache)


@pytest.mark.parametrize("name", ["identity.json", "index.npy", "unit-000000000.h5", "unit-000000004.h5"])
def test_missing_files_are_made_again(made, cache, name):
    (cache / name).unlink()
    assert [damage.file for damage in verify(cache)] == [name]
    expected = {"unit-000000000.h5": [0], "unit-000000004.h5": [4]}
    assert repaired(made, cache) == expected.get(name, [])
    made.expect(cache)


@pytest.mark.parametrize("position", [3, 12, 30, 400, 600])
def test_a_damaged_head_costs_its_unit(made, cache, position):
    flip(cache / "unit-000000000.h5", position)
    assert [str(d) for d in verify(cache)] == ["unit-000000000.h5: the checksum of its head differs"]
    assert repaired(made, cache) == [0]
    made.expect(cache)


def test_a_cut_file_is_named(made, cache):
    path = cache / "unit-000000004.h5"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1)
    assert [str(damage) for damage in verify(cache)] == [
        f"unit-000000004.h5: {size - 1:,} bytes, not the {size:,} that it was made with"
    ]
    assert repaired(made, cache) == [4]
    made.expect(cache)


def test_a_swapped_file_is_named(made, cache):
    first, second = cache / "unit-000000000.h5", cache / "unit-000000002.h5"
    first.write_bytes(second.read_bytes())
    assert [str(damage) for damage in verify(cache)] == [
        "unit-000000000.h5: not the file that the manifest was written for"
    ]
    assert repaired(made, cache) == [0]
    made.expect(cache)


def test_what_was_taken_back_is_kept_beside(made, cache):
    path = cache / "unit-000000000.h5"
    path.write_bytes(b"my notes\n")
    assert repaired(made, cache) == [0]
    assert path.with_name("unit-000000000.h5.bad").read_bytes() == b"my notes\n"
    made.expect(cache)


def test_an_unfinished_cache_is_checked_as_far_as_it_is_there(made, tmp_path):
    made.begin(tmp_path)
    made.write(tmp_path, most=2)
    assert verify(tmp_path) == []
    path = tmp_path / "unit-000000000.h5"
    flip(path, place(path, 0))
    assert [damage.texts for damage in verify(tmp_path)] == [(0, 2)]
    revoke(tmp_path, verify(tmp_path))
    assert verify(tmp_path) == []
    assert pending(tmp_path, made.spec, made.units) == [(0, 2), (4, 6), (6, 7)]
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_what_is_no_cache(tmp_path):
    with pytest.raises(StoreError, match="neither identity.json nor manifest.json"):
        verify(tmp_path)


def test_nothing_is_taken_back_while_another_process_writes(made, cache):
    flip(cache / "index.npy", 5)
    with locked(cache), pytest.raises(StoreError, match="another extraction is writing this cache"):
        revoke(cache, verify(cache))
    assert (cache / "manifest.json").exists()


def test_a_cache_that_is_taken_back_is_unfinished(made, cache):
    revoke(cache, [])
    with pytest.raises(StoreError, match="not finished yet"):
        FeatureStore.open(cache)
    made.fill(cache)
    made.expect(cache)
