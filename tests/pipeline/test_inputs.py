"""Tables given to commands and files they are to write: refused in one line, before a model is loaded."""

import gzip
from pathlib import Path

import pytest

from mcbert.pipeline import inputs
from mcbert.pipeline.cli import main
from mcbert.pipeline.inputs import require_output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.csv").write_text("id,text\n1,Wo bleibt mein Paket?\n")
    (tmp_path / "there").mkdir()
    return tmp_path


def refused(capsys, content, *options):
    """Return the one line that `predict` says of an input, `content` or the name of one."""
    name = content
    if isinstance(content, bytes):
        name = "input.csv"
        Path(name).write_bytes(content)
    command = ["predict", "--model", "none-is-needed", "--input", name, "--output", "labels.csv", *options]
    assert main(command) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("mcbert: error: ")]
    return line.removeprefix("mcbert: error: ")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("nowhere.csv", (), "nowhere.csv: no such file"),
        ("there", (), "there: suffix ''; it is a folder; accepted: a file .csv"),
        (b"", (), "input.csv: the file is empty"),
        (b"id,text\n", (), "input.csv: no row with a usable text"),
        (b"id,body\n1,a\n", (), "column 'text' is missing; present: id, body; --column text=NAME maps names"),
        (b"id,body\n1,a\n", ("--column", "text=bodi"), "column 'bodi' is missing (did you mean 'body'?)"),
        (b"id,body\n1,a\n", ("--column", "body"), "--column: got 'body', accepted: OURS=THEIRS"),
        (b"id,text,text\n1,a,b\n", (), "input.csv: column 'text' appears 2 times"),
        (b"id,text\n1,a\n2\n", (), "input.csv: row 2 (line 3): 1 fields, accepted: 2 as in the header"),
        (b'id,text\n1,"a\n', (), "input.csv: line 2: a quote opens here and never closes"),
        (b"id,text\n1,s\xfc\xdf\n", (), "byte 0xfc at offset 11 is not utf-8; --encoding may name another"),
        (b"text\na\n", ("--encoding", "klingon"), "--encoding: got 'klingon', accepted: a text encoding"),
        (b"text\na\n", ("--encoding", "rot13"), "--encoding: got 'rot13', accepted: a text encoding"),
        (b"text\na\n", ("--delimiter", ";;"), "--delimiter: got ';;', accepted: one character, no quote"),
        (b"text\na\n", ("--delimiter", "\n"), "--delimiter: got '\\n', accepted: one character, no quote"),
        ("id,text\n1,a\n".encode("utf-16")[:-1], (), "byte 0x0a at offset 24 is not utf-16"),
        (
            gzip.compress(b"id,text\n1,a\n", mtime=0),
            (),
            "(it begins like a gzip archive; accepted: it as .csv.gz)",
        ),
        (b"PK\x03\x04\x00\xff", (), "(it begins like a workbook; accepted: it saved as CSV)"),
        ("there/x.xlsx", (), "suffix '.xlsx'; accepted: a file .csv, .jsonl, .parquet, .tsv"),
    ],
)
def test_an_input_that_is_no_table_of_texts(content, options, message, folder, capsys):
    assert message in refused(capsys, content, *options)
    assert not (folder / "labels.csv").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("there", "--output: got 'there', accepted: a name that ends in .csv"),
        ("labels.xlsx", "--output: got 'labels.xlsx', accepted: a name that ends in .csv"),
        ("nowhere/labels.csv", "--output: nowhere/labels.csv: no folder nowhere"),
        ("texts.csv/labels.csv", "--output: texts.csv/labels.csv: no folder texts.csv"),
        ("texts.csv", "--output: texts.csv: it is the input"),
        ("old.csv", "--output: old.csv: it already exists; accepted: a new file, or --replace"),
    ],
)
def test_an_output_that_cannot_be_made_or_would_overwrite(output, message, folder, capsys):
    (folder / "old.csv").write_text("old")
    before = (folder / "texts.csv").read_text()
    assert message in refused(capsys, "texts.csv", "--output", output)
    assert ((folder / "old.csv").read_text(), (folder / "texts.csv").read_text()) == ("old", before)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(folder, monkeypatch):
    monkeypatch.setattr(inputs.os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match=r"--html: there/a.html: "):
        require_output(Path("there/a.html"), (".html",), (), key="--html")
