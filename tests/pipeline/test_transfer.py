"""The transfer protocols from the command line: one configuration, one override each."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.config import load
from mcbert.pipeline.stages.prepare import files_read
from mcbert.results.table1 import published
from tests import processes
from tests.conftest import WORDS, save_encoder
from tests.translators import CODES, save_nllb


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("bert")), save_nllb(tmp_path_factory.mktemp("nllb"))


@pytest.fixture
def project(tmp_path, models, monkeypatch):
    """Raw texts in English with a table of German; French by a model, which also translates back."""
    monkeypatch.chdir(tmp_path)
    encoder, nllb = models
    draw = np.random.default_rng(0)
    rows = [
        (f"u{k}", " ".join([("money", "cancel")[k % 2], *draw.choice(WORDS, 4)]), ("refund", "cancel")[k % 2])
        for k in range(60)
    ]
    raw = pd.DataFrame(rows, columns=["id", "text", "label"])
    raw.to_csv("raw.csv", index=False)
    raw.assign(text="wo ist mein geld " + raw["text"])[["id", "text"]].to_csv("de.csv", index=False)
    (tmp_path / "mine.toml").write_text(
        f"""
[prepare]
raw = "raw.csv"
translations = {{ de = "de.csv" }}
translator = {{ "*" = "{nllb}" }}
source_translator = {{ "*" = "{nllb}" }}
translator_codes = {{ en = "{CODES[0]}", de = "{CODES[1]}", fr = "{CODES[2]}" }}
beams = 2
translation_length = 16
[encoder]
path = "{encoder}"
max_length = 32
[corpus]
leaks = "keep"  # the untrained model translates many texts into one
[gridsearch]
ensemble = 0
layers = [1, 4]
poolings = ["mean"]
classifiers = ["ridge"]
[finetune]
systems = ["baseline"]
seeds = [0]
epochs = 1
batch_size = 8
[cluster]
backend = "serial"
"""
    )
    return tmp_path


def run(stage, name, *overrides):
    return main([stage, "--config", "mine.toml", "--run", name, *overrides])


def table(name, file="texts"):
    path = Path(f"results/runs/{name}/{file}.csv")
    frame = pd.read_csv(path, keep_default_na=False)
    if file == "texts":
        return frame
    return frame.assign(**json.loads((path.parent / "run.json").read_text())[path.name])


@pytest.mark.slow
def test_three_protocols_from_one_configuration_side_by_side(project):
    for name in ("zero-shot", "translate-train", "translate-test"):
        assert run("finetune", name, f"prepare.transfer={name}") == 0
        assert main(["validate", f"results/runs/{name}"]) == 0
    texts = {name: table(name).set_index("id") for name in ("zero-shot", "translate-train", "translate-test")}
    zero, trained, tested = texts.values()
    held_out = zero[zero["split"] != "train"]
    assert set(zero.loc[zero["split"] == "train", "language"]) == {"en"}
    pd.testing.assert_frame_equal(trained.loc[held_out.index], held_out)  # the French is the same in both
    train = trained[trained["split"] == "train"].groupby("language").size()
    assert train["en"] == train["de"] == train["fr"]
    assert tested.index.tolist() == zero.index.tolist()
    changed = tested["text"] != zero["text"]
    assert changed[zero["language"] != "en"].mean() > 0.9
    assert not changed[zero["language"] == "en"].any()
    grid = pd.concat([table(name, "gridsearch") for name in texts])
    names = {"zero-shot", "translate-train-all", "translate-test"}
    assert grid.groupby("transfer").size().to_dict() == dict.fromkeys(names, 3)
    scores = grid[["transfer", "dev_f1_micro_en", "dev_f1_micro_de", "dev_f1_micro_fr", "test_f1_micro_mean"]]
    assert scores.notna().all(axis=None)
    for file in ("finetune", "table1", "corpus", "predictions_finetune"):
        rows = table("translate-test", file)
        assert set(rows["transfer"]) == {"translate-test"}
    steps = {name: table(name, "finetune")["step"].max() for name in texts}
    assert steps["translate-train"] > 2 * steps["zero-shot"] == 2 * steps["translate-test"]


def test_table_1_has_each_protocols_runs_beside_the_published_rows_of_that_setting(project, models):
    """Both systems by choice of corpus alone; the tables of the runs make one."""
    (project / "tables.toml").write_text(
        f"""
