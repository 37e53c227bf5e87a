from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.features.extraction.plan import BYTES_PER_TOKEN, SPECIAL_TOKENS, plan_shards, plan_units


@given(
    st.lists(st.integers(1, 2000), min_size=1, max_size=200),
    st.integers(1, 40),
    st.integers(1, 500),
    st.integers(3, 130),
)
@settings(max_examples=200, deadline=None)
def test_units_cover_every_text_once_within_their_limits(sizes, rows, tokens, max_length):
    sizes = np.array(sizes)
    bounds = plan_units(sizes, max_length=max_length, rows=rows, tokens=tokens)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    counts = np.diff(bounds)
    assert counts.min() >= 1
    assert counts.max() <= rows
    estimate = np.minimum(sizes // BYTES_PER_TOKEN + SPECIAL_TOKENS, max_length)
    for start, stop in pairwise(bounds):
        assert stop - start == 1 or estimate[start:stop].sum() <= tokens
        full = stop - start == rows or stop == len(sizes)
        assert full or estimate[start : stop + 1].sum() > tokens, "a unit is as large as it may be"


@pytest.mark.parametrize("units_per_file", [1, 2, 3, 100])
def test_shards_are_consecutive_units(units_per_file):
    bounds = np.array([0, 4, 9, 11, 20, 21])
    shards = plan_shards(bounds, units_per_file)
    assert [start for shard in shards for start in shard.units] == bounds[:-1].tolist()
    assert all(len(shard.units) <= units_per_file for shard in shards)
    assert shards[-1].stop == 21
