"""The estimate of a run against the run itself, on a tiny encoder."""

import json
import shutil
from collections import Counter

import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.commands.estimate import as_range
from mcbert.pipeline.estimation.costs import Cost, likely

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 64
[gridsearch]
layers = [1, 2, 3]
classifiers = ["ridge", "knn"]
ensemble = 0
[finetune]
seeds = [0]
epochs = 1
batch_size = 8
freeze = { 0 = [1] }
ignore_unused_frozen = true
[cluster]
backend = "serial"
"""


@pytest.fixture
def project(make_project, monkeypatch):
    folder = make_project(SETTINGS)
    monkeypatch.chdir(folder)
    return folder


def estimated(capsys, *overrides):
    capsys.readouterr()
    assert main(["estimate", "--config", "mine.toml", "--json", *FOLDERS, *overrides]) == 0
    return {cost["stage"]: cost for cost in json.loads(capsys.readouterr().out)}


def run(stage):
    assert main([stage, "--config", "mine.toml", *FOLDERS]) == 0


FOLDERS = ("--runs", "runs", "--cache", "cache")


def state_of(folder):
    """Every file below a folder, with the moment that it was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_small_searches_that_are_timed_say_nothing_of_their_temporary_files(project, capsys):
    table = pd.read_csv("texts.csv")
    table[(table["language"] == "en") | (table["split"] != "dev")].to_csv("texts.csv", index=False)
    capsys.readouterr()
    assert main(["estimate", "--config", "mine.toml", *FOLDERS]) == 0
    assert "mcbert-estimate-" not in capsys.readouterr().err


def test_counts_and_bytes_are_those_of_the_stages_and_nothing_is_written(project, capsys):
    before = state_of(project)
    costs = estimated(capsys)
    assert state_of(project) == before
    assert list(costs) == ["prepare", "extract", "gridsearch", "finetune"]
    assert not any(cost["done"] for cost in costs.values())
    assert all(0 < cost["seconds"][0] <= cost["seconds"][1] for cost in costs.values())
    assert all(cost["memory"] > 5e7 for cost in costs.values())
    run("extract")
    texts = pd.read_csv(project / "runs/mine/texts.csv")
    n = Counter(texts["split"])
    assert f"{n['train']} train, {n['dev']} dev and {n['test']} test texts" in costs["prepare"]["made_of"]
    assert costs["prepare"]["disk"] == pytest.approx(
        (project / "runs/mine/texts.csv").stat().st_size, rel=0.02
    )
    (cache,) = (project / "cache").glob("?" * 16)
    n_bytes = sum(path.stat().st_size for path in cache.iterdir() if not path.name.startswith("."))
    assert costs["extract"]["disk"] == pytest.approx(n_bytes, rel=0.02)
    assert f"{texts['text'].nunique()} distinct texts" in costs["extract"]["made_of"]
    before = state_of(project)
    later = estimated(capsys)
    assert state_of(project) == before
    assert [stage for stage, cost in later.items() if cost["done"]] == ["prepare", "extract"]
    assert later["extract"]["seconds"] is None
    assert "42 candidates in 21 feature sets" in later["gridsearch"]["made_of"]


def test_weights_that_are_not_there_leave_the_counts(project, capsys):
    (project / "encoder/model.safetensors").unlink()
    costs = estimated(capsys)
    assert list(costs) == ["prepare", "extract"]
    assert costs["extract"]["seconds"] is None
    assert costs["extract"]["disk"] > 0
    shutil.rmtree(project / "encoder")
    assert list(estimated(capsys)) == ["prepare"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("gridsearch.layers=[1, 9]", "gridsearch.layers: got 9"),
        ("corpus.path=nowhere.csv", "nowhere.csv: no such file"),
        ("finetune.epoch=2", "unknown key finetune.epoch"),
    ],
)
def test_what_a_stage_refuses_is_refused_in_one_line(project, override, told, capsys):
    before = state_of(project)
    assert main(["estimate", "--config", "mine.toml", *FOLDERS, override]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcbert:")]
    assert told in line
    assert state_of(project) == before


@pytest.mark.parametrize(
    ("seconds", "shown"), [((0.2, 0.5), "0.2-0.5 s"), ((40, 95), "0.7-1.6 min"), ((3000, 12000), "0.8-3.3 h")]
)
def test_times_are_in_the_unit_of_the_upper_end(seconds, shown):
    assert as_range(seconds) == shown


def test_a_range_holds_the_estimate():
    low, high = likely("extract", 10.0, high=2.0)
    assert low < 10 < 20 < high
    assert Cost(stage="extract", seconds=(low, high)).disk is None
