import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mcbert.features.cache import StoreError, StoreSpec, pending, write_unit
from mcbert.features.cache.unit import MOST_UNIT, read_head
from tests.features.cache.damage import flip, place

ROOT = Path(__file__).parents[3]


def digests(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def test_units_are_pending_until_they_are_written(made, tmp_path):
    made.begin(tmp_path)
    assert pending(tmp_path, made.spec, made.units) == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert made.write(tmp_path, most=1) == [0]
    assert pending(tmp_path, made.spec, made.units) == [(2, 4), (4, 6), (6, 7)]
    assert made.write(tmp_path) == [2, 4, 6]
    assert pending(tmp_path, made.spec, made.units) == []


def test_resumed_after_every_unit_is_bit_identical(made, tmp_path):
    whole = made.fill(tmp_path / "whole")
    broken = tmp_path / "broken"
    made.begin(broken)
    while made.write(broken, most=1):
        pass
    assert made.fill(broken) == broken
    assert digests(whole) == digests(broken)
    made.expect(broken)


def test_any_hdf5_reader_reads_the_files(made, cache):
    with h5py.File(cache / "unit-000000004.h5") as file:
        np.testing.assert_array_equal(file["layer_05/cls"][:], made.states[4:6, 1, 1])
        np.testing.assert_array_equal(file["layer_02/max"][:], made.states[4:6, 0, 0])


def test_any_reader_maps_the_states(made, cache):
    """A layer and pooling is one contiguous range of a file, where HDF5 says."""
    path = cache / "unit-000000002.h5"
    with h5py.File(path) as file:
        offset = file["layer_05/max"].id.get_offset()
    mapped = np.memmap(path, "<f2", "r", offset, (2, 3))
    np.testing.assert_array_equal(mapped, made.states[2:4, 1, 0])


def test_states_begin_on_a_cache_line(make, tmp_path):
    make(0, 3, hidden_size=32).fill(tmp_path)
    assert place(tmp_path / "unit-000000000.h5", 0) % 64 == 0


def test_only_the_owner_may_read(cache):
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("states", "skipped", "said"),
    [
        (np.zeros((2, 2, 2, 3), "float32"), (), r"2-3: got states of shape \(2, 2, 2, 3\), float32; acc.*16"),
        (np.zeros((2, 1, 2, 3), "float16"), (), r"got states of shape \(2, 1, 2, 3\).*\(2, 2, 2, 3\)"),
        (np.zeros((2, 2, 2, 3), "float16"), (4,), r"skipped: got \[4\], accepted: numbers from 2 to 3"),
        (np.zeros((0, 2, 2, 3), "float16"), (), "got texts 2 to 2"),
    ],
)
def test_what_cannot_be_written(made, tmp_path, states, skipped, said):
    made.begin(tmp_path)
    with pytest.raises(StoreError, match=said):
        write_unit(tmp_path, made.spec, start=2, states=states, skipped=skipped)
    assert pending(tmp_path, made.spec, made.units) == list(made.units)


def test_units_too_large_to_be_read_are_refused_before_anything_is_encoded(tmp_path):
    spec = StoreSpec(layers=(0,), poolings=("max",), hidden_size=1024, storage_dtype="float16")
    with pytest.raises(StoreError, match="extract.unit_rows makes it smaller"):
        pending(tmp_path, spec, [(0, MOST_UNIT // 2048 + 1)])


def test_skipped_rows_are_zeros(made, tmp_path):
    made.begin(tmp_path)
    states = made.states[0:2].copy()
    states[1] = np.nan
    write_unit(tmp_path, made.spec, start=0, states=states, skipped=[1])
    assert np.isnan(states[1]).all()
    with h5py.File(tmp_path / "unit-000000000.h5") as file:
        np.testing.assert_array_equal(file["layer_02/cls"][1], np.zeros(3))


def test_the_layout_in_memory_does_not_matter(made, tmp_path):
    for order in ("C", "F"):
        made.begin(tmp_path / order)
        write_unit(tmp_path / order, made.spec, start=0, states=np.asarray(made.states[:2], order=order))
    assert digests(tmp_path / "C") == digests(tmp_path / "F")


def test_a_finished_cache_takes_no_more(made, cache):
    with pytest.raises(StoreError, match="this cache is finished"):
        write_unit(cache, made.spec, start=0, states=made.states[:2])


@pytest.mark.parametrize("damage", ["head", "cut", "grown", "emptied", "foreign", "of other texts"])
def test_what_is_no_whole_unit_is_written_again(made, make, tmp_path, caplog, damage):
    whole = made.fill(tmp_path / "whole")
    folder = tmp_path / "broken"
    made.begin(folder)
    made.write(folder)
    path = folder / "unit-000000002.h5"
    right = path.read_bytes()
    other = make(0, 3, 7).fill(tmp_path / "other")
    if damage == "head":
        flip(path, 700)
    else:
        spoilt = {
            "cut": right[:-5],
            "grown": right + b"x",
            "emptied": b"",
            "foreign": b"my notes\n",
            "of other texts": (other / "unit-000000000.h5").read_bytes(),
        }
        path.write_bytes(spoilt[damage])
    assert pending(folder, made.spec, made.units) == [(2, 4)]
    assert "unit-000000002.h5: " in caplog.text
    assert "its texts are encoded again" in caplog.text
    made.fill(folder)
    assert digests(folder) == digests(whole)
    made.expect(folder)


def test_a_file_that_is_gone_costs_its_unit_only(made, tmp_path):
    made.begin(tmp_path)
    made.write(tmp_path)
    (tmp_path / "unit-000000004.h5").unlink()
    assert made.write(tmp_path) == [4]


def test_a_link_in_place_of_a_file_is_not_followed(made, tmp_path):
    made.begin(tmp_path / "a")
    made.write(tmp_path / "a", most=1)
    path = tmp_path / "a" / "unit-000000000.h5"
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert made.write(tmp_path / "a", most=1) == [0]
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == before


def test_records_hold_no_text(made, cache):
    """What a file says of its unit is numbers and the names of poolings."""
    unit = read_head(cache / "unit-000000002.h5").unit
    assert (unit.start, unit.stop, unit.spec, unit.skipped) == (2, 4, made.spec, ())


CHILD = """
import sys
from pathlib import Path
from tests.features.cache.conftest import Made
made = Made.of(*range(0, 201, 10), hidden_size=50)
print("in", flush=True)
sys.stdin.read(1)
made.write(Path(sys.argv[1]))
"""


def test_writers_of_the_same_units_at_once_leave_whole_ones(make, tmp_path):
    """A worker that was taken for dead goes on beside the one that has its task now."""
    made = make(*range(0, 201, 10), hidden_size=50)
    made.begin(tmp_path)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout.readline() == b"in\n"
    for child in children:
        child.stdin.write(b"x")
        child.stdin.flush()
    for child in children:
        child.communicate()
        assert child.returncode == 0
    made.finish(tmp_path)
    made.expect(tmp_path)
