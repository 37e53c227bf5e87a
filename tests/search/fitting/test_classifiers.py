"""The table of classifiers agrees with the schema and with scikit-learn."""

import pytest

from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.words import CLASSIFIERS as DEFAULT
from mcbert.search.fitting.classifiers import CLASSIFIERS, unknown
from mcbert.search.fitting.fast_fits import ROUTES
from mcbert.search.settings import GridsearchSettings


def test_every_offered_classifier_is_a_name_that_the_schema_takes_and_the_default_ones_come_first():
    column = next(column for column in GRIDSEARCH.columns if column.name == "classifier")
    assert all(column.accepts(name) for name in CLASSIFIERS)
    assert tuple(CLASSIFIERS)[:5] == DEFAULT == GridsearchSettings().classifiers


def test_every_route_is_used_and_known():
    assert {classifier.route for classifier in CLASSIFIERS.values()} == set(ROUTES)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_factories_take_the_parameters_under_scikit_learns_names(name):
    classifier = CLASSIFIERS[name]
    known = {key: parameter.default for key, parameter in classifier.parameters.items()}
    defaults = {key: default for key, default in known.items() if default is not None}
    estimator = classifier.factory(**defaults)
    assert estimator.get_params().items() >= known.items()
    for key, default in defaults.items():
        assert classifier.check("here", key, default) == default
    if "class_weight" in known:
        for given, taken in (("none", None), ("balanced", "balanced")):
            assert classifier.factory(**defaults, class_weight=given).get_params()["class_weight"] == taken


def test_whole_numbers_stay_whole_and_others_become_float():
    assert CLASSIFIERS["knn"].check("here", "n_neighbors", 3) == 3
    assert repr(CLASSIFIERS["ridge"].check("here", "alpha", 10)) == "10.0"


def test_unknown_names_the_nearest_if_there_is_one():
    assert (
        unknown("key", "rige", ("ridge", "lda")) == "key: got 'rige', accepted: ridge, lda (nearest: ridge)"
    )
    assert unknown("key", "zzz", ("ridge", "lda")) == "key: got 'zzz', accepted: ridge, lda"
    assert unknown("key", "zzz", ()) == "key: got 'zzz', accepted: none"
