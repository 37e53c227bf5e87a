"""Texts as users hold them, through the command line: forms, rows left out, files that changed."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mcbert.home import HOME
from mcbert.pipeline.cli import main
from mcbert.pipeline.config import load
from mcbert.pipeline.stages.prepare import checksums, files_read, short_names
from mcbert.results import csv_files
from mcbert.results.schema.texts import REJECTED, TEXTS


@pytest.fixture
def project(tmp_path, texts_table, monkeypatch):
    """A folder as a user has it: a table of texts and a TOML file."""
    monkeypatch.chdir(tmp_path)
    texts_table.drop(columns="text_pair").to_csv(tmp_path / "texts.csv", index=False)
    (tmp_path / "mine.toml").write_text('[corpus]\npath = "texts.csv"\n[encoder]\npath = "encoder"\n')
    return tmp_path


def prepare(*overrides, run="mine"):
    return main(["prepare", "--config", "mine.toml", "--run", run, *overrides])


def texts(project, run="mine"):
    return csv_files.read(TEXTS, project / "results/runs" / run / "texts.csv")


def error(capsys):
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("mcbert: error:")]
    return line


def test_rejected_rows_are_a_valid_table(project, capsys):
    lines = (project / "texts.csv").read_text().split("\n")
    lines[3] = "no,comma"
    lines[4] = lines[4].replace("train", "Train")
    lines[6] = f'"{lines[5].split(",")[0]}",again,refund,en,train'
    lines[8] = "empty,\u200b,refund,en,train"
    (project / "texts.csv").write_text("\n".join(lines))
    assert prepare() == 2
    assert "row 3 (line 4): 2 fields, accepted: 5 as in the header" in error(capsys)
    assert prepare("corpus.on_bad=skip") == 0
    assert "texts.csv: 1 rows left out for the whole row" in capsys.readouterr().err
    folder = project / "results/runs/mine"
    rejected = csv_files.read(REJECTED, folder / "rejected.csv")
    assert rejected[["file", "row", "line", "column"]].to_numpy().tolist() == [
        ["texts.csv", 3, 4, ""],
        ["texts.csv", 8, 9, "text"],
        ["texts.csv", 6, 7, "id"],
        ["texts.csv", 4, 5, "split"],
    ]
    assert set(rejected["run"]) == {"mine"}
    assert "again" not in (folder / "rejected.csv").read_text()
    assert main(["validate", str(folder)]) == 0
    ids = [line.split(",")[0] for k, line in enumerate(lines) if k not in (0, 3, 4, 6, 8) and line]
    assert texts(project)["id"].tolist() == ids


def test_nothing_rejected_is_no_file(project):
    assert prepare("corpus.on_bad=skip") == 0
    assert not (project / "results/runs/mine/rejected.csv").exists()


def test_rejected_rows_are_part_of_the_stage(project):
    with (project / "texts.csv").open("a") as file:
        file.write("too,few\n")
    assert prepare("corpus.on_bad=skip") == 0
    done = json.loads((project / "results/runs/mine/stages/prepare.json").read_text())
    assert set(done["outputs"]) == {"texts.csv", "rejected.csv"}


def test_leaks_are_listed_with_the_rows_they_stood_in(project, capsys):
    frame = pd.read_csv("texts.csv")
    train = int((frame["split"] == "train").to_numpy().argmax())
    test = int(((frame["split"] == "test") & (frame["language"] == "de")).to_numpy().argmax())
    frame.loc[test, "text"] = frame["text"].iloc[train].upper() + "!"
    frame.to_csv("texts.csv", index=False)
    assert prepare() == 0
    folder = project / "results/runs/mine"
    rejected = csv_files.read(REJECTED, folder / "rejected.csv")
    assert rejected[["file", "row", "line", "column", "id"]].to_numpy().tolist() == [
        ["texts.csv", test + 1, test + 2, "text", frame["id"].iloc[test]]
    ]
    assert f"occurs in train as {frame['id'].iloc[train]!r}" in rejected["reason"].iloc[0]
    assert frame["id"].iloc[test] not in set(texts(project)["id"])
    assert main(["validate", str(folder)]) == 0
    assert prepare("corpus.leaks=keep", run="kept") == 0
    assert not (project / "results/runs/kept/rejected.csv").exists()


def test_leaks_of_prepared_texts_stand_in_the_raw_table(project):
    raw = [
        ("ab"[k % 2], f"text {k}", ("train", "train", "train", "dev", "test")[k // 2 % 5]) for k in range(40)
    ]
    raw[9] = ("b", "TEXT 1.", "test")
    frame = pd.DataFrame(raw, columns=["label", "text", "split"])
    frame.insert(0, "id", [f"u{k}" for k in range(40)])
    frame.to_csv("raw.csv", index=False)
    frame.assign(text="de " + frame["text"])[["id", "text"]].to_csv("de.csv", index=False)
    assert prepare("corpus.path=", "prepare.raw=raw.csv", "prepare.translations.de=de.csv") == 0
    rejected = csv_files.read(REJECTED, project / "results/runs/mine/rejected.csv")
    assert rejected[["file", "row", "line", "id"]].to_numpy().tolist() == [
        ["raw.csv", 10, 11, "u9"],
        ["raw.csv", 10, 11, "u9-de"],
    ]


def test_raw_texts_obey_the_same_settings(project, capsys):
    rows = [f"{label}{k};text {label} {k};{label}" for label in "ab" for k in range(10)]
    rows[3] = "a3; ;a"
    (project / "raw.csv").write_bytes("\n".join(["key;caf\u00e9;topic", *rows]).encode("cp1252") + b"\n")
    form = [
        "corpus.path=",
        "prepare.raw=raw.csv",
        "corpus.encoding=cp1252",
        "corpus.delimiter=;",
        'corpus.columns={id = "key", text = "caf\u00e9", label = "topic"}',
    ]
    assert prepare(*form) == 2
    assert "raw.csv: row 4 (line 5): column caf\u00e9: it is empty" in error(capsys)
    assert prepare(*form, "corpus.on_bad=skip", run="other") == 0
    assert "a3" not in set(texts(project, "other")["id"])
    rejected = csv_files.read(REJECTED, project / "results/runs/other/rejected.csv")
    assert rejected[["file", "row", "line", "column", "id"]].to_numpy().tolist() == [
        ["raw.csv", 4, 5, "caf\u00e9", "a3"]
    ]


def test_controls_and_marks_reach_the_texts_and_are_escaped_in_messages(project, capsys):
    frame = pd.read_csv("texts.csv")
    frame.loc[0, "text"] = "a\u202eb\x08c\r\nd"
    frame.to_csv("texts.csv", index=False)
    assert prepare() == 0
    assert texts(project).loc[0, "text"] == "a\u202eb\x08c\r\nd"
    frame.loc[1, "split"] = "x\u202ey"
    frame.to_csv("texts.csv", index=False)
    assert prepare(run="other") == 2
    assert "got 'x\\u202ey', accepted: train, dev, test" in error(capsys)


def test_a_huggingface_name_is_no_path_and_a_folder_is(tmp_path):
    for name in ("facebook/xnli", "local"):
        (tmp_path / "c.toml").write_text(
            f'[corpus]\nformat = "huggingface"\npath = "{name}"\n[encoder]\npath = "e"\n'
        )
        (tmp_path / "local").mkdir(exist_ok=True)
        expected = name if "/" in name else str(tmp_path / name)
        assert load(str(tmp_path / "c.toml")).corpus.path == expected


def test_a_changed_file_of_a_release_is_noticed(project, capsys):
    row = {"gold_label": "neutral", "sentence1": "a", "sentence2": "b", "pairID": "1"}
    for split in ("train", "dev", "test"):
        other = {**row, "gold_label": "entailment"}
        lines = [
            json.dumps({**r, "sentence1": f"{split} {k}", "pairID": f"{k}"})
            for k, r in enumerate([row, other] * 2)
        ]
        (project / f"snli_1.0_{split}.jsonl").write_text("\n".join(lines))
    form = ["corpus.format=snli", f"corpus.path={project}"]
    assert prepare(*form) == 0
    with (project / "snli_1.0_dev.jsonl").open("a") as file:
        file.write("\n")
    assert prepare(*form) == 2
    assert "prepare was run with another configuration (files.snli_1.0_dev.jsonl" in error(capsys)


def test_files_of_one_name_are_told_apart(project):
    for language in ("de", "fr"):
        (project / language).mkdir()
        shutil.copy("texts.csv", project / language / "texts.csv")
    overrides = ["corpus.path=", f"prepare.raw={project}/texts.csv"]
    overrides += [f"prepare.translations.{x}={project}/{x}/texts.csv" for x in ("de", "fr")]
    config = load("mine.toml", overrides)
    assert set(checksums(config)) == {"texts.csv", "de/texts.csv", "fr/texts.csv"}
    assert files_read(load("mine.toml")) == [project / "texts.csv"]


def test_texts_with_labels_of_their_own_are_files_of_the_run(project, capsys):
    frame = pd.read_csv("texts.csv")
    raw = frame[frame["language"] == "en"][["text", "label"]]
    raw.to_csv("raw.csv", sep=";", index=False)
    frame[frame["language"] == "de"][["text", "label"]].to_csv("german.csv", sep=";", index=False)
    Path("own.toml").write_text(
        '[prepare]\nraw = "raw.csv"\nlabelled = { de = "german.csv" }\n[encoder]\npath = "encoder"\n'
    )
    assert main(["prepare", "--config", "own.toml"]) == 0
    made = texts(project, "own")
    german = made[made["language"] == "de"]
    assert german.groupby("split").size().to_dict() == {"dev": 9, "test": 19}
    assert set(german["id"]) == {f"de-{k}" for k in range(1, 29)}
    assert "texts.csv" not in checksums(load("own.toml"))
    Path("german.csv").write_text(Path("german.csv").read_text().replace("money", "cash"))
    assert main(["prepare", "--config", "own.toml"]) == 2
    assert "prepare was run with another configuration (files.german.csv" in error(capsys)


def test_an_override_below_a_value_is_one_line(project, capsys):
    assert prepare("gridsearch.layers=[8]", "gridsearch.layers.max=9") == 2
    assert "override 'gridsearch.layers.max=9': layers is no section but [8]" in error(capsys)


@pytest.mark.parametrize(
    ("stage", "overrides", "message"),
    [
        (
            "gridsearch",
            ["gridsearch.layers=[1,99]"],
            "gridsearch.layers: got 99; accepted: 0 (embeddings) to 4",
        ),
        (
            "finetune",
            ["gridsearch.layers=[1]", "finetune.layers=[99]"],
            "finetune.layers: got 99; accepted: 0 (",
        ),
        (
            "gridsearch",
            ["gridsearch.layers=[1,2]", "extract.layers=[1]"],
            "gridsearch.layers: got 2, accepted: those of extract.layers, 1",
        ),
        (
            "gridsearch",
            ["gridsearch.layers=[1]", "gridsearch.poolings=['max','mean']", "extract.poolings=['mean']"],
            "gridsearch.poolings: got 'max', accepted: those of extract.poolings, mean",
        ),
        (
            "finetune",
            ["gridsearch.layers=[1]", "gridsearch.poolings=['last']"],
            "gridsearch.poolings: got 'last', accepted: those of extract.poolings, max, mean, cls",
        ),
    ],
)
def test_layers_and_poolings_that_are_not_there_are_told_before_any_text_is_read(
    stage, overrides, message, project, encoder_folder, capsys
):
    Path("encoder").symlink_to(encoder_folder)
    assert main([stage, "--config", "mine.toml", *overrides]) == 2
    assert message in error(capsys)
    assert not Path("results").exists()


def test_short_names():
    inside = str(HOME / "samples/intents/raw.csv")
    names = short_names([inside, "/data/a/x.csv", "/data/b/x.csv", "facebook/xnli/de/test"])
    assert list(names.values()) == ["samples/intents/raw.csv", "a/x.csv", "b/x.csv", "facebook/xnli/de/test"]
    assert short_names(["/data/a/x.csv"]) == {"/data/a/x.csv": "x.csv"}
    assert short_names([]) == {}


def test_a_missing_release_and_a_missing_path_are_one_line(project, capsys):
    assert prepare("corpus.format=snli", f"corpus.path={project}/nowhere") == 2
    assert "no such file; unpack SNLI 1.0" in error(capsys)
    assert prepare('corpus.path=""') == 2
    assert "corpus.path: got nothing, accepted: a table of labelled texts" in error(capsys)
    assert not Path("results/runs/mine/texts.csv").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[corpus]".encode("utf-16"), "odd.toml: byte 0 is not UTF-8; accepted: TOML in UTF-8"),
        (b"[corpus\n", "odd.toml: not TOML: "),
        (b"", "odd.toml: key encoder is missing"),
        (b"[encoder]\npath = 3\n", "odd.toml: encoder.path: got 3, accepted: text"),
    ],
)
def test_a_configuration_that_is_none_is_one_line(content, message, project, capsys):
    Path("odd.toml").write_bytes(content)
    assert main(["show", "--config", "odd.toml"]) == 2
    assert message in error(capsys)


def test_a_configuration_with_a_byte_order_mark_is_read(project):
    Path("mine.toml").write_bytes(b"\xef\xbb\xbf" + Path("mine.toml").read_bytes())
    assert prepare() == 0


def test_runs_that_cannot_be_are_one_line(project, capsys):
    Path("taken").write_text("not a folder")
    assert prepare(run="") == 2
    assert "--run: got '', accepted: at most 80 letters" in error(capsys)
    assert prepare("--runs", "taken") == 2
    assert "--runs: taken: it is a file; accepted: a folder" in error(capsys)
    assert prepare("--runs", ".", run="taken") == 2
    assert "--run: taken: it is a file; accepted: a folder" in error(capsys)
    assert prepare("--runs", "/proc/none") == 2
    assert error(capsys).startswith("mcbert: error: --runs /proc/none: cannot make ")
    assert Path("taken").read_text() == "not a folder"


def test_a_damaged_record_of_a_stage_is_one_line(project, capsys):
    assert prepare() == 0
    record = project / "results/runs/mine/stages/prepare.json"
    for content in ("[]", '{"inputs": 3, "outputs": {}}', '{"inputs": {}, "outputs": []}', "{"):
        record.write_text(content)
        assert prepare() == 2
        assert "prepare.json: damaged" in error(capsys)
        assert main(["runs"]) == 2
        assert "prepare.json: damaged" in error(capsys)
    assert record.read_text() == "{"


def test_validate_takes_runs_by_name_and_folders_of_runs(project, capsys):
    assert prepare() == 0
    for given in ("mine", "results/runs", "results/runs/mine/texts.csv"):
        assert main(["validate", given]) == 0
        assert capsys.readouterr().out == "1 files, 0 problems\n"
    for given in ("other", "results/runs/other/texts.csv", "a\nb"):
        assert main(["validate", given]) == 2
        assert "no such file or folder, and no run of that name in results/runs" in error(capsys)


def test_pages_and_lists_of_runs_overwrite_no_table(project, capsys):
    assert prepare() == prepare(run="other") == 0
    texts_file = project / "results/runs/mine/texts.csv"
    before = texts_file.read_text()
    for option, path, message in (
        ("--html", texts_file, "--html: got 'texts.csv', accepted: a name that ends in .html"),
        ("--html", "nowhere/a.html", "--html: nowhere/a.html: no folder nowhere"),
        ("--csv", texts_file, "--csv: got 'texts.csv', accepted: a name like runs*.csv"),
        ("--csv", "nowhere/runs.csv", "--csv: nowhere/runs.csv: no folder nowhere"),
    ):
        assert main(["runs", "mine", "other", option, str(path)]) == 2
        assert message in error(capsys)
    assert main(["runs", ".."]) == 2
    assert "run: got '..', accepted: one of mine, other in results/runs" in error(capsys)
    assert texts_file.read_text() == before
