"""Label texts with saved models through the command line."""

from __future__ import annotations

import io
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcbert.finetune.predict import label_texts
from mcbert.pipeline.cli import main
from mcbert.pipeline.commands import predict
from mcbert.results import csv_files
from mcbert.results.schema.texts import LABELS
from tests import processes

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder_folder, texts_table):
    """A run with an exported probe and fine-tuned models, and a table of texts without labels."""
    folder = tmp_path_factory.mktemp("predict")
    shutil.copytree(encoder_folder, folder / "encoder")
    texts_table.drop(columns="text_pair").to_csv(folder / "texts.csv", index=False)
    (folder / "mine.toml").write_text(
        '[corpus]\npath = "texts.csv"\n[encoder]\npath = "encoder"\nmax_length = 8\n'
        '[extract]\nstorage_dtype = "float32"\n[gridsearch]\nensemble = 0\nlayers = [1, 3]\n'
        'classifiers = ["ridge"]\n'
        '[finetune]\nsystems = ["baseline", "mcbert"]\nseeds = [0]\nepochs = 1\n'
        '[cluster]\nbackend = "serial"\n'
    )
    for stage in ("export", "finetune"):
        options = ["--runs", str(folder / "runs"), "--cache", str(folder / "cache")]
        assert main([stage, "--config", str(folder / "mine.toml"), *options]) == 0
    return folder


@pytest.fixture
def label(folder, tmp_path):
    """Label a table: (table, *options) -> exit status; the output is labels.csv."""

    def run(table=folder / "texts.csv", *options, model="probe"):
        paths = ["--input", str(table), "--output", str(tmp_path / "labels.csv")]
        return main(["predict", "--model", str(folder / "runs/mine/models" / model), *paths, *options])

    return run


@pytest.mark.parametrize(
    ("model", "table"),
    [("probe", "gridsearch"), ("baseline", "finetune"), ("mcbert", "finetune")],
)
def test_labels_are_those_that_the_run_measured(folder, label, tmp_path, monkeypatch, model, table):
    monkeypatch.setattr(predict, "BLOCK", 7)
    assert label(model=model) == 0
    found = csv_files.read(LABELS, tmp_path / "labels.csv")
    texts = pd.read_csv(folder / "texts.csv")
    assert found["row"].tolist() == list(range(1, len(texts) + 1))
    assert found["id"].tolist() == texts["id"].tolist()
    measured = pd.read_csv(folder / f"runs/mine/predictions_{table}.csv")
    measured = measured[measured["system"] == model].set_index("id")["predicted"]
    assert len(measured) > 40
    pd.testing.assert_series_equal(
        found.set_index("id")["label"][measured.index], measured, check_names=False, check_dtype=False
    )
    shares = found[["probability_cancel", "probability_refund"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares.max(axis=1) == found["probability"]).all()
    assert (shares.idxmax(axis=1) == "probability_" + found["label"]).all()
    assert main(["validate", str(tmp_path / "labels.csv")]) == 0


def test_texts_of_the_command_line_are_labelled_as_those_of_a_table(folder, label, tmp_path, capsys):
    assert label() == 0
    found = csv_files.read(LABELS, tmp_path / "labels.csv")
    texts = pd.read_csv(folder / "texts.csv")["text"].tolist()[:3]
    model = ["predict", "--model", str(folder / "runs/mine/models/probe")]
    capsys.readouterr()
    assert main([*model, *(f"--text={text}" for text in texts)]) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert printed["text"].tolist() == texts
    assert printed["label"].tolist() == found["label"].tolist()[:3]
    assert printed["probability"].tolist() == pytest.approx(found["probability"].tolist()[:3], abs=2e-6)
    assert main([*model, "--text", texts[0], "--abstain", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(",")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "predict: accepted: --input and --output, or --text"),
        (
            ["--text", "a", "--input", "t.csv", "--output", "o.csv"],
            "predict: accepted: --input and --output,",
        ),
        (["--input", "t.csv"], "predict: accepted: --input and --output, or --text"),
        (["--text", "a", "--text", " "], "--text: row 2: column text: it is empty"),
        (["--text", "a\udcff"], "--text: row 1: column text: "),
    ],
)
def test_texts_of_the_command_line_that_cannot_be_used_are_told(folder, capsys, options, said):
    assert main(["predict", "--model", str(folder / "runs/mine/models/probe"), *options]) == 2
    assert said in capsys.readouterr().err


