"""The stage `embeddings`, end to end on tiny pairs and translations, and fed with bad input."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.results import csv_files
from mcbert.results.csv_files import read, validate
from mcbert.results.schema.embeddings import TATOEBA
from mcbert.results.schema.training import EMBEDDINGS_TRAININGS
from tests.conftest import WORDS

HEADER = "id,premise,hypothesis,label\n"
LABELS = ("entailment", "neutral", "contradiction")


def pairs_of(count, start):
    lines = []
    for k in range(start, start + count):
        premise = " ".join(WORDS[(k + i) % len(WORDS)] for i in range(4))
        for j, label in enumerate(LABELS):
            hypothesis = " ".join(WORDS[(k * 7 + 3 * j + i) % len(WORDS)] for i in range(1 + j))
            lines.append(f"{k}-{j},{premise} {k},{hypothesis} {k},{label}\n")
    return HEADER + "".join(lines)


@pytest.fixture
def project(tmp_path, encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nli").mkdir()
    (tmp_path / "nli/train.csv").write_text(pairs_of(8, 0))
    (tmp_path / "nli/dev.csv").write_text(pairs_of(3, 8))
    (tmp_path / "sets/translations").mkdir(parents=True)
    english = [" ".join(WORDS[(3 * k + i) % len(WORDS)] for i in range(3)) for k in range(12)]
    rows = [f"s{k},{text},{('dev', 'test')[k % 2]}\n" for k, text in enumerate(english)]
    (tmp_path / "sets/raw.csv").write_text("id,text,split\n" + "".join(rows))
    for language in ("de", "fr"):
        lines = [f"s{k},{' '.join(reversed(text.split()))} geld\n" for k, text in enumerate(english)]
        (tmp_path / f"sets/translations/{language}.csv").write_text("id,text\n" + "".join(lines))
    (tmp_path / "mine.toml").write_text(
        f"""
