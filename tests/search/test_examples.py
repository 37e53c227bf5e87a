"""Labels, languages and splits survive the file, and what cannot be is refused."""

from pathlib import Path

import numpy as np
import pytest

from mcbert.search.examples import Examples, write

GIVEN = {
    "y": [0, 1, 1, 0],
    "language": ["en", "en", "zh", "de"],
    "split": ["train", "dev", "dev", "test"],
    "labels": ["apfel", "birne"],
    "source_language": "en",
}


@pytest.mark.parametrize("kind", [Path, str])
def test_round_trip(tmp_path, kind):
    path = kind(tmp_path / "examples.npz")
    write(path, **GIVEN, ids=["a", "b", "c", "d-é"])
    read = Examples.read(path)
    assert read.y.tolist() == GIVEN["y"]
    assert read.ids.tolist() == ["a", "b", "c", "d-é"]
    assert read.labels == ("apfel", "birne")
    assert read.languages == ("en", "de", "zh")
    assert read.rows("dev", "zh").tolist() == [2]
    assert read.rows("train", "zh").tolist() == []
    assert read.rows("dev").tolist() == [1, 2]


def test_ids_default_to_row_numbers_and_arrays_are_taken(tmp_path):
    path = tmp_path / "examples.npz"
    write(path, **(GIVEN | {"language": np.array(GIVEN["language"]), "split": np.array(GIVEN["split"])}))
    assert Examples.read(path).ids.tolist() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "change",
    [
        {"y": [0, 1, 1, 1]},
        {"split": ["train", "dev", "test", "test"]},
        {"language": ["en", "en", "zh", "zh"]},
        {"labels": ["apfel", "pflaume"]},
        {"source_language": "de"},
        {"ids": ["1", "2", "3", "4"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_follows_the_content_and_only_that(tmp_path, change):
    write(tmp_path / "a.npz", **GIVEN)
    write(tmp_path / "same.npz", **GIVEN)
    write(tmp_path / "other.npz", **(GIVEN | change))
    digest = {name: Examples.read(tmp_path / f"{name}.npz").digest for name in ("a", "same", "other")}
    assert digest["a"] == digest["same"] != digest["other"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [0, 2, 1, 0]}, r"examples.npz: row 1: y: got 2, accepted: 0 to 1"),
        ({"y": [0, 1, -1, 0]}, r"row 2: y: got -1"),
        ({"split": ["train", "dev", "val", "test"]}, r"split: got 'val', accepted: train, dev, test"),
        ({"language": ["en"]}, r"language: got 1 rows, accepted: 4"),
        ({"ids": ["a"]}, r"ids: got 1 rows, accepted: 4"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "examples.npz", **(GIVEN | change))
