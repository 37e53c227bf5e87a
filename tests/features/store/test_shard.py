import os
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mcbert.features.store import Shard, ShardWriter, StoreError, StoreSpec, finish, hdf5, pending
from mcbert.files.journal import Journal, scan
from tests.features.store.damage import flip, head_of

ROOT = Path(__file__).parents[3]


def digests(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def test_units_are_pending_until_they_are_written(made, tmp_path):
    first, second = made.shards
    assert pending(tmp_path, first) == [(0, 2), (2, 4)]
    assert made.write(tmp_path, first, most=1) == [0]
    assert pending(tmp_path, first) == [(2, 4)]
    assert made.write(tmp_path, first) == [2]
    assert pending(tmp_path, first) == []
    assert pending(tmp_path, second) == [(4, 6), (6, 7)]


def test_resumed_after_every_unit_is_bit_identical(made, tmp_path):
    whole = made.fill(tmp_path / "whole")
    broken = tmp_path / "broken"
    for shard in made.shards:
        while made.write(broken, shard, most=1):
            pass
    assert made.fill(broken) == broken
    assert digests(whole) == digests(broken)
    made.expect(broken)


def test_any_hdf5_reader_reads_the_files(made, cache):
    with h5py.File(cache / "rows-000000004.h5") as file:
        np.testing.assert_array_equal(file["layer_05/cls"][:], made.states[4:, 1, 1])
        np.testing.assert_array_equal(file["layer_02/max"][:], made.states[4:, 0, 0])


def test_only_the_owner_may_read(cache):
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()} == {0o600}


def test_the_whole_file_has_its_room_before_the_first_state(make, tmp_path):
    made = make((0, 500, 1000), hidden_size=256)
    with ShardWriter(tmp_path, made.shards[0], made.spec) as writer:
        size = writer.path.stat()
        assert size.st_blocks * 512 >= made.states.nbytes
    made.write(tmp_path, made.shards[0])
    assert writer.path.stat().st_size == size.st_size


@pytest.mark.parametrize(
    ("start", "states", "skipped", "said"),
    [
        (1, np.zeros((2, 2, 2, 3), "float16"), (), "distinct text 1: no unit begins there"),
        (0, np.zeros((2, 2, 2, 3), "float16"), (), "distinct text 0: that unit is on the disk already"),
        (
            2,
            np.zeros((2, 2, 2, 3), "float32"),
            (),
            r"2-3: got states of shape \(2, 2, 2, 3\), float32; acc.*16",
        ),
        (2, np.zeros((1, 2, 2, 3), "float16"), (), r"got states of shape \(1, 2, 2, 3\).*\(2, 2, 2, 3\)"),
        (2, np.zeros((2, 2, 2, 3), "float16"), (4,), r"skipped: got \[4\], accepted: numbers from 2 to 3"),
    ],
)
def test_what_cannot_be_written(made, tmp_path, start, states, skipped, said):
    with ShardWriter(tmp_path, made.shards[0], made.spec) as writer:
        writer.write(0, made.states[0:2])
        with pytest.raises(StoreError, match=said):
            writer.write(start, states, skipped)
        assert writer.pending() == [(2, 4)]


def test_skipped_rows_are_zeros(made, tmp_path):
    states = made.states[0:2].copy()
    states[1] = np.nan
    with ShardWriter(tmp_path, made.shards[0], made.spec) as writer:
        writer.write(0, states, skipped=[1])
    assert np.isnan(states[1]).all()
    with h5py.File(tmp_path / "rows-000000000.h5") as file:
        np.testing.assert_array_equal(file["layer_02/cls"][1], np.zeros(3))


def test_a_second_writer_is_told_who_is_first(made, tmp_path):
    with (
        ShardWriter(tmp_path, made.shards[0], made.spec) as writer,
        pytest.raises(ValueError, match=rf"another process is writing this file: process {os.getpid()} on"),
        ShardWriter(tmp_path, made.shards[0], made.spec),
    ):
        pass
    with ShardWriter(tmp_path, made.shards[1], made.spec), ShardWriter(tmp_path, made.shards[0], made.spec):
        assert writer.pending() == [(0, 2), (2, 4)]


def test_a_finished_cache_takes_no_more(made, cache):
    with (
        pytest.raises(StoreError, match="this cache is finished"),
        ShardWriter(cache, made.shards[0], made.spec),
    ):
        pass


def test_a_file_of_another_plan_is_left_alone(made, tmp_path):
    made.write(tmp_path, made.shards[0])
    before = digests(tmp_path)
    with (
        pytest.raises(StoreError, match="made for other texts, layers or poolings; move it away"),
        ShardWriter(tmp_path, Shard((0, 1, 4)), made.spec),
    ):
        pass
    assert digests(tmp_path) == before


def test_acknowledged_rows_are_gone_with_their_file(made, tmp_path, caplog):
    made.write(tmp_path, made.shards[0])
    (tmp_path / "rows-000000000.h5").unlink()
    assert pending(tmp_path, made.shards[0]) == [(0, 2), (2, 4)]
    assert made.write(tmp_path, made.shards[0]) == [0, 2]
    assert "gone; 2 acknowledged units are encoded again" in caplog.text


