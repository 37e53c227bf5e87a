"""Vectors of a table's texts through the command line: the same whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mcbert.finetune.embeddings import vectors
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder, VectorError
from mcbert.finetune.embeddings.vector_file import VectorFile
from mcbert.pipeline.cli import main
from mcbert.results import csv_files
from mcbert.results.schema.texts import VECTOR_IDS
from tests import processes


def killed_after_two_blocks(arguments):
    vectors.BLOCK = 16
    append, done = VectorFile.append, []

    def killing(self, vectors):
        append(self, vectors)
        done.append(len(vectors))
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    VectorFile.append = killing
    main(arguments)


@pytest.fixture(scope="module")
def texts(texts_table, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    texts_table.drop(columns=["text_pair", "label"]).to_csv(path, index=False)
    return path


@pytest.fixture
def arguments(encoder_folder, texts, tmp_path):
    """Return the command's arguments: (*options, input, output) -> list."""

    def given(*options, table=texts, output="vectors.npy", model=encoder_folder):
        pooled = ["--layers", "2+4", "--pooling", "mean"] if model == encoder_folder else []
        paths = ["--input", str(table), "--output", str(tmp_path / output)]
        return ["embed", "--model", str(model), *pooled, *paths, *options]

    return given


@pytest.fixture
def run(arguments, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", 16)
    return lambda *options, **more: main(arguments(*options, **more))


@pytest.fixture
def expected(encoder_folder, texts):
    opened = open_sentence_encoder(str(encoder_folder), layers=(2, 4), pooling="mean")
    return opened.encode(pd.read_csv(texts)["text"].tolist())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_array_and_its_ids(run, tmp_path, texts, expected):
    assert run() == 0
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1
    found = np.load(tmp_path / "vectors.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    ids = csv_files.read(VECTOR_IDS, tmp_path / "vectors.ids.csv")
    assert ids["id"].tolist() == pd.read_csv(texts)["id"].tolist()
    assert ids["position"].tolist() == list(range(len(expected)))
    assert ids["row"].tolist() == list(range(1, len(expected) + 1))
    assert names(tmp_path) == ["vectors.ids.csv", "vectors.npy", "vectors.npy.json"]
    made = json.loads((tmp_path / "vectors.npy.json").read_text())
    assert (made["input"]["name"], made["input"]["texts"]) == ("texts.csv", len(expected))
    assert (made["model"]["blocks"], made["model"]["dimension"]) == (["2:mean", "4:mean"], 64)
    assert main(["validate", str(tmp_path)]) == 0


def test_parquet_holds_row_id_and_vector(run, tmp_path, texts, expected):
    assert run(output="vectors.parquet") == 0
    table = pq.read_table(tmp_path / "vectors.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "row": "int64", "id": "string", "vector": "fixed_size_list<element: float>[64]",
    }  # fmt: skip
    assert table["id"].to_pylist() == pd.read_csv(texts)["id"].tolist()
    np.testing.assert_allclose(np.stack(table["vector"].to_numpy()), expected, atol=1e-5)
    assert names(tmp_path) == ["vectors.parquet", "vectors.parquet.json"]


def test_a_killed_run_goes_on_and_ends_the_same(run, arguments, tmp_path, monkeypatch):
    assert run(output="whole-vectors.npy") == 0
    killed = processes.begin(killed_after_two_blocks, arguments())
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (tmp_path / "vectors.npy").exists()
    blocks = []
    append = VectorFile.append
    monkeypatch.setattr(VectorFile, "append", lambda *args: blocks.append(args) or append(*args))
    assert run() == 0
    n_texts = len(np.load(tmp_path / "vectors.npy"))
    assert len(blocks) == -(-n_texts // 16) - 2
    for name in ("vectors.npy", "vectors.ids.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert not (tmp_path / ".vectors.npy.partial").exists()


@pytest.mark.parametrize("output", ["vectors.npy", "vectors.parquet"])
def test_a_failure_at_the_end_is_mended_by_the_same_command(run, tmp_path, monkeypatch, output):
    assert run(output=f"whole-{output}") == 0
    publish = VectorFile.publish

    def half(self, parts, made):
        publish(self, parts, made)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(VectorFile, "publish", half)
        assert run(output=output) == 1
    (tmp_path / f"{output}.json").unlink()  # as if the kill had come between the two
    assert run(output=output) == 0
    assert (tmp_path / output).read_bytes() == (tmp_path / f"whole-{output}").read_bytes()


def test_the_same_again_has_nothing_to_do(run, tmp_path, monkeypatch, capsys):
    assert run() == 0
    before = (tmp_path / "vectors.npy").stat().st_mtime_ns
    monkeypatch.setattr(VectorFile, "append", None)
    assert run() == 0
    assert (tmp_path / "vectors.npy").stat().st_mtime_ns == before
    assert "vectors.npy: up to date" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["model", "texts", "option"])
def test_an_output_of_other_inputs_is_kept_unless_told(run, tmp_path, texts, encoder_folder, capsys, change):
    assert run() == 0
    other = tmp_path / "other.csv"
    other.write_text("id,text\nx,money\n")
    given = {
        "model": {"options": ("--pooling", "max")},
        "texts": {"table": other},
        "option": {"options": ("--batch", "64")},
    }[change]
    options = given.pop("options", ())
    before = (tmp_path / "vectors.npy").read_bytes()
    assert run(*options, **given) == 2
    assert "it already exists; accepted: a new file, or --replace" in capsys.readouterr().err
    assert (tmp_path / "vectors.npy").read_bytes() == before
    assert run(*options, "--replace", **given) == 0
    assert run(*options, **given) == 0
    assert (change == "texts") == (len(np.load(tmp_path / "vectors.npy")) == 1)


def test_rows_without_text_are_named_or_left_out(run, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("name,body\na,money\nb, \nc,cancel\n")
    columns = ("--column", "text=body", "--column", "id=name")
    assert run(*columns, table=table) == 2
    err = capsys.readouterr().err
    assert "t.csv: row 2 (line 3): column body: it is empty; every row needs a text" in err
    assert not list(tmp_path.glob("*vectors*"))
    assert run(*columns, "--on-bad", "skip", table=table) == 0
    ids = csv_files.read(VECTOR_IDS, tmp_path / "vectors.ids.csv")
    assert ids.to_dict("list") == {"position": [0, 1], "row": [1, 3], "id": ["a", "c"]}
    assert "1 rows left out for body" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (
            "txt\nmoney\n",
            [],
            "column 'text' is missing (did you mean 'txt'?); present: txt; --column text=NAME",
        ),
        ("text\n", [], "t.csv: no row with a usable text"),
        ("text\nmoney\n", ["--column", "text_pair=x"], "--column: got 'text_pair=x', accepted: OURS=THEIRS"),
        ("text\nmoney\n", ["--layers", "9"], "layers: got 9; accepted: 0 (embeddings) to 4"),
        ("text\nmoney\n", ["--pooling", "min"], "pooling: got 'min'"),
        ("text\nmoney\n", ["--batch", "-1"], "tokens_per_batch: got -1"),
        ("text\nmoney\n", ["--model", "nowhere/at/all"], "--model: 'nowhere/at/all' is not a folder"),
    ],
)
def test_bad_inputs(run, tmp_path, capsys, content, options, said):
    (tmp_path / "t.csv").write_text(content)
    assert run(*options, table=tmp_path / "t.csv") == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("mcbert: error") == 1
    assert names(tmp_path) == ["t.csv"]


def test_layers_that_are_no_numbers(run, capsys):
    with pytest.raises(SystemExit):
        run("--layers", "last")
    assert "--layers: got 'last', accepted: numbers joined by +, such as 6+8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("vectors.csv", "--output: got 'vectors.csv', accepted: a name that ends in .npy or .parquet"),
        ("nowhere/vectors.npy", "no folder"),
    ],
)
def test_outputs_that_cannot_be(run, capsys, output, said):
    assert run(output=output) == 2
    assert said in capsys.readouterr().err


