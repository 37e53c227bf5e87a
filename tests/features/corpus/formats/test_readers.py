import gzip
import json

import pytest

from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.readers import TableForm, read_table


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def cells(frame):
    return frame.drop(columns=["_file", "_row", "_line"]).to_dict("list")


def test_cells_stay_as_written(tmp_path):
    path = written(tmp_path, "a.csv", '\ufeffid,text,label\r\n01,"NA, null",1e400\r\n1,"two\nlines",True\r\n')
    frame = read_table(path, ("id", "text", "label"))
    assert cells(frame) == {
        "id": ["01", "1"],
        "text": ["NA, null", "two\nlines"],
        "label": ["1e400", "True"],
    }


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "N/A", "", "True", "01", "1e400", "-0", " x "])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_words_that_others_take_for_missing_are_words(tmp_path, word, suffix):
    row = {"id": "1", "text": word}
    lines = {".csv": f"id,text\n1,{word}\n", ".tsv": f"id\ttext\n1\t{word}\n", ".jsonl": json.dumps(row)}
    assert cells(read_table(written(tmp_path, f"a{suffix}", lines[suffix]), ("id", "text"))) == {
        "id": ["1"],
        "text": [word],
    }


def test_rows_carry_row_and_physical_line(tmp_path):
    path = written(tmp_path, "a.csv", 'id,text\n1,"two\nlines"\n\n2,"three\r\nmore\rlines"\n3,x\n')
    frame = read_table(path, ("id", "text"))
    assert frame["_row"].tolist() == [1, 2, 3]
    assert frame["_line"].tolist() == [2, 5, 8]
    assert set(frame["_file"]) == {str(path)}


def test_lines_may_end_in_carriage_returns_alone(tmp_path):
    frame = read_table(written(tmp_path, "a.csv", "id,text\r1,a\r2,b\r"), ("id", "text"))
    assert cells(frame) == {"id": ["1", "2"], "text": ["a", "b"]}
    assert frame["_line"].tolist() == [2, 3]


def test_tsv_has_no_quoting_and_as_many_rows_as_lines(tmp_path):
    data = 'id\ttext\n1\t"quoted\n2\tit\'s "fine"\n3\t"\n4\t""\n'
    frame = read_table(written(tmp_path, "a.tsv", data), ("id", "text"))
    assert frame["text"].tolist() == ['"quoted', 'it\'s "fine"', '"', '""']
    assert len(frame) == data.count("\n") - 1


def test_quoting_and_delimiter_can_be_said(tmp_path):
    quoted = written(tmp_path, "a.tsv", 'id\ttext\n1\t"tab\tinside"\n')
    assert cells(read_table(quoted, ("id", "text"), form=TableForm(quoting="csv")))["text"] == ["tab\tinside"]
    semicolons = written(tmp_path, "a.csv", 'id;text\n1;a, "b"\n')
    form = TableForm(delimiter=";", quoting="none")
    assert cells(read_table(semicolons, ("id", "text"), form=form))["text"] == ['a, "b"']


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "gb18030", "utf-8"]
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_encoding_can_be_said(tmp_path, encoding, name):
    text = "caf\u00e9 \u00fcber"
    lines = f"id,text\n1,{text}\n" if name == "a.csv" else f'{{"id": "1", "text": "{text}"}}\n'
    path = written(tmp_path, name, lines.encode(encoding))
    frame = read_table(path, ("id", "text"), form=TableForm(encoding=encoding))
    assert cells(frame) == {"id": ["1"], "text": [text]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding, name):
    d = "\t" if name == "a.tsv" else ","
    lines = '{"id": "1", "text": "über"}\n' if name == "a.jsonl" else f"id{d}text\r\n1{d}über\r\n"
    data = lines.encode(encoding)
    path = written(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    assert cells(read_table(path, ("id", "text"))) == {"id": ["1"], "text": ["über"]}


def test_a_big_endian_mark_is_read_and_an_encoding_that_is_said_is_kept(tmp_path):
    path = written(tmp_path, "a.csv", "\ufeffid,text\n1,a\n".encode("utf-16-be"))
    assert cells(read_table(path, ("id", "text"))) == {"id": ["1"], "text": ["a"]}
    with pytest.raises(CorpusError, match="the names hold NUL: is it UTF-16"):
        read_table(path, ("id", "text"), form=TableForm(encoding="cp1252"))


@pytest.mark.parametrize("separator", [";", ",", "\t", "|", "^"])
@pytest.mark.parametrize("line", ["sep={}\r\n", '"sep={}"\r\n', "\ufeffSEP={}\n"])
def test_the_line_that_excel_puts_before_the_header(tmp_path, separator, line):
    body = separator.join(["id", "text"]) + "\r\n" + separator.join(["1", '"a, b; c"']) + "\r\n"
    path = written(tmp_path, "a.csv", line.format(separator) + body)
    frame = read_table(path, ("id", "text"))
    assert cells(frame) == {"id": ["1"], "text": ["a, b; c"]}
    assert frame["_line"].tolist() == [3]
    frame = read_table(path, ("id", "text"), form=TableForm(delimiter=separator))
    assert cells(frame)["text"] == ["a, b; c"]


def test_a_list_of_labels_is_told_as_what_it_is(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"text": "x", "label": ["a", "b"]}\n')
    said = r"column label: got a list of 2: several labels of one text \(multi-label classification\) are not"
    with pytest.raises(CorpusError, match=said):
        read_table(path, ("text", "label"))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "a.jsonl.gz"])
