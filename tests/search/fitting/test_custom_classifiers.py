"""A user's classifiers: found by name, in workers too; what is wrong with them is one line."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from mcbert.results import csv_files
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.search.fitting.custom_classifiers import classifier, custom, identities, seed_parameters
from mcbert.search.gridsearch import tasks_left
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Space
from mcbert.search.task import run

CODE = """
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import LinearSVC

def machine(C, loss="hinge"):
    return LinearSVC(C=C, loss=loss, dual=True, max_iter=200, tol=0.1)

def forest(n_estimators=5):
    return make_pipeline(MinMaxScaler(), RandomForestClassifier(n_estimators=n_estimators))

def line():
    return LinearRegression()

def anything(**parameters):
    return LinearSVC(**parameters)

class Commonest:
    def __init__(self, offset=0):
        self.offset = offset

    def fit(self, X, y):
        self.label = np.bincount(y).argmax()
        return self

    def predict(self, X):
        return np.full(len(X), self.label + self.offset)

def unfit():
    return object()

def failing():
    raise RuntimeError("two\\nlines")

nothing = None
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "mine_for_tests.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for processes that are started
    yield "mine_for_tests"
    custom.cache_clear()


@pytest.fixture
def settings(module):
    def make(*names, params=None, **fields):
        return GridsearchSettings(
            layers=(1, 2),
            poolings=("max",),
            classifiers=("ridge", *(name.lower() for name in names)),
            factories={name.lower(): f"{module}:{name}" for name in names},
            params=params or {},
            **fields,
        )

    return make


def test_parameters_are_the_callables_keywords_and_lists_are_searched(settings):
    found = settings("machine", params={"machine": {"C": [0.1, 1], "loss": "hinge"}})
    ids = [candidate.id for candidate in Space(found)]
    assert ids[:3] == [
        "1-max-ridge-alpha=1000.0",
        "1-max-machine-C=0.1-loss='hinge'-seed=0",
        "1-max-machine-C=1-loss='hinge'-seed=0",
    ]
    loose = settings("anything", params={"anything": {"dual": False, "C": [0.5, 1.0]}})
    assert len(Space(loose)) == 3 * 3


def test_only_what_draws_random_numbers_has_a_candidate_for_each_seed(settings):
    both = settings("forest", "Commonest", seeds=(3, 4))
    ids = [candidate.id for candidate in Space(both)][:4]
    assert ids == [
        "1-max-ridge-alpha=1000.0",
        "1-max-forest-seed=3",
        "1-max-forest-seed=4",
        "1-max-commonest",
    ]
    assert [candidate.seed for candidate in Space(both)][:4] == [3, 3, 4, 3]


def test_seeds_reach_the_steps_of_a_pipeline(module):
    assert seed_parameters(classifier("forest", f"{module}:forest").factory()) == [
        "randomforestclassifier__random_state"
    ]
    assert seed_parameters(classifier("commonest", f"{module}:Commonest").factory()) == []


def test_a_search_with_ones_own_classifier_fits_it_on_the_columns(settings, searched):
    found = settings("forest", "Commonest", seeds=(3, 4), params={"forest": {"n_estimators": [2, 20]}})
    out, _ = searched(found)
    frame = csv_files.read(GRIDSEARCH, out / "gridsearch.csv")
    assert csv_files.validate(out) == []
    assert (frame["status"] == "ok").all()
    by = frame.groupby("classifier")["dev_f1_micro_mean"].max()
    assert by["forest"] > by["commonest"]
    assert abs(by["commonest"] - 1 / 3) < 0.2
    forests = frame[frame["classifier"] == "forest"]
    assert sorted(forests["seed"].unique()) == [3, 4]
    assert (
        forests.groupby(["layers", "params"])["dev_f1_micro_mean"].nunique().max() == 2
    )  # the seed reached it


def test_a_label_that_there_is_not_is_an_error_row(settings, searched):
    out, _ = searched(settings("Commonest", params={"commonest": {"offset": 3}}))
    frame = csv_files.read(GRIDSEARCH, out / "gridsearch.csv").set_index("classifier", drop=False)
    assert set(frame.loc["commonest", "status"]) == {"error"}
    assert set(frame.loc["commonest", "message"]) == {
        "ValueError: predict: got label codes from 4 to 4 of shape (90,), accepted: 0 to 2, (90,)"
    }
    assert set(frame.loc[frame["classifier"] == "ridge", "status"]) == {"ok"}


def test_a_regressor_is_an_error_row_and_its_numbers_are_not_cut_to_labels(settings, searched):
    out, _ = searched(settings("line"))
    frame = csv_files.read(GRIDSEARCH, out / "gridsearch.csv")
    of = frame[frame["classifier"] == "line"]
    assert set(of["status"]) == {"error"}
    assert of["message"].str.contains("numbers between the label codes, accepted: a classifier").all()


