"""Labels, languages and splits survive the file; rows of the corpus are mapped to distinct texts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mcbert.search.data import Examples, open_source, select_rows, write_examples

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
    write_examples(path, **GIVEN, ids=["a", "b", "c", "d-é"])
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
    write_examples(
        path, **(GIVEN | {"language": np.array(GIVEN["language"]), "split": np.array(GIVEN["split"])})
    )
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
    write_examples(tmp_path / "a.npz", **GIVEN)
    write_examples(tmp_path / "same.npz", **GIVEN)
    write_examples(tmp_path / "other.npz", **(GIVEN | change))
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
        write_examples(tmp_path / "examples.npz", **(GIVEN | change))


def test_rows_map_train_and_scored_rows_to_distinct_texts(make_search, source_of):
    made = make_search()
    _, corpus, rows = open_source(source_of(made))
    train = corpus.rows("train", "en")
    assert len(rows.train_rows) == 40
    assert len(rows.train_text) == 52
    np.testing.assert_array_equal(made.index[rows.train_rows][rows.train_text], made.index[train])
    np.testing.assert_array_equal(rows.train_y, corpus.y[train])
    np.testing.assert_array_equal(made.index[rows.eval_rows][rows.scored_text], made.index[rows.scored_rows])
    assert rows.pair_count.sum() == 52
    assert rows.groups == (
        ("en", "dev"), ("en", "test"), ("de", "dev"), ("de", "test"), ("zh", "dev"), ("zh", "test"),
    )  # fmt: skip
    names = [rows.groups[group] for group in rows.scored_group]
    assert names == list(zip(corpus.language[rows.scored_rows], corpus.split[rows.scored_rows], strict=True))


def test_translated_train_rows_are_trained_on_like_any_other(make_search, source_of):
    _, corpus, _ = open_source(source_of(make_search()))
    train, language, index = corpus.rows("train"), corpus.language.copy(), np.arange(len(corpus.y))
    language[train[::2]] = "de"
    translated = dataclasses.replace(corpus, language=language)
    for languages in (("en", "de"), ("en",)):
        assert set(select_rows(translated, index, languages).train_rows) == set(train)


def test_only_the_languages_asked_for_are_scored(make_search, source_of):
    _, corpus, rows = open_source(source_of(make_search(), languages=("en", "zh")))
    assert set(corpus.language[rows.scored_rows].tolist()) == {"en", "zh"}
