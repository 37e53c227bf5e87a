from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcbert.features.encoder.tokens import plan_batches


@given(st.lists(st.integers(1, 128), max_size=200), st.integers(1, 600))
def test_every_row_once_and_within_the_budget(lengths, tokens):
    lengths = np.array(lengths, dtype=np.int64)
    batches = plan_batches(lengths, tokens)
    rows = np.concatenate(batches) if batches else np.array([], dtype=np.int64)
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens


@given(st.lists(st.integers(1, 128), min_size=2, max_size=300))
def test_a_batch_could_not_have_taken_the_next_row(lengths):
    lengths = np.array(lengths)
    batches = plan_batches(lengths, 256)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > 256


def test_texts_of_one_length_make_batches_of_one_shape_but_the_last():
    sizes = [len(batch) for batch in plan_batches(np.full(1000, 7), 256)]
    assert set(sizes[:-1]) == {256 // 7}


def test_equal_lengths_keep_their_order():
    (batch,) = plan_batches(np.array([5, 5, 5]), 100)
    assert batch.tolist() == [0, 1, 2]
