"""Files appear whole or not at all, and hold no pickles."""

from pathlib import Path

import numpy as np
import pytest

from mcbert.search.arrays import read_arrays, require_shapes, write_arrays


@pytest.mark.parametrize("kind", [Path, str])
def test_round_trip(tmp_path, kind):
    path = kind(tmp_path / "a.npz")
    write_arrays(path, {"x": np.arange(3), "name": np.asarray("ü")})
    read = read_arrays(path, ("x", "name"), "a thing")
    assert read["x"].tolist() == [0, 1, 2]
    assert str(read["name"]) == "ü"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": np.zeros(4)}, r"weights: got <f8 of shape \(3, 2\), accepted: kind f of shape \(4, 2\)"),
        ({"weights": np.zeros((3, 2, 1))}, "weights: got <f8 of shape"),
        ({"weights": np.zeros((3, 2), dtype=int)}, "weights: got <i8 of shape"),
        ({"names": np.zeros(2)}, "names: got <f8"),
        ({"names": np.asarray("ab")}, "names: got <U2"),
        ({"mean": np.array([1.0, np.nan, 0.0])}, "mean: got numbers that are not finite"),
    ],
)
def test_arrays_that_do_not_fit_together(changes, said):
    arrays = {"mean": np.zeros(3), "weights": np.zeros((3, 2)), "names": np.asarray(["a", "b"])}
    shapes = {"mean": ("f", ("d",)), "weights": ("f", ("d", 2)), "names": ("U", ("n",))}
    assert require_shapes("p", arrays, shapes) == {"d": 3, "n": 2}
    with pytest.raises(ValueError, match=f"^p: {said}"):
        require_shapes("p", arrays | changes, shapes)
