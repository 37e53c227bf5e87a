import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mcbert.files.arrays import (
    ArrayError,
    map_array,
    read_array,
    read_arrays,
    require_shapes,
    write_arrays,
)

ARRAYS = {
    "numbers": np.arange(6, dtype=np.int64).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "names": np.asarray(["a", "\U0001f600", ""]),
    "one": np.asarray("word"),
    "none": np.empty((0, 3), dtype=np.float32),
    "flags": np.asarray([True, False]),
}


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(text, version=1):
    """Bytes that claim to be an array."""
    text = text.encode("latin1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def described(descr="'<f8'", shape="(3,)", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def read(data):
    return read_array(io.BytesIO(data), len(data))


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_read_as_numpy_reads_them(compressed, tmp_path):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **ARRAYS)
    found = read_arrays(tmp_path / "a.npz", list(ARRAYS), "a thing")
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(read(saved(array)), array)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        header(described(shape="(1000000000000000,)")),
        header(described(shape="(1000000000000000,)"), version=2),
        header(described(shape=f"({10**30},)")),
        header(described(shape="(-3,)")) + bytes(24),
        header(described(shape="(3.0,)")) + bytes(24),
        header(described(shape="(True,)")) + bytes(8),
        header(described(shape="3")) + bytes(24),
        header(described(shape="(" * 5000 + ")" * 5000)),
        header("[" * 9000),
        header("'" * 3),
        header("{'descr': '<f8'"),
        header(described(shape="(2,)")) + bytes(24),
        header(described(shape="(4,)")) + bytes(24),
        header(described("'<U0'", f"({10**18},)")),
        header(described("'|O'", "(1,)")) + bytes(8),
        header(described("'|V8'", "(3,)")) + bytes(24),
        header(described("[('a', '<f8')]")) + bytes(24),
        header(described("'>f8'")) + bytes(24),
        header(described(shape="(1,) * 40")) + bytes(8),
        header(described(shape=str((1,) * 40))) + bytes(8),
        header(described("'<U1'", "(1,)")) + b"\xff\xff\xff\xff",
        header(described("'<U1'", "(1,)")) + b"\x00\xd8\x00\x00",
        header(described()) + bytes(23),
        bytes([0x93]) + b"NUMPY\x09\x00" + bytes(30),
    ],
)
def test_what_no_array_has_is_one_error(data, tmp_path):
    with pytest.raises(ArrayError):
        read(data)
    (tmp_path / "a.npy").write_bytes(data)
    if b"<U1" not in data:  # the characters of what is mapped are not looked at
        with pytest.raises(ArrayError):
            map_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data)
    with pytest.raises(ArrayError, match=r"a\.npz: not a thing \(a: "):
        read_arrays(tmp_path / "a.npz", ["a"], "a thing")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header(described(shape=f"({50 * (1 << 20)},)")))
        for _ in range(400):
            member.write(bytes(1 << 20))
    with pytest.raises(ArrayError, match="unpacked it takes more than 268,435,456 bytes"):
        read_arrays(tmp_path / "a.npz", ["a"], "a thing")


def test_archives_that_are_none(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(100), b=np.arange(3))
    with pytest.raises(ArrayError, match="c is missing"):
        read_arrays(path, ["a", "c"], "a thing")
    whole = path.read_bytes()
    for damaged in (b"", b"PK", whole[:-30], whole[:300], bytes(500)):
        path.write_bytes(damaged)
        with pytest.raises(ArrayError, match="no whole archive"):
            read_arrays(path, ["a"], "a thing")
    for position in range(0, len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[position] ^= 0xFF
        path.write_bytes(spoilt)
        try:
            found = read_arrays(path, ["a"], "a thing")
        except ArrayError:
            continue
        np.testing.assert_array_equal(found["a"], np.arange(100))


def test_a_link_in_place_of_an_archive_is_not_followed(tmp_path):
    np.savez(tmp_path / "mine.npz", a=np.arange(3))
    (tmp_path / "a.npz").symlink_to(tmp_path / "mine.npz")
    with pytest.raises(ArrayError, match="it is a link"):
        read_arrays(tmp_path / "a.npz", ["a"], "a thing")


def test_a_mapped_array_is_the_file(tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS["numbers"])
    np.testing.assert_array_equal(map_array(tmp_path / "a.npy"), ARRAYS["numbers"])
    np.save(tmp_path / "none.npy", ARRAYS["none"])
    with pytest.raises(ArrayError, match="holds nothing"):
        map_array(tmp_path / "none.npy")


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
