"""Macro-F1 of the best candidates and its intervals, against scikit-learn on the resampled texts."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mcbert.results.statistics import resampled_counts
from mcbert.search.outcome.comparisons import top_rows
from mcbert.search.outcome.intervals import Sample
from mcbert.search.outcome.macro import macro_intervals
from tests.search.answers import make_predictions

RIGHT = [[0.9, 0.8, 0.7], [0.8, 0.8, 0.7], [0.5, 0.3, 0.2]]


@pytest.fixture(scope="module")
def sample():
    return Sample.of(make_predictions(RIGHT, n_labels=3), "test")


def macro(sample, at, language, units=None):
    predictions = sample.predictions
    rows = sample.rows[sample.language == sample.languages.index(language)]
    if units is not None:
        of = {unit: row for row, unit in zip(sample.rows, sample.unit, strict=True) if row in set(rows)}
        rows = np.array([of[unit] for unit in units])
    y, codes = predictions.y[rows], predictions.codes[at, predictions.text[rows]]
    return f1_score(y, codes, average="macro", labels=range(3), zero_division=0)


def test_scores_are_scikit_learns(sample):
    found = macro_intervals(sample, 3, n_resamples=10)
    for at in range(3):
        for language in ("en", "de", "zh"):
            assert found[at][language].difference == pytest.approx(macro(sample, at, language))
        mean = (macro(sample, at, "de") + macro(sample, at, "zh")) / 2
        assert found[at]["mean"].difference == pytest.approx(mean)
        assert found[3 + at]["mean"].difference == pytest.approx(mean - found[0]["mean"].difference)


def test_ends_are_quantiles_over_the_same_resampled_texts(sample):
    (counts,) = resampled_counts(200, n_resamples=40, seed=0)
    samples = [np.repeat(np.arange(200), times) for times in counts]
    drawn = [macro(sample, 1, "de", units) - macro(sample, 0, "de", units) for units in samples]
    interval = macro_intervals(sample, 2, n_resamples=40)[3]["de"]
    assert [interval.low, interval.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_the_best_are_judged_by_it(sample):
    rows = {(row["rank"], row["language"]): row for row in top_rows(sample, 3, "macro_f1")}
    assert rows[1, "de"]["score"] == pytest.approx(macro(sample, 0, "de"))
    assert [rows[rank, "mean"]["standing"] for rank in (1, 2, 3)] == ["tied", "tied", "worse"]
    assert rows[3, "zh"]["standing"] == "worse"
    y = sample.predictions.y[sample.rows[sample.language == 1]]
    always = np.full(len(y), np.bincount(y).argmax())
    chance = f1_score(y, always, average="macro", labels=range(3), zero_division=0)
    assert rows[1, "de"]["chance"] == pytest.approx(chance)


def test_a_rare_label_weighs_as_much_as_a_frequent_one():
    predictions = make_predictions([[0.9, 0.9], [0.9, 0.9]], languages=("en", "de"), n_labels=2)
    y = np.where(np.arange(len(predictions.y)) % 10 == 0, 1, 0)
    right = np.stack([np.zeros_like(y), y])  # always the frequent one; all right
    object.__setattr__(predictions, "y", y)
    object.__setattr__(predictions, "codes", right.astype(np.uint8))
    rows = {(r["rank"], r["language"]): r for r in top_rows(Sample.of(predictions, "test"), 2, "macro_f1")}
    assert rows[1, "en"]["score"] == pytest.approx(0.9 * 2 / 1.9 / 2) == rows[1, "en"]["chance"]
    assert rows[2, "mean"]["score"] == 1.0
    assert rows[2, "mean"]["standing"] == "better"
