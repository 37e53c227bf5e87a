"""Layers and poolings: their text forms, their canonical order, and what is refused."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.features.spec import (
    LAYERS_FORM,
    POOLINGS,
    POOLINGS_FORM,
    FeatureSpec,
    layers_text,
    mixes_poolings,
    parse_layers,
    parse_poolings,
)

BLOCKS = st.lists(st.tuples(st.integers(0, 48), st.sampled_from(POOLINGS)), min_size=1, max_size=12)


@given(BLOCKS)
def test_a_spec_is_the_same_after_its_text(blocks):
    layers, poolings = zip(*blocks, strict=True)
    spec = FeatureSpec(layers, poolings)
    text = layers_text(spec.layers)
    assert FeatureSpec.of(text, spec.pooling) == FeatureSpec.of(list(layers), "+".join(poolings)) == spec
    assert spec.blocks == tuple(blocks)
    assert (parse_layers(text), parse_poolings(spec.pooling, len(layers))) == (layers, poolings)
    assert re.fullmatch(LAYERS_FORM, text)
    assert re.fullmatch(POOLINGS_FORM, spec.pooling)
    assert spec.is_mixed == mixes_poolings(spec.pooling) == (len(set(poolings)) > 1)
    assert str(spec) == f"{text}-{spec.pooling}"


@given(st.data(), BLOCKS)
def test_the_canonical_order_is_by_layer_then_by_pooling_however_blocks_come(data, blocks):
    spec = FeatureSpec.of_blocks(blocks)
    assert FeatureSpec.of_blocks(data.draw(st.permutations(blocks))) == spec
    assert sorted(spec.blocks) == sorted(blocks)
    places = [(layer, POOLINGS.index(pooling)) for layer, pooling in spec.blocks]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("blocks", "layers", "pooling"),
    [
        ([(8, "max"), (6, "mean")], "6+8", "mean+max"),
        ([(6, "cls"), (6, "max"), (8, "max")], "6+6+8", "max+cls+max"),
        ([(8, "max"), (6, "max"), (11, "max")], "6+8+11", "max"),
        ([(0, "last")], "0", "last"),
    ],
)
def test_texts_are_those_of_tables_and_ids(blocks, layers, pooling):
    spec = FeatureSpec.of_blocks(blocks)
    assert (layers_text(spec.layers), spec.pooling) == (layers, pooling)


def test_columns_stay_in_the_order_asked_for():
    assert FeatureSpec.of((11, 6), "max").blocks == ((11, "max"), (6, "max"))
    assert FeatureSpec.of("11+6", "max+cls").blocks == ((11, "max"), (6, "cls"))


def test_one_pooling_may_be_named_for_each_layer():
    assert FeatureSpec.of((6, 8), "max+max") == FeatureSpec.of((6, 8), "max")


def test_no_layers_are_an_empty_text():
    assert layers_text(()) == ""


@pytest.mark.parametrize(
    ("layers", "pooling", "message"),
    [
        (
            (6, 8, 11),
            "max+cls",
            r"pooling: got 'max\+cls' for 3 layers, accepted: max, mean, cls, last, or one",
        ),
        ((6,), "min", "pooling: got 'min' for 1 layers, accepted: max, mean, cls, last"),
        ((6,), "", "pooling: got '' for 1 layers"),
        ((6, 8), "max+", r"pooling: got 'max\+' for 2 layers"),
        ((6,), None, "pooling: got None for 1 layers"),
        ((), "max", r"layers: got \[\], accepted: at least one whole number"),
        ((6, -1), "max", r"layers: got \[6, -1\]"),
        ((6, 7.5), "max", r"layers: got \[6, 7\.5\]"),
        ((True,), "max", r"layers: got \[True\]"),
        ("", "max", r"layers: got '', accepted: whole numbers joined by \+, such as 6\+8\+11"),
        ("6,8", "max", "layers: got '6,8'"),
        ("6+-8", "max", r"layers: got '6\+-8'"),
    ],
)
def test_what_a_spec_refuses(layers, pooling, message):
    with pytest.raises(ValueError, match=message):
        FeatureSpec.of(layers, pooling)


def test_a_spec_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match=r"pooling: got 'max\+cls' for 1 layers"):
        FeatureSpec((6,), ("max", "cls"))


def test_specs_are_read_without_torch():
    code = "import sys, mcbert.features.spec; sys.exit(bool({'torch', 'numpy', 'pandas'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("layers", "pooling", "words"),
    [
        ((6,), "max", "layer 6 under max"),
        ((6, 8, 11), "max", "layers 6, 8, 11 under max"),
        ((5, 6, 7, 8, 12), "mean", "layers 5 to 8, 12 under mean"),
        ((6, 6), "max+mean", "layer 6 under max, mean"),
        ((5, 6, 6, 7), "cls+max+cls+cls", "layers 5, 7 under cls; layer 6 under max, cls"),
        (sorted([*range(5, 13)] * 2), "+".join(["max", "cls"] * 8), "layers 5 to 12 under max, cls"),
    ],
)
def test_words_for_prose(layers, pooling, words):
    assert FeatureSpec.of(tuple(layers), pooling).words == words