def test_a_file_without_its_journal_is_made_anew(made, tmp_path):
    made.write(tmp_path, made.shards[0])
    (tmp_path / "rows-000000000.journal").unlink()
    assert made.write(tmp_path, made.shards[0]) == [0, 2]


@pytest.mark.parametrize("damage", ["metadata", "superblock", "cut", "grown", "emptied", "head line"])
def test_damaged_metadata_is_restored_and_right_units_are_kept(made, tmp_path, caplog, damage):
    whole = made.fill(tmp_path / "whole")
    folder = tmp_path / "broken"
    made.write(folder, made.shards[0])
    path = folder / "rows-000000000.h5"
    right = path.read_bytes()
    offset = head_of(path).layout.offsets[0]
    left = []
    if damage == "metadata":
        flip(path, offset - 100)
        flip(path, offset + 2)  # and a state of the first unit
        left = [0]
    elif damage == "superblock":
        path.write_bytes(bytes(96) + right[96:])
    elif damage == "cut":
        path.write_bytes(right[:-5])
        left = [2]  # whose last row ends the file
    elif damage == "grown":
        path.write_bytes(right + b"x")
    elif damage == "emptied":
        path.write_bytes(b"")
        left = [0, 2]
    else:
        journal = path.with_suffix(".journal")
        flip(journal, journal.read_bytes().index(b'"shard"'))
    assert pending(folder, made.shards[0]) == [(0, 2), (2, 4)]
    with ShardWriter(folder, made.shards[0], made.spec) as writer:
        assert [start for start, _ in writer.pending()] == left
    assert "restored from a file made the same way" in caplog.text
    made.fill(folder)
    assert digests(folder) == digests(whole)
    made.expect(folder)


def test_damage_that_cannot_be_restored_is_put_aside(made, tmp_path, caplog, monkeypatch):
    made.write(tmp_path, made.shards[0])
    path = tmp_path / "rows-000000000.h5"
    flip(path, 20)
    damaged = path.read_bytes()
    monkeypatch.setattr(hdf5, "ALIGNMENT", 4096)  # as of another version of the library
    assert made.write(tmp_path, made.shards[0]) == [0, 2]
    assert "damaged beyond repair, moved to rows-000000000.h5.bad; 2 acknowledged units" in caplog.text
    assert (tmp_path / "rows-000000000.h5.bad").read_bytes() == damaged
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_a_damaged_line_costs_its_unit_only(made, tmp_path, caplog):
    made.write(tmp_path, made.shards[0])
    journal = tmp_path / "rows-000000000.journal"
    flip(journal, journal.read_bytes().index(b'"start":0'))
    assert made.write(tmp_path, made.shards[0]) == [0]
    assert "line 3 is damaged and is left out" in caplog.text
    made.fill(tmp_path)
    made.expect(tmp_path)


def test_a_journal_that_is_not_ours_is_left_alone(made, tmp_path):
    journal = tmp_path / "rows-000000000.journal"
    journal.write_text("my notes\n")
    with pytest.raises(ValueError, match="line 1 is not a whole record of ours"):
        made.write(tmp_path, made.shards[0])
    assert journal.read_text() == "my notes\n"


def test_what_a_killed_creation_left_is_cleared(made, tmp_path):
    litter = tmp_path / "rows-000000000.h5.partial"
    litter.write_bytes(b"half")
    made.write(tmp_path, made.shards[0])
    assert not litter.exists()


def test_a_link_in_place_of_a_file_is_not_followed(made, tmp_path):
    made.write(tmp_path / "a", made.shards[0], most=1)
    path = tmp_path / "a" / "rows-000000000.h5"
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(StoreError, match="rows-000000000.h5: cannot be opened: it is a link"):
        made.write(tmp_path / "a", made.shards[0])
    assert elsewhere.read_bytes() == before


def test_journals_name_their_writers_and_hold_no_text(made, tmp_path):
    made.write(tmp_path, made.shards[0], most=1)
    made.write(tmp_path, made.shards[0])
    records = scan((tmp_path / "rows-000000000.journal").read_bytes()).records
    assert [next(iter(r)) for r in records] == ["writer", "shard", "start", "writer", "start"]
    with Journal(tmp_path / "rows-000000000.journal") as journal:
        assert journal.records == records


CHILD = """
import sys
from pathlib import Path
import numpy as np
from mcbert.features.store import Shard, ShardWriter, StoreSpec
spec = StoreSpec(layers=(0,), poolings=("max",), hidden_size=4, storage_dtype="float32")
with ShardWriter(Path(sys.argv[1]), Shard((0, 3)), spec):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_named_and_its_death_frees_the_file(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"in\n"
    spec = StoreSpec(layers=(0,), poolings=("max",), hidden_size=4, storage_dtype="float32")
    with (
        pytest.raises(ValueError, match=f"process {child.pid} on"),
        ShardWriter(tmp_path, Shard((0, 3)), spec),
    ):
        pass
    child.kill()
    child.communicate()
    with ShardWriter(tmp_path, Shard((0, 3)), spec) as writer:
        writer.write(0, np.ones((3, 1, 1, 4), "float32"))
    with pytest.raises(StoreError, match="identity.json: cannot be read"):
        finish(tmp_path, spec, [Shard((0, 3))], np.arange(3))
