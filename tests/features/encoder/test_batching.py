from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.encoder.batching import plan_batches


@given(st.lists(st.integers(1, 128), max_size=200), st.integers(1, 600))
def test_every_row_once_and_within_the_budget(lengths, tokens):
    lengths = np.array(lengths, dtype=np.int64)
    batches = plan_batches(lengths, tokens)
    rows = np.concatenate(batches) if batches else np.array([], dtype=np.int64)
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens


@given(st.lists(st.integers(1, 128), min_size=2, max_size=300))
def test_a_batch_ends_where_it_is_full_or_full_enough_and_longer_texts_begin(lengths):
    lengths = np.array(lengths)
    batches = plan_batches(lengths, 256)
    for batch, following in pairwise(batches):
        longest, after = lengths[batch].max(), lengths[following].min()
        full = (len(batch) + 1) * after > 256
        assert full or (after > longest and 2 * len(batch) * longest >= 256)


def test_lengths_that_are_frequent_are_not_padded():
    lengths = np.repeat([5, 6, 9], 40)
    batches = plan_batches(lengths, 256)
    assert all(len(set(lengths[batch])) == 1 for batch in batches)


def test_rare_lengths_share_a_batch():
    assert [len(batch) for batch in plan_batches(np.array([5, 6, 7, 8, 9]), 256)] == [5]


def test_equal_lengths_keep_their_order():
    (batch,) = plan_batches(np.array([5, 5, 5]), 100)
    assert batch.tolist() == [0, 1, 2]
