"""The candidates: how many, in which order, by which ids; and what settings refuse."""

import dataclasses
import json

import pytest

from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Candidate, Space


def test_the_default_space_is_the_papers():
    space = Space(GridsearchSettings())
    ids = [candidate.id for candidate in space]
    assert len(space) == len(ids) == len(set(ids)) == 3825
    assert sum(candidate.pooling == "max" for candidate in space) == 1275
    assert ids[0] == "5-max-logistic_regression-C=0.003"
    assert ids[-1] == "5+6+7+8+9+10+11+12-cls-knn-n_neighbors=20"


def test_order_is_pooling_then_size_then_layers_then_classifier():
    settings = GridsearchSettings(layers=(3, 1), poolings=("cls", "max"), classifiers=("knn", "ridge"))
    found = [(c.pooling, layers_text(c.layers), c.classifier) for c in Space(settings)]
    assert found == [
        (pooling, layers, classifier)
        for pooling in ("cls", "max")
        for layers in ("1", "3", "1+3")
        for classifier in ("knn", "ridge")
    ]


def test_lists_of_parameters_multiply_and_largest_subset_limits():
    settings = GridsearchSettings(
        layers=(0, 1, 2),
        poolings=("max",),
        classifiers=("ridge", "lda"),
        params={"ridge": {"alpha": [10, 0.5]}},
        max_layers=2,
    )
    space = Space(settings)
    assert len(space) == len(list(space)) == 6 * 3
    assert [c.params for c in space][:3] == [(("alpha", 10.0),), (("alpha", 0.5),), (("shrinkage", 0.5),)]
    assert next(iter(space)).id == "0-max-ridge-alpha=10.0"


def test_lists_as_toml_gives_them_become_tuples_and_settings_are_json():
    settings = GridsearchSettings(layers=[7, 5], poolings=["cls"])
    assert settings.layers == (5, 7)
    assert json.loads(json.dumps(dataclasses.asdict(settings)))["layers"] == [5, 7]
    assert hash(
        Candidate(features=FeatureSpec.of((5,), "cls"), classifier="knn", params=(("n_neighbors", 3),))
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": (5, -1)}, r"gridsearch.layers: got -1, accepted: a whole number from 0"),
        ({"layers": (5, 6, 5)}, r"gridsearch.layers: got 5 twice, accepted: each entry once"),
        ({"layers": ()}, r"gridsearch.layers: got \(\), accepted: a list of whole numbers"),
        ({"layers": (5.5,)}, r"gridsearch.layers: got 5.5"),
        ({"layers": 5}, r"gridsearch.layers: got 5, accepted: a list"),
        ({"poolings": "max"}, r"gridsearch.poolings: got 'max', accepted: a list"),
        ({"poolings": ("maxx",)}, r"poolings: got 'maxx', accepted: max, mean, cls, last \(nearest: max\)"),
        ({"classifiers": ("rigde",)}, r"classifiers: got 'rigde', accepted: .* \(nearest: ridge\)"),
        ({"protocol": "target_dev"}, r"gridsearch.protocol: got 'target_dev', .* \(nearest: target-dev\)"),
        ({"max_layers": 9}, r"gridsearch.max_layers: got 9, accepted: 0 to 8"),
        (
            {"beam_width": 3},
            r"gridsearch.beam_width: means nothing with gridsearch.mixed 'none', but with beam; leave it",
        ),
        ({"beam_width": 3, "mixed": "greedy"}, r"beam_width: means nothing .* but with beam"),
        ({"mixed_steps": 3}, r"gridsearch.mixed_steps: means nothing .* but with greedy or beam"),
        ({"max_layers": -1}, r"gridsearch.max_layers: got -1, accepted: a whole number from 0"),
        ({"top": 0}, r"gridsearch.top: got 0, accepted: a whole number from 1"),
        ({"seeds": (True,)}, r"gridsearch.seeds: got True"),
        ({"params": {"svm": {}}}, r"gridsearch.params: got 'svm', accepted: .*\(nearest: linear_svm\)"),
        ({"params": {"ridge": 3}}, r"gridsearch.params.ridge: got 3, accepted: a table"),
        ({"params": 3}, r"gridsearch.params: got 3, accepted: a table"),
        (
            {"params": {"ridge": {"alhpa": 1}}},
            r"params.ridge: got 'alhpa', accepted: alpha, class_weight \(nearest: alpha\)",
        ),
        ({"params": {"ridge": {"alpha": 0}}}, r"params.ridge.alpha: got 0, accepted: a number above 0"),
        ({"params": {"ridge": {"alpha": "1"}}}, r"params.ridge.alpha: got '1'"),
        ({"params": {"ridge": {"alpha": [1, 1.0]}}}, r"alpha: got \[1, 1.0\], accepted: .* each once"),
        ({"params": {"ridge": {"alpha": []}}}, r"alpha: got \[\], accepted: at least one value"),
        ({"params": {"lda": {"shrinkage": 1.5}}}, r"shrinkage: got 1.5, accepted: .* at most 1"),
        ({"params": {"lda": {"shrinkage": "auto"}}}, r"shrinkage: got 'auto'"),
        ({"params": {"knn": {"n_neighbors": 2.5}}}, r"n_neighbors: got 2.5, accepted: a whole number from 1"),
        ({"params": {"linear_svm": {"C": float("nan")}}}, r"linear_svm.C: got nan"),
        ({"target_languages": ("de", "de")}, r"gridsearch.target_languages: got 'de' twice"),
    ],
)
def test_what_settings_refuse(given, message):
    with pytest.raises(ValueError, match=message):
        GridsearchSettings(**given)


def test_a_parameter_of_a_classifier_not_searched_is_refused():
    with pytest.raises(ValueError, match=r"gridsearch.params: got 'knn', accepted: ridge"):
        GridsearchSettings(classifiers=("ridge",), params={"knn": {"n_neighbors": 3}})


def test_class_weights_go_to_the_classifiers_that_know_them():
    names = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
    settings = GridsearchSettings(layers=(1,), poolings=("max",), classifiers=names, class_weight="balanced")
    found = {c.classifier: dict(c.params).get("class_weight") for c in Space(settings)}
    assert found == dict.fromkeys(names[:3], "balanced") | dict.fromkeys(names[3:])
    plain = {candidate.id for candidate in Space(dataclasses.replace(settings, class_weight="none"))}
    assert not any("class_weight" in name for name in plain)  # ids of before
    both = dataclasses.replace(settings, params={"ridge": {"class_weight": ["none", "balanced"]}})
    assert [dict(c.params)["class_weight"] for c in Space(both) if c.classifier == "ridge"] == [
        "none",
        "balanced",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"class_weight": "even"}, "gridsearch.class_weight: got 'even', accepted: none, balanced"),
        (
            {"class_weight": "balanced", "classifiers": ("lda", "knn")},
            "gridsearch.class_weight: got 'balanced', which none of gridsearch.classifiers, lda, knn, has",
        ),
        ({"params": {"ridge": {"class_weight": "x"}}}, "class_weight: got 'x', accepted: none, balanced"),
        ({"params": {"lda": {"class_weight": "balanced"}}}, "gridsearch.params.lda: got 'class_weight'"),
    ],
)
def test_class_weights_that_would_do_nothing(given, said):
    with pytest.raises(ValueError, match=said):
        GridsearchSettings(**given)
