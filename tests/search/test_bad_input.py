"""What `python -m mcbert gridsearch` says of bad input: one line that helps, and nothing overwritten."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mcbert.pipeline.cli import main
from mcbert.results import csv_files
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.search.gridsearch import gridsearch
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs

LABELS = {"refund": "money", "cancel": "cancel", "human": "human"}
FILES = ("gridsearch.jsonl", "gridsearch.csv", "confusion.csv", "winner.json", "probe.npz")

REPEATED = ("corpus.conflicts=keep", "corpus.leaks=keep")  # tables of one text over and over


def corpus_table():
    rng = np.random.default_rng(0)
    rows = []
    for split, n in (("train", 9), ("dev", 4), ("test", 4)):
        for language in ("en",) if split == "train" else ("en", "de"):
            for label, word in LABELS.items():
                for k in range(n):
                    text = " ".join([word, *rng.choice(["where", "is", "my", "order", "the", "a"], 4)])
                    rows.append((f"{split}-{label}-{k}-{language}", text, label, language, split))
    return pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"])


@pytest.fixture(scope="module")
def project(tmp_path_factory, encoder_folder):
    """A folder with an encoder, a configuration and a corpus, and the finished run `good`."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(encoder_folder, folder / "encoder")
    corpus_table().to_csv(folder / "texts.csv", index=False)
    (folder / "mine.toml").write_text(
        '[corpus]\npath = "texts.csv"\n[encoder]\npath = "encoder"\nmax_length = 16\n'
        '[extract]\nstorage_dtype = "float32"\n[gridsearch]\nlayers = [1, 3]\nensemble = 0\n'
        "params = { knn = { n_neighbors = 5 } }\n"
        '[cluster]\nbackend = "serial"\n'
    )
    places = ["--runs", str(folder / "runs"), "--cache", str(folder / "cache")]
    assert main(["gridsearch", "--config", str(folder / "mine.toml"), "--run", "good", *places]) == 0
    return folder


@pytest.fixture
def command(project, tmp_path, capsys):
    """Run a stage in a run of the test's own: (overrides, table=, stage=) -> status, what was said."""
    run = tmp_path / "runs" / "good"

    def call(*overrides, table=None, stage="gridsearch"):
        if table is not None:
            table.to_csv(tmp_path / "given.csv", index=False)
            overrides = (f"corpus.path={tmp_path / 'given.csv'}", *overrides)
        places = ["--runs", str(run.parent), "--cache", str(project / "cache")]
        capsys.readouterr()
        status = main([stage, "--config", str(project / "mine.toml"), "--run", "good", *places, *overrides])
        return status, capsys.readouterr().err

    call.run = run
    return call


