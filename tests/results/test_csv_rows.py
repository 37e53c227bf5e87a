import gzip

import pandas as pd
import pytest

from mcbert.results import csv_files
from mcbert.results.csv_files import read, write
from mcbert.results.csv_rows import CsvStream, TableError, header_problems
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import FREEZING

HEADER = "id,text,text_pair,label,language,split\n"
ROW = "1,some text,,a,en,dev\n"


def problems(tmp_path, content):
    path = tmp_path / "texts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [problem.removeprefix(f"{path}: ") for problem in csv_files.validate(path)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(HEADER.encode(), mtime=0), "byte 1 is not UTF-8 (it begins like a gzip archive)"),
        (HEADER.encode("utf-16"), "line 1: byte 0 is not UTF-8 (it begins like UTF-16); accepted: UTF-8"),
        (b"PK\x03\x04\xff", "line 1: byte 4 is not UTF-8 (it begins like a workbook or a zip archive)"),
        (b"\xef\xbb\xbf", "the file is empty; accepted: a header and rows"),
        ("\n", "header: given nothing; accepted: id, text"),
        (HEADER.encode("utf-16-le"), "header: given i\\x00d\\x00,"),
        (HEADER.encode("utf-16-le"), "with NUL between (is it UTF-16?); accepted: id, text"),
        ((HEADER + '1,"a ""q""",,a,en,dev\n').replace(",", ";"), "one field for commas, but it holds ';'"),
        (HEADER.replace(",", "\t"), "header: given id\\ttext"),
        (ROW * 2, "header: given 1, some text, , a, en, dev; accepted: id, text, text_pair"),
        ("sep=,\n" + HEADER + ROW, "header: given sep=, ; accepted: id"),
        ("# of mine\n" + HEADER + ROW, "header: given # of mine; accepted: id"),
        (HEADER.upper() + ROW, "header: given ID, TEXT, TEXT_PAIR, LABEL, LANGUAGE, SPLIT; accepted: id"),
        (HEADER + "\n" + ROW, "row 1 (line 2): 0 fields; accepted: 6, as in the header"),
        (HEADER + ROW.replace("\n", ",\n"), "row 1 (line 2): 7 fields; accepted: 6, as in the header"),
        (HEADER + '1,"open,,a,en,dev\n', "line 2: unexpected end of data; accepted: RFC 4180 quoting"),
        (HEADER + '1,"a" b,,a,en,dev\n', "line 2: ',' expected after '\"'; accepted: RFC 4180 quoting"),
    ],
)  # fmt: skip
def test_what_keeps_a_file_from_being_a_table_is_one_line(content, message, tmp_path):
    (problem,) = problems(tmp_path, content)
    assert message in problem
    assert problem.isprintable()


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_other_systems_and_a_mark_are_read(ends, tmp_path):
    assert problems(tmp_path, "\ufeff" + (HEADER + ROW).replace("\n", ends)) == []


@pytest.mark.parametrize("cell", ["=1+1", "+49 30", "-", "@SUM(A1)", "\uff1d1+1", "\tx", '"\rx"'])
def test_a_live_formula_is_refused_with_what_would_disarm_it(cell, tmp_path):
    (problem,) = problems(tmp_path, HEADER + ROW.replace("some text", cell))
    assert problem.startswith("row 1 (line 2), column text: given ")
    assert problem.endswith("accepted: an apostrophe in front of what a spreadsheet would run as a formula")
    assert (
        problems(tmp_path, HEADER + ROW.replace("some text", f"'{cell}" if cell[0] != '"' else '"\'\rx"'))
        == []
    )


