import itertools

import numpy as np
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.search.outcome.effects import effects
from mcbert.search.space import Candidate

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
