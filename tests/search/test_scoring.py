"""Scores from confusion matrices equal those that scikit-learn computes from labels."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from mcbert.search.scoring import (
    confusion_matrices,
    mean_f1,
    pack,
    packed_f1,
    packed_macro_f1,
    scores,
    unpack,
)

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=60)


@given(ROWS)
def test_matrices_and_scores_are_scikit_learns_in_every_group(rows):
    y, predicted, group = np.array(rows, dtype=np.int64).T
    matrices = confusion_matrices(y, predicted, group=group, n_groups=3, n_classes=4)
    assert matrices.shape == (3, 4, 4)
    for number, matrix in enumerate(matrices):
        mine, theirs = y[group == number], predicted[group == number]
        np.testing.assert_array_equal(
            matrix, confusion_matrix(mine, theirs, labels=range(4)) if len(mine) else 0
        )
        if len(mine):
            labels = {"labels": range(4), "zero_division": 0}
            found = scores(matrix[None])
            assert found["f1_micro"][0] == pytest.approx(f1_score(mine, theirs, average="micro", **labels))
            assert found["f1_micro"][0] == float(packed_f1(pack(matrix), 4))
            assert found["f1_macro"][0] == pytest.approx(f1_score(mine, theirs, average="macro", **labels))
            assert found["f1_micro"][0] == accuracy_score(mine, theirs)


@given(ROWS)
def test_micro_f1_of_single_label_data_is_accuracy(rows):
    y, predicted, _ = np.array(rows, dtype=np.int64).T
    group = np.zeros_like(y)
    matrix = confusion_matrices(y, predicted, group=group, n_groups=1, n_classes=4)[0]
    assert float(packed_f1(pack(matrix), 4)) == accuracy_score(y, predicted)


def test_micro_f1_is_computed_from_its_parts():
    # columns 0 and 1: TP 3 + 1, FP 2 + 0, FN 0 + 2
    matrix = np.array([[3, 0], [2, 1]])
    assert scores(matrix[None])["f1_micro"][0] == 2 * 4 / (2 * 4 + 2 + 2)
    assert packed_f1(pack(matrix), 2) == Fraction(2 * 4, 2 * 4 + 2 + 2)


def test_equal_means_are_equal_numbers():
    # the same tenths in another order: floats added one by one differ in the last bit
    one = mean_f1([Fraction(1, 10), Fraction(2, 10), Fraction(3, 10)])
    other = mean_f1([Fraction(3, 10), Fraction(2, 10), Fraction(1, 10)])
    assert one == other == 0.2
    assert (0.1 + 0.2 + 0.3) / 3 != (0.3 + 0.2 + 0.1) / 3
    assert np.isnan(mean_f1([]))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=15))
def test_the_mean_is_rounded_once(parts):
    shares = [Fraction(min(right, n), n) for right, n in parts]
    assert mean_f1(shares) == float(sum(shares, start=Fraction(0)) / len(parts))


@given(ROWS)
def test_a_packed_matrix_comes_back_and_has_the_same_score(rows):
    y, predicted, _ = np.array(rows, dtype=np.int64).T
    matrix = confusion_matrices(y, predicted, group=np.zeros_like(y), n_groups=1, n_classes=4)[0]
    packed = pack(matrix)
    assert len(packed) == 2 * np.count_nonzero(matrix)
    np.testing.assert_array_equal(unpack(packed, 4), matrix)
    assert packed_f1(packed, 4) == Fraction(int((y == predicted).sum()), len(y))


def test_an_empty_matrix_packs_to_nothing():
    assert pack(np.zeros((3, 3), dtype=np.int64)) == []
    assert not unpack([], 3).any()
    assert packed_f1([], 3) == 0


@pytest.mark.parametrize("n_classes", [4, 100, 1000])
def test_a_packed_matrix_grows_with_texts_and_not_with_the_square_of_the_classes(n_classes):
    y, predicted = np.random.default_rng(0).integers(n_classes, size=(2, 500))
    group = np.zeros_like(y)
    matrix = confusion_matrices(y, predicted, group=group, n_groups=1, n_classes=n_classes)[0]
    assert len(json.dumps(pack(matrix))) < 500 * 12


def test_many_matrices_are_scored_as_each_alone():
    matrices = np.random.default_rng(0).integers(9, size=(20, 5, 5))
    together = scores(matrices)
    for number, matrix in enumerate(matrices):
        assert {name: values[number] for name, values in together.items()} == {
            name: values[0] for name, values in scores(matrix[None]).items()
        }


@given(st.integers(2, 5), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_packed_macro_f1_is_scikit_learns(n_classes, pairs):
    pairs = [(true % n_classes, predicted % n_classes) for true, predicted in pairs]
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    for true, predicted in pairs:
        matrix[true, predicted] += 1
    found = packed_macro_f1(pack(matrix), n_classes)
    if not pairs:
        assert found == 0
        return
    y, predicted = zip(*pairs, strict=True)
    wanted = f1_score(y, predicted, average="macro", labels=range(n_classes), zero_division=0)
    assert found == pytest.approx(wanted)
    order = np.random.default_rng(0).permutation(n_classes)  # names of labels make no difference, to the bit
    assert packed_macro_f1(pack(matrix[np.ix_(order, order)]), n_classes) == found