def test_a_negative_number_is_no_formula(run_dir, tmp_path):
    table = pd.read_csv(run_dir / "effects.csv").assign(effect=-0.25, effect_low=-0.5)
    table.to_csv(tmp_path / "effects.csv", index=False)
    assert csv_files.validate(tmp_path / "effects.csv") == []


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "inf", "47.2", "47.2%", "0,472", "1,234.5", " 0.4", "=0.472", "1_0", "½"]
)
def test_a_share_is_a_plain_number_from_0_to_1(cell, run_dir, tmp_path):
    lines = (run_dir / "top.csv").read_text().splitlines()
    place = lines[0].split(",").index("score")
    cells = lines[1].split(",")
    cells[place] = f'"{cell}"' if "," in cell else cell
    (tmp_path / "top.csv").write_text("\n".join([lines[0], ",".join(cells)]) + "\n")
    (problem,) = csv_files.validate(tmp_path / "top.csv")
    assert f"row 1 (line 2), column score: given {cell!r}; accepted: a number from 0 to 1" in problem


def test_a_header_with_some_columns_is_told_column_by_column():
    names = [column.name for column in PREDICTIONS.columns]
    assert header_problems(PREDICTIONS, names) == []
    found = header_problems(PREDICTIONS, [*names[1:], "\x1b[31m"])
    assert [problem.partition("; ")[0] for problem in found] == [
        "header, column id: missing",
        "header, column \\x1b[31m: unknown",
    ]


def test_a_folder_of_a_tables_name_is_no_table(tmp_path):
    (tmp_path / "freezing.csv").mkdir()
    with pytest.raises(csv_files.TableError, match=r"freezing.csv: it is a folder; accepted: a file"):
        csv_files.read(FREEZING, tmp_path / "freezing.csv")
    assert csv_files.validate(tmp_path) == []


def test_a_name_that_a_terminal_would_run_is_escaped(tmp_path):
    (problem,) = csv_files.validate(tmp_path / "a\nb" / TEXTS.file_name)
    assert problem.endswith("a\\nb/texts.csv: no such file")


@pytest.mark.parametrize("name", ["texts (1).csv", "Texts.CSV", "texte.csv"])
def test_a_renamed_table_is_known_by_its_columns(name, tmp_path):
    (tmp_path / name).write_text("\ufeff" + HEADER + ROW)
    (problem,) = csv_files.validate(tmp_path / name)
    assert f"unknown file name {name!r} (by its columns it is texts.csv); accepted: texts.csv, " in problem
    for content in (b"", b"\xff\xfe", b'"open', b"a,b\n"):
        (tmp_path / name).write_bytes(content)
        (problem,) = csv_files.validate(tmp_path / name)
        assert f"unknown file name {name!r}; accepted: texts.csv, " in problem


AWKWARD = ["=1+1", "'quoted", 'says "hi", twice', "two\nlines", "NA", "  spaced ", "naïve 東京", "-"]


@pytest.fixture
def path(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [f"t{k}" for k in range(len(AWKWARD))],
            "text": AWKWARD,
            "text_pair": "",
            "label": "a",
            "language": "en",
            "split": "train",
        }
    )
    write(TEXTS, frame, tmp_path / "texts.csv")
    return tmp_path / "texts.csv"


def test_rows_are_those_of_the_whole_table(path):
    whole = read(TEXTS, path)
    rows = CsvStream(TEXTS, path, ("text", "id"))
    assert list(rows) == list(zip(AWKWARD, whole["id"], strict=True))
    assert list(rows) == list(zip(whole["text"], whole["id"], strict=True)), "a second time"


def test_a_column_that_is_not_there(path):
    with pytest.raises(TableError, match=r"column 'colour' is not one of texts\.csv"):
        CsvStream(TEXTS, path, ("colour",))
    path.write_text("id,label\n1,a\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"texts\.csv: header, column text: missing; given: id, label"):
        list(CsvStream(TEXTS, path, ("text",)))


def test_a_torn_row_is_named(path):
    with path.open("a", encoding="utf-8") as file:
        file.write("t9,half\n")
    with pytest.raises(TableError, match=r"row 9, line 11: 2 cells, accepted: 6"):
        list(CsvStream(TEXTS, path, ("id",)))
