"""Rows of a search, and what a block refuses."""

import dataclasses

import numpy as np
import pytest

from mcbert.search.fitting.kernels import Block, PoolingBlocks, open_rows, select_rows


def test_rows_map_train_and_scored_rows_to_distinct_texts(make_search, source_of):
    made = make_search()
    _, corpus, rows = open_rows(source_of(made))
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
    _, corpus, _ = open_rows(source_of(make_search()))
    train, language, index = corpus.rows("train"), corpus.language.copy(), np.arange(len(corpus.y))
    language[train[::2]] = "de"
    translated = dataclasses.replace(corpus, language=language)
    for languages in (("en", "de"), ("en",)):
        assert set(select_rows(translated, index, languages).train_rows) == set(train)


def test_only_the_languages_asked_for_are_scored(make_search, source_of):
    _, corpus, rows = open_rows(source_of(make_search(), languages=("en", "zh")))
    assert set(corpus.language[rows.scored_rows].tolist()) == {"en", "zh"}


def test_gram_of_a_concatenation_is_the_sum_over_layers():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(9, 4)).astype(np.float32) for _ in range(3)]
    blocks = [Block(part, part[:5], np.arange(9)) for part in parts]
    whole = Block(np.concatenate(parts, axis=1), np.concatenate(parts, axis=1)[:5], np.arange(9))
    np.testing.assert_allclose(sum(block.gram for block in blocks), whole.gram, atol=1e-8)
    np.testing.assert_allclose(sum(block.cross for block in blocks), whole.cross, atol=1e-5)


def test_constant_column_has_scale_one():
    states = np.full((5, 2), 7.25, dtype=np.float32)
    states[:, 1] = np.arange(5)
    block = Block(states, states, np.arange(5))
    assert block.scale[0] == 1
    assert (block.train[:, 0] == 0).all()


def test_states_that_are_not_finite_are_refused_by_row(make_search, source_of):
    store, corpus, _ = open_rows(source_of(make_search()))

    class Broken:
        index = store.index

        def states(self, *, layers, pooling, rows=None):
            states = store.states(layers=layers, pooling=pooling, rows=rows)
            states[3, 0] = np.nan
            return states

    rows = select_rows(corpus, store.index, ("en",))
    with pytest.raises(ValueError, match=r"layer 2, pooling max, corpus row 3: not a finite number"):
        PoolingBlocks(Broken(), rows, "max")[2]