def test_block_size_changes_nothing(label, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "DECIMALS", 12)  # a last bit may tip the sixth decimal
    assert label() == 0
    whole = csv_files.read(LABELS, tmp_path / "labels.csv")
    monkeypatch.setattr(predict, "BLOCK", 3)
    (tmp_path / "labels.csv").unlink()
    assert label() == 0
    pd.testing.assert_frame_equal(csv_files.read(LABELS, tmp_path / "labels.csv"), whole, rtol=1e-4)


def test_an_output_that_is_there_is_kept_unless_it_is_to_be_replaced(label, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("mine")
    assert label() == 2
    assert "it already exists; accepted: a new file, or --replace" in capsys.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == "mine"
    assert label(tmp_path / "labels.csv", "--replace") == 2
    assert "it is the input" in capsys.readouterr().err


def test_replacing(folder, label, tmp_path):
    (tmp_path / "labels.csv").write_text("mine")
    assert label(folder / "texts.csv", "--replace") == 0
    assert len(csv_files.read(LABELS, tmp_path / "labels.csv")) > 40


def test_an_empty_text_is_named_before_anything_is_done(label, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("text\nmoney\n \ncancel\n")
    assert label(table, model="nothing") == 2
    err = capsys.readouterr().err
    assert "t.csv: row 2 (line 3): column text: it is empty; every row needs a text" in err
    assert not (tmp_path / "labels.csv").exists()


def test_bad_rows_are_skipped_and_counted(label, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("name,body\na,money\nb, \nb,cancel\n")
    assert label(table, "--on-bad", "skip", "--column", "text=body", "--column", "id=name") == 0
    found = csv_files.read(LABELS, tmp_path / "labels.csv")
    assert found["row"].tolist() == [1, 3]
    assert found["id"].tolist() == ["a", "b"]
    assert "1 rows left out for body" in capsys.readouterr().err


def test_ids_need_not_be_there(label, tmp_path):
    table = tmp_path / "t.jsonl"
    table.write_text('{"text": "money"}\n{"text": "cancel", "text_pair": "now"}\n')
    assert label(table) == 0
    assert csv_files.read(LABELS, tmp_path / "labels.csv")["id"].tolist() == ["", ""]


def test_cut_texts_are_counted(label, tmp_path, capsys):
    table = tmp_path / "t.csv"
    six, seven = " ".join(["money"] * 6), " ".join(["money"] * 7)
    table.write_text(f"text\n{six}\n{seven}\ncancel\n{seven}\n")
    assert label(table) == 0
    assert "predict: 2 texts were longer than 8 tokens and cut" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (
            "txt\nmoney\n",
            [],
            "column 'text' is missing (did you mean 'txt'?); present: txt; --column text=NAME",
        ),
        ("text\nmoney\n", ["--column", "label=x"], "--column: got 'label=x', accepted: OURS=THEIRS"),
        ("text\n", [], "t.csv: no row with a usable text"),
        ("text;id\nmoney;1\n", ["--delimiter", ","], "--delimiter names the character between fields"),
    ],
)
def test_bad_inputs(label, tmp_path, capsys, content, options, said):
    (tmp_path / "t.csv").write_text(content)
    assert label(tmp_path / "t.csv", *options) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("mcbert: error") == 1
    assert not (tmp_path / "labels.csv").exists()


def test_models_that_are_none(folder, label, capsys):
    assert label(model="nothing") == 2
    assert "--model" in capsys.readouterr().err
    assert label(model="../../../encoder") == 2
    assert "not a trained classifier" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "no config.json there"),
        ("config.json", b"{", "config.json: not JSON ("),
        ("config.json", b'{"model_type": "nothing"}', "config.json: model_type: got 'nothing'"),
        ("model.safetensors", None, "no safetensors weights there"),
        (
            "model.safetensors",
            b"PK",
            "model.safetensors: it cannot be read (SafetensorError: Error while deserializing header",
        ),
        ("tokenizer.json", b"{", "its tokenizer cannot be read ("),
    ],
)
def test_a_damaged_model_is_told_in_a_line(folder, label, tmp_path, capsys, name, content, said):
    shutil.copytree(folder / "runs/mine/models/probe", tmp_path / "model")
    (tmp_path / "model/checksums.json").unlink()
    (tmp_path / "model" / name).unlink()
    if content is not None:
        (tmp_path / "model" / name).write_bytes(content)
    capsys.readouterr()
    assert label(model=tmp_path / "model") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "mcbert: error" in line]
    assert len(lines) == 1
    assert f"--model: {tmp_path / 'model'}: {said}" in lines[0]
    assert not (tmp_path / "labels.csv").exists()