[prepare]
raw = "raw.csv"
translations = {{ de = "de.csv" }}
train_translations = {{ de = "de.csv" }}
source_translations = {{ de = "raw.csv" }}
[encoder]
path = "{models[0]}"
max_length = 16
[finetune]
systems = ["baseline", "mcbert"]
layers = [1, 2]
pooling = "max"
seeds = [0]
epochs = 2
batch_size = 8
learning_rate = 1e-3
[cluster]
backend = "serial"
"""
    )
    settings = {
        "zero-shot": "zero-shot",
        "translate-train": "translate-train-all",
        "translate-test": "translate-test",
    }
    for name in settings:
        given = ["--config", "tables.toml", "--run", name, f"prepare.transfer={name}"]
        assert main(["finetune", *given]) == 0
        assert main(["validate", f"results/runs/{name}"]) == 0
        rows = table(name, "table1")
        cells = set(
            zip(
                rows["system"],
                rows["language"],
                rows["protocol"],
                rows["transfer"],
                strict=True,
            )
        )
        assert cells == {
            (system, language, "last", settings[name])
            for system in ("baseline", "mcbert")
            for language in ("en", "de")
        }
        assert any(f"M-BERT, {name}" in system for system in published("en")["system"])
    together = pd.concat([table(name, "table1") for name in settings])
    assert not together.duplicated(["system", "transfer", "language"]).any()
    accuracy = together.set_index(["system", "transfer", "language"])["accuracy"].sort_index()
    for system in ("baseline", "mcbert"):  # with perfect translations to the source, German is English
        tested = accuracy[system, "translate-test"]
        assert tested["de"] == tested["en"]
    steps = {name: table(name, "finetune")["step"].max() for name in settings}
    assert steps["translate-train"] > 1.5 * steps["zero-shot"] == 1.5 * steps["translate-test"]


def test_with_perfect_translations_every_language_scores_as_the_source(project):
    perfect = "prepare.source_translations={de='raw.csv', fr='raw.csv'}"
    assert run("gridsearch", "perfect", "prepare.transfer=translate-test", perfect) == 0
    texts, grid = table("perfect"), table("perfect", "gridsearch")
    assert texts.groupby(texts["id"].str.replace(r"-(de|fr)$", "", regex=True))["text"].nunique().max() == 1
    for language in ("de", "fr"):
        assert grid[f"test_f1_micro_{language}"].tolist() == grid["test_f1_micro_en"].tolist()
    assert grid["test_f1_micro_en"].max() > 0.5


def test_official_nli_files_with_the_published_machine_translations(project):
    release = project / "nli"
    labels = ["neutral", "entailment", "contradiction"] * 4
    (release / "multinli_1.0").mkdir(parents=True)
    (release / "XNLI-1.0").mkdir()
    pairs = [
        {"gold_label": x, "sentence1": f"money {k}", "sentence2": "it", "pairID": f"{k}n"}
        for k, x in enumerate(labels)
    ]
    (release / "multinli_1.0/multinli_1.0_train.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    header = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
    for split in ("dev", "test"):
        rows = [f"{x}\t{label}\t{x} {k}\tis\t{k}" for x in ("en", "de") for k, label in enumerate(labels)]
        (release / f"XNLI-1.0/xnli.{split}.tsv").write_text(header + "\n".join(rows) + "\n")
    spelt = [x.replace("contradiction", "contradictory") for x in labels]
    lines = [f"geld {k}\tes\t{x}" for k, x in enumerate(spelt)]
    Path("multinli.train.de.tsv").write_text("premise\thypo\tlabel\n" + "\n".join(lines) + "\n")
    options = ["prepare.raw=''", "prepare.translations={}", "corpus.path=nli", "corpus.format=xnli",
               "corpus.languages=['en', 'de']", "prepare.transfer=translate-train",
               "prepare.train_translations={de='multinli.train.de.tsv'}"]  # fmt: skip
    assert run("prepare", "nli", *options) == 0
    texts = table("nli").set_index("id")
    assert texts.loc["train-2n-de", ["text", "text_pair", "label"]].tolist() == [
        "geld 2",
        "es",
        "contradiction",
    ]
    train = texts[texts["split"] == "train"]
    assert train.groupby("language").size().to_dict() == {"de": 12, "en": 12}
    Path("multinli.train.de.tsv").write_text("premise\thypo\tlabel\n" + "\n".join(reversed(lines)) + "\n")
    assert run("prepare", "again", *options) == 2


def test_training_on_one_language_alone(project):
    options = ["prepare.transfer=translate-train", "prepare.train_language=fr"]
    assert run("extract", "french", *options) == 0
    texts = table("french")
    assert set(texts.loc[texts["split"] == "train", "language"]) == {"fr"}
    assert set(table("french", "corpus")["transfer"]) == {"translate-train-fr"}


def test_another_model_is_another_configuration(project, models, capsys):
    assert run("prepare", "mine") == 0
    assert run("prepare", "mine") == 0
    other = save_nllb(project / "other", seed=5)
    config = (project / "mine.toml").read_text().replace(str(models[1]), str(other))
    (project / "mine.toml").write_text(config)
    assert run("prepare", "mine") == 2
    assert "prepare was run with another configuration" in capsys.readouterr().err
    for file in models[1].iterdir():  # the same name, other weights
        (other / file.name).write_bytes(file.read_bytes())
    assert run("prepare", "other") == 0
    (other / "model.safetensors").write_bytes(
        (save_nllb(project / "third", seed=6) / "model.safetensors").read_bytes()
    )
    assert run("prepare", "other") == 2
    assert "translators.en-fr.weights" in capsys.readouterr().err


def test_a_language_without_translations_is_named(project, capsys):
    assert run("prepare", "mine", "prepare.transfer=translate-test", "prepare.source_translator={}") == 2
    assert "error: prepare.source_translations.de: no translations of" in capsys.readouterr().err


def test_the_files_of_the_protocol_in_use_are_read(project):
    changes = ["prepare.train_translations={de='t.csv'}", "prepare.source_translations={de='s.csv'}"]
    for transfer, files in (("zero-shot", []), ("translate-train", ["t.csv"]), ("translate-test", ["s.csv"])):
        config = load("mine.toml", [*changes, f"prepare.transfer={transfer}"])
        assert [path.name for path in files_read(config)] == ["raw.csv", "de.csv", *files]


def test_paths_of_a_file_count_from_its_folder(project):
    (project / "model").mkdir()
    config = (
        (project / "mine.toml")
        .read_text()
        .replace("[encoder]", 'train_translations = { de = "t.csv" }\n[encoder]')
    )
    (project / "mine.toml").write_text(
        config.replace(
            'source_translator = { "*" = ', 'source_translator = { de = "model", fr = "hub/name", "*" = '
        )
    )
    prepare = load(str(project / "mine.toml")).prepare
    assert prepare.train_translations == {"de": str(project / "t.csv")}
    assert prepare.source_translator["de"] == str(project / "model")
    assert prepare.source_translator["fr"] == "hub/name"


@pytest.mark.slow
def test_a_translation_that_is_killed_goes_on_and_the_corpus_is_the_same(project):
    def start(name, cache):
        options = ("--run", name, "--cache", cache, "prepare.transfer=translate-train")
        return processes.mcbert("prepare", "--config", "mine.toml", *options)

    processes.finish(start("whole", "one"))
    done = sorted(path.stat().st_size for path in (project / "one/translations").iterdir())
    child = start("killed", "two")
    while sum(p.stat().st_size for p in (project / "two").glob("translations/*")) < sum(done) / 2:
        assert child.is_alive()
        time.sleep(0.001)
    child.kill()
    child.join()
    assert sum(p.stat().st_size for p in (project / "two").glob("translations/*")) < sum(done)
    assert not (project / "results/runs/killed/texts.csv").exists()
    processes.finish(start("killed", "two"))
    whole, killed = (
        (project / f"results/runs/{name}/texts.csv").read_bytes() for name in ("whole", "killed")
    )
    assert whole == killed
    assert sorted(path.stat().st_size for path in (project / "two/translations").iterdir()) == done
