"""Probabilities from scores."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.calibration import calibrate, softmax


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