@pytest.fixture
def finished(project, command):
    """The same over a copy of the finished run."""
    shutil.copytree(project / "runs" / "good", command.run)
    return command


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(call, said, *overrides, **options):
    """A call ends with status 2 and one line that has `said`; it changes no result that was there."""
    before = snapshot(call.run)
    status, err = call(*overrides, **options)
    assert status == 2, err
    lines = [line for line in err.splitlines() if line.startswith("mcbert: error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    after = snapshot(call.run)
    assert {path: after.get(path) for path in before} == before
    assert before or not any((call.run / name).exists() for name in FILES[1:])


def without(table, **values):
    """The table but for the rows that have all these values."""
    chosen = np.logical_and.reduce([table[name] == value for name, value in values.items()])
    return table[~chosen]


def test_a_class_missing_from_train(command):
    table = without(corpus_table(), split="train", label="human")
    said = "given.csv: row 27 (line 28): column label: 'human' of split dev is not among the train labels"
    refused(command, said, table=table)


def test_a_class_with_one_training_text(command):
    table = corpus_table()
    kept = (table["split"] != "train") | (table["label"] != "human") | (table["id"] == "train-human-0-en")
    said = "column label: labels with one train row, at least 2 are needed: human"
    refused(command, said, table=table[kept])


def test_a_label_set_of_one(command):
    table = corpus_table()
    refused(command, "the train rows have one label only, 'human'", table=table[table["label"] == "human"])


def test_a_language_without_rows_in_the_scored_split(command):
    table = without(corpus_table(), split="dev", language="de")
    said = (
        "language 'de': got no dev rows, accepted under gridsearch.protocol target-dev: at least one, "
        "or another protocol"
    )
    refused(command, said, "gridsearch.protocol=target-dev", table=table)


def test_a_language_that_is_not_scored_has_empty_cells_and_a_warning(command):
    status, err = command(table=without(corpus_table(), split="test", language="de"))
    assert status == 0
    assert "no test rows in de: test_f1_micro_de, and test_f1_micro_mean stay empty" in err
    frame = csv_files.read(GRIDSEARCH, command.run / "gridsearch.csv")
    assert frame[["test_f1_micro_de", "test_f1_micro_mean"]].isna().all(axis=None)
    assert frame[["dev_f1_micro_de", "test_f1_micro_en"]].notna().all(axis=None)


def test_one_class_dev_is_scored_with_a_warning(command):
    table = corpus_table()
    status, err = command(table=table[(table["split"] != "dev") | (table["label"] == "human")])
    assert status == 0
    assert "the dev rows in en have one label only, 'human'" in err
    assert "the dev rows in de have one label only, 'human'" in err
    frame = csv_files.read(GRIDSEARCH, command.run / "gridsearch.csv")
    assert (frame["status"] == "ok").all()


def test_constant_features_are_rows_of_status_error(command):
    """All that layer 0 knows of [CLS] is its own embedding, the same for every text."""
    status, err = command("gridsearch.layers=[0,1]", "gridsearch.poolings=['cls']")
    assert status == 0
    assert "5 candidates failed" in err
    frame = csv_files.read(GRIDSEARCH, command.run / "gridsearch.csv").set_index("candidate_id")
    failed = frame[frame["status"] == "error"]
    assert set(failed["layers"]) == {"0"}
    assert len(failed) == 5
    said = "constant features: layers 0: every column is the same in all train rows"
    assert failed["message"].str.contains(said).all()
    assert (frame["status"] == "ok").sum() == 10


def test_nothing_but_constant_features(command):
    status, err = command(
        *REPEATED,
        "gridsearch.layers=[1]",
        "gridsearch.poolings=['max']",
        table=corpus_table().assign(text="money"),
    )
    assert status == 2
    assert (
        "gridsearch.csv: all 5 candidates failed; the first: ValueError: constant features: layers 1" in err
    )
    assert not (command.run / "winner.json").exists()


def test_fewer_texts_than_neighbours(command):
    said = "gridsearch.params.knn.n_neighbors: got 28, accepted: 1 to 27, the train rows"
    refused(command, said, "gridsearch.params.knn.n_neighbors=28")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gridsearch.target_languages=['fr']", "gridsearch.target_languages: got 'fr', accepted: de"),
        ("gridsearch.layers=[1,9]", "gridsearch.layers: got 9; accepted: 0 (embeddings) to 4"),
        ("gridsearch.layers=[]", "gridsearch.layers: got [], accepted: a list of whole numbers from 0"),
        (
            "gridsearch.protocol=best",
            "gridsearch.protocol: got 'best', accepted: auto, agreement, source-dev, target-dev, last",
        ),
        ("corpus.source_language=fr", "column language: the source language 'fr' has no dev rows"),
    ],
)
def test_settings_that_the_corpus_or_the_cache_cannot_serve(command, override, said):
    refused(command, said, override)


def test_ids_that_appear_twice(command):
    table = corpus_table()
    said = f"row {len(table) + 1} (line {len(table) + 2}): column id: 'train-refund-0-en' is already in row 1"
    refused(command, said, table=pd.concat([table, table[:1]]))


def test_another_search_keeps_the_results_that_are_there(finished):
    refused(
        finished, "gridsearch was run with another configuration (gridsearch.layers", "gridsearch.layers=[1]"
    )


@pytest.mark.parametrize("name", ["cache.json", "stages/gridsearch.json", "stages/extract.json"])
@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_record_is_named(finished, name, content):
    (finished.run / name).write_text(content)
    refused(finished, f"{name}: damaged (")


def test_a_cache_whose_fingerprint_is_not_the_corpus_s(project, command, tmp_path):
    other = corpus_table().assign(text=lambda table: table["text"] + " late")
    assert command(table=other)[0] == 0
    elsewhere = json.loads((command.run / "cache.json").read_text())["digest"]
    shutil.rmtree(command.run)
    shutil.copytree(project / "runs" / "good", command.run)
    digest = json.loads((command.run / "cache.json").read_text())["digest"]
    (command.run / "cache.json").write_text(json.dumps({"digest": elsewhere}))
    refused(command, "cache.json: changed since the extract stage wrote it")
    shutil.rmtree(command.run)
    shutil.copytree(project / "runs" / "good", command.run)
    (command.run / "stages" / "gridsearch.json").unlink()
    cache, aside = project / "cache" / digest, tmp_path / "aside"
    cache.rename(aside)
    try:
        shutil.copytree(project / "cache" / elsewhere, cache)
        refused(command, f"{digest}: fingerprint: got {elsewhere} (made of given.csv")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        aside.rename(cache)