def test_parquet_without_its_library(run, monkeypatch, capsys):
    monkeypatch.setattr("mcbert.pipeline.commands.vectors.find_spec", lambda _: None)
    assert run(output="vectors.parquet") == 2
    assert "pip install 'mcbert[parquet]'" in capsys.readouterr().err


def test_a_text_without_a_finite_vector_is_named(run, tmp_path, monkeypatch, capsys):
    encode = SentenceEncoder.encode

    def refusing(self, texts):
        if "now" in texts:
            raise VectorError(self.name, texts.index("now"))
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", refusing)
    (tmp_path / "t.csv").write_text("text\n" + "money\n" * 20 + "now\n")
    assert run(table=tmp_path / "t.csv") == 2
    assert "t.csv: row 21: " in capsys.readouterr().err


def test_no_more_than_a_block_is_held(run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        SentenceEncoder, "encode", lambda _, texts: seen.append(len(texts)) or np.ones((len(texts), 64))
    )
    (tmp_path / "t.csv").write_text("text\n" + "money\n" * 50)
    assert run(table=tmp_path / "t.csv") == 0
    assert seen == [16, 16, 16, 2]


def test_second_texts_are_said_to_be_unread(run, texts, tmp_path, capsys):
    assert run() == 0
    assert "text_pair" not in capsys.readouterr().err
    pd.read_csv(texts).assign(text_pair="more").to_csv(tmp_path / "pairs.csv", index=False)
    assert run(table=tmp_path / "pairs.csv", output="pairs.npy") == 0
    assert (
        "pairs.csv: the column text_pair is not read: each vector is of one text" in capsys.readouterr().err
    )
