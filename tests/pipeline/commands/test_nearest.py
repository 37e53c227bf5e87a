"""Nearest neighbours of a table's texts through the command line."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from mcbert.finetune.embeddings import neighbours, vectors
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder
from mcbert.pipeline.cli import main
from mcbert.results import csv_files
from mcbert.results.schema.texts import NEIGHBOURS


@pytest.fixture
def corpus(tmp_path, texts_table):
    texts = texts_table.drop_duplicates("text")[["id", "text"]]
    texts.to_csv(tmp_path / "corpus.csv", index=False)
    return texts.reset_index(drop=True)


@pytest.fixture
def run(encoder_folder, corpus, tmp_path, monkeypatch):
    """Find neighbours: (*options, queries) -> exit status; the output is neighbours.csv."""
    monkeypatch.setattr(vectors, "BLOCK", 16)
    monkeypatch.setattr(neighbours, "BLOCK", 16)

    def run(*options, queries="id,text\nx,where is my money\n,cancel order\n"):
        (tmp_path / "queries.csv").write_text(queries)
        paths = [f"--{name}={tmp_path / f'{name}.csv'}" for name in ("corpus", "queries")]
        output = f"--output={tmp_path / 'neighbours.csv'}"
        pooled = ["--layers", "4", "--pooling", "mean"]
        return main(["nearest", "--model", str(encoder_folder), *pooled, *paths, output, *options])

    return run


@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_the_neighbours_are_those_of_all_cosines(run, corpus, encoder_folder, tmp_path, index):
    assert run("-k", "3", "--index", index) == 0
    found = csv_files.read(NEIGHBOURS, tmp_path / "neighbours.csv")
    assert found["query_id"].tolist() == ["x"] * 3 + [""] * 3
    assert found["query_row"].tolist() == [1] * 3 + [2] * 3
    assert found["rank"].tolist() == [1, 2, 3] * 2
    opened = open_sentence_encoder(str(encoder_folder), layers=(4,), pooling="mean")
    x, y = (
        opened.encode(texts) for texts in (["where is my money", "cancel order"], corpus["text"].tolist())
    )
    cosines = (x @ y.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(y, axis=1)
    order = np.argsort(-cosines, axis=1)[:, :3]
    assert found["id"].tolist() == corpus["id"].to_numpy()[order.ravel()].tolist()
    assert found["row"].tolist() == (order.ravel() + 1).tolist()
    np.testing.assert_allclose(found["cosine"], np.take_along_axis(cosines, order, axis=1).ravel(), atol=1e-5)
    assert found["cosine"].round(6).equals(found["cosine"])
    assert main(["validate", str(tmp_path / "neighbours.csv")]) == 0


def test_a_text_finds_itself(run, corpus, tmp_path):
    assert run("-k", "1", queries=corpus.to_csv(index=False)) == 0
    found = csv_files.read(NEIGHBOURS, tmp_path / "neighbours.csv")
    assert found["id"].tolist() == found["query_id"].tolist() == corpus["id"].tolist()
    np.testing.assert_allclose(found["cosine"], 1, atol=1e-6)


def test_fewer_texts_than_neighbours(run, corpus, tmp_path, capsys):
    pd.DataFrame(corpus[:2]).to_csv(tmp_path / "corpus.csv", index=False)
    assert run("-k", "5") == 0
    assert csv_files.read(NEIGHBOURS, tmp_path / "neighbours.csv")["rank"].tolist() == [1, 2, 1, 2]
    assert "nearest: -k 5: the corpus has 2 texts" in capsys.readouterr().err
    assert run("-k", "2", "--replace") == 0
    assert "-k" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("queries", "options", "said"),
    [
        ("text\nmoney\n", ["-k", "0"], "-k: got 0, accepted: 1 or more"),
        ('text\nmoney\n" "\n', [], "queries.csv: row 2 (line 3): column text: it is empty"),
        ("txt\nmoney\n", [], "queries.csv: column 'text' is missing"),
        ("text\n", [], "queries.csv: no row with a usable text"),
        ("text\nmoney\n", ["--layers", "7"], "layers: got 7; accepted: 0 (embeddings) to 4"),
    ],
)
def test_bad_inputs(run, tmp_path, capsys, queries, options, said):
    assert run(*options, queries=queries) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*neighbours*"))


def test_an_output_that_is_there_is_kept(run, tmp_path, capsys):
    (tmp_path / "neighbours.csv").write_text("mine")
    assert run() == 2
    assert "it already exists; accepted: a new file, or --replace" in capsys.readouterr().err
    assert run("--replace") == 0
    assert len(csv_files.read(NEIGHBOURS, tmp_path / "neighbours.csv")) == 10


def test_the_library_is_asked_for_before_any_work(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert run("--model", "nowhere") == 2
    assert "pip install 'mcbert[nearest]'" in capsys.readouterr().err


def test_a_vector_without_direction_is_named(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        SentenceEncoder, "encode", lambda _, texts: np.array([[float(text != "now")] * 32 for text in texts])
    )
    assert run(queries="text\nmoney\nnow\n") == 2
    assert "queries.csv: row 2: its vector has no cosines: all numbers are 0" in capsys.readouterr().err


@pytest.fixture
def embedded(encoder_folder, tmp_path, monkeypatch):
    """Embed a table: (name without suffix, suffix, *options) -> path of its vectors."""
    monkeypatch.setattr(vectors, "BLOCK", 16)
    monkeypatch.setattr(neighbours, "HELD", 10 * 32)

    def embedded(name, suffix, *options):
        output = tmp_path / f"{name}{suffix}"
        pooled = ["--model", str(encoder_folder), "--layers", "4", "--pooling", "mean"]
        paths = ["--input", str(tmp_path / f"{name}.csv"), "--output", str(output)]
        assert main(["embed", *pooled, *paths, *options]) == 0
        return output

    return embedded


def assert_same_neighbours(path, expected, index):
    """Compare two tables: byte for byte those of the exact search, whose cosines are sums without rounding.

    A graph depends on the blocks that it is made of and on the CPU: of equally near texts it may find others.
    """
    if index == "exact":
        assert path.read_bytes() == expected.read_bytes()
        return
    found, wanted = (csv_files.read(NEIGHBOURS, one) for one in (path, expected))
    for name in ("query_row", "query_id", "rank"):
        assert found[name].equals(wanted[name])
    np.testing.assert_allclose(found["cosine"], wanted["cosine"], atol=2e-6)


@pytest.mark.parametrize("index", ["exact", "hnsw"])
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_vectors_that_embed_wrote_find_what_their_texts_find(run, embedded, corpus, tmp_path, index, suffix):
    """The corpus in blocks of 10 vectors, two texts in it twice, rows left out on both sides."""
    corpus = pd.concat([corpus[20:], corpus[:30], pd.DataFrame([{"id": "none", "text": " "}]), corpus[:2]])
    corpus.to_csv(tmp_path / "corpus.csv", index=False)
    queries = pd.concat([corpus[5:25], corpus[-4:]]).to_csv(index=False)
    options = ["-k", "7", "--index", index, "--on-bad", "skip", "--replace"]
    assert run(*options, queries=queries) == 0
    expected = (tmp_path / "neighbours.csv").rename(tmp_path / "expected.csv")
    sides = {name: embedded(name, suffix, "--on-bad", "skip") for name in ("corpus", "queries")}
    for given in (["corpus"], ["queries"]):
        assert run(*options, *(f"--{name}={sides[name]}" for name in given), queries=queries) == 0
        assert_same_neighbours(tmp_path / "neighbours.csv", expected, index)
    output = f"--output={tmp_path / 'neighbours.csv'}"
    paths = [f"--{name}={path}" for name, path in sides.items()]
    assert main(["nearest", *paths, output, *options]) == 0
    assert_same_neighbours(tmp_path / "neighbours.csv", expected, index)


def test_a_model_is_named_where_there_are_texts_and_there_alone(run, embedded, tmp_path, capsys):
    corpus = embedded("corpus", ".npy")
    output = f"--output={tmp_path / 'neighbours.csv'}"
    assert main(["nearest", f"--corpus={corpus}", f"--queries={tmp_path / 'corpus.csv'}", output]) == 2
    assert f"--model: got none, accepted: a model that encodes the texts of {tmp_path / 'corpus.csv'}" in (
        capsys.readouterr().err
    )
    assert run(f"--corpus={corpus}", "--pooling", "max") == 2
    said = "of another model than those of"
    assert f"{said} {tmp_path / 'queries.csv'}: blocks: got ['4:mean'], accepted: ['4:max']" in (
        capsys.readouterr().err
    )
    assert run(f"--corpus={corpus}", f"--queries={corpus}") == 2
    assert "accepted: none, since embed made the vectors of both sides" in capsys.readouterr().err
    assert main(["nearest", f"--corpus={corpus}", f"--queries={corpus}", output, "-k", "1"]) == 0
    found = csv_files.read(NEIGHBOURS, tmp_path / "neighbours.csv")
    assert (found["row"] == found["query_row"]).all()


def test_a_stored_vector_without_direction_is_named(run, embedded, tmp_path, capsys):
    corpus = embedded("corpus", ".npy")
    vectors = np.load(corpus)
    vectors[12] = 0
    np.save(corpus, vectors)
    assert run(f"--corpus={corpus}") == 2
    assert "corpus.npy: row 13: its vector has no cosines: all numbers are 0" in capsys.readouterr().err
    assert not (tmp_path / "neighbours.csv").exists()


def test_more_names_than_stored_vectors_are_refused(run, embedded, corpus, tmp_path, capsys):
    queries = embedded("corpus", ".npy").rename(tmp_path / "others.npy")
    for name in (".npy.json", ".ids.csv"):
        (tmp_path / f"corpus{name}").rename(tmp_path / f"others{name}")
    with (tmp_path / "others.ids.csv").open("a") as ids:
        ids.write(f"{len(corpus)},{len(corpus) + 1},more\n")
    assert run(f"--queries={queries}") == 2
    assert f"others.ids.csv: got {len(corpus) + 1} rows, accepted: {len(corpus)}" in capsys.readouterr().err
    assert not (tmp_path / "neighbours.csv").exists()