def test_examples_of_another_corpus(make_search, serial, stamp, tmp_path):
    made, other = make_search(), make_search(name="other", n_eval=10)
    settings = GridsearchSettings(layers=(1,), poolings=("max",))
    where = {"inputs": Inputs(store=made.store, examples=other.examples), "out": tmp_path}
    with pytest.raises(ValueError, match=r"examples\.npz: got 112 rows, accepted: .*142"):
        gridsearch(settings, **where, execute=serial, stamp=stamp)
    assert not (tmp_path / "gridsearch.jsonl").exists()


def test_states_that_are_not_finite_are_rows_of_status_error(make_search, serial, stamp, tmp_path):
    made = make_search(not_finite=(3, 1))
    settings = GridsearchSettings(layers=(1, 2), poolings=("max",), classifiers=("ridge", "lda"))
    gridsearch(
        settings, Inputs(store=made.store, examples=made.examples), out=tmp_path, execute=serial, stamp=stamp
    )
    frame = csv_files.read(GRIDSEARCH, tmp_path / "gridsearch.csv").set_index("layers")
    assert frame["status"].groupby("layers").first().to_dict() == {"1": "ok", "2": "error", "1+2": "error"}
    said = "feature cache: layer 2, pooling max, corpus row 3: not a finite number; extract again"
    assert frame.loc[["2", "1+2"], "message"].str.contains(said).all()


def test_the_ledger_of_another_search(finished, command):
    (finished.run / "stages" / "gridsearch.json").unlink()
    refused(
        finished,
        "gridsearch.jsonl: holds another search: layers was [1, 3], now [1]",
        "gridsearch.layers=[1]",
    )


def test_a_file_that_is_no_ledger(finished):
    (finished.run / "stages" / "gridsearch.json").unlink()
    (finished.run / "gridsearch.jsonl").write_text("hello\nworld\n")
    refused(finished, "gridsearch.jsonl: line 1 is not a whole record of ours; move the file away")


def test_a_line_of_the_ledger_cut_in_the_middle_costs_that_candidate_only(finished):
    (finished.run / "stages" / "gridsearch.json").unlink()
    expected = {name: (finished.run / name).read_bytes() for name in ("winner.json", "confusion.csv")}
    ledger = finished.run / "gridsearch.jsonl"
    lines = ledger.read_bytes().split(b"\n")
    lines[7] = lines[7][:40]
    ledger.write_bytes(b"\n".join(lines))
    status, err = finished()
    assert status == 0
    assert "gridsearch.jsonl: line 8 is damaged and is left out" in err
    assert "45 candidates, 44 of them known" in err
    assert {name: (finished.run / name).read_bytes() for name in expected} == expected


@pytest.mark.parametrize("name", ["winner.json", "probe.npz", "texts.csv", "gridsearch.csv"])
def test_results_edited_by_hand_are_told_and_kept(finished, name):
    path = finished.run / name
    path.write_bytes(path.read_bytes()[:-20])
    refused(finished, f"{name}: changed since the", stage="export")


def test_examples_that_are_damaged_are_made_again(finished):
    before = (finished.run / "gridsearch.csv").read_bytes()
    (finished.run / "examples.npz").write_bytes(b"PK")
    assert finished()[0] == 0
    assert (finished.run / "gridsearch.csv").read_bytes() == before


def test_a_thousand_classes_are_too_many_for_one_vs_one(command):
    table = corpus_table().assign(text="money order")
    train = pd.DataFrame({"id": [f"t{k}" for k in range(2000)], "split": "train", "language": "en"})
    train["label"] = [f"label{k // 2}" for k in range(2000)]
    train["text"] = ["money", "cancel"] * 1000
    rest = table[table["split"] != "train"].assign(label="label7")
    said = "got 'linear_svm' with 1000 labels, which is 499500 one-vs-one SVMs of 2000 texts each"
    refused(command, said, *REPEATED, table=pd.concat([train, rest]))