def test_gzipped_tables(tmp_path, name):
    plain = {
        "a.csv.gz": "id,text\n1,x\n",
        "a.tsv.gz": "id\ttext\n1\tx\n",
        "a.jsonl.gz": '{"id":1,"text":"x"}',
    }
    path = written(tmp_path, name, gzip.compress(plain[name].encode()))
    assert cells(read_table(path, ("id", "text"))) == {"id": ["1"], "text": ["x"]}
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(CorpusError, match=rf"{name}: the gzip archive is broken: "):
        read_table(path, ("id", "text"))


def test_columns_can_be_mapped_and_others_are_not_read(tmp_path):
    path = written(tmp_path, "a.csv", "id,premise,text,x,x2,,\n1,p,t,1,2,3,4\n")
    frame = read_table(path, ("id", "text"), form=TableForm(columns={"text": "premise"}))
    assert cells(frame) == {"id": ["1"], "text": ["p"]}
    with pytest.raises(CorpusError, match=r"column 'premises' is missing \(did you mean 'premise'\?\)"):
        read_table(path, ("id",), ("text",), form=TableForm(columns={"text": "premises"}))


def test_optional_columns(tmp_path):
    path = written(tmp_path, "a.csv", "id,text\n1,a\n")
    assert cells(read_table(path, ("id",), ("text", "label"))) == {"id": ["1"], "text": ["a"]}
    assert cells(read_table(path, (), ("text",))) == {"text": ["a"]}
    with pytest.raises(CorpusError, match=r"a\.csv: columns id, text; accepted: note, remark"):
        read_table(path, (), ("note", "remark"))
    jsonl = written(tmp_path, "a.jsonl", '{"id": 1}\n{"id": 2, "text": null}\n{"id": 3, "text": "c"}\n')
    assert cells(read_table(jsonl, ("id",), ("text", "label"))) == {
        "id": ["1", "2", "3"],
        "text": ["", "", "c"],
    }


