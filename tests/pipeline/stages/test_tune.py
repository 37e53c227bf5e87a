"""The stage `tune`: from a configuration to tune.csv and to words that `finetune` takes."""

import shlex

import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.config import load

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[extract]
storage_dtype = "float32"
[gridsearch]
ensemble = 0
layers = [1, 3]
poolings = ["max"]
classifiers = ["ridge"]
[finetune]
systems = ["mcbert", "mcbert_wf"]
seeds = [0]
epochs = 1
batch_size = 8
learning_rate = 1e-3
freeze = { 0 = [0] }
[tune]
seeds = [0]
[tune.values]
start = ["probe"]
learning_rate = [1e-4]
freeze = [{}, { 0 = [0, 1] }]
[cluster]
backend = "serial"
"""


@pytest.fixture(scope="module")
def project(make_project):
    return make_project(SETTINGS)


def test_the_best_settings_are_printed_as_finetune_takes_them(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert main(["tune", "--config", "mine.toml"]) == 0
    printed = capsys.readouterr().out
    folder = project / "results/runs/mine"
    table = pd.read_csv(folder / "tune.csv")
    assert set(table["trial"]) == {0, 1, 2}
    assert pd.read_csv(folder / "tune_overall.csv")["status"].tolist() == ["ok"] * 3
    best = table.query("rank == 1").iloc[0]["trial"]
    words = shlex.split(printed)
    base, chosen = (load("mine.toml", given).finetune for given in ([], words))
    if best == 0:
        assert chosen == base
    else:
        assert (chosen.start, chosen.learning_rate) == ("probe", 1e-4)
        assert chosen.freeze == ({} if best == 1 else {0: (0, 1)})
        assert ("mcbert_wf" in chosen.systems) == bool(chosen.freeze)
    assert not (folder / "models").exists()
    assert not (folder / "checkpoints").exists()
    assert not (folder / "tensorboard").exists()
    before = (folder / "tune.jsonl").read_bytes()
    assert main(["tune", "--config", "mine.toml"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["tune", "--config", "mine.toml", "tune.protocol=target-dev"]) == 0
    assert (folder / "tune.jsonl").read_bytes() == before
    assert set(pd.read_csv(folder / "tune.csv")["ranked_by"]) == {"target-dev"}
    assert main(["validate", str(folder)]) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.values={}", "tune.values: got nothing, accepted: lists of values"),
        ("tune.values.lerning_rate=[1]", "tune.values: got 'lerning_rate', accepted: epochs"),
        ("tune.values.epochs=3", "tune.values.epochs: got 3, accepted: a list"),
        ("tune.trials=3", "tune.trials: means nothing with"),
    ],
)
def test_bad_settings_of_tune_are_one_line(project, monkeypatch, capsys, override, message):
    monkeypatch.chdir(project)
    assert main(["tune", "--config", "mine.toml", "--run", "bad", override]) == 2
    assert message in capsys.readouterr().err