def test_workers_find_it_by_name_and_no_code_travels(settings, make_search, source_of):
    found = settings("forest")
    tasks = list(tasks_left(Space(found), source_of(make_search()), set()))
    sent = pickle.dumps(tasks)
    assert b"mine_for_tests:forest" in sent
    assert b"sklearn" not in sent
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        elsewhere = list(pool.map(run, tasks))
    here = [run(task) for task in tasks]
    for there, mine in zip(elsewhere, here, strict=True):
        assert [row["matrices"] for row in there] == [row["matrices"] for row in mine]
        assert {row["status"] for row in there} == {"ok"}


def test_the_ledger_is_of_the_factory_its_class_and_its_code(settings, searched, module, tmp_path):
    import importlib
    import sys

    found = settings("Commonest")
    identity = identities(found.factories, {"commonest": {}})["commonest"]
    assert identity["path"] == "mine_for_tests:Commonest"
    assert identity["estimator"] == "mine_for_tests.Commonest"
    assert identity["made_of"].startswith("sha256 ")
    machine = identities({"machine": f"{module}:machine"}, {"machine": {"C": 1}})["machine"]
    assert machine["made_of"].startswith("scikit-learn ")
    searched(found)
    (tmp_path / "mine_for_tests.py").write_text(CODE + "\n# changed\n")
    custom.cache_clear()
    importlib.reload(sys.modules[module])
    with pytest.raises(ValueError, match="holds another search: factories was"):
        searched(found)


def test_a_missing_module_is_one_line():
    with pytest.raises(ValueError, match=r"factories.a: module 'no_such'") as e:
        GridsearchSettings(classifiers=("a",), factories={"a": "no_such:make"})
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("forrest", {}, r"callable of module 'mine_for_tests': got 'forrest', .*\(nearest: forest\)"),
        ("nothing", {}, r"callable of module 'mine_for_tests': got 'nothing'"),
        (
            "unfit",
            {},
            r"unfit\(\): got <object .*which has no fit, accepted: an estimator with fit and predict",
        ),
        (
            "failing",
            {},
            r"failing\(\): RuntimeError: two lines; gridsearch.params.failing has the parameters",
        ),
        ("machine", {}, r"machine\(\): TypeError: .*missing .*'C'"),
        ("machine", {"c": 1}, r"params.machine: got 'c', accepted: C, loss$"),
        ("machine", {"C": [1, [2]]}, r"params.machine.C: got \[2\], accepted: a number, text, true or false"),
        ("forest", {"n_estimators": [5, 5]}, r"n_estimators: got \[5, 5\], accepted: .* each once"),
    ],
)
def test_what_is_refused(settings, name, params, message):
    with pytest.raises(ValueError, match=message) as error:
        settings(name, params={name: params} if params else {})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factories": 3}, "gridsearch.factories: got 3, accepted: a table"),
        ({"factories": {"ridge": "a:b"}}, "factories.ridge: the name is taken"),
        ({"factories": {"ensemble": "a:b"}}, "factories.ensemble: the name is taken"),
        ({"factories": {"My-SVM": "a:b"}}, "factories: got the name 'My-SVM', accepted: lower-case letters"),
        (
            {"factories": {"a": "a:b"}},
            "factories.a: not searched, accepted: a name in gridsearch.classifiers",
        ),
        (
            {"factories": {"a": "sklearn.svm"}, "classifiers": ("a",)},
            "a: got 'sklearn.svm', accepted: \"module:",
        ),
        ({"factories": {"a": 3}, "classifiers": ("a",)}, "factories.a: got 3, accepted"),
        ({"classifiers": ("my_svm",)}, "classifiers: got 'my_svm', accepted: logistic_regression"),
    ],
)
def test_what_of_the_table_of_factories_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        GridsearchSettings(**given)


def test_a_class_of_a_library_is_a_factory(searched):
    found = GridsearchSettings(
        layers=(1,),
        poolings=("max",),
        classifiers=("bayes",),
        factories={"bayes": "sklearn.naive_bayes:GaussianNB"},
    )
    out, _ = searched(replace(found, params={"bayes": {"var_smoothing": [1e-9, 0.1]}}))
    frame = csv_files.read(GRIDSEARCH, out / "gridsearch.csv")
    assert (frame["status"] == "ok").all()
    assert len(frame) == 2
    assert np.isfinite(frame["score"]).all()


def test_a_users_classifier_with_class_weights_gets_them():
    names = {"tree": "sklearn.tree:DecisionTreeClassifier", "bayes": "sklearn.naive_bayes:GaussianNB"}
    found = GridsearchSettings(
        layers=(1,), poolings=("max",), classifiers=tuple(names), factories=names, class_weight="balanced"
    )
    weights = {candidate.classifier: dict(candidate.params) for candidate in Space(found)}
    assert weights == {"tree": {"class_weight": "balanced"}, "bayes": {}}
