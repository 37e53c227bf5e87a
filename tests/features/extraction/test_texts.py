from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.features.extraction.texts import (
    BYTES_PER_TOKEN,
    SPECIAL_TOKENS,
    PackedTexts,
    plan_units,
    survey,
)

PAIRS = st.tuples(
    st.sampled_from(["a", "b", "ab", "東京", "x\x00y", "émile"]), st.sampled_from(["", "a", "ba"])
)


def rows_of(pairs):
    return [(f"t{k}", *pair) for k, pair in enumerate(pairs)]


def in_order(pairs):
    return sorted(dict.fromkeys(pairs), key=lambda pair: len("".join(pair).encode()))


@given(st.lists(PAIRS, min_size=1, max_size=30))
@settings(max_examples=200)
def test_distinct_texts_are_numbered_from_short_to_long_then_by_first_appearance(pairs):
    found = survey(rows_of(pairs))
    distinct = in_order(pairs)
    assert [distinct[k] for k in found.index] == pairs
    assert found.rows.tolist() == [pairs.index(pair) for pair in distinct]
    assert found.sizes.tolist() == [[len(a.encode()), len(b.encode())] for a, b in distinct]


@given(pairs=st.lists(PAIRS, min_size=1, max_size=30), cut=st.data())
@settings(max_examples=60)
def test_any_range_reads_back(tmp_path_factory, pairs, cut):
    rows = rows_of(pairs)
    packed = PackedTexts.write(tmp_path_factory.mktemp("packed") / "texts.packed", rows, survey(rows))
    distinct = in_order(pairs)
    start = cut.draw(st.integers(0, len(distinct) - 1))
    stop = cut.draw(st.integers(start, len(distinct)))
    assert packed.read(start, stop) == distinct[start:stop]


def test_where_a_text_ends_and_the_second_begins_matters():
    a, b = survey([("1", "ab", "c")]), survey([("1", "a", "bc")])
    assert a.digest != b.digest
    assert survey([("1", "ab", "c"), ("2", "a", "bc")]).n_texts == 2


def test_ids_do_not_matter():
    assert survey([("1", "a", "")]).digest == survey([("2", "a", "")]).digest


def test_texts_that_change_between_the_passes_are_noticed(tmp_path):
    found = survey([("1", "a", ""), ("2", "b", "")])
    with pytest.raises(ValueError, match="the texts changed while they were read"):
        PackedTexts.write(tmp_path / "texts.packed", [("1", "a", ""), ("2", "c", "")], found)
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_reads_the_texts(tmp_path):
    rows = [("1", "a", "")]
    packed = PackedTexts.write(tmp_path / "texts.packed", rows, survey(rows))
    assert packed.path.stat().st_mode & 0o077 == 0


def test_an_empty_corpus_has_no_texts():
    found = survey([])
    assert (found.n_texts, len(found.index)) == (0, 0)
    assert found.index.dtype == np.int64


@given(
    st.lists(st.integers(1, 2000), min_size=1, max_size=200),
    st.integers(1, 40),
    st.integers(1, 500),
    st.integers(3, 130),
)
@settings(max_examples=200)
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
