"""Labels, languages and splits survive the file; rows of the corpus are mapped to distinct texts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore
from mcbert.search.data import Examples, select_rows, write_examples
from mcbert.search.source import JoinedStates, open_source

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
        {"pairs": {"zh": np.array([[1], [2]])}},
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


def test_pairs_survive_the_file(tmp_path):
    pairs = {"zh": np.array([[1, 0], [2, 7]]), "de": np.array([[1], [3]])}
    write_examples(tmp_path / "examples.npz", **GIVEN, pairs=pairs)
    read = Examples.read(tmp_path / "examples.npz").pairs
    assert {name: both.tolist() for name, both in read.items()} == {"zh": [[1, 0], [2, 7]], "de": [[1], [3]]}
    write_examples(tmp_path / "examples.npz", **GIVEN)
    assert Examples.read(tmp_path / "examples.npz").pairs == {}


def test_examples_of_an_earlier_version_say_what_to_do(tmp_path):
    path = tmp_path / "examples.npz"
    write_examples(path, **GIVEN)
    with np.load(path) as whole:
        old = {name: whole[name] for name in whole.files if not name.startswith("pair_")}
    np.savez(path, **old)
    with pytest.raises(ValueError, match=r"examples.npz: .*run the gridsearch stage again") as refused:
        Examples.read(path)
    assert "\n" not in str(refused.value)


def test_pairs_are_positions_among_the_distinct_evaluation_texts(make_search, source_of):
    made = make_search(translated=True)
    store, corpus, rows = open_source(source_of(made))
    assert list(rows.pairs) == ["de", "zh"]
    for name, (source, target) in rows.pairs.items():
        for at, language in ((source, "en"), (target, name)):
            of_rows = rows.eval_rows[at]
            assert set(corpus.language[of_rows]) == {language}
            assert set(corpus.split[of_rows]) == {"dev"}
        np.testing.assert_array_equal(corpus.y[rows.eval_rows[source]], corpus.y[rows.eval_rows[target]])
    only = select_rows(corpus, store.index, ("en", "zh"))
    assert list(only.pairs) == ["zh"]


def test_pairs_with_a_row_that_is_not_evaluated_are_left_out(make_search, source_of):
    made = make_search(translated=True)
    store, corpus, _ = open_source(source_of(made))
    split = corpus.split.astype("U7")
    gone = corpus.pairs["de"][1, 3]
    split[gone] = "skipped"
    rows = select_rows(dataclasses.replace(corpus, split=split), store.index, ("en", "de", "zh"))
    assert rows.pairs["de"].shape == (2, 14)
    assert gone not in rows.eval_rows[rows.pairs["de"][1]]
    assert rows.pairs["zh"].shape == (2, 15)


def test_dev_rows_by_language_are_those_of_the_corpus(make_search, source_of):
    made = make_search(translated=True)
    _, corpus, rows = open_source(source_of(made))
    for language, (text, y) in rows.dev.items():
        dev = corpus.rows("dev", language)
        np.testing.assert_array_equal(made.index[rows.eval_rows[rows.watched[text]]], made.index[dev])
        np.testing.assert_array_equal(y, corpus.y[dev])


def test_joined_states_number_the_second_cache_on_from_the_first(make_search):
    first, second = (FeatureStore.open(make_search(seed, name).store) for seed, name in ((0, "a"), (1, "b")))
    joined, n = JoinedStates(first, second), first.n_rows
    rows = np.array([n + 3, 0, 5, n, 2])
    found = joined.states(layers=(1, 3), pooling="cls", rows=rows)
    one = first.states(layers=(1, 3), pooling="cls", rows=np.array([0, 5, 2]))
    two = second.states(layers=(1, 3), pooling="cls", rows=np.array([3, 0]))
    np.testing.assert_array_equal(found, np.stack([two[0], one[0], one[1], two[1], one[2]]))
    whole = joined.states(layers=(2,), pooling="max")
    parts = [store.states(layers=(2,), pooling="max") for store in (first, second)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_rows_of_parallel_sentences_are_predicted_and_not_scored(make_search, source_of):
    store, corpus, _ = open_source(source_of(make_search()))
    n = len(store.index)
    given = dataclasses.replace(corpus, pairs={"de": np.array([[n + 1, n + 4], [n, n + 2]])})
    found = select_rows(given, store.index, ("en", "de"), n + np.array([0, 1, 2]))
    assert found.eval_rows[-3:].tolist() == [n, n + 1, n + 2]
    assert found.scored_rows.max() < n
    source, target = found.eval_rows[found.pairs["de"]]
    assert (source.tolist(), target.tolist()) == ([n + 1], [n])  # of the other a side is not there