def test_a_process_of_its_own_knows_the_models(folder, tmp_path):
    """What another module has imported may not be needed."""
    paths = ["--input", str(folder / "texts.csv"), "--output", str(tmp_path / "labels.csv")]
    command = [sys.executable, "-m", "mcbert", "predict", "--model", str(folder / "runs/mine/models/probe")]
    subprocess.run([*command, *paths], cwd=ROOT, check=True)
    assert len(csv_files.read(LABELS, tmp_path / "labels.csv")) > 40


def test_an_output_that_would_be_no_csv_is_refused(folder, tmp_path, capsys):
    paths = ["--input", str(folder / "texts.csv"), "--output", str(tmp_path / "labels.parquet")]
    assert main(["predict", "--model", "m", *paths]) == 2
    assert "--output: got 'labels.parquet', accepted: a name that ends in .csv" in capsys.readouterr().err


def test_a_failure_in_the_middle_leaves_the_earlier_output(folder, label, tmp_path, monkeypatch, capsys):
    (tmp_path / "labels.csv").write_text("mine")
    monkeypatch.setattr(predict, "BLOCK", 7)
    blocks = []

    def failing(saved, texts):
        blocks.append(len(texts))
        if len(blocks) == 3:
            raise RuntimeError("no memory")
        return label_texts(saved, texts)

    monkeypatch.setattr("mcbert.finetune.predict.label_texts", failing)
    assert label(folder / "texts.csv", "--replace") == 1
    assert "mcbert: failed: no memory" in capsys.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_parquet_is_read(label, tmp_path):
    pd.DataFrame({"text": ["money", "cancel"], "id": ["a", "b"]}).to_parquet(tmp_path / "t.parquet")
    assert label(tmp_path / "t.parquet") == 0
    assert csv_files.read(LABELS, tmp_path / "labels.csv")["id"].tolist() == ["a", "b"]


