"""The order of the texts follows from seed and epoch; batches hold texts of similar lengths."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.trainer_pt_utils import get_length_grouped_indices

from mcbert.finetune.training.batches import EpochBatches

LENGTHS = np.random.default_rng(0).integers(4, 60, 500)


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=120),
    size=st.integers(1, 4),
    parts=st.integers(1, 3),
    tokens=st.sampled_from((0, 60, 200)),
    world=st.integers(1, 3),
)
def test_every_text_is_in_an_epoch_once_and_epochs_are_equally_long(lengths, size, parts, tokens, world):
    lengths = np.array(lengths)
    made = EpochBatches(lengths, size=size * parts, tokens=tokens, parts=parts, seed=3)
    for epoch in (0, 1, 7):
        batches = made.plan(epoch)
        assert len(batches) == len(made)
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
        for rows in batches:
            if tokens:
                budget = max(tokens // parts, lengths[rows].max())
                assert len(rows) * lengths[rows].max() <= budget
            else:
                assert len(rows) <= size
        options = {"size": size * parts, "tokens": tokens, "parts": parts, "seed": 3}
        shares = [EpochBatches(lengths, share=(rank, world), **options) for rank in range(world)]
        for share in shares:
            share.epoch = epoch
        for rows, *mine in zip(batches, *shares, strict=True):
            assert all(mine)
            none = [len(lengths)] * max(0, world - len(rows))  # for a process that is left without a text
            assert sorted(itertools.chain(*mine)) == sorted(rows.tolist()) + none


def test_the_order_is_of_seed_and_epoch_alone():
    first, second = (EpochBatches(LENGTHS, size=32, seed=5) for _ in range(2))
    list(first)
    np.random.default_rng().normal()
    assert all(np.array_equal(a, b) for a, b in zip(first.plan(2), second.plan(2), strict=True))
    other = EpochBatches(LENGTHS, size=32, seed=6)
    assert not np.array_equal(np.concatenate(first.plan(2)), np.concatenate(other.plan(2)))
    assert not np.array_equal(np.concatenate(first.plan(2)), np.concatenate(first.plan(3)))


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_knows_its_texts(parts):
    batches = EpochBatches(LENGTHS, size=32, parts=parts, seed=1)
    drawn = []
    for epoch in (0, 1):
        batches.epoch = epoch
        rows = list(batches)
        drawn += [list(itertools.chain(*rows[k : k + parts])) for k in range(0, len(rows), parts)]
    for step, rows in enumerate(drawn):
        assert batches.rows_of_step(step).tolist() == rows


def test_the_step_that_needs_most_comes_first():
    for tokens in (0, 1000):
        batches = EpochBatches(LENGTHS, size=32, tokens=tokens, seed=1).plan(4)
        needs = [len(rows) * LENGTHS[rows].max() for rows in batches]
        assert needs[0] >= max(needs[:-1])


def padding(batches):
    """Share of padding in the tokens of some batches of all texts."""
    return 1 - LENGTHS.sum() / sum(len(rows) * LENGTHS[rows].max() for rows in batches)


def test_padding_is_at_most_that_of_transformers_grouping():
    order = np.array(get_length_grouped_indices(LENGTHS.tolist(), 32))
    theirs = padding([order[k : k + 32] for k in range(0, 500, 32)])
    mine = padding(EpochBatches(LENGTHS, size=32).plan(0))
    assert mine <= theirs + 0.02
    assert padding(EpochBatches(LENGTHS, size=32, tokens=1024).plan(0)) < mine
