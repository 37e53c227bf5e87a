import math

import numpy as np
import pytest
from scipy import stats

from mcbert.results import statistics
from tests.results.resampling import paired_bootstrap


def test_bootstrap_interval_is_close_to_the_normal_one():
    rng = np.random.default_rng(0)
    a, b = (rng.random(2000) < 0.8).astype(float), (rng.random(2000) < 0.75).astype(float)
    interval = paired_bootstrap(a, b, n_resamples=4000)
    half = 1.96 * (a - b).std() / math.sqrt(2000)
    assert interval.difference == pytest.approx(a.mean() - b.mean())
    assert interval.low == pytest.approx(interval.difference - half, abs=0.003)
    assert interval.high == pytest.approx(interval.difference + half, abs=0.003)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(1)
    b = (rng.random(500) < 0.7).astype(float)
    a = np.where(rng.random(500) < 0.05, 1.0, b)
    paired = paired_bootstrap(a, b, n_resamples=2000)
    shuffled = paired_bootstrap(rng.permutation(a), b, n_resamples=2000)
    assert paired.low > 0
    assert paired.high - paired.low < 0.5 * (shuffled.high - shuffled.low)


def test_translations_stay_together():
    rng = np.random.default_rng(2)
    difference = rng.integers(-1, 2, 300)
    a, b = (difference > 0).astype(float), (difference < 0).astype(float)
    one = paired_bootstrap(a, b, n_resamples=1000)
    copies = paired_bootstrap(np.stack([a] * 5, axis=1), np.stack([b] * 5, axis=1), n_resamples=1000)
    assert (copies.low, copies.high) == pytest.approx((one.low, one.high))


def test_coverage_is_near_the_level():
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        a, b = rng.random(150) < 0.7, rng.random(150) < 0.6
        interval = paired_bootstrap(a, b, n_resamples=400, seed=seed)
        covered += interval.low <= 0.1 <= interval.high
    assert 178 <= covered <= 200


def test_systems_may_have_different_numbers_of_seeds():
    a, b = np.ones((10, 1)), np.tile([1.0, 0.0], (10, 1))
    assert paired_bootstrap(a, b, n_resamples=50) == statistics.Interval(0.5, 0.5, 0.5)


def test_columns_weigh_equally_where_texts_are_missing():
    a = np.array([[1.0, 1.0], [0.0, np.nan], [0.0, np.nan], [1.0, 1.0]])
    assert paired_bootstrap(a, np.zeros(4), n_resamples=500).difference == pytest.approx(0.75)


def test_resampling_in_portions_changes_nothing(monkeypatch):
    values = np.random.default_rng(4).random((40, 2))
    whole = statistics.resampled_means(values, n_resamples=101, seed=5)
    monkeypatch.setattr(statistics, "_CELLS_AT_ONCE", 400)
    np.testing.assert_allclose(statistics.resampled_means(values, n_resamples=101, seed=5), whole)
    assert whole.shape == (101, 2)


def test_the_seed_decides():
    a, b = np.eye(20)[0], np.eye(20)[1]
    first, again, other = (paired_bootstrap(a, b, n_resamples=30, seed=s, level=0.5) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_mean_interval_is_students():
    values = [0.7, 0.72, 0.75]
    low, high = stats.t.interval(0.9, 2, np.mean(values), stats.sem(values))
    interval = statistics.mean_interval(values, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert math.isnan(statistics.mean_interval([0.5]).low)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 5), (1, 9), (10, 0), (700, 600)])
def test_mcnemar_is_the_binomial_test(only_a, only_b):
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, 7, 3])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, 7, 3])
    n = only_a + only_b
    expected = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert statistics.mcnemar(a, b) == pytest.approx(expected)


def test_holm_is_the_method_of_the_textbook():
    # Holm (1979): the smallest times n, the next times n - 1, ..., never below the one before, at most 1.
    assert statistics.holm([0.03, 0.01, 0.04, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert statistics.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert len(statistics.holm([])) == 0


def test_sums_and_means_of_one_seed_are_of_the_same_samples():
    values = np.random.default_rng(6).random((30, 2))
    sums = statistics.resampled_sums(np.hstack([values, np.ones((30, 1))]), n_resamples=40, seed=2)
    assert (sums[:, 2] == 30).all()
    means = statistics.resampled_means(values, n_resamples=40, seed=2)
    np.testing.assert_allclose(sums[:, :2] / 30, means)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.percentile_interval(0.5, np.ones(3), level=95), "level: given 95"),
        (lambda: statistics.mean_interval([]), "0 values"),
        (lambda: statistics.mcnemar([1, 0], [1]), "accepted: the same"),
    ],
)
def test_errors_say_what_is_accepted(call, message):
    with pytest.raises(ValueError, match=message):
        call()
