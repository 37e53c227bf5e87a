"""The best candidates against the winner, the effects of layers and poolings, the choices of protocols."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mcbert.features.spec import FeatureSpec
from mcbert.search.outcome.comparisons import Effect, effect_rows, effects, protocol_rows, top_rows
from mcbert.search.outcome.intervals import Sample
from mcbert.search.space import Candidate
from tests.search.answers import make_predictions


@pytest.fixture(scope="module")
def predictions():
    return make_predictions([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.9, 0.8, 0.4]])


@pytest.fixture(scope="module")
def sample(predictions):
    return Sample.of(predictions, "test")


@pytest.fixture(scope="module")
def top(sample):
    return {(row["rank"], row["language"]): row for row in top_rows(sample, 3)}


def test_a_row_for_each_of_the_best_and_each_language(top):
    assert set(top) == {(rank, name) for rank in (1, 2, 3) for name in ("en", "de", "zh", "mean")}
    assert top[2, "de"]["score"] == pytest.approx(0.8)
    assert top[1, "mean"]["n_texts"] == 400
    assert top[1, "en"]["n_texts"] == 200


def test_equals_are_tied_and_the_weak_are_worse(top):
    assert [top[rank, "mean"]["standing"] for rank in (1, 2, 3)] == ["winner", "tied", "worse"]
    assert top[2, "de"]["standing"] == "tied"
    assert top[3, "de"]["standing"] == "worse"
    assert top[3, "mean"]["versus_winner_high"] < 0
    assert top[3, "mean"]["versus_winner"] == pytest.approx(-0.3)
    assert top[2, "mean"]["versus_winner_low"] <= 0 <= top[2, "mean"]["versus_winner_high"]


def test_the_winner_is_no_tie_of_its_own_and_not_tested(top):
    """The tied of a split and language are counted in the file as the log and the report count them."""
    winner = top[1, "de"]
    assert winner["versus_winner"] == winner["versus_winner_low"] == winner["versus_winner_high"] == 0
    assert winner["p_value"] is winner["p_holm"] is winner["n_only_winner"] is None
    assert {row["standing"] for (rank, _), row in top.items() if rank == 1} == {"winner"}


def test_who_beats_the_winner_on_test_is_not_called_tied():
    """Chosen on dev, where all are alike; on test the second is far better, the third far worse."""
    better = make_predictions([[0.6, 0.5, 0.5], [0.9, 0.8, 0.7], [0.3, 0.3, 0.2]])
    rows = {(r["rank"], r["language"]): r["standing"] for r in top_rows(Sample.of(better, "test"), 3)}
    assert [rows[rank, "mean"] for rank in (1, 2, 3)] == ["winner", "better", "worse"]
    assert [rows[rank, "de"] for rank in (1, 2, 3)] == ["winner", "better", "worse"]


def test_mcnemar_of_each_language_and_holm_over_all(predictions, top):
    tests = [top[rank, name] for rank in (2, 3) for name in ("en", "de", "zh")]
    rows = np.flatnonzero((predictions.split == "test") & (predictions.language == "zh"))
    first, third = (predictions.codes[c, predictions.text[rows]] == predictions.y[rows] for c in (0, 2))
    row = top[3, "zh"]
    assert row["n_only_candidate"] == (third & ~first).sum()
    assert row["n_only_winner"] == (first & ~third).sum()
    p_value = stats.binomtest(row["n_only_candidate"], row["n_only_candidate"] + row["n_only_winner"]).pvalue
    assert row["p_value"] == pytest.approx(p_value)
    ordered = sorted(tests, key=lambda test: test["p_value"])
    assert ordered[0]["p_holm"] == pytest.approx(6 * ordered[0]["p_value"])
    assert [t["p_holm"] for t in ordered] == sorted(t["p_holm"] for t in ordered)


def test_chance_is_the_share_of_the_most_frequent_label(predictions, top):
    y = predictions.y[(predictions.split == "test") & (predictions.language == "de")]
    assert top[1, "de"]["chance"] == np.bincount(y).max() / 200
    assert top[1, "mean"]["chance"] == pytest.approx((top[1, "de"]["chance"] + top[1, "zh"]["chance"]) / 2)


def test_fewer_candidates_than_asked_for(sample):
    assert {row["rank"] for row in top_rows(sample, 20)} == {1, 2, 3, 4}


def test_effects_are_weighted_scores(sample):
    weights = np.array([1.0, 0, -1, 0])
    rows = effect_rows(sample, [Effect("pooling", "max", weights, 7)])
    assert [row["language"] for row in rows] == ["en", "de", "zh", "mean"]
    assert [row["effect"] for row in rows] == pytest.approx([0.3] * 4)
    assert all(row["effect_low"] < 0.3 < row["effect_high"] and row["effect_low"] > 0.15 for row in rows)
    assert {row["n"] for row in rows} == {7}
    assert effect_rows(sample, []) == []


def test_the_price_of_a_protocol_is_the_difference_to_the_oracles_choice(sample):
    chosen = {"source-dev": "c3", "target-dev": "c1", "last": "c2"}
    rows = {(row["protocol"], row["language"]): row for row in protocol_rows(sample, chosen, 4)}
    assert rows["source-dev", "zh"]["score"] == pytest.approx(0.4)
    assert rows["source-dev", "zh"]["versus_oracle"] == pytest.approx(-0.3)
    assert rows["source-dev", "mean"]["versus_oracle"] == pytest.approx(-0.15)
    assert rows["source-dev", "mean"]["versus_oracle_high"] < 0
    assert rows["target-dev", "mean"]["versus_oracle"] == 0
    assert rows["last", "mean"]["candidate_id"] == "c2"
    assert rows["random", "mean"]["score"] == pytest.approx(np.mean([0.75, 0.75, 0.45, 0.6]))
    assert rows["random", "mean"]["candidate_id"] == ""


def test_without_the_oracle_there_is_no_difference_to_it(sample):
    rows = protocol_rows(sample, {"source-dev": "c0", "target-dev": None, "last": "c2"}, 4)
    assert {row["protocol"] for row in rows} == {"source-dev", "last", "random"}
    assert all(math.isnan(row["versus_oracle"]) and math.isnan(row["versus_oracle_low"]) for row in rows)
    assert all(row["score_low"] <= row["score"] <= row["score_high"] for row in rows)


CLASSIFIERS = ("ridge", "knn")


def candidate(layers, pooling="max", classifier="ridge", params=(("alpha", 1.0),), **rest):
    return Candidate(features=FeatureSpec.of(layers, pooling), classifier=classifier, params=params, **rest)


def space(layers=(6, 8, 11), poolings=("max", "mean", "cls"), classifiers=CLASSIFIERS):
    subsets = [s for size in range(1, len(layers) + 1) for s in itertools.combinations(layers, size)]
    return [candidate(s, p, c) for p, s, c in itertools.product(poolings, subsets, classifiers)]


def sizes(candidates, score):
    scores = np.asarray([score(c) for c in candidates])
    return {(e.factor, e.level): e.weights @ scores for e in effects(candidates)}


def test_what_was_put_in_comes_out():
    gain = {6: 0.01, 8: 0.05, 11: -0.02, "max": 0.03, "mean": 0.01, "cls": -0.04, "ridge": 0.02, "knn": -0.02}
    found = sizes(space(), lambda c: sum(gain[k] for k in c.layers) + gain[c.pooling] + gain[c.classifier])
    for layer in (6, 8, 11):
        assert found["layer", str(layer)] == pytest.approx(gain[layer])
    for factor, levels in (("pooling", ("max", "mean", "cls")), ("classifier", CLASSIFIERS)):
        assert [found[factor, level] for level in levels] == pytest.approx([gain[level] for level in levels])
    by_size = [
        np.mean([sum(gain[k] for k in s) for s in itertools.combinations((6, 8, 11), n)]) for n in (1, 2, 3)
    ]
    expected = by_size - np.mean(by_size)
    assert [found["n_layers", str(n)] for n in (1, 2, 3)] == pytest.approx(expected)


def test_every_effect_compares_and_so_sums_to_nothing():
    found = effects(space())
    assert [e.level for e in found] == ["6", "8", "11", "max", "mean", "cls", "ridge", "knn", "1", "2", "3"]
    for effect in found:
        assert effect.weights.sum() == pytest.approx(0)
    by_level = {(e.factor, e.level): e.n for e in found}
    assert by_level["layer", "8"] == 3 * 3 * 2  # with 6, with 11, with both; poolings; classifiers
    assert by_level["pooling", "max"] == 7 * 2
    assert by_level["classifier", "knn"] == 7 * 3
    assert by_level["n_layers", "1"] == 3 * 2


def test_the_order_of_the_candidates_does_not_matter():
    rng = np.random.default_rng(0)
    made = space()
    scores = {c.id: rng.random() for c in made}
    shuffled = [made[at] for at in rng.permutation(len(made))]
    assert sizes(shuffled, lambda c: scores[c.id]) == pytest.approx(sizes(made, lambda c: scores[c.id]))
    assert [e.level for e in effects(shuffled)] == [e.level for e in effects(made)]


def test_a_classifier_is_not_worth_more_for_having_more_parameters():
    weak = [candidate((6,), classifier="ridge", params=(("alpha", a),)) for a in (1.0, 10.0, 100.0)]
    found = sizes([*weak, candidate((6,), classifier="knn")], lambda c: float(c.classifier == "knn"))
    assert found["classifier", "knn"] == pytest.approx(0.5)
    assert found["classifier", "ridge"] == pytest.approx(-0.5)


def test_seeds_of_a_classifier_that_draws_are_averaged():
    drawn = [candidate((6,), classifier="mlp", params=(), seed=seed, seeded=True) for seed in (1, 2)]
    score = {1: 0.2, 2: 0.6}
    found = sizes([*drawn, candidate((6,))], lambda c: score.get(c.seed, 0.0) if c.seeded else 0.0)
    assert found["classifier", "mlp"] == pytest.approx(0.2)


def test_candidates_that_failed_leave_a_gap_not_a_zero():
    made = [c for c in space(classifiers=("ridge",)) if c.layers != (6, 8)]
    assert sizes(made, lambda c: 8 in c.layers)["layer", "8"] == pytest.approx(1)
    assert {e.level: e.n for e in effects(made)}["8"] == 3 * 2


def test_one_candidate_allows_no_comparison():
    assert effects([candidate((8,))]) == []


def test_a_pooling_for_each_layer_counts_for_the_layers():
    mixed = [candidate((6, 8), "max+mean"), candidate((6,), "max"), candidate((6, 6, 8), "max+cls+mean")]
    found = effects([*mixed, candidate((8,), "mean")])
    by_level = {(e.factor, e.level): e for e in found}
    assert set(by_level) == {("layer", "6"), ("layer", "8")}
    assert by_level["layer", "6"].n == 2  # both sets of layer 6 against layer 8 alone
    assert by_level["layer", "6"].weights.tolist() == [0.5, 0, 0.5, -1]
    assert by_level["layer", "8"].n == 1
