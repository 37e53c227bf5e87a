import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from mcbert.finetune.embeddings.similarity import (
    HEADLINE,
    SIMILARITIES,
    correlations,
    similarities,
    spearman_samples,
)

BY_SCIPY = {
    "cosine": lambda u, v: 1 - distance.cosine(u, v),
    "manhattan": lambda u, v: -distance.cityblock(u, v),
    "euclidean": lambda u, v: -distance.euclidean(u, v),
    "dot": np.dot,
}


def vectors(n=40, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, n, width)).astype(np.float32) + 0.5


def rounded(rng, n):
    """Values with ties."""
    return np.round(rng.normal(size=n), 1)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_measures_are_those_of_scipy(name):
    u, v = vectors()
    wanted = [BY_SCIPY[name](a.astype(np.float64), b.astype(np.float64)) for a, b in zip(u, v, strict=True)]
    found = similarities(u, v)[name]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_more_alike_measure_more(name):
    u = vectors()[0]
    near, far = similarities(u, u + 0.01), similarities(u, -3 * u)
    assert (near[name] > far[name]).all()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 50))
def test_correlations_are_those_of_scipy(seed, n):
    rng = np.random.default_rng(seed)
    x, y = rounded(rng, n), rounded(rng, n)
    found = correlations(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(found).all()
        return
    np.testing.assert_allclose(found.pearson, stats.pearsonr(x, y).statistic, atol=1e-9)
    np.testing.assert_allclose(found.spearman, stats.spearmanr(x, y).statistic, atol=1e-9)
    assert -1 <= found.spearman <= 1


@pytest.mark.parametrize("constant", [0.1, 1.0, 1e30])
def test_what_never_changes_has_no_correlation(constant):
    assert np.isnan(correlations(np.full(7, constant), np.arange(7.0))).all()


def test_the_evaluator_of_sentence_transformers_finds_the_same(monkeypatch):
    evaluation = pytest.importorskip("sentence_transformers.evaluation", reason="needs the extra sbert")
    u, v = vectors(n=60)
    scores = np.round(np.random.default_rng(1).uniform(0, 5, 60), 1)
    kinds = {"cosine": "cosine", "manhattan": "manhattan", "euclidean": "euclidean", "dot": "dot"}
    sides = {"u": u, "v": v}
    evaluator = evaluation.EmbeddingSimilarityEvaluator(
        ["u"] * 60, ["v"] * 60, scores.tolist(), similarity_fn_names=list(kinds), write_csv=False
    )
    monkeypatch.setattr(evaluator, "embed_inputs", lambda _, texts, **__: sides[texts[0]])
    monkeypatch.setattr(evaluator, "store_metrics_in_model_card_data", lambda *_, **__: None)
    found = evaluator(None)
    for ours, theirs in kinds.items():
        mine = correlations(similarities(u, v)[ours], scores)
        np.testing.assert_allclose(mine.pearson, found[f"pearson_{theirs}"], atol=1e-6)
        np.testing.assert_allclose(mine.spearman, found[f"spearman_{theirs}"], atol=1e-6)


def test_samples_are_those_of_drawing_pairs_and_ranking_them_anew():
    rng = np.random.default_rng(3)
    scores, systems = rounded(rng, 23), [rounded(rng, 23), rng.normal(size=23)]
    found = spearman_samples(systems, scores, n_resamples=50, seed=9)
    drawn = np.random.default_rng(9).integers(23, size=(50, 23))
    for sample, rows in enumerate(drawn):
        for k, values in enumerate(systems):
            wanted = stats.spearmanr(values[rows], scores[rows]).statistic
            np.testing.assert_allclose(found[sample, k], wanted, atol=1e-9)


def test_systems_share_the_samples():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=80)
    good = scores + rng.normal(size=80)
    one, same, other = spearman_samples([good, 2 * good + 1, rng.normal(size=80)], scores, n_resamples=200).T
    np.testing.assert_allclose(one, same, atol=1e-12)
    assert np.percentile(one - other, 2.5) > 0
    alone = spearman_samples([good], scores, n_resamples=200)[:, 0]
    np.testing.assert_allclose(one, alone, atol=1e-12)


def test_a_sample_of_one_score_has_no_correlation():
    found = spearman_samples([[1.0, 2.0]], [1.0, 2.0], n_resamples=200)[:, 0]
    assert np.isnan(found).any()
    np.testing.assert_allclose(found[~np.isnan(found)], 1, atol=1e-12)


def test_the_interval_covers_what_other_pairs_would_give():
    """Of samples from one population, about 95% of the intervals hold the population's correlation."""
    rng = np.random.default_rng(5)
    wanted = 6 / np.pi * np.arcsin(0.8 / 2)  # of normal variables that correlate by 0.8
    held = 0
    for _ in range(60):
        x = rng.normal(size=150)
        y = 0.8 * x + 0.6 * rng.normal(size=150)
        low, high = np.quantile(spearman_samples([x], y, n_resamples=400), [0.025, 0.975])
        held += low <= wanted <= high
    assert 51 <= held <= 60


def test_the_headline_is_one_of_the_measures():
    assert HEADLINE in SIMILARITIES


@pytest.mark.parametrize(
    ("u", "v", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), r"got \(2, 3\) and \(2, 4\), accepted: rows in pairs"),
        (np.ones((0, 3)), np.ones((0, 3)), r"got \(0, 3\)"),
        (np.ones((2, 3)), np.array([[1, 1, 1], [0, 0, 0]]), "row 1: not finite, or zeros only"),
        (np.array([[np.nan, 1, 1], [1, 1, 1]]), np.ones((2, 3)), "row 0: not finite"),
    ],
)
def test_rows_that_cannot_be_compared(u, v, said):
    with pytest.raises(ValueError, match=said):
        similarities(u, v)


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])])
def test_numbers_that_are_no_pairs(x, y):
    for call in (correlations, lambda a, b: spearman_samples([a], b)):
        with pytest.raises(ValueError, match="accepted: a number each of 2 pairs or more"):
            call(x, y)
