import dataclasses

import numpy as np
import pytest

from mcbert.files.arrays import write_arrays
from mcbert.search.outcome.predictions import Predictions, decode, encode


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    return Predictions(
        candidates=("a", "b"),
        codes=rng.integers(3, size=(2, 5)).astype(np.uint8),
        text=np.array([0, 1, 2, 3, 4, 0]),
        y=np.array([0, 1, 2, 0, 1, 2]),
        ids=np.array(["t1", "t2", "t1-de", "t2-de", "t3", "t4"]),
        language=np.array(["en", "en", "de", "de", "en", "en"]),
        split=np.array(["dev", "test", "dev", "test", "test", "test"]),
        languages=("en", "de"),
        labels=("x", "y", "z"),
    )


@pytest.mark.parametrize(("n_classes", "dtype"), [(2, "uint8"), (256, "uint8"), (257, "uint16")])
def test_codes_come_back_whatever_the_number_of_labels(n_classes, dtype):
    codes = np.random.default_rng(1).integers(n_classes, size=999)
    codes[0] = n_classes - 1
    found = decode(encode(codes, n_classes), n_classes, most=len(codes))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, codes)


def test_four_labels_take_less_than_half_a_byte_for_each_text():
    codes = np.random.default_rng(2).integers(4, size=4000)  # as hard to compress as can be
    assert len(encode(codes, 4)) < 0.45 * 4000


def test_what_is_saved_comes_back_and_the_same_bytes_each_time(predictions, tmp_path):
    predictions.save(tmp_path / "one.npz")
    predictions.save(str(tmp_path / "two.npz"))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    found = Predictions.load(str(tmp_path / "one.npz"))
    for field in dataclasses.fields(Predictions):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(predictions, field.name))
    assert found.codes.dtype == np.uint8
    assert found.candidates == ("a", "b")


def test_nothing_in_the_file_is_a_pickle(predictions, tmp_path):
    predictions.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:
        assert not any(archive[name].dtype.hasobject for name in archive.files)


def test_right_compares_with_the_label_of_the_row_not_of_the_text(predictions):
    rows = predictions.rows("test")
    assert rows.tolist() == [1, 3, 4, 5]
    codes = predictions.codes
    expected = [[codes[c, 1] == 1, codes[c, 3] == 0, codes[c, 4] == 1, codes[c, 0] == 2] for c in (1, 0)]
    np.testing.assert_array_equal(predictions.right([1, 0], rows), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": np.asarray(9)}, "format: got 9, accepted: 1"),
        ({"y": np.array([0, 1, 2, 0, 1, 3])}, "y: got numbers outside, accepted: 0 to 2"),
        ({"text": np.array([0, 1, 2, 3, 5, 0])}, "text: got numbers outside, accepted: 0 to 4"),
        ({"y": np.array([0, 1])}, r"y: got <i8 of shape \(2,\), accepted: kind i of shape \(6,\)"),
        (
            {"candidates": np.array(["a"])},
            r"codes: got .* accepted: kind u of shape \(1, 5\)",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(predictions, tmp_path, change, message):
    path = tmp_path / "p.npz"
    predictions.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    write_arrays(path, arrays | change)
    with pytest.raises(ValueError, match=f"p.npz: .*{message}"):
        Predictions.load(path)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"p.npz: .*predictions"):
        Predictions.load(tmp_path / "p.npz")
