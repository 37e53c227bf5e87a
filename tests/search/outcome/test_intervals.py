"""Intervals of sums of scores and of macro-F1."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mcbert.results.statistics import resampled_counts
from mcbert.search.outcome.comparisons import top_rows
from mcbert.search.outcome.intervals import Sample, intervals, macro_intervals, one_each
from tests.results.bootstrap import paired_bootstrap
from tests.search.answers import make_predictions


@pytest.fixture(scope="module")
def predictions():
    return make_predictions([[0.9, 0.8, 0.7], [0.85, 0.7, 0.72], [0.6, 0.5, 0.4]])


@pytest.fixture(scope="module")
def sample(predictions):
    return Sample.of(predictions, "test")


def right_of(predictions, candidate, split, language):
    rows = np.flatnonzero((predictions.split == split) & (predictions.language == language))
    return (predictions.codes[candidate, predictions.text[rows]] == predictions.y[rows]).astype(float)


def test_scores_are_shares_of_right_answers(predictions, sample):
    found = intervals(sample, np.eye(3), n_resamples=50)
    for candidate in range(3):
        scores = [
            right_of(predictions, candidate, "test", language).mean() for language in ("en", "de", "zh")
        ]
        got = found[candidate]
        assert [got[language].difference for language in ("en", "de", "zh")] == pytest.approx(scores)
        assert got["mean"].difference == pytest.approx(np.mean(scores[1:]))  # targets only


def test_interval_of_a_difference_is_that_of_the_paired_bootstrap(predictions, sample):
    order = np.argsort([f"test{number}" for number in range(200)])  # that of the originals' ids
    targets = [
        np.stack([right_of(predictions, candidate, "test", name)[order] for name in ("de", "zh")], axis=1)
        for candidate in (1, 0)
    ]
    expected = paired_bootstrap(*targets, n_resamples=2000, seed=3)
    weights = one_each([1], 3) - one_each([0], 3)
    found = intervals(sample, weights, n_resamples=2000, seed=3)[0]["mean"]
    assert found.difference == pytest.approx(expected.difference)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_text_and_its_translations_are_one_draw():
    """Copies into more languages add no evidence: the mean's interval is as wide as one language's."""
    one = make_predictions([[0.7, 0.7]], languages=("en", "de"))
    right = one.codes[0, one.text] == one.y
    copied = dataclasses.replace(
        one,
        codes=np.where(right, one.y, (one.y + 1) % 4)[None].astype(np.uint8),
    )
    de = copied.language == "de"
    again = dataclasses.replace(
        copied,
        text=np.concatenate([copied.text, copied.text[de]]),
        y=np.concatenate([copied.y, copied.y[de]]),
        ids=np.concatenate([copied.ids, np.char.replace(copied.ids[de], "-de", "-zh")]),
        language=np.concatenate([copied.language, np.full(de.sum(), "zh")]),
        split=np.concatenate([copied.split, copied.split[de]]),
        languages=("en", "de", "zh"),
    )
    found = intervals(Sample.of(again, "test"), np.eye(1), n_resamples=500)[0]
    assert (found["mean"].low, found["mean"].high) == (found["de"].low, found["de"].high)
    unlinked = dataclasses.replace(again, ids=np.char.add(again.ids, "x"))
    apart = intervals(Sample.of(unlinked, "test"), np.eye(1), n_resamples=500)[0]["mean"]
    assert apart.high - apart.low < 0.85 * (found["mean"].high - found["mean"].low)


def test_the_share_of_intervals_that_hold_the_truth():
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        made = make_predictions([[0.5]], languages=("en",), seed=seed)
        drawn = np.where(rng.random(400) < 0.7, made.y, (made.y + 1) % 4)[None].astype(np.uint8)
        sample = Sample.of(dataclasses.replace(made, codes=drawn), "test")
        interval = intervals(sample, np.eye(1), n_resamples=300)[0]["en"]
        held += interval.low <= 0.7 <= interval.high
    assert 51 <= held <= 60


def test_weights_are_taken_portion_by_portion(sample, monkeypatch):
    weights = np.random.default_rng(0).normal(size=(4, 3))
    whole = sample.weighted(weights)
    monkeypatch.setattr("mcbert.search.outcome.intervals.CELLS_AT_ONCE", 1)
    np.testing.assert_allclose(sample.weighted(weights), whole)


def test_a_split_without_texts_is_no_sample(predictions):
    only_test = make_predictions([[0.5, 0.5, 0.5]], splits=("test",))
    assert Sample.of(only_test, "dev") is None
    assert Sample.of(only_test, "test") is not None


def test_there_is_no_mean_over_some_of_the_targets(predictions):
    keep = (predictions.language != "zh") | (predictions.split != "dev")
    names = ("text", "y", "ids", "language", "split")
    part = dataclasses.replace(predictions, **{name: getattr(predictions, name)[keep] for name in names})
    assert Sample.of(part, "dev").names == ("en", "de")
    assert Sample.of(part, "test").names == ("en", "de", "zh", "mean")
    assert list(intervals(Sample.of(part, "dev"), np.eye(3), n_resamples=20)[0]) == ["en", "de"]


def test_the_source_alone_has_no_mean():
    alone = make_predictions([[0.5]], languages=("en",))
    assert Sample.of(alone, "dev").names == ("en",)


RIGHT = [[0.9, 0.8, 0.7], [0.8, 0.8, 0.7], [0.5, 0.3, 0.2]]


@pytest.fixture(scope="module")
def macro_sample():
    return Sample.of(make_predictions(RIGHT, n_labels=3), "test")


def macro(sample, at, language, units=None):
    predictions = sample.predictions
    rows = sample.rows[sample.language == sample.languages.index(language)]
    if units is not None:
        of = {unit: row for row, unit in zip(sample.rows, sample.unit, strict=True) if row in set(rows)}
        rows = np.array([of[unit] for unit in units])
    y, codes = predictions.y[rows], predictions.codes[at, predictions.text[rows]]
    return f1_score(y, codes, average="macro", labels=range(3), zero_division=0)


def test_scores_are_scikit_learns(macro_sample):
    found = macro_intervals(macro_sample, 3, n_resamples=10)
    for at in range(3):
        for language in ("en", "de", "zh"):
            assert found[at][language].difference == pytest.approx(macro(macro_sample, at, language))
        mean = (macro(macro_sample, at, "de") + macro(macro_sample, at, "zh")) / 2
        assert found[at]["mean"].difference == pytest.approx(mean)
        assert found[3 + at]["mean"].difference == pytest.approx(mean - found[0]["mean"].difference)


def test_ends_are_quantiles_over_the_same_resampled_texts(macro_sample):
    (counts,) = resampled_counts(200, n_resamples=40, seed=0)
    samples = [np.repeat(np.arange(200), times) for times in counts]
    drawn = [macro(macro_sample, 1, "de", units) - macro(macro_sample, 0, "de", units) for units in samples]
    interval = macro_intervals(macro_sample, 2, n_resamples=40)[3]["de"]
    assert [interval.low, interval.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_the_best_are_judged_by_it(macro_sample):
    rows = {(row["rank"], row["language"]): row for row in top_rows(macro_sample, 3, "f1_macro")}
    assert rows[1, "de"]["score"] == pytest.approx(macro(macro_sample, 0, "de"))
    assert [rows[rank, "mean"]["standing"] for rank in (1, 2, 3)] == ["winner", "tied", "worse"]
    assert rows[3, "zh"]["standing"] == "worse"
    y = macro_sample.predictions.y[macro_sample.rows[macro_sample.language == 1]]
    always = np.full(len(y), np.bincount(y).argmax())
    chance = f1_score(y, always, average="macro", labels=range(3), zero_division=0)
    assert rows[1, "de"]["chance"] == pytest.approx(chance)


def test_a_rare_label_weighs_as_much_as_a_frequent_one():
    predictions = make_predictions([[0.9, 0.9], [0.9, 0.9]], languages=("en", "de"), n_labels=2)
    y = np.where(np.arange(len(predictions.y)) % 10 == 0, 1, 0)
    right = np.stack([np.zeros_like(y), y])  # always the frequent one; all right
    object.__setattr__(predictions, "y", y)
    object.__setattr__(predictions, "codes", right.astype(np.uint8))
    rows = {(r["rank"], r["language"]): r for r in top_rows(Sample.of(predictions, "test"), 2, "f1_macro")}
    assert rows[1, "en"]["score"] == pytest.approx(0.9 * 2 / 1.9 / 2) == rows[1, "en"]["chance"]
    assert rows[2, "mean"]["score"] == 1.0
    assert rows[2, "mean"]["standing"] == "better"
