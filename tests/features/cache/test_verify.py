import shutil

import pytest

from mcbert.features.cache import FeatureStore, StoreError, begin, finish, locked, pending, revoke, verify
from tests.features.cache.damage import flip, head_of


def repaired(made, folder):
    """Take back what is damaged, write that again; return the starts of the units that this took."""
    revoke(folder, verify(folder))
    assert not (folder / "manifest.json").exists()
    begin(folder, made.fields, {})
    written = [start for shard in made.shards for start in made.write(folder, shard)]
    finish(folder, made.spec, made.shards, made.index)
    return written


def test_a_whole_cache_has_no_damage(cache):
    assert verify(cache) == []


def test_a_flipped_byte_is_named_and_only_its_unit_is_written_again(made, cache, tmp_path):
    shutil.copytree(cache, tmp_path / "right")
    path = cache / "rows-000000004.h5"
    offsets = head_of(path).layout.offsets
    flip(path, offsets[1] + 2 * 6)  # layer 2, cls: text 6, the second unit
    (damage,) = verify(cache)
    assert (damage.file, damage.texts, damage.layer, damage.pooling) == (path.name, (6, 7), 2, "cls")
    assert str(damage) == "rows-000000004.h5: layer 2, cls: distinct texts 6-6: the checksum differs"
    assert repaired(made, cache) == [6]
    assert verify(cache) == []
    made.expect(cache)
    assert path.read_bytes() == (tmp_path / "right" / path.name).read_bytes()


def test_a_unit_damaged_in_several_layers_is_taken_back_once(made, cache):
    path = cache / "rows-000000000.h5"
    for offset in head_of(path).layout.offsets:
        flip(path, offset)
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


@pytest.mark.parametrize(
    "name", ["identity.json", "index.npy", "rows-000000000.h5", "rows-000000004.journal"]
)
def test_missing_files_are_made_again(made, cache, name):
    (cache / name).unlink()
    assert [damage.file for damage in verify(cache)] == [name]
    expected = {"rows-000000000.h5": [0, 2], "rows-000000004.journal": [4, 6]}
    assert repaired(made, cache) == expected.get(name, [])
    made.expect(cache)


def test_damaged_metadata_costs_no_unit(made, cache):
    flip(cache / "rows-000000000.h5", 30)
    assert [str(d) for d in verify(cache)] == ["rows-000000000.h5: the checksum of its HDF5 metadata differs"]
    assert repaired(made, cache) == []
    made.expect(cache)


def test_a_cut_file_names_the_texts_that_it_lost(made, cache):
    path = cache / "rows-000000004.h5"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    found = [str(damage) for damage in verify(cache)]
    assert len(found) == 2
    assert "not of the" in found[0]
    assert found[1] == "rows-000000004.h5: layer 5, cls: distinct texts 6-6: the file ends before them"
    assert repaired(made, cache) == [6]
    made.expect(cache)


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_a_damaged_line_of_a_journal(made, cache, line):
    path = cache / "rows-000000000.journal"
    position = sum(map(len, path.read_bytes().splitlines(keepends=True)[: line - 1])) + 30
    flip(path, position)
    assert [str(damage) for damage in verify(cache)] == [
        "rows-000000000.journal: damaged or changed, its checksum differs"
    ]
    assert repaired(made, cache) == {3: [0], 4: [2]}.get(line, [])
    made.expect(cache)


def test_a_journal_that_is_no_journal_any_more_is_put_aside(made, cache):
    path = cache / "rows-000000000.journal"
    path.write_bytes(b"x\n" * 40)
    assert [damage.file for damage in verify(cache)] == [path.name]
    assert repaired(made, cache) == [0, 2]
    assert (cache / "rows-000000000.journal.bad").exists()
    made.expect(cache)


def test_an_unfinished_cache_is_checked_as_far_as_it_is_acknowledged(made, tmp_path):
    begin(tmp_path, made.fields, {})
    made.write(tmp_path, made.shards[0], most=1)
    assert verify(tmp_path) == []
    path = tmp_path / "rows-000000000.h5"
    offset = head_of(path).layout.offsets[0]
    flip(path, offset + 2 * 6)  # a text that no unit vouches for yet
    assert verify(tmp_path) == []
    flip(path, offset)
    assert [damage.texts for damage in verify(tmp_path)] == [(0, 2)]
    revoke(tmp_path, verify(tmp_path))
    assert verify(tmp_path) == []
    assert pending(tmp_path, made.shards[0]) == [(0, 2), (2, 4)]
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_lines_of_an_unfinished_journal_are_checked_too(made, tmp_path):
    begin(tmp_path, made.fields, {})
    made.write(tmp_path, made.shards[0])
    journal = tmp_path / "rows-000000000.journal"
    right = journal.read_bytes()
    flip(journal, right.index(b'"start":0'))
    assert [str(damage) for damage in verify(tmp_path)] == ["rows-000000000.journal: line 3 is not whole"]
    journal.write_bytes(right)
    flip(journal, right.index(b'"shard"'))
    assert [damage.fault for damage in verify(tmp_path)] == [
        "line 2 is not whole",
        "the line that says what the file holds is missing",
    ]
    journal.write_bytes(right[:-1])
    assert verify(tmp_path) == []  # torn by a kill: no damage


def test_what_is_no_cache(tmp_path):
    with pytest.raises(StoreError, match="neither identity.json nor manifest.json: not a feature cache"):
        verify(tmp_path)


def test_nothing_is_taken_back_while_another_process_writes(made, cache):
    flip(cache / "index.npy", 5)
    with locked(cache), pytest.raises(StoreError, match="another extraction is writing this cache"):
        revoke(cache, verify(cache))
    assert (cache / "manifest.json").exists()


def test_a_taken_back_unit_that_is_right_again_is_read_as_such(made, cache):
    path = cache / "rows-000000000.h5"
    flip(path, head_of(path).layout.offsets[0])
    damages = verify(cache)
    flip(path, head_of(path).layout.offsets[0])
    revoke(cache, damages)
    with pytest.raises(StoreError, match="distinct texts 0-1 are not written yet"):
        finish(cache, made.spec, made.shards, made.index)
    made.fill(cache)
    assert FeatureStore.open(cache).n_texts == 7
