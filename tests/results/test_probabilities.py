"""Temperature, log-loss and the agreement of probabilities, each against an independent reckoning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn import metrics

from mcbert.results.probabilities import TEMPERATURES, agreement, log_loss, softmax, temperature


def smoothed_loss(scores, y):
    """Return Guo's loss with Platt's targets, as a function of the logarithm of the temperature."""
    n, rows = len(y), np.arange(len(y))
    others = scores.astype(np.float64)
    others[rows, y] = -np.inf
    targets = np.zeros(scores.shape)
    targets[rows, others.argmax(axis=1)] = 1 / (n + 2)
    targets[rows, y] += (n + 1) / (n + 2)

    def loss(exponent):
        scaled = scores / np.exp(exponent)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return (targets * (np.log(np.exp(scaled).sum(axis=1, keepdims=True)) - scaled)).sum()

    return loss


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [1e-2, 1.0, 100.0])
def test_the_temperature_is_that_of_a_minimisation(seed, scale):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 200)), int(rng.integers(2, 12))
    y = rng.integers(k, size=n)
    scores = scale * (rng.normal(size=(n, k)) + rng.uniform(0, 4) * np.eye(k)[y])
    loss = smoothed_loss(scores, y)
    found = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded", options={"xatol": 1e-9})
    own = np.log(temperature(scores, y))
    assert loss(own) <= loss(found.x) + 1e-9 * abs(loss(found.x))
    assert TEMPERATURES[0] - 1e-6 <= own <= TEMPERATURES[1] + 1e-6


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_scores_that_tell_nothing_or_are_always_wrong_have_a_finite_temperature(shift):
    y = np.array([0, 1, 2])
    for scores in (np.zeros((3, 3)), -np.eye(3), np.eye(3), 1e8 * np.eye(3)):
        found = temperature(scores + shift, y)
        assert np.isfinite(softmax((scores + shift) / found)).all()
        assert np.exp(TEMPERATURES[0]) * 0.99 <= found <= np.exp(TEMPERATURES[1]) * 1.01


def test_votes_and_their_multiples_have_the_same_probabilities():
    rng = np.random.default_rng(3)
    scores, y = rng.normal(size=(50, 4)), rng.integers(4, size=50)
    y[:30] = scores[:30].argmax(axis=1)
    one, ten = softmax(scores / temperature(scores, y)), softmax(10 * scores / temperature(10 * scores, y))
    np.testing.assert_allclose(one, ten, atol=1e-6)


def test_log_loss_is_scikit_learns_and_finite_for_a_certain_error():
    rng = np.random.default_rng(0)
    shares, y = softmax(rng.normal(size=(40, 5))), rng.integers(5, size=40)
    assert log_loss(shares, y) == pytest.approx(metrics.log_loss(y, shares, labels=range(5)))
    assert 700 < log_loss(np.array([[0.0, 1.0]]), np.array([0])) < 710


@pytest.mark.parametrize("seed", range(5))
def test_of_certain_shares_agreement_is_cohens_kappa(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(4, size=60)
    b = np.where(rng.random(60) < 0.6, a, rng.integers(4, size=60))
    expected = metrics.cohen_kappa_score(a, b)
    assert agreement(np.eye(4)[a], np.eye(4)[b]) == pytest.approx(expected)


def test_who_always_answers_the_same_agrees_no_more_than_by_chance():
    constant = np.tile([0.7, 0.2, 0.1], (30, 1))
    assert agreement(constant, constant) == 0
    one_label = np.tile([1.0, 0.0, 0.0], (30, 1))
    assert agreement(one_label, one_label) == 0
    certain = np.eye(3)[np.arange(30) % 3]
    assert agreement(certain, certain) == 1
    assert agreement(certain, constant) == pytest.approx(0)


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 2**31), st.floats(0.01, 50))
def test_agreement_is_at_most_1_symmetric_and_1_of_equals(n, k, seed, sharpness):
    rng = np.random.default_rng(seed)
    a, b = (softmax(sharpness * rng.normal(size=(n, k))) for _ in range(2))
    found = agreement(a, b)
    assert found <= 1 + 1e-9
    assert found == pytest.approx(agreement(b, a), abs=1e-6)
    order = rng.permutation(k)
    assert found == pytest.approx(agreement(a[:, order], b[:, order]), abs=1e-6)
    if np.ptp(a, axis=0).max() > 1e-3:
        assert agreement(a, a) == pytest.approx(1, abs=1e-6)
