"""A mixed feature set's representation is that of its columns; what a worker keeps."""

import numpy as np
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.search.fitting.kernels import open_pooling
from mcbert.search.fitting.mixture import close, open_mixture, represent
from mcbert.search.space import Candidate
from mcbert.search.task import Task, fit, run

SET = FeatureSpec.of("1+2+2+3", "cls+max+cls+max")


@pytest.fixture
def source(make_search, source_of):
    yield source_of(make_search(n_train=20, n_duplicates=5, hidden_size=8))
    close()


def test_sums_and_columns_are_those_of_the_blocks(source):
    r = represent(source, SET)
    alone = {pooling: represent(source, FeatureSpec.of((1, 2, 3), pooling)) for pooling in ("max", "cls")}
    expected = [alone[pooling].blocks[layer - 1].train for layer, pooling in SET.blocks]
    columns = np.concatenate(expected, axis=1)
    np.testing.assert_array_equal(r.train_columns, columns)
    assert r.n_columns == 4 * 8
    np.testing.assert_allclose(r.gram, columns.astype(np.float64) @ columns.T, atol=1e-4)
    np.testing.assert_allclose(r.cross, r.eval_columns @ columns.T, atol=1e-3)


def test_a_set_of_one_pooling_is_the_same_through_the_mixture(source):
    features = FeatureSpec.of((1, 3), "max")
    one, through = represent(source, features), represent(source, features, mixed=True)
    np.testing.assert_allclose(one.gram, through.gram, rtol=1e-12, atol=1e-9)


def test_a_mixed_step_keeps_all_poolings_and_lets_the_single_one_go(source):
    first = open_pooling(source, "max")
    kept = open_mixture(source)
    represent(source, FeatureSpec.of((1,), "max"), mixed=True)
    represent(source, SET)
    assert open_mixture(source) is kept
    assert open_pooling(source, "max") is not first


@pytest.mark.parametrize("classifier", ["logistic_regression", "linear_svm", "ridge", "lda", "knn", "mlp"])
def test_every_classifier_takes_a_mixed_set(source, classifier):
    from mcbert.search.fitting.classifiers import CLASSIFIERS

    defaults = tuple((name, p.default) for name, p in CLASSIFIERS[classifier].parameters.items())
    candidate = Candidate(features=SET, classifier=classifier, params=defaults)
    rows = run(Task(source=source, features=SET, candidates=(candidate,), mixed=True))
    assert [row["status"] for row in rows] == ["ok"]
    assert rows[0]["candidate_id"].startswith("1+2+2+3-cls+max+cls+max-")


def test_a_mixed_ridge_is_scikit_learns_on_the_stacked_columns(source):
    from mcbert.search.fitting import routes
    from mcbert.search.fitting.classifiers import CLASSIFIERS

    r = represent(source, SET)
    candidate = Candidate(features=SET, classifier="ridge", params=(("alpha", 10.0),))
    rows = r.rows
    plain = CLASSIFIERS["ridge"].factory(alpha=10.0).fit(r.train_columns[rows.train_text], rows.train_y)
    np.testing.assert_array_equal(routes.predict(r, fit(r, candidate)), plain.predict(r.eval_columns))
