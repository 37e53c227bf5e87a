"""What a search refuses before it starts."""

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore
from mcbert.search import data
from mcbert.search.checks import check
from mcbert.search.data import Examples
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs

SETTINGS = {"layers": (1, 2), "poolings": ("max",)}


@pytest.fixture
def refused(make_search):
    """Check made data after a change of its arrays; `change` gets and returns the fields of the examples."""
    made = make_search()
    store = FeatureStore.open(made.store)
    original = Examples.read(made.examples)

    def run(settings, **change):
        fields = ("y", "language", "split", "labels", "source_language")
        values = {name: change.get(name, getattr(original, name)) for name in fields}
        data.write_examples(made.examples, **values)
        given = GridsearchSettings(**(SETTINGS | settings))
        inputs = Inputs(store=made.store, examples=made.examples)
        run.settled, languages = check(given, store, Examples.read(made.examples), inputs)
        return languages

    run.examples = original
    return run


def test_languages_come_source_first(refused):
    assert refused({}) == ("en", "de", "zh")
    assert refused({"target_languages": ("zh",)}) == ("en", "zh")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": (1, 7)}, r"gridsearch.layers: got 7, accepted: what the feature cache has, 1, 2, 3"),
        ({"poolings": ("mean",)}, r"gridsearch.poolings: got 'mean', accepted: .*max, cls"),
        ({"target_languages": ("fr",)}, r"gridsearch.target_languages: got 'fr', accepted: de, zh"),
        ({"target_languages": ("en",)}, r"gridsearch.target_languages: got 'en'"),
        (
            {"params": {"knn": {"n_neighbors": [5, 53]}}},
            r"gridsearch.params.knn.n_neighbors: got 53, accepted: 1 to 52, the train rows",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data(refused, settings, message):
    with pytest.raises(ValueError, match=message):
        refused(settings)


def test_neighbours_may_be_all_train_rows(refused):
    assert refused({"params": {"knn": {"n_neighbors": 52}}})


def test_a_label_without_train_rows(refused):
    y, split = refused.examples.y.copy(), refused.examples.split
    y[(split == "train") & (y == 2)] = 1
    with pytest.raises(ValueError, match=r"examples.npz: train rows: label 'plum': got none, accepted: at"):
        refused({}, y=y)


def test_only_one_label(refused):
    with pytest.raises(ValueError, match=r"train rows: got only label 'a'"):
        refused({}, y=np.zeros_like(refused.examples.y), labels=["a"])


def test_no_train_rows(refused):
    split = refused.examples.split.copy()
    split[split == "train"] = "dev"
    with pytest.raises(ValueError, match=r"train rows: got none"):
        refused({}, split=split)


def test_train_rows_in_another_language_do(refused):
    assert refused({}, source_language="de") == ("de", "en", "zh")


@pytest.mark.parametrize(("protocol", "language"), [("target-dev", "zh"), ("source-dev", "en")])
def test_a_language_without_the_dev_rows_of_the_protocol(refused, protocol, language):
    split = refused.examples.split.copy()
    split[(split == "dev") & (refused.examples.language == language)] = "test"
    message = (
        f"language '{language}': got no dev rows, accepted under gridsearch.protocol {protocol}: at least one"
    )
    with pytest.raises(ValueError, match=message):
        refused({"protocol": protocol}, split=split)
    other = "last" if protocol == "source-dev" else "source-dev"
    assert refused({"protocol": other}, split=split) == ("en", "de", "zh")


def test_no_target_language_under_target_dev(refused):
    language = np.full(len(refused.examples.y), "en")
    with pytest.raises(ValueError, match=r"gridsearch.protocol: got 'target-dev' .*'en'"):
        refused({"protocol": "target-dev"}, language=language)
    assert refused({"protocol": "source-dev"}, language=language) == ("en",)
    assert refused({}, language=language) == ("en",)
    assert refused.settled.protocol == "source-dev"


def test_nothing_to_score(refused):
    split = np.full(len(refused.examples.y), "train")
    with pytest.raises(ValueError, match=r"got no dev or test rows"):
        refused({"protocol": "last"}, split=split)


def test_a_cache_of_another_corpus(refused):
    kept = {name: getattr(refused.examples, name)[:-1] for name in ("y", "language", "split")}
    with pytest.raises(ValueError, match=r"examples.npz: got 141 rows, accepted: .*142"):
        refused({}, **kept)
