"""The choices of near work: LOES by hand, a ranking that is learnt, the command on a made search."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.results.csv_files import read_with_sums
from mcbert.results.schema.search import PROTOCOL_CHOICES
from mcbert.search.gridsearch import gridsearch
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs
from tests.search.conftest import STAMP, Shape, make

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "near_work.py"
QUARTER = [[1, 0], [-1, 0], [0, 1], [0, -1]]


@pytest.fixture(scope="module")
def near():
    spec = importlib.util.spec_from_file_location("near_work", SCRIPT)
    module = sys.modules["near_work"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["near_work"]


def of_variances(first, second, *, later=False):
    """Centred states of eight texts with these variances of two columns; half of the texts are at 0."""
    own = np.asarray(QUARTER) * np.sqrt([4 * first, 4 * second])
    nothing = np.zeros((4, 2))
    return np.concatenate([nothing, own] if later else [own, nothing])


def test_loes_prefers_an_isotropic_layer_and_takes_no_copy(near):
    good, other = of_variances(3, 1), of_variances(3.2, 1, later=True)
    states = {1: of_variances(1, 0), 2: good, 3: good.copy(), 4: other}
    # mean / standard deviation of variances: 0.5 / 0.5, 2 / 1, 2.1 / 1.1; layer 4 shares no text with 2
    expected = [(2, 1 - 2), (4, 1 - 2.1 / 1.1), (3, 1 - 2 + 0.5 * np.sqrt(3**2 + 1) / (3 + 1))]
    found = near.loes(states, 3)
    assert [layer for layer, _ in found] == [layer for layer, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-6)
    assert len(near.loes(states, 9)) == len(states)


def test_supervised_loes_takes_the_layer_that_fits_the_labels(near):
    targets = np.eye(2)[[0, 1, 0, 1]]
    fitting = np.asarray(QUARTER) * [1.0, 2.0]
    states = {1: fitting[[0, 2, 1, 3]], 2: fitting}
    assert near.loes(states, 1)[0][0] == 1  # equal without labels: the lower
    layer, score = near.loes(states, 1, targets)[0]
    assert layer == 2
    assert score == pytest.approx(1 - near.isotropy(fitting), abs=1e-3)  # no error is left


def test_centroids_of_labels_span_triangles(near):
    states = np.asarray([[-1, 0], [1, 0], [3, 0], [0, 4.0]])
    assert near.spread(states, np.asarray([0, 0, 1, 2])) == pytest.approx(6)
    assert near.spread(states, np.asarray([0, 0, 1, 1])) == 0


def test_features_are_mean_and_covariance(near):
    found = near.language_features(np.asarray([[1.0, 0.0], [0.5, 0.5]]))
    np.testing.assert_allclose(found, [0.75, 0.25, 0.0625, -0.0625, 0.0625])


def test_a_ranking_learnt_from_pivots_holds_in_another_language(near):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 60, 3))  # languages, candidates, features
    right = np.round(1 / (1 + np.exp(-2 * features[..., 1])), 2)  # by one of them, with ties
    features[..., 1] += rng.normal(scale=0.1, size=(4, 1))  # a shift of each language
    ranking = near.learn_ranking(features[:3], right[:3], seed=0)
    assert near.kendall(ranking(features[3]), right[3]) > 0.8
    same = near.learn_ranking(features[:3], right[:3], seed=0)
    np.testing.assert_array_equal(ranking(features[3]), same(features[3]))


@pytest.fixture
def run(tmp_path):
    made = make(tmp_path, Shape(poolings=("mean", "cls"), n_eval=30))
    settings = GridsearchSettings(
        layers=(2, 3), poolings=("mean", "cls"), classifiers=("ridge", "knn"), protocol="target-dev"
    )
    inputs = Inputs(store=made.store, examples=made.examples)
    gridsearch(
        settings, inputs, out=tmp_path, execute=executor(ClusterSettings(backend="serial")), stamp=STAMP
    )
    return tmp_path


def test_the_command_sets_all_choices_beside_each_other(near, run, monkeypatch, capsys):
    monkeypatch.setattr(near, "STEPS", 40)
    given = [
        "--run",
        str(run),
        "--store",
        str(run / "cache"),
        "--k",
        "2",
        "--candidates",
        "8",
        "--seeds",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["near_work.py", *given])
    near.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows, table = figures["rows"], read_with_sums(PROTOCOL_CHOICES, run / "protocols.csv")
    table = table[table["split"].eq("test") & table["language"].eq("mean")].set_index("protocol")
    for name in ("source-dev", "target-dev", "reference"):  # as the run's own table has them
        np.testing.assert_allclose(
            rows[name]["score"], table.loc[name, ["score", "score_low", "score_high"]].tolist()
        )
    assert rows["target-dev"]["target-dev"] == [0, 0, 0] == rows["reference"]["reference"]
    drawn = {"LMS, of 8 drawn": (2, 2), "target-dev, of 8 drawn": (1, 2), "source-dev, of 8 drawn": (1, 2)}
    for name, (seeds, targets) in drawn.items():
        assert [len(chosen) for chosen in figures["chosen"][name]] == [targets] * seeds
        assert 0 <= rows[name]["score"][0] <= 1
    layers = {name: {layer for layer, _ in found} for name, found in figures["layers"].items()}
    assert len(layers) == 6  # texts and labels, of the search's layers and of all blocks
    assert all(found == {2, 3} for name, found in layers.items() if name.endswith("2-3"))


def test_a_cache_of_another_search_is_refused(near, run, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    other = make(folder, Shape(poolings=("mean",)), seed=1)
    with pytest.raises(ValueError, match="--store"):
        near.Search.open(run, other.store)
