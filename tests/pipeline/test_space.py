"""The space of the search from the command line: a budget, a user's classifiers in workers, mixed pooling."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.cluster import loky

MINE = """
from sklearn.linear_model import SGDClassifier

def make(alpha):
    return SGDClassifier(alpha=alpha)
"""


@pytest.fixture
def search(tmp_path, encoder_folder, texts_table, monkeypatch):
    """Run the gridsearch stage with overrides; return its status and its table."""
    monkeypatch.chdir(tmp_path)
    texts_table.drop(columns="text_pair").to_csv("texts.csv", index=False)
    shutil.copytree(encoder_folder, "encoder")
    (tmp_path / "mine.toml").write_text(
        '[corpus]\npath = "texts.csv"\n[encoder]\npath = "encoder"\nmax_length = 16\n'
        '[gridsearch]\nensemble = 0\nlayers = [0, 2]\n[cluster]\nbackend = "serial"\n'
    )

    def run(*args, name="mine", stage="gridsearch"):
        status = main([stage, "--config", "mine.toml", "--run", name, *args])
        path = tmp_path / "results/runs" / name / "gridsearch.csv"
        return status, pd.read_csv(path) if path.is_file() else None

    return run


def untimed(frame):
    return frame.drop(columns=["fit_seconds", "score_seconds"])


def test_a_budget_is_seen_by_the_stage_and_a_larger_one_goes_on(search, capsys):
    _, whole = search(name="whole")
    assert len(whole) == 3 * 3 * 5
    status, first = search("--budget", "12")
    assert (status, len(first)) == (0, 12)
    said = capsys.readouterr().err
    assert "the budget is spent: 12 of 45 candidates" in said
    assert "tried: pooling max: 4 of 15, mean: 4 of 15, cls: 4 of 15" in said
    assert json.loads(Path("results/runs/mine/winner.json").read_text())["tried"]["n"] == 12
    assert first["pooling"].value_counts().to_dict() == {"max": 4, "mean": 4, "cls": 4}
    assert len(search("--budget", "12")[1]) == 12
    assert "gridsearch: up to date" in capsys.readouterr().err
    assert len(search("--budget", "20")[1]) == 20
    status, found = search()
    assert status == 0
    pd.testing.assert_frame_equal(untimed(found), untimed(whole))
    assert json.loads(Path("results/runs/mine/winner.json").read_text())["tried"] is None
    record = json.loads(Path("results/runs/mine/stages/gridsearch.json").read_text())
    assert record["inputs"]["budget"] == {"budget": 0, "budget_seconds": 0.0}
    status, found = search("--budget", "100s", name="seconds")
    assert (status, len(found)) == (0, 45)


@pytest.mark.parametrize("later", [[], ["gridsearch.budget=30"]])
def test_stages_after_a_search_on_a_budget_take_it_as_far_as_it_went(search, capsys, later):
    train = ["finetune.epochs=1", "finetune.systems=['mcbert']", "finetune.seeds=[0]"]
    assert search("--budget", "12")[0] == 0
    capsys.readouterr()
    status, found = search(*later, *train, stage="finetune")
    said = capsys.readouterr().err
    assert (status, len(found)) == (0, 12), said
    asked = 30 if later else 0
    assert f"keeping this run's search: gridsearch.budget 12, not {asked}; the command gridsearch" in said
    assert "gridsearch: up to date" in said
    winner = json.loads(Path("results/runs/mine/winner.json").read_text())
    trained = pd.read_csv("results/runs/mine/trainings.csv", dtype=str)
    assert set(trained["layers"]) == {"+".join(map(str, winner["layers"]))}
    assert len(search(*later, stage="export")[1]) == 12
    assert len(search(*later)[1]) == (30 if later else 45)  # the command itself goes on
    assert search("gridsearch.layers=[1]", stage="export")[0] == 2
    assert "gridsearch.layers: [0, 2] -> [1]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("-3", "gridsearch.budget: got -3, accepted: a whole number from 0"),
        ("many", "gridsearch.budget: got 'many', accepted: a whole number"),
        ("-1s", "gridsearch.budget_seconds: got -1, accepted: a number from 0"),
        ("minutes", "gridsearch.budget_seconds: got 'minute', accepted: a number"),
    ],
)
def test_a_budget_that_is_none(search, capsys, given, said):
    assert search(f"--budget={given}")[0] == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_in_workers.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split()])
    )
    return [
        "gridsearch.classifiers=['ridge', 'mine']",
        "gridsearch.factories.mine=mine_in_workers:make",
        "gridsearch.params.mine.alpha=[0.001, 0.1]",
        "gridsearch.seeds=[1, 2]",
        "gridsearch.poolings=['max']",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_workers_import_a_users_classifier_by_name(search, mine, backend):
    status, here = search(*mine, name="serial")
    assert status == 0
    assert len(here) == 3 * (1 + 2 * 2)
    assert (here["status"] == "ok").all()
    status, there = search(*mine, f"cluster.backend={backend}", "cluster.workers=2", name=backend)
    assert status == 0
    pd.testing.assert_frame_equal(untimed(there), untimed(here))


def test_a_mistyped_factory_is_one_line(search, mine, capsys):
    assert search(*mine, "gridsearch.factories.mine=mine_in_workers:mak")[0] == 2
    said = "gridsearch.factories.mine: callable of module 'mine_in_workers': got 'mak', accepted: "
    assert said in capsys.readouterr().err


def test_the_steps_of_a_mixed_search_share_their_workers(search, monkeypatch):
    begun, pool = [], loky.ProcessPoolExecutor

    def counted(*, max_workers, **given):
        begun.append(max_workers)
        return pool(max_workers=max_workers, **given)

    monkeypatch.setattr(loky, "ProcessPoolExecutor", counted)
    mixed = ["gridsearch.mixed=beam", "gridsearch.beam_width=2", "gridsearch.classifiers=['ridge']"]
    status, found = search(*mixed, "cluster.backend=loky", "cluster.workers=2", name="two")
    assert (status, begun) == (0, [2])
    pd.testing.assert_frame_equal(untimed(found), untimed(search(*mixed, name="one")[1]))


@pytest.mark.slow
def test_the_tables_of_a_mixed_search_are_valid(search):
    status, found = search(
        "gridsearch.mixed=beam",
        "gridsearch.beam_width=20",
        "gridsearch.layers=[1, 2]",
        "gridsearch.classifiers=['ridge']",
    )
    assert status == 0
    assert found["pooling"].str.contains("+", regex=False).sum() == 2**6 - 1 - 9
    assert main(["validate", "results/runs/mine"]) == 0