def test_below_a_threshold_the_label_is_left_empty_and_counted(folder, label, tmp_path, capsys):
    assert label() == 0
    whole = csv_files.read(LABELS, tmp_path / "labels.csv")
    threshold = float(whole["probability"].sort_values().iloc[len(whole) // 3])
    unsure = whole["probability"] < threshold
    assert 0 < unsure.sum() < len(whole)
    options = ("--replace", "--abstain", repr(threshold))
    assert label(folder / "texts.csv", *options) == 0
    found = csv_files.read(LABELS, tmp_path / "labels.csv")
    pd.testing.assert_frame_equal(found, whole.assign(label=whole["label"].mask(unsure, "")))
    said = f"predict: {unsure.sum()} of {len(whole)} texts have no label: below {threshold:g}"
    assert said in capsys.readouterr().err
    assert main(["validate", str(tmp_path / "labels.csv")]) == 0


@pytest.mark.parametrize("given", ["1.5", "-0.1", "nan", "many"])
def test_a_threshold_that_is_no_share_is_refused(folder, label, capsys, given):
    with pytest.raises(SystemExit):
        label(folder / "texts.csv", "--abstain", given)
    assert "--abstain" in capsys.readouterr().err


def test_help_says_where_probabilities_come_from(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "softmax(scores / temperature), the temperature fitted to the source language's dev texts" in said


def peak(arguments, said):
    """Run the command line; print the most memory that this process had, in KB."""
    processes.say_in(said)
    assert main(arguments) == 0
    sys.stdout.write(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(folder, tmp_path):
    """Ten times the rows cost less than 20 MB more."""
    peaks = []
    for n in (4_096, 40_960):
        table = tmp_path / f"t{n}.csv"
        table.write_text("text\n" + "where is my money\n" * n)
        output = tmp_path / f"labels{n}.csv"
        arguments = ["predict", "--model", str(folder / "runs/mine/models/probe"), "--input", str(table)]
        processes.finish(processes.begin(peak, [*arguments, "--output", str(output)], tmp_path / f"said{n}"))
        peaks.append(int((tmp_path / f"said{n}").read_text().split()[-1]) / 1024)
        assert sum(1 for _ in output.open()) == n + 1
    assert peaks[1] - peaks[0] < 20, peaks


def test_an_output_without_a_folder(folder, capsys):
    texts = str(folder / "texts.csv")
    assert main(["predict", "--model", "m", "--input", texts, "--output", "nowhere/labels.csv"]) == 2
    assert "no folder nowhere" in capsys.readouterr().err


def test_a_model_of_single_texts_reads_no_second_ones_and_says_so(folder, label, tmp_path, capsys):
    texts = pd.read_csv(folder / "texts.csv")
    texts.assign(text_pair="and more").to_csv(tmp_path / "pairs.csv", index=False)
    for model in ("probe", "baseline"):
        assert label(model=model) == 0
        alone = (tmp_path / "labels.csv").read_bytes()
        assert label(tmp_path / "pairs.csv", "--replace", model=model) == 0
        assert (tmp_path / "labels.csv").read_bytes() == alone
        assert f"pairs.csv: column text_pair: not read, of {len(texts)} rows" in capsys.readouterr().err
        (tmp_path / "labels.csv").unlink()


@pytest.mark.parametrize("model", ["probe", "baseline"])
def test_a_model_of_pairs_refuses_single_texts(model, folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(folder / "runs/mine/models" / model, copy)
    config = json.loads((copy / "config.json").read_text())
    assert config["text_pairs"] is False
    (copy / "checksums.json").unlink(missing_ok=True)
    texts = pd.read_csv(folder / "texts.csv")
    texts.assign(text_pair=["pair", " "] + ["pair"] * (len(texts) - 2)).to_csv(
        tmp_path / "p.csv", index=False
    )

    def run(table, **changes):
        (copy / "config.json").write_text(json.dumps({**config, **changes}))
        paths = ["--input", str(table), "--output", str(tmp_path / "out.csv"), "--replace"]
        return main(["predict", "--model", str(copy), *paths])

    assert run(tmp_path / "p.csv", text_pairs=True) == 2
    said = f"column text_pair: 1 of {len(texts)} rows without a second text, first row 2"
    assert said in capsys.readouterr().err
    assert run(folder / "texts.csv", text_pairs=True) == 2
    assert f"{len(texts)} of {len(texts)} rows without a second text, first row 1" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    config.pop("text_pairs")  # as folders of before
    assert run(tmp_path / "p.csv") == 0
    assert run(folder / "texts.csv") == 0
    assert "text_pair" not in capsys.readouterr().err
