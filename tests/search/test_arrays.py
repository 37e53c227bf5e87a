"""Files appear whole or not at all, and hold no pickles."""

from pathlib import Path

import numpy as np
import pytest

from search.arrays import read_arrays, replacing, write_arrays


@pytest.mark.parametrize("kind", [Path, str])
def test_round_trip(tmp_path, kind):
    path = kind(tmp_path / "a.npz")
    write_arrays(path, {"x": np.arange(3), "name": np.asarray("ü")})
    read = read_arrays(path, ("x", "name"), "a thing")
    assert read["x"].tolist() == [0, 1, 2]
    assert str(read["name"]) == "ü"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as stream:
        stream.write(b"new")
        raise RuntimeError("stop")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("damage", ["absent", "torn", "text", "pickle", "npy", "lacks"])
def test_what_is_not_such_a_file_is_refused(tmp_path, damage):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(300)})
    if damage == "absent":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("x,y\n")
    elif damage == "pickle":
        np.savez(path, x=np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.arange(3))
    names = ("y",) if damage == "lacks" else ("x",)
    with pytest.raises(ValueError, match=r"a\.npz: not a thing \("):
        read_arrays(path, names, "a thing")


def test_objects_are_never_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})
    assert not list(tmp_path.iterdir())