def test_text_of_a_million_characters_and_nul(tmp_path):
    long = "word " * 200_000
    path = written(tmp_path, "a.csv", f"id,text\n1,{long}\n2,a\0b\n")
    assert read_table(path, ("id", "text"))["text"].tolist() == [long, "a\0b"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", "id,text\n1,a\n2,b,c\n", "row 2 (line 3): 3 fields, accepted: 2 as in the header"),
        ("a.csv", 'id,text\n1,"a\nb"\n2,b,c\n', "row 2 (line 4): 3 fields"),
        ("a.csv", "id,text\n1\n", "row 1 (line 2): 1 fields"),
        ("a.csv", 'id,text\n1,a\n2,"open\n3,b\n', "line 3: a quote opens here and never closes"),
        ("a.csv", 'id,text\n1,"a" b\n', "line 2: ',' expected after '\"'"),
        ("a.csv", "id,id\n1,2\n", "column 'id' appears 2 times"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "\n\n", "the file is empty"),
        ("a.csv", "id,text\n", "the file has a header and no rows"),
        ("a.csv", "id,txt\n1,a\n", "column 'text' is missing (did you mean 'txt'?); present: id, txt"),
        ("a.tsv", "id;text\n1;a\n", "line 1: the header is one field, but holds ';'; corpus.delimiter"),
        ("a.csv", "id,te\u202ext\n1,a\n", "present: id, te\\u202ext"),
        ("a.csv", b"id,text\n1,caf\xe9\n", "row 1 (line 2): byte 0xe9 at offset 13 is not utf-8; corpus.enc"),
        ("a.csv", b'id,text\n1,"x\n\xc3\xa9\n\xff"\n', "row 1 (line 2): byte 0xff at offset 16 is not utf-8"),
        ("a.csv", b"id,text\xe9\n1,a\n", "line 1: byte 0xe9 at offset 7 is not utf-8"),
        ("a.csv", "sep=;\nid;text\n1;a\n2\n", "row 2 (line 4): 1 fields, accepted: 2 as in the header"),
        ("a.csv", "sep=;\n", "the file is empty"),
        ("a.csv", "id,text\n1,a\n".encode("utf-16-le"), "the names hold NUL: is it UTF-16?"),
        ("a.tsv", "id\ttext\n1\ta\tb\n", "row 1 (line 2): 3 fields"),
        ("a.jsonl", '{"id": 1, "text": NaN}\n', "row 1 (line 1): column text: got nan, accepted: text"),
        ("a.jsonl", '\n{"id": 1, "text": null}\n', "row 1 (line 2): column text: got None, accepted: text"),
        ("a.jsonl", '{"id": 1, "text": 7}\n', "row 1 (line 1): column text: got 7"),
        ("a.jsonl", '{"id": 1, "text": ["a"]}\n', "row 1 (line 1): column text: got list"),
        ("a.jsonl", '{"id": true, "text": "a"}\n', "row 1 (line 1): column id: got True"),
        ("a.jsonl", '{"id": 1}\n{"id": 2, "text": "x"}\n', "row 1 (line 1): column text: the key is missing"),
        ("a.jsonl", '{"id": 1, "txt": "x"}\n', "column 'text' is missing (did you mean 'txt'?)"),
        ("a.jsonl", '{"id": 1, "id": 2, "text": "a"}\n', "row 1 (line 1): column id: the key stands twice"),
        ("a.jsonl", '{"id": 1, "text": "a\\ud800"}\n', "row 1 (line 1): column text: a lone surrogate"),
        ("a.jsonl", "[1]\n", "row 1 (line 1): got list, accepted: an object"),
        ("a.jsonl", "{\n", "row 1 (line 1): not JSON: "),
        ("a.jsonl", "[" * 100_000, "row 1 (line 1): nested too deeply"),
        ("a.jsonl", '{"id": ' + "1" * 5000 + "}", "row 1 (line 1): not JSON: Exceeds the limit"),
        ("a.jsonl", b'{"id": 1, "text": "\xff"}\n', "row 1 (line 1): byte 0xff at offset 19 is not utf-8"),
        ("a.jsonl", "\n", "the file is empty"),
        ("a.xlsx", "", "suffix '.xlsx'; accepted: a file .csv, .jsonl, .parquet, .tsv"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, name, data, said):
    path = written(tmp_path, name, data)
    with pytest.raises(CorpusError) as error:
        read_table(path, ("id", "text"))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert message.isprintable()


def test_utf16_that_is_cut_off_is_named_by_offset(tmp_path):
    path = written(tmp_path, "a.csv", "id,text\n1,a\n".encode("utf-16")[:-1])
    with pytest.raises(CorpusError, match=r"a\.csv: byte 0x0a at offset 24 is not utf-16"):
        read_table(path, ("id", "text"), form=TableForm(encoding="utf-16"))


def test_five_cases_are_named_and_all_counted(tmp_path):
    path = written(tmp_path, "a.csv", "id,text\n" + "1\n" * 17)
    with pytest.raises(CorpusError) as error:
        read_table(path, ("id", "text"))
    message = str(error.value)
    assert message.count("(line ") == 5
    assert "row 5 (line 6): 1 fields" in message
    assert message.endswith('; ... and 12 more (17 rows; corpus.on_bad = "skip" leaves them out)')


def test_bad_rows_can_be_left_out_without_renumbering(tmp_path):
    path = written(tmp_path, "a.csv", b'id,text\n1,a\n2\n3,\xff\n"4","c\nd"\n')
    bad = BadRows("skip")
    frame = read_table(path, ("id", "text"), bad=bad)
    assert frame["id"].tolist() == ["1", "4"]
    assert frame["_row"].tolist() == [1, 4]
    assert frame["_line"].tolist() == [2, 5]
    assert [(r.place.row, r.place.line, r.reason.split(",")[0]) for r in bad.rows] == [
        (2, 3, "1 fields"),
        (3, 4, "byte 0xff at offset 16 is not utf-8; corpus.encoding may name another"),
    ]


def test_bad_json_lines_can_be_left_out_and_keep_their_ids(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"id": "p", "text": null}\n{\n{"id": "q", "text": "x"}\n')
    bad = BadRows("skip")
    assert read_table(path, ("id", "text"), bad=bad)["id"].tolist() == ["q"]
    assert [(r.id, r.column, r.place.line) for r in bad.rows] == [("p", "text", 1), ("", "", 2)]


def test_all_rows_left_out_is_an_empty_table(tmp_path):
    bad = BadRows("skip")
    frame = read_table(written(tmp_path, "a.csv", "id,text\n1\n"), ("id", "text"), bad=bad)
    assert frame.empty
    assert bad.count == 1


def test_what_is_no_file(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match=r"nowhere\.csv: no such file"):
        read_table(tmp_path / "nowhere.csv", ("id",))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CorpusError, match=r"folder\.csv: it is a folder; accepted: a file"):
        read_table(tmp_path / "folder.csv", ("id",))
    with pytest.raises(CorpusError, match=r"suffix ''; .*accepted: a file \.csv"):
        read_table(tmp_path / "folder.csv" / "..", ("id",))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = written(tmp_path, "a.csv", "id,text\n1,a\n")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(CorpusError, match=r"a\.csv: it cannot be read: Permission denied"):
        read_table(path, ("id", "text"))


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("a.jsonl", TableForm(delimiter=";"), r"corpus\.delimiter means nothing for \.jsonl; leave it out"),
        ("a.jsonl", TableForm(quoting="csv"), r"corpus\.quoting means nothing for \.jsonl"),
        ("a.parquet", TableForm(encoding="latin-1"), r"corpus\.encoding means nothing for \.parquet"),
    ],
)
def test_a_form_that_would_do_nothing_is_refused(tmp_path, name, form, said):
    with pytest.raises(CorpusError, match=said):
        read_table(written(tmp_path, name, "{}"), ("id",), form=form)
