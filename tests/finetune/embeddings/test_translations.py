import numpy as np
import pandas as pd
import pytest

from mcbert.finetune.embeddings.translations import error_rates
from mcbert.results.schema.words import MEAN
from tests.results.bootstrap import paired_bootstrap


def sentences(languages, units=None):
    own = [f"{name}-{k}" for k, name in enumerate(languages)]
    return pd.DataFrame({"language": languages, "unit": units or own})


def wrong(n, shares, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, len(shares))) < np.array(shares)).astype(float)


def test_each_language_then_their_mean():
    cells = np.array([[1, 0], [0, 0], [1, 1], [1, 1], [1, 0]], dtype=float)
    found = dict(error_rates(cells, sentences(["de", "de", "de", "fr", "fr"]), n_resamples=50))
    assert list(found) == ["de", "fr", MEAN]
    np.testing.assert_allclose(found["de"].measured, [2 / 3, 1 / 3])
    np.testing.assert_allclose(found["fr"].measured, [1, 1 / 2])
    np.testing.assert_allclose(found[MEAN].measured, [5 / 6, 5 / 12])
    np.testing.assert_allclose(found[MEAN].drawn, (found["de"].drawn + found["fr"].drawn) / 2)


def test_one_language_has_no_mean():
    assert [name for name, _ in error_rates(np.ones((3, 1)), sentences(["de"] * 3), n_resamples=5)] == ["de"]


def test_intervals_are_those_of_the_paired_bootstrap():
    cells = wrong(200, [0.5, 0.3])
    ((_, rates),) = error_rates(cells, sentences(["de"] * 200), n_resamples=500, seed=3)
    direct = paired_bootstrap(cells[:, 0], cells[:, 1], n_resamples=500, seed=3)
    drawn = rates.drawn[:, 0] - rates.drawn[:, 1]
    np.testing.assert_allclose(np.quantile(drawn, [0.025, 0.975]), [direct.low, direct.high], atol=1e-12)
    error = rates.interval(0)
    assert error.low < error.difference == cells[:, 0].mean() < error.high


def test_a_reduction_is_the_share_of_errors_avoided():
    cells = wrong(500, [0.2, 0.6])
    ((_, rates),) = error_rates(cells, sentences(["de"] * 500), n_resamples=400)
    cut = rates.reduction(0, 1)
    assert cut.difference == pytest.approx(1 - cells[:, 0].mean() / cells[:, 1].mean())
    assert 0 < cut.low < cut.difference < cut.high < 1
    assert rates.reduction(1, 0).difference < 0
    same = rates.reduction(0, 0)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_a_baseline_without_errors_leaves_nothing_to_cut():
    cells = np.array([[1, 0], [0, 0]], dtype=float)
    ((_, rates),) = error_rates(cells, sentences(["de"] * 2), n_resamples=20)
    assert rates.reduction(0, 1) is None


def test_translations_of_a_sentence_are_drawn_together():
    """Two languages that err on the same sentences vary as one; on unrelated ones they even out."""
    one = wrong(100, [0.5])
    cells, names = np.vstack([one, one]), ["de"] * 100 + ["fr"] * 100
    shared = dict(error_rates(cells, sentences(names, [f"{k % 100}" for k in range(200)]), n_resamples=2000))
    apart = dict(error_rates(cells, sentences(names), n_resamples=2000))
    np.testing.assert_array_equal(shared["de"].drawn, shared["fr"].drawn)
    ratio = apart[MEAN].drawn.std() / shared[MEAN].drawn.std()
    assert 0.6 < ratio < 0.82  # 1 / sqrt(2)


def test_a_sentence_that_a_language_lacks_does_not_count_there():
    cells = np.array([[1], [0], [1]], dtype=float)
    found = dict(error_rates(cells, sentences(["de", "de", "fr"], ["a", "b", "a"]), n_resamples=300))
    assert found["fr"].measured.tolist() == [1]
    drawn = found["fr"].drawn[:, 0]
    assert np.isnan(drawn).any()  # samples of b alone
    assert set(drawn[~np.isnan(drawn)]) == {1.0}
    assert found["fr"].interval(0).low == 1