[encoder]
path = "{encoder_folder}"
max_length = 32
[retrieval]
tatoeba = "sets"
[embeddings]
batch_size = 8
learning_rate = 1e-3
corpus = {{ path = "nli", format = "nli" }}
[cluster]
backend = "serial"
"""
    )
    return tmp_path


def run(*overrides):
    return main(["embeddings", "--config", "mine.toml", *overrides])


def error(capsys):
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("mcbert: error:")]
    return line


def test_the_best_frozen_layer_is_trained_and_compared_with_the_frozen_ones(project, capsys):
    assert run() == 0
    folder = project / "results/runs/mine"
    searched = csv_files.read_with_sums(TATOEBA, folder / "embeddings/tatoeba.csv")
    assert set(searched["split"]) == {"dev"}
    means = searched.query("language == 'mean' and direction == 'both' and score == 'cosine'")
    best = json.loads((folder / "embeddings/layers.json").read_text())
    learning = means[means["layers"] != "0"]
    assert best["error_rate"] == learning["error_rate"].min()
    row = learning.sort_values(["error_rate", "layers", "pooling"]).iloc[0]
    assert (best["layers"], best["pooling"]) == ([int(row["layers"])], row["pooling"])
    trained = read(EMBEDDINGS_TRAININGS, folder / "embeddings_trainings.csv")
    assert set(trained["layers"]) == {row["layers"]}
    assert set(trained["protocol"]) == {"target-dev"}
    found = csv_files.read_with_sums(TATOEBA, folder / "tatoeba.csv")
    assert {"frozen", "fine-tuned"} == set(found.loc[found["split"] == "test", "system"])
    for path in folder.glob("embeddings*.csv"):
        assert validate(path) == []
    assert "fine-tuned" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert run() == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_named_layers_are_trained_without_a_search_or_translations(project):
    options = ["embeddings.layers=[3]", "embeddings.pooling=cls", 'retrieval.tatoeba=""']
    assert run(*options, "embeddings.objective=ranking") == 0
    folder = project / "results/runs/mine"
    trained = read(EMBEDDINGS_TRAININGS, folder / "embeddings_trainings.csv")
    assert set(zip(trained["layers"], trained["pooling"], trained["protocol"], strict=True)) == {
        ("3", "cls", "last")
    }
    assert not (folder / "embeddings/layers.json").exists()
    assert not (folder / "tatoeba.csv").exists()
    assert (folder / "models/embeddings-st/modules.json").is_file()


def test_the_search_keeps_to_the_pooling_that_is_named(project):
    assert run("embeddings.pooling=cls", "embeddings.epochs=1", "retrieval.seed_compat=true") == 0
    folder = project / "results/runs/mine"
    assert json.loads((folder / "embeddings/layers.json").read_text())["pooling"] == "cls"
    searched, reported = (pd.read_csv(folder / name) for name in ("embeddings/tatoeba.csv", "tatoeba.csv"))
    assert set(searched["system"]) == {"frozen"}  # of texts as they are: only the report's are lower-cased
    assert set(reported["system"]) == {"frozen-seed-compat", "fine-tuned-seed-compat"}


def test_pairs_that_do_not_suit_are_refused_before_the_layers_are_searched(project, capsys):
    assert run("embeddings.protocol=target-dev") == 2
    assert "embeddings.protocol: got target-dev, but the corpus has the source language only" in error(capsys)
    assert not (project / "results/runs/mine/embeddings/tatoeba.csv").exists()


def test_rows_that_are_left_out_are_listed(project):
    with (project / "nli/train.csv").open("a") as file:
        file.write("9-9,,nothing,neutral\n")
    named = ["embeddings.layers=[1]", "embeddings.pooling=max", 'retrieval.tatoeba=""']
    assert run(*named) == 2
    assert run(*named, "embeddings.corpus.on_bad=skip") == 0
    rejected = (project / "results/runs/mine/embeddings/rejected.csv").read_text()
    assert "9-9" in rejected


def test_messages_about_the_pairs_name_their_own_settings(project, capsys):
    train = (project / "nli/train.csv").read_text()
    (project / "nli/dev.csv").write_text(pairs_of(3, 8) + train.split("\n")[1].replace("0-0", "x-0") + "\n")
    named = ["embeddings.layers=[1]", "embeddings.pooling=max", 'retrieval.tatoeba=""']
    assert run(*named) == 0
    assert 'left out; embeddings.corpus.leaks = "keep" keeps them' in capsys.readouterr().err
    rejected = (project / "results/runs/mine/embeddings/rejected.csv").read_text()
    assert "x-0" in rejected
    assert "embeddings.corpus.leaks" in rejected
    again = train.split("\n")[1].replace("0-0", "y-0").replace("entailment", "neutral")
    (project / "nli/train.csv").write_text(train + again + "\n")
    other = ["embeddings", "--config", "mine.toml", "--run", "other"]
    assert main([*other, *named, "embeddings.corpus.conflicts=error"]) == 2
    said = capsys.readouterr().err
    assert 'embeddings.corpus.conflicts = "majority" takes' in said
    assert " corpus.conflicts" not in said


def laser(project):
    (project / "laser").mkdir()
    for end in ("deu", "eng"):
        (project / f"laser/tatoeba.deu-eng.{end}").write_text("money order\nlate parcel\nit is\n")


def test_other_translations_to_choose_by_are_all_dev(project):
    laser(project)
    assert run("embeddings.parallel=laser") == 0
    searched = csv_files.read_with_sums(TATOEBA, project / "results/runs/mine/embeddings/tatoeba.csv")
    assert set(searched["language"]) == {"deu"}
    assert set(searched["split"]) == {"dev"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (['embeddings.corpus.path=""'], r"embeddings\.corpus\.path: got nothing, accepted: labelled pairs"),
        (['retrieval.tatoeba=""'], r"embeddings\.parallel: got nothing, accepted: a folder of sentences to"),
        (
            ["retrieval.tatoeba=laser"],
            r"embeddings\.parallel: got .*laser', whose sentences are all reported",
        ),
        (
            ["embeddings.parallel=laser", "retrieval.tatoeba=laser"],
            r"whose sentences are all reported as test",
        ),
        (["embeddings.parallel=empty"], r"no translated sentences in .*empty"),
        (
            ["embeddings.layers=[9]"],
            r"embeddings\.layers: got \[9\] and pooling '', of which the cache has none",
        ),
        (["embeddings.section=x"], r"unknown key embeddings\.section"),
        (["embeddings.corpus.leaks=x"], r"embeddings\.corpus\.leaks: got 'x', accepted: drop, keep"),
        (
            ["embeddings.corpus.revision=x"],
            r"embeddings\.corpus\.revision: means nothing for format 'nli', but for huggingface",
        ),
        (
            ["embeddings.corpus.format=allnli"],
            r"AllNLI\.tsv\.gz: no such file; .* set embeddings\.corpus\.path to it",
        ),
    ],
)
def test_bad_input_is_one_line(project, capsys, options, message):
    laser(project)
    (project / "empty").mkdir()
    assert run(*options) == 2
    assert re.search(message, error(capsys))


def test_what_cannot_be_measured_on_is_told_before_anything_is_trained(project, capsys):
    (project / "sts").mkdir()
    rows = "".join(f"{k},3.0,{WORDS[k]} a,{WORDS[k]} b\n" for k in range(3))
    for name in ("dev.csv", "test.csv"):
        (project / "sts" / name).write_text("id,score,sentence1,sentence2\n" + rows)
    assert run("retrieval.sts=sts") == 2
    said = error(capsys)
    assert "(3 rows)" in said
    assert "on_bad" not in said
    assert not (project / "results/runs/mine/models").exists()
    assert not (project / "results/runs/mine/embeddings/tatoeba.csv").exists()
