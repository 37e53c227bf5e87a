"""What phase two cannot do is said before phase one encodes anything."""

from pathlib import Path

import pytest

from mcbert.pipeline.cli import main

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[gridsearch]
ensemble = 0
layers = [1, 3]
poolings = ["max"]
classifiers = ["ridge"]
[finetune]
systems = ["mcbert"]
seeds = [0]
epochs = 1
[tune]
seeds = [0]
[tune.values]
learning_rate = [1e-4]
[cluster]
backend = "serial"
"""


@pytest.fixture
def project(tmp_path, encoder_folder, texts_table, monkeypatch):
    """Texts of two languages, of which German has no dev texts."""
    monkeypatch.chdir(tmp_path)
    Path("encoder").symlink_to(encoder_folder)
    table = texts_table[texts_table["language"].isin(["en", "de"])].drop(columns="text_pair")
    table[(table["split"] != "dev") | (table["language"] == "en")].to_csv("texts.csv", index=False)
    Path("mine.toml").write_text(SETTINGS)
    return tmp_path


FREEZING = 'finetune.systems=["mcbert_wf"]'
PROBE = "finetune.start=probe"


@pytest.mark.parametrize(
    ("stage", "overrides", "message"),
    [
        ("finetune", ["finetune.protocol=target-dev"],
         "finetune.protocol: got target-dev, but the corpus has no dev rows of 'de'; accepted: last, so"),
        ("tune", ["tune.protocol=target-dev"],
         "tune.protocol: got target-dev, but the corpus has no dev rows of 'de'; accepted: source-dev"),
        ("tune", ["finetune.protocol=target-dev"], "finetune.protocol: got target-dev, but the corpus has"),
        ("finetune", [FREEZING, "finetune.freeze_rule=plateau", "finetune.freeze_groups=[[0]]",
                      "finetune.freeze_watch=target-dev"], "finetune.freeze_watch: got target-dev, but the"),
        ("finetune", [FREEZING], "finetune.freeze: got nothing, but finetune.systems names mcbert_wf"),
        ("finetune", [FREEZING, "finetune.freeze={0 = [9]}"], "finetune.freeze: epoch 0: "),
        ("finetune", [PROBE, "extract.special_tokens=exclude"], 'got "probe" with extract.special_tokens ='),
        ("finetune", [PROBE, 'gridsearch.classifiers=["knn"]'],
         'finetune.start: got "probe", but none of gridsearch.classifiers has a linear score for each of'),
        ("finetune", [PROBE, "finetune.pooling=mean"], "finetune.pooling: got 'mean' with finetune.start ="),
        ("finetune", ["finetune.max_length=9999"], "finetune.max_length: got 9999"),
        ("finetune", [PROBE, "finetune.layers=[2]"], "accepted: those of gridsearch.layers, 1, 3"),
    ],
)  # fmt: skip
def test_it_is_refused_before_anything_is_encoded(stage, overrides, message, project, capsys):
    assert main([stage, "--config", "mine.toml", *overrides]) == 2
    (said,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("mcbert: error:")]
    assert message in said
    assert not list(Path("cache").rglob("*.h5"))
    assert not Path("results/runs/mine/cache.json").exists()
    assert not Path("results/runs/mine/gridsearch.csv").exists()


@pytest.mark.parametrize("stage", ["extract", "gridsearch", "finetune", "tune", "export"])
def test_an_encoder_that_is_not_there_is_told_before_texts_are_prepared(stage, project, capsys):
    assert main([stage, "--config", "mine.toml", "encoder.path=/none/there"]) == 2
    assert "encoder.path: '/none/there' is not a folder" in capsys.readouterr().err
    assert not Path("results/runs/mine").exists()


def test_a_cache_that_cannot_be_made_is_told_first_with_its_option(project, capsys):
    Path("file").write_text("")
    assert main(["gridsearch", "--config", "mine.toml", "--cache", "file/cache"]) == 2
    assert "mcbert: error: --cache file/cache: cannot make file/cache: " in capsys.readouterr().err
    assert not Path("results/runs/mine").exists()


def test_what_can_be_done_is_done(project):
    assert main(["finetune", "--config", "mine.toml", PROBE, "finetune.layers=[1]"]) == 0
    assert Path("results/runs/mine/finetune.csv").is_file()
