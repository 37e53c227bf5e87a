"""A CSV of a spreadsheet is read by what its header shows; a header of one column stays one."""

import gzip

import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.readers import TableForm, header_delimiter, read_table


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,text", ","),
        ("id;text", ";"),
        ("id\ttext", "\t"),
        ("id|text|label", "|"),
        ("text", ","),
        ('"a;b",text', ","),
        ('"a,b";text', ";"),
        ('"two\nlines";text', ";"),
        ("\r\n\r\nid;text", ";"),
        ("\ufeffid;text", ";"),
        ("id,a;b;c", ","),
        ("", ","),
        ('"open', ","),
    ],
)
def test_the_header_tells_the_delimiter(header, expected, tmp_path):
    (tmp_path / "a.csv").write_text(header + "\n", newline="")
    assert header_delimiter(tmp_path / "a.csv", "utf-8") == expected


def test_a_table_as_a_spreadsheet_writes_it(tmp_path):
    table = '\ufeffDatum;Text;Team\r\n1.2.;"a, ""b"";\r\nc";x\r\n2.2.;d;y\r\n'
    form = TableForm(columns={"text": "Text", "label": "Team"})
    (tmp_path / "a.csv").write_bytes(table.encode())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table.encode()))
    for name in ("a.csv", "a.csv.gz"):
        frame = read_table(tmp_path / name, ("text", "label"), form=form)
        assert frame[["text", "label"]].to_numpy().tolist() == [['a, "b";\r\nc', "x"], ["d", "y"]]
        assert frame["_line"].tolist() == [2, 4]


def test_rows_of_another_width_are_refused_as_ever(tmp_path):
    (tmp_path / "a.csv").write_text("id;text\n1;a\n2,b\n")
    with pytest.raises(CorpusError, match=r"row 2 \(line 3\): 1 fields, accepted: 2"):
        read_table(tmp_path / "a.csv", ("text",))


def test_a_delimiter_that_is_set_is_obeyed(tmp_path):
    (tmp_path / "a.csv").write_text("id;text\n1;a\n")
    with pytest.raises(CorpusError, match="header .*';'.* corpus.delimiter"):
        read_table(tmp_path / "a.csv", ("text",), form=TableForm(delimiter=","))
