"""Probabilities from scores."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mcbert.finetune.calibration import (
    Calibration,
    calibrate,
    calibration_of,
    expected_calibration_error,
    softmax,
)


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0.0], [3.0, 3.0]])), [[1, 0], [0.5, 0.5]])


def test_calibration_finds_the_temperature_that_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    shares = np.exp(logits / 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    y = (rng.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert calibrate(logits, y) == pytest.approx(0.5, rel=0.05)
    certain = calibrate(10 * np.eye(3)[y], y)
    assert 0.1 < certain < 10  # finite, though the logits are right everywhere


@pytest.mark.parametrize("n_labels", [2, 4, 34, 150])
@pytest.mark.parametrize("kind", ["votes", "margins"])
def test_many_labels_make_nobody_unsure_of_what_is_right_everywhere(n_labels, kind):
    rng = np.random.default_rng(2)
    ranks = rng.permuted(np.tile(np.arange(n_labels, dtype=np.float64), (132, 1)), axis=1)
    scores = ranks if kind == "votes" else rng.normal(size=ranks.shape) + 6 * (ranks == n_labels - 1)
    found = calibration_of(scores, scores.argmax(axis=1))
    assert found.after < 0.03
    assert softmax(scores / found.temperature).max() < 1


def test_the_calibration_error_is_the_gap_between_sureness_and_being_right():
    shares = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    y = np.array([0] * 5 + [1] * 5 + [0] * 6 + [1] * 4)
    assert expected_calibration_error(shares, y) == pytest.approx((0.4 * 10 + 0.0 * 10) / 20)
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1


def test_too_sure_scores_are_brought_back_and_what_abstaining_costs_is_counted():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5000, 3))
    shares = softmax(logits)
    y = (rng.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    found = calibration_of(logits * 8, y)
    assert found.temperature == pytest.approx(8, rel=0.1)
    assert found.before > 0.3
    assert found.after < 0.05
    assert found.n_texts == 5000
    covered = [answered for _, answered, _ in found.abstaining]
    right = [share for _, _, share in found.abstaining]
    assert covered == sorted(covered, reverse=True)
    assert right == sorted(right)
    assert Calibration.of(json.loads(json.dumps(dataclasses.asdict(found)))) == found
